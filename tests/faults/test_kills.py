"""Kill -9 of anything under load: what was acknowledged counts once, what was not at most once, and once it is asked again."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from cli.embedded import EmbeddedServer
from tests.faults.client import Client
from tests.faults.disk import SYNC_S, Disk
from tests.faults.site import Site, site
from tests.serving.waiting import eventually

pytestmark = pytest.mark.slow

SEEDS = range(20)
PARTS = ("worker", "server", "store")
MOST_CALLS = 60
"""Answered between one fault and the next; at least none, so that faults also meet."""


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_is_killed_every_reward_counts_once(seed: int, store: EmbeddedServer) -> None:
    async with site(store.start(), store.data_dir.parent) as here:
        client = Client(here.server.address, np.random.default_rng(seed), deadline_s=(0.2, 0.6))
        await _break_under_load(here, client, moment_s=0.05)
        await _account(here, client)


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_is_killed_while_the_disk_is_slow_every_reward_counts_once(
    seed: int, store_on_disk: EmbeddedServer, disk: Disk
) -> None:
    # The server may wait for several syncs; its callers have more or less patience.
    patient = {"redis_timeout_s": 5, "health_interval_s": 5}
    async with site(store_on_disk.start(), store_on_disk.data_dir.parent, **patient) as here:
        client = Client(here.server.address, np.random.default_rng(seed), deadline_s=(0.5, 4.0))
        disk.slow()
        await _break_under_load(here, client, moment_s=SYNC_S)
        disk.quick()
        # Nothing is acknowledged before it is synced.
        assert min(client.applied_after_s) >= SYNC_S
        await _account(here, client)


async def _break_under_load(here: Site, client: Client, moment_s: float) -> None:
    """Kill one of each kind, in drawn order at drawn moments; the load ends once the server answers again."""
    rng = client.rng.spawn(1)[0]
    async with client.load():
        await _more_answers(client, 1)
        for part in rng.permutation(PARTS):
            await _more_answers(client, int(rng.integers(MOST_CALLS)))
            await asyncio.sleep(rng.uniform(0, moment_s))  # a fault comes at any moment of a call
            await here.kill(str(part), rng)
        await _more_answers(client, MOST_CALLS)


async def _account(here: Site, client: Client) -> None:
    """The promises while calls are unanswered; then the exact sums, once all are asked again and once more."""
    assert client.unanswered > 0
    await here.recovered()
    await here.check_promises(client.scopes)
    await client.settle()
    await here.check_sums(client.scopes)
    await client.repeat()
    await here.check_sums(client.scopes)


async def _more_answers(client: Client, count: int) -> None:
    wanted = client.answered + count
    await eventually(lambda: client.answered >= wanted, 30, f"{count} more answers")
