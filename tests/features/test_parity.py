"""Zero skew: what is served equals what a training set would hold for the same moment, to the last bit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import redis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features.compiler import compile_service
from features.packed import pack
from features.plan import Plan
from features.reader import EXPIRED, MISSING, PRESENT, FeatureTable, Slate, assemble, lookup
from tests.features.conftest import TYPED_TTL, Repo, instant
from tests.servers import flush

NOON = 1_767_614_400_000_000  # microseconds since the epoch, in January 2026
HOUR = 3_600_000_000
GAP = 2 * HOUR
"""Between the moments of one example: longer than a time to live, so that rows expire from one to the next."""

OFFSETS_S = [0.0, 3600.0, -12_600.0, 20_700.0, 50_400.0, -43_200.0]


def moments(draw: st.DrawFn) -> list[int]:
    first = NOON + draw(st.integers(0, 24 * HOUR))
    return [first, first + GAP + draw(st.integers(0, 1000))]


def times(at: Sequence[int], ttl: timedelta) -> st.SearchStrategy[int]:
    """Moments of rows: around the edges of validity of a request at any of the moments, and anywhere."""
    edges = [m - d + e for m in at for d in (0, int(ttl.total_seconds() * 1e6)) for e in (-1, 0, 1)]
    return st.one_of(st.sampled_from(edges), st.integers(at[0] - 3 * HOUR, at[-1] + HOUR))


def rows(columns: Mapping[str, st.SearchStrategy[Any]], when: st.SearchStrategy[int], most: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Rows of a view, several of them of one entity, some at one moment (then the one created last counts)."""
    drawn = st.lists(st.fixed_dictionaries({**columns, "event_timestamp": when.map(instant)}), max_size=most)
    return drawn.map(lambda found: [{**row, "created": row["event_timestamp"] + timedelta(microseconds=i)} for i, row in enumerate(found)])


USERS = st.sampled_from(["u1", "u2", "ü", ""])
ITEMS = st.sampled_from([0, 1, -7, 2**40])
maybe = st.none().__or__
INSTANT = st.integers(NOON - 400 * 24 * HOUR, NOON + 30 * 24 * HOUR).map(instant)


@st.composite
def typed(draw: st.DrawFn) -> tuple[list[int], dict[str, list[dict[str, Any]]]]:
    """Data of every supported type."""
    at = moments(draw)
    when = times(at, TYPED_TTL)
    values = {
        "f64": maybe(st.floats(allow_infinity=False)),
        "f32": maybe(st.floats(width=32, allow_infinity=False)),
        "i64": maybe(st.integers(-(2**62), 2**62)),
        "i32": maybe(st.integers(-(2**31), 2**31 - 1)),
        "flag": maybe(st.booleans()),
        "kind": maybe(st.text(max_size=5)),
    }
    return at, {
        "items": draw(rows({"item_id": ITEMS, **values}, when, 16)),
        "pairs": draw(rows({"user_id": USERS, "item_id": ITEMS, "affinity": maybe(st.floats(allow_infinity=False))}, when, 12)),
        "users": draw(rows({"user_id": USERS, "streak": maybe(st.integers(0, 99))}, when, 8)),
    }


@st.composite
def todo(draw: st.DrawFn) -> tuple[list[int], float, dict[str, list[dict[str, Any]]]]:
    """Tasks, and where on earth the person is."""
    at = moments(draw)
    columns = {
        "task_id": st.sampled_from([f"t{i}" for i in range(8)]),
        "created_at": maybe(INSTANT),
        "due_at": maybe(INSTANT),
        "due_has_time": maybe(st.booleans()),
        "priority_level": maybe(st.integers(1, 4)),
    }
    return at, draw(st.sampled_from(OFFSETS_S)), {"tasks": draw(rows(columns, times(at, timedelta(days=365)), 20))}


class Served:
    """A store whose online half holds what was known at a moment; asked by the SDK, and by plan alone."""

    def __init__(self, repo: Repo, data: Mapping[str, list[dict[str, Any]]], service: str) -> None:
        flush(repo.server)
        self.repo, self.views, self.service = repo, list(data), service
        self.plan: Plan = compile_service(repo.store, service)
        self.client = redis.Redis(host=repo.server.host, port=repo.server.port)
        for view, found in data.items():
            repo.write(view, found)

    def advance(self, start: int, end: int) -> None:
        self.repo.store.materialize(instant(start), instant(end), feature_views=self.views)

    def by_plan(
        self, shared: Mapping[str, str], candidates: Sequence[Mapping[str, str]], now: float, offset_s: float = 0.0
    ) -> FeatureTable:
        found = lookup(self.plan, shared, candidates)
        assert not found.violations
        with self.client.pipeline(transaction=False) as pipe:
            for key, fields in found.rows:
                pipe.hmget(key, fields)  # type: ignore[arg-type]  # redis-py's types know keys of text alone
            raw = pipe.execute()
        return assemble(self.plan, [Slate(found, list(map(pack, raw)), now, offset_s, {}, [{}] * len(candidates))])

    def by_sdk(self, entity_rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        answer: dict[str, list[Any]] = self.repo.store.get_online_features(
            self.repo.store.get_feature_service(self.service), entity_rows
        ).to_dict()
        return answer

    def offline(self, entities: pd.DataFrame) -> pd.DataFrame:
        """The training set, in the order of the entities: none may be lost, none come twice."""
        entities = entities.assign(row=range(len(entities)))
        found: pd.DataFrame = self.repo.store.get_historical_features(
            entity_df=entities, features=self.repo.store.get_feature_service(self.service)
        ).to_df()
        assert sorted(found["row"]) == list(range(len(entities)))
        return found.sort_values("row").reset_index(drop=True)


def assert_same(served: FeatureTable, expected: Mapping[str, Sequence[Any]], only: np.ndarray | None = None) -> None:
    for j, name in enumerate(served.names):
        numbers = np.array([math.nan if pd.isna(v) else float(v) for v in expected[name]])
        keep = slice(None) if only is None else only[:, j]
        ours, theirs = served.x[keep, j], numbers[keep]
        assert np.array_equal(np.isnan(ours), np.isnan(theirs)), (name, ours, theirs)
        known = ~np.isnan(ours)
        assert ours[known].tobytes() == theirs[known].tobytes(), (name, ours, theirs)
    assert np.array_equal(served.status == PRESENT, ~np.isnan(served.x))


FEW = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # an example is many tables and takes half a second: shrinking takes minutes
)


