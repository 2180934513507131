"""Several relays and sinks at once: every event is kept once, and who dies is replaced by who stands by."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.eventfaults.client import LoggedClient
from tests.eventfaults.mover import Mover
from tests.eventfaults.site import LEASE_S, LoggedSite, logged
from tests.eventfaults.table import check_forgotten, check_table, rows_of, sums_of
from tests.faults.conftest import NewStore
from tests.serving.waiting import eventually

pytestmark = pytest.mark.slow

KEEPING = "keeping events"
BUSY_S = 8.0
"""What a busy machine may take beside, to open the table among other things; less than a lease of usual length."""


@pytest.mark.parametrize(
    ("nats", "fault"),
    [(True, "killed"), (False, "killed"), (True, "paused")],
    ids=["broker, killed", "no broker, killed", "broker, paused"],
)
async def test_of_two_sinks_one_stands_by_and_takes_over(nats: bool, fault: str, new_store: NewStore, tmp_path: Path) -> None:
    async with logged(new_store(tmp_path, {}), tmp_path, nats=nats, relays=3, sinks=2) as here:
        client = LoggedClient(here.server.address, "u", np.random.default_rng(0), 8, patience_s=(2.0,))
        async with client.load():
            await eventually(lambda: any(sink.said(KEEPING) for sink in here.sinks), 20, "a sink is at work")
            await _more(client, 100)
            active, standing_by = sorted(here.sinks, key=lambda sink: not sink.said(KEEPING))
            assert not standing_by.said(KEEPING)
            if nats:
                await here.do(here.relays[0].kill)  # for good: the others have its share from now on
            if fault == "killed":
                await here.do(active.kill)
            else:
                psutil.Process(active.pid).suspend()
            gone_at = datetime.now().astimezone()
            await eventually(lambda: bool(standing_by.said(KEEPING)), 20, "the other sink takes over")
            assert _after_s(standing_by, gone_at) < LEASE_S + BUSY_S
            await _more(client, 100)
            if fault == "killed":
                await here.start(active)
            else:
                psutil.Process(active.pid).resume()
            await _more(client, 50)
        await client.settle()
        await here.drained()
        rows = rows_of(here.table)
        check_table(rows, client)
        check_forgotten(rows, client, here.store.port)
        await here.check_sums(client.scopes, sums_of(rows))
        assert (await here.audit()).agrees
        assert len(active.said(KEEPING)) == 1  # it came back and stands by
        _check_shares(here)


async def _more(client: LoggedClient, rewards: int) -> None:
    wanted = len(client.applied_after_s) + rewards
    await eventually(lambda: len(client.applied_after_s) >= wanted, 60, f"{rewards} more rewards")


def _after_s(sink: Mover, moment: datetime) -> float:
    (said,) = sink.said(KEEPING)
    return (datetime.fromisoformat(said["timestamp"]) - moment).total_seconds()


def _check_shares(here: LoggedSite) -> None:
    """None of the relays was left without work, or had to be started again."""
    assert all(len(relay.said("relaying")) == 1 for relay in here.relays)
