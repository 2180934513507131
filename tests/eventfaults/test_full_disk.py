"""A sink whose disk is full says so, keeps nothing by halves and lets go of nothing; once there is room it goes on."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.eventfaults.client import LoggedClient
from tests.eventfaults.site import LoggedSite, logged
from tests.eventfaults.table import check_table, rows_of, sums_of
from tests.faults.conftest import NewStore
from tests.faults.disk import FullDisk, SmallDisk
from tests.serving.waiting import eventually

KEPT_BACK = "events cannot be kept; they stay where they are"


@dataclass(frozen=True)
class Leg:
    """A site whose table lies on a disk."""

    site: LoggedSite
    disk: FullDisk | SmallDisk


@pytest.fixture(params=["small", pytest.param("preloaded", marks=pytest.mark.slow)])
async def leg(request: pytest.FixtureRequest, new_store: NewStore, tmp_path: Path) -> AsyncIterator[Leg]:
    """On a small disk where one may be mounted, and on one that only says that it is full."""
    small = _small_disk(tmp_path / "disk") if request.param == "small" else None
    disk = small or FullDisk(tmp_path)
    table = tmp_path / "disk" / "events"
    try:
        async with logged(new_store(tmp_path, {}), tmp_path, table=table, env=disk.environment) as site:
            yield Leg(site, disk)
    finally:
        if small:
            small.unmount()


async def test_a_full_disk_costs_nothing_but_time(leg: Leg) -> None:
    here, (sink,) = leg.site, leg.site.sinks
    first, second = (
        LoggedClient(here.server.address, name, np.random.default_rng(0), 4, patience_s=(5.0,)) for name in ("first", "second")
    )
    await _live(first)
    await here.drained()
    before = rows_of(here.table)
    leg.disk.fill()
    await _live(second)
    await eventually(lambda: len(sink.said(KEPT_BACK)) > 0, 20, "the sink says that it cannot keep events")
    (said,) = sink.said(KEPT_BACK)
    assert said["error"] == "the disk that holds the table is full: make room"
    assert rows_of(here.table) == before
    for file in here.table.rglob("*.parquet"):
        assert pq.ParquetFile(file).metadata.num_rows > 0
    assert here.waiting() == _commits(second)
    leg.disk.make_room()
    await here.drained()
    rows = rows_of(here.table)
    check_table(rows, first)
    check_table(rows, second)
    await here.check_sums(second.scopes, sums_of(rows))
    assert (await here.audit()).agrees
    assert len(sink.said("keeping events")) == 1  # it was never started again


async def _live(client: LoggedClient) -> None:
    async with client.load():
        await eventually(lambda: len(client.applied_after_s) >= 50, 60, "50 rewards")
    await client.settle()


def _commits(client: LoggedClient) -> int:
    """Entries of the outbox that a client has caused, none of whose calls was asked twice."""
    assert client.unanswered == 0
    scopes = itertools.chain(client.scopes, client.forgotten)
    decisions = [decision for scope in scopes for decision in scope.decisions]
    return len(client.forgotten) + sum(1 + d.request.deferred + len(d.rewards) for d in decisions)


def _small_disk(folder: Path) -> SmallDisk | None:
    try:
        return SmallDisk(folder)
    except OSError:
        return None
