"""What every decision came to, and when that was known: a file that Feast joins to training sets, each row as of its own moment.

A copy of some columns of the log. Feast's DuckDB store reads Delta tables by an extension that DuckDB downloads, so not everywhere; and
it reads whole tables, where the rows of other kinds would be in the way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from events.columns import TIME
from events.log import Advance, Log

SCHEMA = pa.schema(
    [
        ("decision_id", pa.string()),
        ("value", pa.float64()),
        ("answered", pa.bool_()),
        ("event_timestamp", TIME),
        ("created", TIME),
    ]
)
"""A row for each time that a decision's value changed: ``answered`` by a reward, or its default when its window opened."""


def write_outcomes(log: Log, path: Path, advance: Advance = lambda rows: None) -> int:
    """Write the file anew, whole or not at all; how many rows.

    Raises:
        TableUnavailable: the log cannot be read.
        OSError: the file cannot be written.
    """
    part, count = path.with_name(f".{path.name}.part"), 0
    try:
        with pq.ParquetWriter(part, SCHEMA, coerce_timestamps="us") as file:
            for batch in _outcomes(log, advance):
                file.write_batch(batch)
                count += batch.num_rows
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return count


def _outcomes(log: Log, advance: Advance) -> Iterator[pa.RecordBatch]:
    for batch in log.batches(("evidence",), ("decision_id", "value_after", "value", "recorded_at"), advance=advance):
        at = batch["recorded_at"]
        columns = [batch["decision_id"], batch["value_after"], pc.is_valid(batch["value"]), at, at]
        yield pa.RecordBatch.from_arrays([column.cast(f.type) for column, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)
