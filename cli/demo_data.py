"""The simulated people's lists as the Parquet that the feature repository reads: from here on they are data like any other."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cli.demo_people import DAY_S, People
from cli.demo_play import task_id, user_id
from policies.types import Floats, Ints

DIGITS = Path(__file__).parent.parent / "examples" / "digits" / "digits.parquet"

_MOMENT = pa.timestamp("us", tz="UTC")


def write_people(folder: Path, people: People, start: float) -> None:
    """Write tasks.parquet and user_activity.parquet, as known a day before `start` (seconds since the epoch)."""
    folder.mkdir(parents=True, exist_ok=True)
    known = datetime.fromtimestamp(start - DAY_S, UTC)
    pq.write_table(_tasks(people, known), folder / "tasks.parquet", coerce_timestamps="us")
    pq.write_table(_activity(people, known), folder / "user_activity.parquet", coerce_timestamps="us")


def digit_labels() -> Ints:
    """(n,) the digit on each image, by its number."""
    rows = pq.read_table(DIGITS, columns=["image_id", "label"])
    labels = np.empty(rows.num_rows, dtype=np.int64)
    labels[rows["image_id"].to_numpy().astype(np.int64)] = rows["label"].to_numpy()
    return labels


def _tasks(people: People, known: datetime) -> pa.Table:
    tasks = people.tasks
    count, each = tasks.priority.shape
    never = np.isnan(tasks.due_at).ravel()
    return pa.table(
        {
            "task_id": pa.array([task_id(person, task) for person in range(count) for task in range(each)]),
            "created_at": _moments(tasks.created_at.ravel()),
            "due_at": _moments(tasks.due_at.ravel()),
            "due_has_time": pa.array(tasks.due_has_time.ravel(), mask=never),
            "priority_level": pa.array(tasks.priority.ravel()),
            "event_timestamp": pa.array([known] * (count * each), type=_MOMENT),
            "created": pa.array([known] * (count * each), type=_MOMENT),
        }
    )


def _activity(people: People, known: datetime) -> pa.Table:
    count = len(people.peak_hour)
    return pa.table(
        {
            "user_id": pa.array([user_id(person) for person in range(count)]),
            "tasks_done_7d": pa.array(np.zeros(count, dtype=np.int64)),
            "response_rate_7d": pa.array(np.zeros(count, dtype=np.float32)),
            "event_timestamp": pa.array([known] * count, type=_MOMENT),
            "created": pa.array([known] * count, type=_MOMENT),
        }
    )


def _moments(seconds: Floats) -> pa.Array:
    """Seconds since the epoch as instants, NaN as null."""
    absent = np.isnan(seconds)
    return pa.array((np.where(absent, 0.0, seconds) * 1e6).astype(np.int64), mask=absent).cast(_MOMENT)
