"""Trips to the store over the connection ooml's server has: what nobody who reads or writes can do without."""

from __future__ import annotations

from serving.redis.connect import Client
from serving.redis.link import Command

EMPTY = Command(0, ("PING",))
READ = Command(0, ("PING", bytes(1_000)))
WRITE = Command(0, ("SET", "echo", bytes(2_000), "PX", 60_000))
"""As many bytes as the two scripts of a Score of ten candidates carry, about, and the least a store can do with them."""


async def trip(client: Client, *commands: Command) -> None:
    """Wait for the answers to commands sent together.

    Raises:
        redis.exceptions.RedisError.
    """
    for answer in await client.ask(commands):
        if isinstance(answer, Exception):
            raise answer
