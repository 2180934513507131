"""Write digits.parquet from the copy of the data set that scikit-learn ships: ``python examples/digits/make.py``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_digits

OUT = Path(__file__).with_name("digits.parquet")
KNOWN = datetime(2020, 1, 1, tzinfo=UTC)
"""Since when the images count as known: before any request anyone makes, and the same every time the file is made."""
LEVELS = 16
"""A pixel counts the dark ones of 4 × 4 scanned dots: 0 to 16."""


def table() -> pa.Table:
    """The 1,797 images as rows: id, 64 pixels in [0, 1] row by row from the top left, the digit written, two timestamps."""
    digits = load_digits()
    pixels = (digits.data / LEVELS).astype(np.float32)
    rows = len(pixels)
    columns: dict[str, pa.Array] = {"image_id": pa.array([str(i) for i in range(rows)])}
    columns |= {f"p{j:02d}": pa.array(pixels[:, j]) for j in range(pixels.shape[1])}
    columns["label"] = pa.array(digits.target.astype(np.int64))
    moment = pa.array([KNOWN] * rows, type=pa.timestamp("us", tz="UTC"))
    return pa.table({**columns, "event_timestamp": moment, "created": moment})


if __name__ == "__main__":
    pq.write_table(table(), OUT, compression="zstd", compression_level=19)
    print(f"{OUT.name}: {OUT.stat().st_size:,} bytes")
