"""A training set as Feast joins it now: ``python -m cli.training_join REPO SERVICE ASKED RESULT``.

A process of its own, since Feast is slow to import and large. ASKED is a Parquet file of join keys, ``event_timestamp`` and request fields;
RESULT is written with the service's features, row by row as they were asked for: numbers as vectors have them, null where there is none.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

ROW = "__row"


def main(repo: str, service: str, asked: Path, result: Path) -> None:
    """Join."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from feast import FeatureStore

    from features.transforms import as_floats

    with contextlib.redirect_stdout(sys.stderr):
        rows = pq.read_table(asked)
        frame = rows.to_pandas().assign(**{ROW: range(rows.num_rows)})
        store = FeatureStore(repo_path=repo)
        joined = store.get_historical_features(entity_df=frame, features=store.get_feature_service(service)).to_df().sort_values(ROW)
    names = [name for name in joined.columns if name not in (*rows.column_names, ROW)]
    numbers = [name for name in names if joined[name].dtype.kind not in "OSU" or not joined[name].map(type).eq(str).any()]
    pq.write_table(pa.table({name: pa.array(as_floats(joined[name])) for name in numbers}), result)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
