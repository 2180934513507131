"""The log as a Delta Lake table: every event once, whatever is sent again; readable by whatever reads Delta, or Parquet.

What is kept twice would be wrong for ever, so an event is kept only if no row has its id; and as a second writer could keep it between
the look and the write, every commit names the number of the sink's commits so far (an application transaction of Delta's protocol): of two
writers who saw the same table one fails, looks again, and finds the rows there.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import ColumnProperties, CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from numpy.typing import NDArray

from events.columns import FIRST_DAY, SCHEMA, TIME
from events.known import MOST, Known, Words, firsts, words_of

PARTITIONS = ("policy", "date")
CONFIGURATION = {
    # Least and greatest values of other columns would repeat people's names in the log of the table, out of reach of an erasure.
    "delta.dataSkippingStatsColumns": "recorded_at",
    "delta.logRetentionDuration": "interval 1 days",
    "delta.enableExpiredLogCleanup": "true",
}
_FRESH = WriterProperties(
    compression="SNAPPY",
    # In files of a second the least and greatest of other columns span whatever there is: a fifth of the CPU of a commit, for nothing.
    default_column_properties=ColumnProperties(statistics_enabled="NONE"),
    column_properties={"recorded_at": ColumnProperties(statistics_enabled="PAGE")},
)
"""Of files until they are joined."""
_APP = "sink"
_ATTEMPTS = 5
_UNFINISHED_HOURS = 1
"""A file that no commit names may be another writer's, who is about to commit it: an older one was left by a writer that died."""
_DISK_FULL = os.strerror(errno.ENOSPC)
_FILE = "file://"
_BECAUSE = re.compile(r"\s*\x1b\[31m↳\x1b\[0m\s*")
_XML = re.compile(r"<\?xml.*?<Code>(\w+)</Code>.*", re.DOTALL)

Partition = tuple[str | None, int]
"""Policy, and days since the epoch."""


class TableUnavailable(Exception):
    """The table cannot be read or written just now: the disk is full, the store is away. Nothing was half written; its message says why."""


class Erasure(NamedTuple):
    """A scope of a policy that was forgotten, and when (microseconds since the epoch): what was recorded up to then goes."""

    policy: str
    scope: str
    at_us: int


