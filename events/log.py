"""The whole log as of one moment: the table, and what is still on its way to it from the outbox, each event once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from events import packed
from events.bus import Message
from events.columns import DAY_US, FIRST_DAY, SCHEMA, TIME, table_of
from events.outbox import Look, Outbox
from events.reading import EntryReader
from events.table import TableUnavailable, why

BATCH = 131_072
"""Rows read at a time."""

Advance = Callable[[int], object]
"""Told how many rows were read since it was told last."""


class NoTable(TableUnavailable):
    """Nobody has kept an event where the table is said to be."""


class Erased(TableUnavailable):
    """Somebody was forgotten while the table was read, and the files that told of them are gone. Another look finds the new ones."""


class Log:
    """One look at it; what is written later is not seen.

    Args:
        url: of the table; a folder, or the URL of one in an object store.
        waiting: rows of what waits in the outbox. It must have been looked for before: what has left the outbox since is in the table.

    Raises:
        NoTable: there is none.
        TableUnavailable: it cannot be read just now.
    """

    def __init__(self, url: str, waiting: pa.Table | None = None) -> None:
        try:
            self._table = DeltaTable(url)
            self._sizes = pa.table(self._table.get_add_actions())["num_records"].to_pylist()
        except TableNotFoundError:
            raise NoTable(f"there is no table of events at {url}. `ooml sink` makes it; OOML_EVENT_TABLE says where it is") from None
        except (DeltaError, OSError) as error:
            raise TableUnavailable(f"the table cannot be read: {why(error)}") from error
        self._waiting = SCHEMA.empty_table() if waiting is None else waiting

    @property
    def rows(self) -> int:
        """Of the table and the outbox together."""
        return int(sum(self._sizes)) + self.waiting

    @property
    def waiting(self) -> int:
        """Rows that are not in the table; some of them may be by now."""
        return int(self._waiting.num_rows)

    def batches(
        self,
        kinds: Sequence[str],
        columns: Sequence[str],
        *,
        since_us: int = 0,
        where: pc.Expression | None = None,
        advance: Advance = lambda rows: None,
    ) -> Iterator[pa.RecordBatch]:
        """Some columns of the events of some kinds, in no order; none of the batches is empty.

        Args:
            since_us: leave out what was recorded before, in microseconds since the epoch; what is left out is not read, by and large.
            where: what else must be so of an event, in those columns.
            advance: told of events of other kinds, too.

        Raises:
            TableUnavailable.
        """
        needed = list(dict.fromkeys(("kind", *(("id",) if self.waiting else ()), *columns)))
        asked, waiting = pc.field("kind").isin(kinds), self._waiting["id"].combine_chunks()
        where = asked if where is None else asked & where
        later = pc.field("recorded_at") >= pa.scalar(since_us, TIME)
        for batch in self._read(
            needed, (pc.field("date") >= FIRST_DAY + timedelta(days=since_us // DAY_US)) & later if since_us > 0 else None
        ):
            advance(batch.num_rows)
            rows = pa.Table.from_batches([batch])
            if self.waiting:
                rows = rows.filter(pc.invert(pc.is_in(rows["id"], waiting)))
            # Here and not while reading: Arrow cannot filter all kinds of text that others write into a table.
            yield from rows.filter(where).select(list(columns)).combine_chunks().to_batches()
        advance(self.waiting)
        yield from self._waiting.filter(where & later).select(list(columns)).combine_chunks().to_batches()

    def table(self, kinds: Sequence[str], columns: Sequence[str], *, since_us: int = 0, where: pc.Expression | None = None) -> pa.Table:
        """The same at once, of what is little.

        Raises:
            TableUnavailable.
        """
        schema = pa.schema([SCHEMA.field(name) for name in columns])
        return pa.Table.from_batches([batch.cast(schema) for batch in self.batches(kinds, columns, since_us=since_us, where=where)], schema)

    def _read(self, columns: Sequence[str], where: pc.Expression | None) -> Iterator[pa.RecordBatch]:
        try:
            dataset = self._table.to_pyarrow_dataset()
            # Few batches ahead: those of decisions are large.
            scanner = dataset.scanner(columns=list(columns), filter=where, batch_size=BATCH, batch_readahead=2, fragment_readahead=1)
            yield from scanner.to_batches()
        except FileNotFoundError as error:
            raise Erased("files of the table were erased while it was read; look again") from error
        except (DeltaError, OSError) as error:
            raise TableUnavailable(f"the table cannot be read: {why(error)}") from error


async def read(outbox: Outbox, entries: EntryReader, url: str) -> tuple[Look, Log]:
    """The outbox, then the table: what has left the one is in the other.

    Raises:
        Unavailable, TableUnavailable.
    """
    look = await outbox.look()
    messages = [message for entry in look.entries for message in await entries.messages(entry)]
    return look, Log(url, rows_of(messages))


def rows_of(messages: Sequence[Message]) -> pa.Table:
    """What messages will be in the table: rows of `SCHEMA`, each event once."""
    found = {message.id: message.body for message in messages}
    return table_of([packed.read(body) for body in found.values()], [bytes.fromhex(name) for name in found])
