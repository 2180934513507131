"""A long log, made of a short one: every copy of it lies some hours earlier, with ids and numbers of its own."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks import entries
from benchmarks.moving import POLICY
from events.columns import DAY_US, SCHEMA, TIME, table_of
from events.identity import identity
from events.outbox import Entry
from events.packed import read
from events.table import EventTable
from serving.ids import SHARDS

DAYS = 100
"""Over which the log is spread, ending now."""


def write(folder: Path, sample: Sequence[Entry], decisions: int) -> int:
    """A table with so many decisions, about, and what became of them; how many rows it has.

    Args:
        sample: entries of a few thousand decisions, of one epoch.
    """
    numbered = Counter(entry.shard for entry in sample)
    turns = -(-decisions // sum(b"decision" in entry.fields for entry in sample))
    events = len(entries.messages(iter(sample), POLICY))
    copies = entries.copies(sample, turns * events)
    table = EventTable(str(folder))
    of_day: list[pa.Table] = []
    rows = 0
    for turn in range(turns):
        back_us = turn * DAYS * DAY_US // turns
        of_day.append(_turn(list(itertools.islice(copies, len(sample))), turns - 1 - turn, numbered, back_us))
        if turn == turns - 1 or (turn + 1) * DAYS // turns > turn * DAYS // turns:
            rows += table.append(pa.concat_tables(of_day))
            of_day.clear()
    return rows


def _turn(copy: Sequence[Entry], before: int, numbered: Counter[int], back_us: int) -> pa.Table:
    """Rows of one copy, numbered on from those before it."""
    events = [read(message.body) for message in entries.messages(iter(copy), POLICY)]
    rows = table_of(events, [identity(event) for event in events])
    in_each = np.array([numbered[shard] for shard in range(SHARDS)])
    changed: dict[str, pa.ChunkedArray] = {
        "sequence": pc.add(rows["sequence"], pa.array(before * in_each[rows["shard"].to_numpy()])),
        **{name: pc.subtract(rows[name].cast(pa.int64()), back_us) for name in SCHEMA.names if SCHEMA.field(name).type == TIME},
    }
    changed["date"] = pc.divide(changed["recorded_at"], DAY_US).cast(pa.int32())
    for name, values in changed.items():
        rows = rows.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), values.cast(SCHEMA.field(name).type))
    return rows