class EventTable:
    """One table. Not for several threads at once.

    Args:
        url: a folder, or the URL of one in an object store; made when it is not there.
        most_ids: ids of rows to keep in memory.
    """

    def __init__(self, url: str, most_ids: int = MOST) -> None:
        self.url = url
        folder = unquote(url.removeprefix(_FILE)) if url.startswith(_FILE) else url
        self._local = None if "://" in folder else Path(folder)
        with _available():
            self._table = self._open()
        self._known = Known(self._ids, most_ids)
        self._forgotten: dict[tuple[str, str], int] | None = None
        self._unsure = True
        """Whether a commit may have been made and not been finished, by us or by whoever was here before."""

    def append(self, rows: pa.Table) -> int:
        """Keep rows (of `SCHEMA`) that are not there yet, and durably; how many.

        Not kept, too, is what was recorded of a scope before it was forgotten.

        Raises:
            TableUnavailable: none of them is kept, or it is not known; to append them again is safe.
        """
        with _available():
            return self._write(lambda: self._append(rows))

    def erase(self, erasures: Sequence[Erasure]) -> int:
        """Delete what was recorded of forgotten scopes, and the files that held it; how many rows. The tombstones stay.

        Raises:
            TableUnavailable: some may be left; to erase them again is safe.
        """
        if not erasures:
            return 0
        with _available():
            deleted = self._write(lambda: self._erase(erasures))
            self._vacuum(0)
        return deleted

    def compact(self, keep_hours: int = 168) -> None:
        """Join small files to large ones, and remove files that no version of the last hours needs.

        Raises:
            TableUnavailable.
        """
        with _available():
            self._table.optimize.compact()
            self._sync()  # before what it replaces may go
            self._vacuum(keep_hours)
            self._table.create_checkpoint()
            self._table.cleanup_metadata()

    def refresh(self) -> None:
        """See what others have written."""
        self._table.update_incremental()
        self._known.forget()
        self._forgotten = None

    @property
    def version(self) -> int:
        """Of the table, as it was last seen or written."""
        return int(self._table.version())

    def _open(self) -> DeltaTable:
        try:
            return DeltaTable(self.url)
        except TableNotFoundError:
            if self._local is not None:
                self._local.mkdir(parents=True, exist_ok=True)
            return DeltaTable.create(
                self.url, SCHEMA, mode="ignore", partition_by=list(PARTITIONS), configuration=CONFIGURATION, name="events"
            )

    def _write(self, write: Callable[[], int]) -> int:
        """Write; and when another has written since we looked, look and write again."""
        for attempt in range(_ATTEMPTS):
            if self._unsure:
                self.refresh()
                self._sync()
            self._unsure = True  # until it has returned: what failed may have been committed all the same
            try:
                written = write()
            except CommitFailedError:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                self._unsure = False
                return written
        raise AssertionError

    def _append(self, rows: pa.Table) -> int:
        fresh = self._fresh(rows)
        if fresh.num_rows:
            self._commit(fresh, mode="append", writer_properties=_FRESH)
            self._remember(fresh)
        return int(fresh.num_rows)

    def _erase(self, erasures: Sequence[Erasure]) -> int:
        for erasure in erasures:
            self._note(erasure)
        before = self._table.count()
        # Rows of those scopes are overwritten by none. What `delete` leaves are columns of a type (string_view) that Arrow cannot filter.
        self._commit(SCHEMA.empty_table(), mode="overwrite", predicate=" OR ".join(map(_predicate, erasures)))
        return int(before - self._table.count())

    def _fresh(self, rows: pa.Table) -> pa.Table:
        """Rows whose id neither the table nor an earlier row has, and that no erasure is to take away again."""
        ids = _ids_of(rows)
        keep = firsts(ids)
        for (policy, day), places in _by_partition(rows):
            # A decision that was made again after a fail-over has another time: shortly before or after.
            for near in (day - 1, day, day + 1):
                keep[places] &= ~self._known.of((policy, near)).holds(ids[places])
        keep &= ~self._is_forgotten(rows)
        return rows if keep.all() else rows.filter(pa.array(keep))

    def _is_forgotten(self, rows: pa.Table) -> NDArray[np.bool_]:
        tombstones = self._tombstones()
        gone = np.zeros(rows.num_rows, dtype=np.bool_)
        if not tombstones:
            return gone
        for place, (policy, scope, kind, at) in enumerate(_of(rows, "policy", "scope", "kind", "recorded_at")):
            gone[place] = kind != "forgotten" and at <= tombstones.get((policy, scope), -1)
        return gone

    def _tombstones(self) -> dict[tuple[str, str], int]:
        if self._forgotten is None:
            self._forgotten = {}
            for erasure in erasures_of(self._read(["policy", "scope", "kind", "recorded_at"], pc.field("kind") == "forgotten")):
                self._note(erasure)
        return self._forgotten

    def _note(self, erasure: Erasure) -> None:
        tombstones, scope = self._tombstones(), (erasure.policy, erasure.scope)
        tombstones[scope] = max(erasure.at_us, tombstones.get(scope, -1))

    def _commit(self, rows: pa.Table, **how: Any) -> None:
        number = self._table.transaction_version(_APP) or 0
        properties = CommitProperties(app_transactions=[Transaction(_APP, number + 1)])
        write_deltalake(self._table, rows, commit_properties=properties, **how)
        self._sync()

    def _remember(self, rows: pa.Table) -> None:
        ids = _ids_of(rows)
        for partition, places in _by_partition(rows):
            self._known.of(partition).add(ids[places])
        for erasure in erasures_of(rows):
            self._note(erasure)

    def _vacuum(self, keep_hours: int) -> None:
        """Remove files that no version of the last hours needs; and strays, which no version ever named, once they are surely nobody's."""
        for hours, strays in ((keep_hours, False), (max(keep_hours, _UNFINISHED_HOURS), True)):
            self._table.vacuum(retention_hours=hours, enforce_retention_duration=False, dry_run=False, full=strays)

    def _ids(self, partition: Partition) -> Words:
        policy, day = partition
        of_policy = pc.field("policy").is_null() if policy is None else pc.field("policy") == policy
        return _ids_of(self._read(["id"], of_policy & (pc.field("date") == FIRST_DAY + timedelta(days=day))))

    def _read(self, columns: Sequence[str], where: pc.Expression) -> pa.Table:
        return self._table.to_pyarrow_dataset().to_table(columns=list(columns), filter=where)

    def _sync(self) -> None:
        """What the last commit wrote reaches the disk: what is told to be kept must survive a power failure, too."""
        if self._local is None:
            return
        log = self._local / "_delta_log"
        commit = log / f"{self.version:020}.json"
        written = [self._local / json.loads(line)["add"]["path"] for line in commit.read_text().splitlines() if '"add"' in line]
        for path in (*written, *{file.parent for file in written}, commit, log):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def erasures_of(rows: pa.Table) -> list[Erasure]:
    """What rows say is to be erased."""
    told = rows.filter(pc.equal(rows["kind"], "forgotten"))
    return [Erasure(policy, scope, at) for policy, scope, at in _of(told, "policy", "scope", "recorded_at")]


def _of(rows: pa.Table, *names: str) -> Iterator[tuple[Any, ...]]:
    """Some columns, row by row; times in microseconds."""
    columns = (rows[name].cast(pa.int64()) if rows.schema.field(name).type == TIME else rows[name] for name in names)
    return zip(*(column.to_pylist() for column in columns), strict=True)


def _ids_of(rows: pa.Table) -> Words:
    return words_of(rows["id"].to_pylist())


def _by_partition(rows: pa.Table) -> Iterator[tuple[Partition, NDArray[np.intp]]]:
    """Each partition, and the places of its rows."""
    policies = rows["policy"].combine_chunks().dictionary_encode("encode")
    numbers, days = policies.indices.to_numpy(), rows["date"].cast(pa.int32()).to_numpy()
    for number, policy in enumerate(policies.dictionary.to_pylist()):
        of_policy = numbers == number
        for day in np.unique(days[of_policy]).tolist():
            yield (policy, day), np.flatnonzero(of_policy & (days == day))


def _predicate(erasure: Erasure) -> str:
    policy, scope = (text.replace("'", "''") for text in (erasure.policy, erasure.scope))
    until = f"arrow_cast({erasure.at_us}, 'Timestamp(Microsecond, Some(\"UTC\"))')"
    return f"(policy = '{policy}' AND scope = '{scope}' AND kind <> 'forgotten' AND recorded_at <= {until})"


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except (DeltaError, OSError) as error:
        said = why(error)
        if _DISK_FULL in said:
            raise TableUnavailable("the disk that holds the table is full: make room") from error
        raise TableUnavailable(f"the table cannot be used: {said}") from error


def why(error: Exception) -> str:
    """What Delta's library says went wrong, without its colours and traces, and of an object store's answer its code alone: the rest
    repeats the request with the name of the key."""
    said = str(error).split("\n   0: ")[0]  # what follows is a trace of the library's own
    return _BECAUSE.sub(": ", _XML.sub(r"\1", said)).strip()
