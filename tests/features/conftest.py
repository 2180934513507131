"""One Feast store for all tests that need one: the project's own definitions, and a view of every type beside them."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.embedded import EmbeddedServer

FEATURE_REPO = Path(__file__).parents[2] / "feature_repo"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENT = pa.timestamp("us", tz="UTC")
TYPED_TTL = timedelta(hours=1)
COLUMNS = {
    "items": {
        "item_id": pa.int64(),
        "f64": pa.float64(),
        "f32": pa.float32(),
        "i64": pa.int64(),
        "i32": pa.int32(),
        "flag": pa.bool_(),
        "kind": pa.string(),
    },
    "pairs": {"user_id": pa.string(), "item_id": pa.int64(), "affinity": pa.float64()},
    "users": {"user_id": pa.string(), "streak": pa.int64()},
    "tasks": {"task_id": pa.string(), "created_at": MOMENT, "due_at": MOMENT, "due_has_time": pa.bool_(), "priority_level": pa.int64()},
    "user_activity": {"user_id": pa.string(), "tasks_done_7d": pa.int64(), "response_rate_7d": pa.float32()},
}


def instant(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


@dataclass(frozen=True)
class Repo:
    """A feature repository of the tests' own, with everything applied."""

    path: Path
    data: Path
    store: Any
    server: EmbeddedServer
    definitions: ModuleType
    extra: list[Any]

    def write(self, view: str, rows: list[dict[str, Any]]) -> None:
        """Replace a view's offline data; every row needs event_timestamp and created."""
        schema = pa.schema({**COLUMNS[view], "event_timestamp": MOMENT, "created": MOMENT})
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), self.data / f"{view}.parquet", coerce_timestamps="us")

    def apply_all(self) -> None:
        """Bring the registry back to what the session began with."""
        self.store.apply([*self.objects()])

    def objects(self) -> Iterator[Any]:
        own = self.definitions
        yield from (own.user, own.task, own.image, own.decision)
        yield from (own.tasks, own.user_activity, own.digits, own.outcomes, own.tips_request, own.tips_v1, own.digits_v1)
        yield from self.extra


@pytest.fixture(scope="session")
def repo(valkey: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    """The project's `feature_store.yaml` and definitions over data of our own, in the session's Valkey."""
    path = tmp_path_factory.mktemp("repo")
    data = path / "data"
    data.mkdir()
    shutil.copy(FEATURE_REPO / "feature_store.yaml", path)
    environment = {
        "OOML_DATA_DIR": str(data),
        "OOML_FEAST_REGISTRY": f"sqlite:///{data}/registry.db",
        "OOML_FEAST_REDIS": f"{valkey.host}:{valkey.port}",
    }
    with patch.dict(os.environ, environment):
        from feast import FeatureStore

        definitions = _definitions()
        made = Repo(path, data, FeatureStore(str(path)), valkey, definitions, _extra(definitions, data))
        for view in COLUMNS:
            made.write(view, [])
        made.apply_all()
        yield made


def _definitions() -> ModuleType:
    spec = importlib.util.spec_from_file_location("definitions_under_test", FEATURE_REPO / "definitions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _extra(own: ModuleType, data: Path) -> list[Any]:
    """Views with integer, composite and renamed join keys, and every supported type."""
    from feast import Entity, FeatureService, FeatureView, Field, ValueType
    from feast.types import Bool, Float32, Float64, Int32, Int64, String

    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
    items = FeatureView(
        name="items",
        entities=[item],
        ttl=TYPED_TTL,
        tags={"team": "tests", "tier": "1", "pii": "no", "domain": "any"},
        schema=[
            Field(name="item_id", dtype=Int64),
            Field(name="f64", dtype=Float64),
            Field(name="f32", dtype=Float32),
            Field(name="i64", dtype=Int64),
            Field(name="i32", dtype=Int32),
            Field(name="flag", dtype=Bool),
            Field(name="kind", dtype=String),
        ],
        source=own.parquet("items_file", data / "items.parquet"),
    )
    pairs = FeatureView(
        name="pairs",
        entities=[own.user, item],
        ttl=timedelta(0),
        schema=[Field(name="user_id", dtype=String), Field(name="item_id", dtype=Int64), Field(name="affinity", dtype=Float64)],
        source=own.parquet("pairs_file", data / "pairs.parquet"),
    )
    users = FeatureView(
        name="users",
        entities=[own.user],
        ttl=TYPED_TTL,
        schema=[Field(name="user_id", dtype=String), Field(name="streak", dtype=Int64)],
        source=own.parquet("users_file", data / "users.parquet"),
    )
    friend = users.with_name("friend").with_join_key_map({"user_id": "friend_id"})
    everything = FeatureService(name="everything", features=[items, pairs, friend])
    return [item, items, pairs, users, everything]
