"""The table in a real object store keeps what it promises on a disk."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from ooml.bandit.v1 import events_pb2 as pb

from cli.embedded import EmbeddedServer
from events.log import Erased, Log
from events.outcomes import write_outcomes
from events.rebuild import Rebuilder
from events.table import Erasure, EventTable, TableUnavailable
from tests.events.build import NOON_S, decided, forgotten, learned
from tests.events.object_store import BUCKET, OwnObjectStore
from tests.events.test_table import NOON_US, files, rows_of
from tests.events.world import policy, world_on
from tests.servers import flush

pytestmark = pytest.mark.slow

WRITERS, BATCHES = 3, 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnObjectStore]:
    with OwnObjectStore(tmp_path_factory.mktemp("objects")) as server, pytest.MonkeyPatch.context() as patched:
        for name, value in server.environment.items():
            patched.setenv(name, value)
        yield server


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture
def url(server: OwnObjectStore, name: str) -> str:
    return f"s3://{BUCKET}/{name}"


@pytest.fixture
def table(url: str) -> EventTable:
    return EventTable(url)


def scopes(url: str) -> list[str]:
    """Of every row that another reader sees."""
    return sorted(DeltaTable(url).to_pyarrow_table(columns=["scope"])["scope"].to_pylist())


def test_what_is_there_already_is_not_kept_again(table: EventTable, url: str) -> None:
    events = [decided(f"u{i}") for i in range(5)]
    for one in events:
        assert table.append(rows_of(one)) == 1
    assert table.append(rows_of(*events)) == 0
    table.compact(keep_hours=0)
    assert len(DeltaTable(url).file_uris()) == 1
    assert EventTable(url).append(rows_of(*events, decided("v"))) == 1
    assert scopes(url) == ["u0", "u1", "u2", "u3", "u4", "v"]


def test_of_two_writers_neither_keeps_what_the_other_has_kept(table: EventTable, url: str) -> None:
    other = EventTable(url)
    shared = [decided(f"u{i}") for i in range(3)]
    assert other.append(rows_of(decided("first"))) == 1
    assert table.append(rows_of(*shared, learned("mine"))) == 4
    assert other.append(rows_of(*shared, learned("theirs"))) == 1
    assert scopes(url) == ["first", "mine", "theirs", "u0", "u1", "u2"]


def test_writers_who_race_keep_every_event_once(table: EventTable, url: str) -> None:
    batches = [[decided(f"{number}") for _ in range(5)] for number in range(BATCHES)]
    start = Barrier(WRITERS)

    def write(first: int) -> int:
        writer, kept = EventTable(url), 0
        left = batches[first:] + batches[:first]
        start.wait()
        while left:
            try:
                kept += writer.append(rows_of(*left[0]))
            except TableUnavailable:  # the others were always faster: as its message promises, it is safe to append them again
                continue
            left.pop(0)
        return kept

    with ThreadPoolExecutor(WRITERS) as threads:
        assert sum(threads.map(write, range(0, BATCHES, BATCHES // WRITERS + 1))) == 5 * BATCHES
    ids = DeltaTable(url).to_pyarrow_table(columns=["id"])["id"].to_pylist()
    assert len(ids) == len(set(ids)) == 5 * BATCHES


def test_what_is_forgotten_is_in_no_object(table: EventTable, server: OwnObjectStore, name: str) -> None:
    gone: list[pb.Event] = [decided("a-name-nobody-else-has", decision_id="its-decision"), learned("u")]
    table.append(rows_of(*gone))
    assert sum(b"its-decision" in text for text in files(server.bucket / name)) == 1
    table.append(rows_of(forgotten("a-name-nobody-else-has")))
    assert table.erase([Erasure("tips", "a-name-nobody-else-has", NOON_US)]) == 1
    assert sum(b"its-decision" in text for text in files(server.bucket / name)) == 0
    assert table.append(rows_of(*gone)) == 0


def test_a_reader_from_whom_files_were_erased_is_told_to_look_again(table: EventTable, url: str) -> None:
    table.append(rows_of(decided("u"), decided("v")))
    log = Log(url)
    table.erase([Erasure("tips", "u", NOON_S * 1_000_000)])
    with pytest.raises(Erased):
        log.table(("decision",), ("scope",))
    assert Log(url).table(("decision",), ("scope",))["scope"].to_pylist() == ["v"]


def test_a_store_that_is_away_is_told_in_a_line_and_waited_for(table: EventTable, server: OwnObjectStore, url: str) -> None:
    table.append(rows_of(decided("u")))
    server.kill()
    try:
        with pytest.raises(TableUnavailable, match=r"^the table cannot be used: .*Connection refused \(os error \d+\)$"):
            table.append(rows_of(decided("v")))
    finally:
        server.start()
    assert table.append(rows_of(decided("w"))) == 1
    assert scopes(url) == ["u", "w"]


@pytest.mark.parametrize("open_table", [EventTable, Log])
def test_a_bucket_that_is_missing_is_told_by_the_code_of_the_answer(server: OwnObjectStore, open_table: type[EventTable | Log]) -> None:
    with pytest.raises(TableUnavailable, match=r"^the table cannot be .* 404 Not Found: NoSuchBucket$"):
        open_table("s3://none/events")


async def test_a_sink_keeps_and_audit_rebuild_and_outcomes_read(clean_valkey: EmbeddedServer, url: str, tmp_path: Path) -> None:
    p = policy()
    async with world_on(clean_valkey, url, p) as world:
        made = [await world.at.open(p, scope=f"u{i}") for i in range(4)]
        await world.at.reward(p, made[0], 2.0, "r")
        await world.drain()
        assert (await world.audit()).agrees
        flush(clean_valkey)
        await world.publish(p)
        rebuilt = await Rebuilder(world.client, world.url, 3600.0).run()
        assert (rebuilt.arms, rebuilt.scopes, rebuilt.decisions) == (4, 4, 4)
        report = await world.audit()
        assert (report.agrees, report.decisions, report.rewards) == (True, 4, 1)
        assert write_outcomes(Log(world.url), tmp_path / "outcomes.parquet") == 5
        assert sorted(pq.read_table(tmp_path / "outcomes.parquet")["value"].to_pylist()) == [0.5, 0.5, 0.5, 0.5, 2.0]
