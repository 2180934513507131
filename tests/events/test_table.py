"""The table: every event once, whatever is sent again, by whomever; what is forgotten is gone."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from ooml.bandit.v1 import events_pb2 as pb

from events.columns import table_of
from events.identity import identity
from events.table import Erasure, EventTable, TableUnavailable
from tests.events.build import DAY_S, NOON_S, decided, event, forgotten, learned, rewarded

NOON_US = NOON_S * 1_000_000


def rows_of(*events: pb.Event) -> pa.Table:
    return table_of(events, [identity(e) for e in events])


def stored(folder: Path) -> list[tuple[str, str | None]]:
    """Kind and scope of every row that another reader sees."""
    found = DeltaTable(folder).to_pyarrow_table(columns=["kind", "scope"])
    return sorted(zip(found["kind"].to_pylist(), found["scope"].to_pylist(), strict=True), key=str)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "events"


@pytest.fixture
def table(folder: Path) -> EventTable:
    return EventTable(str(folder))


def test_events_are_kept_and_seen_by_others(table: EventTable, folder: Path) -> None:
    kept = [decided("u"), learned("u"), rewarded("v"), event(task_synced=pb.TaskSynced(user_id="w", task_id="t"))]
    assert table.append(rows_of(*kept)) == 4
    assert stored(folder) == [("decision", "u"), ("evidence", "u"), ("reward", "v"), ("task", "w")]
    assert DeltaTable(folder).metadata().partition_columns == ["policy", "date"]


def test_of_a_file_the_least_and_greatest_time_are_told_and_nothing_else(table: EventTable, folder: Path) -> None:
    table.append(rows_of(decided(at_s=NOON_S), rewarded(at_s=NOON_S + 1)))
    (file,) = DeltaTable(folder).file_uris()
    group = pq.read_metadata(file).row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    assert [(c.path_in_schema, c.compression) for c in columns if c.is_stats_set] == [("recorded_at", "SNAPPY")]
    told = pa.table(DeltaTable(folder).get_add_actions(flatten=True)).select(["min.recorded_at", "max.recorded_at"])
    assert [column.cast(pa.int64()).to_pylist() for column in told] == [[NOON_US], [NOON_US + 1_000_000]]


def test_what_is_there_already_is_not_kept_again(table: EventTable, folder: Path) -> None:
    some, others = [decided(), learned()], [rewarded(), event(decisions_shed=pb.DecisionsShed(count=3))]
    assert table.append(rows_of(*some)) == 2
    assert table.append(rows_of(*some, *others)) == 2
    assert table.append(rows_of(*some, *others)) == 0
    assert len(stored(folder)) == 4


def test_an_event_that_comes_twice_at_once_is_kept_once(table: EventTable, folder: Path) -> None:
    one = decided()
    assert table.append(rows_of(one, learned(), one)) == 2
    assert len(stored(folder)) == 2


def test_nor_after_a_restart_or_after_files_were_joined(table: EventTable, folder: Path) -> None:
    events = [decided(f"u{i}") for i in range(20)]
    for one in events:
        table.append(rows_of(one))
    files = len(DeltaTable(folder).file_uris())
    table.compact()
    assert len(DeltaTable(folder).file_uris()) == 1 < files
    assert EventTable(str(folder)).append(rows_of(*events)) == 0
    assert len(stored(folder)) == 20


def test_what_compaction_writes_is_on_disk_before_what_it_replaces_may_go(
    table: EventTable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        table.append(rows_of(decided(f"u{number}")))
    synced: set[Path] = set()
    opened = os.open

    def noted(path: Path, flags: int) -> int:
        synced.add(path.resolve())
        return opened(path, flags)

    monkeypatch.setattr(os, "open", noted)
    table.compact()
    (joined,) = DeltaTable(folder).file_uris()
    assert Path(joined.removeprefix("file://")).resolve() in synced


def test_a_folder_that_is_given_as_a_url_is_synced_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my events"
    table = EventTable(folder.as_uri())
    synced: list[Path] = []
    opened = os.open

    def noted(path: Path, flags: int) -> int:
        synced.append(path)
        return opened(path, flags)

    monkeypatch.setattr(os, "open", noted)
    assert table.append(rows_of(decided("u"))) == 1
    assert folder / "_delta_log" / f"{1:020}.json" in synced
    assert stored(folder) == [("decision", "u")]


@pytest.mark.parametrize("later_s", [-DAY_S, DAY_S], ids=["the day before", "the day after"])
def test_a_decision_made_again_after_a_fail_over_at_another_time_is_the_same(table: EventTable, later_s: int) -> None:
    assert table.append(rows_of(decided(decision_id="d"))) == 1
    assert table.append(rows_of(decided(decision_id="d", at_s=NOON_S + later_s))) == 0


def test_of_two_writers_neither_keeps_what_the_other_has_kept(table: EventTable, folder: Path) -> None:
    other = EventTable(str(folder))
    shared = [decided(f"u{i}") for i in range(3)]
    assert other.append(rows_of(decided("first"))) == 1
    assert table.append(rows_of(*shared, learned("mine"))) == 4
    assert other.append(rows_of(*shared, learned("theirs"))) == 1
    assert table.append(rows_of(*shared, learned("mine again"))) == 1
    assert len(stored(folder)) == 7


def test_forgotten_scopes_leave_nothing_but_their_tombstone(table: EventTable, folder: Path) -> None:
    name = "o'hara"
    gone = [decided(name), learned(name), rewarded(name, at_s=NOON_S + DAY_S)]
    stays = [decided("u"), decided(name, policy="shop"), decided(name, at_s=NOON_S + 2 * DAY_S)]
    tombstone = forgotten(name, at_s=NOON_S + DAY_S)
    table.append(rows_of(*gone, *stays))
    table.append(rows_of(tombstone))
    assert table.erase([Erasure("tips", name, NOON_US + DAY_S * 1_000_000)]) == 3
    assert stored(folder) == [("decision", name), ("decision", name), ("decision", "u"), ("forgotten", name)]


def test_what_is_forgotten_is_in_no_file(table: EventTable, folder: Path) -> None:
    """But for its name in the tombstone, and in the log of the table, which says what was deleted."""
    table.append(rows_of(decided("a-name-nobody-else-has", decision_id="its-decision"), learned("u")))
    assert sum(b"its-decision" in text for text in files(folder)) == 1
    assert sum(b"a-name-nobody-else-has" in text for text in files(folder)) == 1
    table.erase([Erasure("tips", "a-name-nobody-else-has", NOON_US)])
    assert sum(b"its-decision" in text for text in files(folder)) == 0
    assert sum(b"a-name-nobody-else-has" in text for text in files(folder)) == 1


def test_a_table_from_which_was_erased_is_read_and_written_on(table: EventTable, folder: Path) -> None:
    table.append(rows_of(decided("u"), decided("v"), rewarded("v"), forgotten("w")))
    table.erase([Erasure("tips", "u", NOON_US)])
    found = DeltaTable(folder).to_pyarrow_dataset().to_table(filter=pc.field("kind") == "forgotten")
    assert found["scope"].to_pylist() == ["w"]
    assert found.schema.field("id").type == pa.binary()
    late = decided("w")
    assert EventTable(str(folder)).append(rows_of(late, rewarded("u", at_s=NOON_S + 1))) == 1
    assert stored(folder) == [("decision", "v"), ("forgotten", "w"), ("reward", "u"), ("reward", "v")]


def test_of_two_writers_one_of_whom_erases_both_find_what_is_there(table: EventTable, folder: Path) -> None:
    other = EventTable(str(folder))
    table.append(rows_of(decided("u"), decided("v")))
    assert other.erase([Erasure("tips", "u", NOON_US)]) == 1
    assert table.append(rows_of(decided("u"), decided("w"))) == 2
    assert stored(folder) == [("decision", "u"), ("decision", "v"), ("decision", "w")]


def test_an_erasure_spares_what_another_writer_is_about_to_commit_and_removes_what_a_dead_one_left(table: EventTable, folder: Path) -> None:
    table.append(rows_of(decided("u"), decided("v")))
    (written,) = folder.rglob("*.parquet")
    fresh, old = (Path(shutil.copy(written, written.with_name(f"{name}.parquet"))) for name in ("fresh", "old"))
    os.utime(old, (time.time() - 7200,) * 2)
    assert table.erase([Erasure("tips", "u", NOON_US)]) == 1
    assert (fresh.exists(), old.exists(), written.exists()) == (True, False, False)
    table.compact(keep_hours=0)
    assert fresh.exists()


def test_events_of_a_forgotten_scope_that_come_late_are_not_kept(table: EventTable, folder: Path) -> None:
    table.append(rows_of(forgotten("u")))
    late, later = decided("u", at_s=NOON_S), decided("u", at_s=NOON_S + 1)
    assert table.append(rows_of(late)) == 0
    assert EventTable(str(folder)).append(rows_of(late, later)) == 1
    assert stored(folder) == [("decision", "u"), ("forgotten", "u")]


def test_a_tombstone_and_late_events_that_come_together_are_told_apart_by_erasing(table: EventTable, folder: Path) -> None:
    """Within one batch the order is not known: what the tombstone covers is deleted after it is kept."""
    table.append(rows_of(decided("u"), forgotten("u")))
    table.erase([Erasure("tips", "u", NOON_US)])
    assert stored(folder) == [("forgotten", "u")]


def test_a_table_that_cannot_be_written_says_so_and_keeps_what_it_had(table: EventTable, folder: Path) -> None:
    table.append(rows_of(decided("u")))
    (folder / "policy=tips").rename(folder / "moved")
    (folder / "policy=tips").write_text("no folder")
    with pytest.raises(TableUnavailable, match="cannot be used"):
        table.append(rows_of(decided("v")))
    (folder / "policy=tips").unlink()
    (folder / "moved").rename(folder / "policy=tips")
    assert table.append(rows_of(decided("w"))) == 1
    assert stored(folder) == [("decision", "u"), ("decision", "w")]


def test_a_commit_that_failed_after_it_was_made_is_not_made_again(table: EventTable, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("no space left on device")

    kept = rows_of(decided("v"), learned("v"))
    table.append(rows_of(decided("u")))
    with monkeypatch.context() as patched:
        patched.setattr(table, "_sync", fail)
        with pytest.raises(TableUnavailable, match="no space left"):
            table.append(kept)
    assert table.append(kept) == 0
    assert len(stored(folder)) == 3


def test_where_a_table_cannot_be_made_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TableUnavailable):
        EventTable(str(tmp_path / "file" / "events"))


def files(folder: Path) -> Sequence[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
