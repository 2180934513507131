"""Kill -9 of anything under load: what was acknowledged counts once, what was not at most once, and once it is asked again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
import pytest
import pytest_asyncio

from tests.faults.client import Client
from tests.faults.conftest import NewStore
from tests.faults.disk import SYNC_S, Disk
from tests.faults.renewed import Renewed
from tests.faults.site import Site, site
from tests.serving.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

SEEDS = 20
PARTS = ("worker", "server", "store")


@dataclass(frozen=True)
class Leg:
    """How all seeds go under one kind of disk.

    Args:
        site: each seed begins with it as the one before left it.
        disk: the one that is slow under load, None for this machine's.
        callers, patience_s: of the client.
        rewards: most that are applied between one fault and the next.
        moment_s: a fault comes at any moment of such a time: about that of a call.
    """

    site: Site
    disk: Disk | None
    callers: int
    patience_s: tuple[float, ...]
    rewards: int
    moment_s: float


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["quick", "slow"])
async def shared(
    request: pytest.FixtureRequest, new_store: NewStore, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Renewed[Leg]]:
    """Both kinds of disk in turn."""

    @asynccontextmanager
    async def leg() -> AsyncIterator[Leg]:
        folder = tmp_path_factory.mktemp("site")
        if request.param == "quick":
            async with site(new_store(folder, {}), folder) as here:
                yield Leg(here, None, callers=24, patience_s=(0.2, 0.6), rewards=40, moment_s=0.05)
        else:
            # A Score may wait for several syncs. The server has that patience by itself, its callers not always.
            disk = Disk(folder)
            async with site(new_store(folder, disk.environment), folder) as here:
                yield Leg(here, disk, callers=24, patience_s=(0.5, 10.0, 10.0), rewards=4, moment_s=SYNC_S)

    async with Renewed(leg) as legs:
        yield legs


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_whatever_is_killed_every_reward_counts_once(shared: Renewed[Leg], seed: int) -> None:
    async with shared.lent() as leg:
        client = Client(leg.site.server.address, f"seed{seed}", np.random.default_rng(seed), leg.callers, leg.patience_s)
        await leg.site.recovered()
        await _break_under_load(leg, client)
        assert client.unanswered > 0
        await leg.site.recovered()
        await leg.site.check_promises(client.scopes)
        await client.settle()
        await leg.site.check_sums(client.scopes)
        await client.repeat()
        await leg.site.check_sums(client.scopes)


async def _break_under_load(leg: Leg, client: Client) -> None:
    """Kill one part of each kind, in drawn order at drawn moments; the load ends once rewards are applied again."""
    rng = client.rng.spawn(1)[0]
    if leg.disk:
        leg.disk.slow()
    async with client.load():
        await _more_rewards(client, 1)
        for part in rng.permutation(PARTS).tolist():
            if rng.random() < 0.5:  # else this fault meets the one before
                await _more_rewards(client, int(rng.integers(leg.rewards)))
            await asyncio.sleep(rng.uniform(0, leg.moment_s))
            await leg.site.kill(part, rng)
        await _more_rewards(client, leg.rewards)
        if leg.disk:
            assert min(client.applied_after_s) >= SYNC_S  # nothing was acknowledged before it was synced
            leg.disk.quick()


async def _more_rewards(client: Client, count: int) -> None:
    wanted = len(client.applied_after_s) + count
    await eventually(lambda: len(client.applied_after_s) >= wanted, 60, f"{count} more rewards")
