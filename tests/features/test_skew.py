"""Logged vectors against what Feast joins for the same moments, in a process of its own."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf.duration_pb2 import Duration
from ooml.bandit.v1 import bandit_pb2 as bandit

from cli.skew import JoinFailed, join
from events.columns import table_of
from events.identity import identity
from events.log import Log
from events.served import Served as Logged
from events.served import Skew, compare, served
from events.table import EventTable
from events.translate import events_of
from policies.parse import parse_spec
from policies.types import ArmId, CandidateId
from policies.vector import design_matrix
from serving.events import DecisionMade, LogEntry
from serving.ports import Inputs, PublishedPolicy
from serving.resolve import resolve
from tests.features.conftest import Repo, instant
from tests.features.test_parity import HOUR, NOON, Served
from tests.store.build import decision

TASKS = ["t0", "t1", "old", "nobody"]
OFFSET_S = -3600.0
FEATURES = ("hour_sin", "hour_cos", "is_overdue", "task_age", "priority")


def task(name: str, priority: int, at: int, due: bool = True) -> dict[str, Any]:
    moment = instant(at)
    due_at = moment + timedelta(hours=5) if due else None
    return {
        "task_id": name,
        "created_at": moment - timedelta(days=3),
        "due_at": due_at,
        "due_has_time": True if due else None,
        "priority_level": priority,
        "event_timestamp": moment,
        "created": moment,
    }


BEFORE = [task("t0", 4, NOON - HOUR), task("t1", 1, NOON - HOUR, due=False), task("old", 2, NOON - 366 * 24 * HOUR)]


def policy_over(at: Served) -> PublishedPolicy:
    declared = {"name": "tips", "feature_service": "tips_v1", "scope": "user_id", "arm": "task", "intercept": True}
    return resolve(parse_spec(declared), at.plan)


def logged(at: Served, folder: Path) -> Logged:
    """One decision about all tasks, from the online store to the table and back."""
    policy = policy_over(at)
    features = at.by_plan({}, [{"task_id": name} for name in TASKS], NOON / 1e6, OFFSET_S)
    candidates = [bandit.Candidate(id=name, entities={"task_id": name}) for name in TASKS]
    request = bandit.ScoreRequest(entities={"user_id": "u"}, candidates=candidates, utc_offset=Duration(seconds=round(OFFSET_S)))
    made = decision(policy, "task", request_time=NOON / 1e6)._replace(
        candidates=tuple(map(CandidateId, TASKS)),
        arms=(ArmId("task"),) * len(TASKS),
        scores=np.zeros((len(TASKS), 4)),
        x=design_matrix(features.x, policy.features, policy.spec),
        status=features.status.tobytes(),
    )
    inputs = Inputs(request.SerializeToString(), features.moments, features.sources)
    entry = LogEntry("e", 1, policy.namespace, made.scope, 0, (DecisionMade(made, NOON, None, 0, b"", inputs),))
    events = events_of(entry, policy.spec.name, 0)
    EventTable(str(folder / "events")).append(table_of(events, [identity(e) for e in events]))
    (found,) = served(Log(str(folder / "events")), {policy.namespace: policy}, NOON - HOUR, 100)
    return found


@pytest.fixture
def at(repo: Repo) -> Served:
    made = Served(repo, {"tasks": BEFORE}, "tips_v1")
    made.advance(NOON - 400 * 24 * HOUR, NOON)
    return made


def test_what_was_logged_is_what_is_joined(at: Served, tmp_path: Path) -> None:
    found = logged(at, tmp_path)
    rows = {"hour_sin": 4, "hour_cos": 4, "is_overdue": 1, "task_age": 2, "priority": 2}
    assert compare(found, join(at.repo.path, found)) == [Skew(name, rows[name], rows[name], 0.0, 0, 0, 0) for name in FEATURES]


def test_what_changed_since_is_told_feature_by_feature(at: Served, tmp_path: Path) -> None:
    found = logged(at, tmp_path)
    changed = task("t0", 2, NOON - HOUR // 2)  # came late, with another priority
    at.repo.write("tasks", [BEFORE[0], changed, task("old", 2, NOON - HOUR), task("nobody", 3, NOON - HOUR)])
    told = {skew.feature: skew for skew in compare(found, join(at.repo.path, found))}
    assert told["priority"] == Skew("priority", 4, 0, 0.5, 1, 2, 1)
    assert told["hour_sin"] == Skew("hour_sin", 4, 4, 0.0, 0, 0, 0)


def test_features_from_what_callers_sent_are_not_compared(at: Served) -> None:
    nothing = np.empty((0, len(FEATURES)))
    sent = Logged(replace(at.plan, request_fields=("due_at",)), pa.table({}), nothing, nothing > 0)
    assert sent.unknown == {"is_overdue": "due_at"}


def test_where_feast_fails_it_says_what_to_look_at(at: Served, tmp_path: Path) -> None:
    found = logged(at, tmp_path)
    with pytest.raises(JoinFailed, match=r"could not join tips_v1\. Is .*nowhere applied"):
        join(tmp_path / "nowhere", found)


def test_nothing_is_known_of_what_was_missing(at: Served, tmp_path: Path) -> None:
    x = logged(at, tmp_path).x
    assert [math.isnan(value) for value in x[:, FEATURES.index("priority")]] == [False, False, True, True]
