"""Kill -9 of whatever moves or keeps events, under load: the table has every acknowledged call once, and the store what the table has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import numpy as np
import pytest
import pytest_asyncio

from tests.eventfaults.client import LoggedClient
from tests.eventfaults.site import LoggedSite, logged
from tests.eventfaults.table import check_forgotten, check_table, rows_of, sums_of
from tests.faults.conftest import NewStore
from tests.faults.renewed import Renewed
from tests.serving.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEEDS = 20
FAST = 1
PARTS = ("relay", "sink", "nats", "store")
CALLERS = 8
REWARDS = 60
"""Most that are applied between one fault and the next."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(new_store: NewStore, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Renewed[LoggedSite]]:
    """Each seed begins with it as the one before left it."""

    def here() -> AbstractAsyncContextManager[LoggedSite]:
        folder = tmp_path_factory.mktemp("logged")
        return logged(new_store(folder, {}), folder)

    async with Renewed(here) as site:
        yield site


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=[pytest.mark.slow] if seed >= FAST else []) for seed in range(SEEDS)])
async def test_whatever_is_killed_the_table_has_everything_once(shared: Renewed[LoggedSite], seed: int) -> None:
    async with shared.lent() as here:
        client = LoggedClient(here.server.address, f"seed{seed}", np.random.default_rng(seed), CALLERS, patience_s=(0.5, 2.0))
        await here.recovered()
        await _break_under_load(here, client)
        await here.recovered()
        await client.settle()
        await here.drained()
        rows = rows_of(here.table)
        check_table(rows, client)
        check_forgotten(rows, client, here.store.port)
        await here.check_sums(client.scopes)
        await here.check_sums(client.scopes, sums_of(rows))
        report = await here.audit()
        assert report.agrees, report


async def _break_under_load(here: LoggedSite, client: LoggedClient) -> None:
    """Kill each part once, in drawn order at drawn moments; the load ends once rewards are applied again."""
    rng = client.rng.spawn(1)[0]
    async with client.load():
        await _more_rewards(client, 1)
        for part in rng.permutation(PARTS).tolist():
            if rng.random() < 0.7:  # else this fault meets the one before
                await _more_rewards(client, int(rng.integers(REWARDS)))
            await asyncio.sleep(rng.uniform(0, 0.5))
            await here.kill(part, rng)
        await _more_rewards(client, REWARDS)


async def _more_rewards(client: LoggedClient, count: int) -> None:
    wanted = len(client.applied_after_s) + count
    await eventually(lambda: len(client.applied_after_s) >= wanted, 60, f"{count} more rewards")
