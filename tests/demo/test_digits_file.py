from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.demo_data import DIGITS, digit_labels

FOLDER = DIGITS.parent
PIXELS = [f"p{i:02d}" for i in range(64)]


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return pq.read_table(DIGITS)


def test_the_images_are_the_1797_of_the_test_set(table: pa.Table) -> None:
    assert table.num_rows == 1797
    assert table["image_id"].to_pylist() == [str(i) for i in range(1797)]
    # as the repository's own page counts them
    assert np.bincount(table["label"].to_numpy()).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_pixels_are_sixteenths_from_zero_to_one(table: pa.Table) -> None:
    pixels = np.column_stack([table[name].to_numpy() for name in PIXELS])
    assert pixels.dtype == np.float32
    assert (pixels.min(), pixels.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(pixels * 16, np.rint(pixels * 16))


def test_columns_are_what_the_feature_view_reads(table: pa.Table) -> None:
    assert table.column_names == ["image_id", *PIXELS, "label", "event_timestamp", "created"]
    moment = pa.timestamp("us", tz="UTC")
    assert [table.schema.field(name).type for name in ("label", "event_timestamp", "created")] == [pa.int64(), moment, moment]
    assert set(table["event_timestamp"].to_pylist()) == {datetime(2020, 1, 1, tzinfo=UTC)}


def test_the_file_is_small_and_says_where_it_comes_from() -> None:
    assert DIGITS.stat().st_size < 100_000
    assert pq.ParquetFile(DIGITS).metadata.row_group(0).column(1).compression == "ZSTD"
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for needed in ("UCI Machine Learning Repository", "Alpaydin", "Kaynak", "CC BY 4.0", "What was changed"):
        assert needed in readme


@pytest.mark.slow
def test_make_reproduces_the_file(tmp_path: Path, table: pa.Table) -> None:
    script = "import runpy, sys, pyarrow.parquet as pq; pq.write_table(runpy.run_path(sys.argv[1])['table'](), sys.argv[2])"
    subprocess.run([sys.executable, "-c", script, str(FOLDER / "make.py"), str(tmp_path / "again.parquet")], check=True, timeout=60)
    assert pq.read_table(tmp_path / "again.parquet").equals(table)


def test_labels_are_found_by_the_number_of_the_image(table: pa.Table) -> None:
    np.testing.assert_array_equal(digit_labels(), table["label"].to_numpy())
