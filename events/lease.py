"""That one of several does a thing at a time: a key in Redis which whoever has it renews, and which is free again soon after it dies."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from serving.ports import Unavailable
from serving.redis.connect import Client
from serving.redis.errors import unavailable

LIFE_S = 15.0

_RENEW = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
"""
_FREE = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1])"


class LeaseLost(Exception):
    """Another may have it now."""


@asynccontextmanager
async def lease(client: Client, key: str, life_s: float = LIFE_S) -> AsyncIterator[None]:
    """Wait until nobody else has it, and have it until the block is left.

    It is a courtesy, not a lock: whoever was paused for longer than its life and woke up believes for a moment that it still has it. What
    must not happen twice needs a guard of its own.

    Raises:
        LeaseLost: it could not be renewed in time; the block was left where it waited.
    """
    mine = secrets.token_hex(8)
    while not await _renew(client, key, mine, life_s):  # noqa: ASYNC110  a store has no event to wait for
        await asyncio.sleep(life_s / 5)
    try:
        async with asyncio.timeout(None) as block:
            keeping = asyncio.create_task(_keep(client, key, mine, life_s, block))
            try:
                yield
            finally:
                keeping.cancel()
    except TimeoutError:
        if not block.expired():
            raise
        raise LeaseLost(f"{key} could not be renewed in time") from None
    finally:
        with suppress(Exception):
            await client.execute_command("EVAL", _FREE, 1, key, mine)


async def _keep(client: Client, key: str, mine: str, life_s: float, block: asyncio.Timeout) -> None:
    clock = asyncio.get_running_loop().time
    renewed = clock()
    while True:
        await asyncio.sleep(life_s / 5)
        asked = clock()
        if await _renew(client, key, mine, life_s):
            renewed = asked
        elif clock() - renewed > 0.6 * life_s:
            block.reschedule(clock())
            return


async def _renew(client: Client, key: str, mine: str, life_s: float) -> bool:
    """Whether it is ours now; not, too, when the store does not say."""
    try:
        with unavailable():
            return bool(await client.execute_command("EVAL", _RENEW, 1, key, mine, round(life_s * 1000)))
    except Unavailable:
        return False
