"""Sample people and tasks, the same every time: ``python sample_data.py [FOLDER]`` (default: $OOML_DATA_DIR)."""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

USERS, TASKS_EACH = 20, 12
SEED = 7
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
"""When the sample was taken unless the caller says otherwise."""

MOMENT = pa.timestamp("us", tz="UTC")
"""Microseconds: DuckDB cannot materialise Feast's nanoseconds."""


def user_name(user: int) -> str:
    """The user_id of the user of that number."""
    return f"user-{user:02d}"


def task_name(user: int, task: int) -> str:
    """The task_id of a user's task of that number."""
    return f"{user_name(user)}-task-{task:02d}"


def tasks(now: datetime = NOON, users: int = USERS) -> pa.Table:
    """Tasks of every user, up to a year old; half are due within a week either way, half of those by date alone."""
    rng = np.random.default_rng(SEED)
    rows = []
    for i in range(users * TASKS_EACH):
        created = now - timedelta(seconds=int(rng.integers(60, 364 * 86_400)))
        has_due, has_time = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
        due = now + timedelta(minutes=int(rng.integers(-7 * 1440, 7 * 1440)))
        if not has_time:
            due = due.replace(hour=0, minute=0, second=0, microsecond=0)
        rows.append(
            {
                "task_id": task_name(i // TASKS_EACH, i % TASKS_EACH),
                "created_at": created,
                "due_at": due if has_due else None,
                "due_has_time": has_time if has_due else None,
                "priority_level": int(rng.integers(1, 5)),
                "event_timestamp": now - timedelta(seconds=60),
                "created": now,
            }
        )
    names = ["task_id", "created_at", "due_at", "due_has_time", "priority_level", "event_timestamp", "created"]
    types = [pa.string(), MOMENT, MOMENT, pa.bool_(), pa.int64(), MOMENT, MOMENT]
    return pa.Table.from_pylist(rows, schema=pa.schema(list(zip(names, types, strict=True))))


def user_activity(now: datetime = NOON, users: int = USERS) -> pa.Table:
    """How much each user did in the seven days before."""
    rng = np.random.default_rng(SEED)
    return pa.table(
        {
            "user_id": pa.array([user_name(u) for u in range(users)]),
            "tasks_done_7d": pa.array(rng.integers(0, 40, users)),
            "response_rate_7d": pa.array(rng.random(users).astype(np.float32)),
            "event_timestamp": pa.array([now - timedelta(seconds=60)] * users, type=MOMENT),
            "created": pa.array([now] * users, type=MOMENT),
        }
    )


def write(folder: Path, now: datetime = NOON, users: int = USERS) -> None:
    """Write both as Parquet where `definitions` looks for them."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(tasks(now, users), folder / "tasks.parquet", coerce_timestamps="us")
    pq.write_table(user_activity(now, users), folder / "user_activity.parquet", coerce_timestamps="us")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else os.environ["OOML_DATA_DIR"]))
