"""Whether an on-demand view computes what the server's transforms compute: both are run on the same few rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from features.transforms import as_floats, compute

_NOW = 1_767_225_600.0  # the first moment of 2026, UTC
_VALUES: Mapping[str, tuple[pa.DataType, Sequence[Any]]] = {
    "float64": (pa.float64(), [0.3, -2.0, None, 1e6, 7.25]),
    "float32": (pa.float32(), [0.5, None, -1.5, 1e6, 0.1]),
    "int64": (pa.int64(), [1, 4, 3, None, 2**40]),
    "int32": (pa.int32(), [2, None, 4, 1, -3]),
    "bool": (pa.bool_(), [True, False, None, False, True]),
    "timestamp": (
        pa.timestamp("us", tz="UTC"),
        [datetime.fromtimestamp(_NOW + s, UTC) for s in (-86_400.75, -3600.0, 1800.5, 90_000.0)] + [None],
    ),
    "string": (pa.string(), ["a", None, "", "b", "7"]),
    "unsupported": (pa.null(), [None] * 5),
    "request_time": (pa.float64(), [_NOW, _NOW + 0.125, _NOW + 31_000.0, _NOW - 7e6, _NOW + 1.5]),
    "utc_offset": (pa.float64(), [0.0, 3600.0, -34_200.0, 20_700.0, 50_400.0]),
}
_ROWS = 35


def disagreements(view: Any, inputs: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """Where a view's function and the transforms of the same names differ; empty when they do not.

    Args:
        view: a Feast on-demand feature view.
        inputs: type of each column its function may use, by name.
        names: the features to compare.
    """
    columns = {}
    for shift, (name, dtype) in enumerate(inputs.items()):
        arrow, values = _VALUES.get(name, _VALUES[dtype])
        # each column cycles at its own pace, so that nulls and extremes meet in every combination of two
        columns[name] = pa.array([values[(i // (1 + shift % 2 * 4 + shift // 2) + shift) % len(values)] for i in range(_ROWS)], type=arrow)
    try:
        said = view.transform_arrow(pa.table(columns), False)
        got = {name: as_floats(said[name].to_pandas()) for name in names}
        expected = compute(names, {name: column.to_pandas() for name, column in columns.items()})
    except Exception as error:  # a data engineer's function may raise anything
        return [f"its function fails on sample rows: {type(error).__name__}: {error}"]
    differing = []
    for name in names:
        same = (got[name].view(np.int64) == expected[name].view(np.int64)) | (np.isnan(got[name]) & np.isnan(expected[name]))
        if not same.all():
            row = int(np.argmin(same))
            differing.append(f"{name} is not what features/transforms.py computes: {got[name][row]}, not {expected[name][row]}")
    return differing