@FEW
@given(example=typed())
def test_vectors_of_every_type_equal_the_training_set_and_the_sdk(
    repo: Repo, example: tuple[list[int], dict[str, list[dict[str, Any]]]]
) -> None:
    at, data = example
    served = Served(repo, data, "everything")
    candidates = [{"item_id": item, "friend_id": friend} for item in (0, 1, -7, 2**40, 404) for friend in ("u1", "ü", "nobody")]
    start = at[0] - 10 * HOUR
    tables, frames = [], []
    for moment in at:
        served.advance(start, moment)
        start = moment
        table = served.by_plan({"user_id": "u1"}, [{k: str(v) for k, v in c.items()} for c in candidates], moment / 1e6)
        entity_rows: list[dict[str, Any]] = [{"user_id": "u1", **c} for c in candidates]
        online = served.by_sdk(entity_rows)
        assert_same(table, online, only=table.status != EXPIRED)
        tables.append(table)
        frames.append(pd.DataFrame(entity_rows).assign(event_timestamp=pd.Timestamp(instant(moment))))
    trained = served.offline(pd.concat(frames, ignore_index=True))
    for table, (_, frame) in zip(tables, trained.groupby("event_timestamp"), strict=True):
        assert_same(table, {name: frame[name].tolist() for name in table.names})
        assert [None if pd.isna(v) else v for v in frame["kind"]] == list(table.labels["kind"])


@FEW
@given(example=todo())
def test_request_time_features_equal_the_training_set_and_the_sdk(
    repo: Repo, example: tuple[list[int], float, dict[str, list[dict[str, Any]]]]
) -> None:
    at, offset_s, data = example
    served = Served(repo, data, "tips_v1")
    names = [f"t{i}" for i in range(9)]
    start = at[0] - 366 * 24 * HOUR
    tables, frames = [], []
    for moment in at:
        served.advance(start, moment)
        start = moment
        request = {"request_time": moment / 1e6, "utc_offset": offset_s}
        table = served.by_plan({}, [{"task_id": n} for n in names], moment / 1e6, offset_s)
        entity_rows: list[dict[str, Any]] = [{"task_id": n, **request} for n in names]
        assert_same(table, served.by_sdk(entity_rows), only=table.status != EXPIRED)
        tables.append(table)
        frames.append(pd.DataFrame(entity_rows).assign(event_timestamp=pd.Timestamp(instant(moment))))
    trained = served.offline(pd.concat(frames, ignore_index=True))
    for table, (_, frame) in zip(tables, trained.groupby("event_timestamp"), strict=True):
        assert_same(table, {name: frame[name].tolist() for name in table.names})


def test_an_age_of_exactly_the_ttl_is_served_and_one_microsecond_more_is_expired_as_offline(repo: Repo) -> None:
    ttl = int(TYPED_TTL.total_seconds() * 1e6)
    good, late = NOON - ttl, NOON - ttl - 1
    data = {
        "users": [
            {"user_id": u, "streak": 3, "event_timestamp": instant(t), "created": instant(t)} for u, t in (("good", good), ("late", late))
        ]
    }
    served = Served(repo, {"items": [], "pairs": [], **data}, "everything")
    served.advance(late, NOON)
    candidates = [{"item_id": 1, "friend_id": u} for u in ("good", "late", "none")]
    table = served.by_plan({"user_id": "u"}, [{k: str(v) for k, v in c.items()} for c in candidates], NOON / 1e6)
    streak = table.names.index("streak")
    assert table.status[:, streak].tolist() == [PRESENT, EXPIRED, MISSING]
    frame = pd.DataFrame(candidates).assign(user_id="u", event_timestamp=pd.Timestamp(instant(NOON)))
    assert [None if pd.isna(v) else v for v in served.offline(frame)["streak"]] == [3, None, None]


def test_a_row_from_after_the_request_is_missing_as_offline(repo: Repo) -> None:
    data = {"users": [{"user_id": "u", "streak": 3, "event_timestamp": instant(NOON + 1), "created": instant(NOON + 1)}]}
    served = Served(repo, {"items": [], "pairs": [], **data}, "everything")
    served.advance(NOON, NOON + HOUR)
    table = served.by_plan({"user_id": "u"}, [{"item_id": "1", "friend_id": "u"}], NOON / 1e6)
    assert table.status[0, table.names.index("streak")] == MISSING
    frame = pd.DataFrame([{"item_id": 1, "friend_id": "u", "user_id": "u", "event_timestamp": pd.Timestamp(instant(NOON))}])
    assert served.offline(frame)["streak"].isna().all()
