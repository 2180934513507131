"""What decisions came to, joined to a training set: as it was known at each moment, and no later."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from ooml.bandit.v1 import events_pb2 as pb

from events.columns import table_of
from events.identity import identity
from events.log import Log
from events.outcomes import write_outcomes
from events.table import EventTable
from tests.events.build import NOON_S, decided, event
from tests.features.conftest import Repo, instant

NOON_US = NOON_S * 1_000_000
HOUR_US = 3_600_000_000


def learned(decision_id: str, at_us: int, value: float, reward: float | None = None) -> pb.Event:
    added = pb.EvidenceAdded(
        decision_id=decision_id,
        reward_id="r",
        policy="tips",
        namespace="n",
        scope="u",
        arm="a",
        x=[1.0],
        value_after=value,
        reward_value=reward,
    )
    return event(at_us / 1e6, evidence_added=added)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """One decision that was answered an hour after its default was learned, and one that never was."""
    events = [
        decided(decision_id="answered"),
        learned("answered", NOON_US, 0.5),
        learned("answered", NOON_US + HOUR_US, 2.0, 1.5),
        learned("silent", NOON_US, 0.5),
    ]
    EventTable(str(tmp_path / "events")).append(table_of(events, [identity(e) for e in events]))
    return Log(str(tmp_path / "events"))


def test_a_training_set_has_the_reward_known_at_a_time_and_not_later(repo: Repo, log: Log) -> None:
    assert write_outcomes(log, repo.data / "outcomes.parquet") == 3
    moments = {-1: "before it was made", 0: "when it was made", HOUR_US - 1: "before the answer", HOUR_US: "at it", 9 * HOUR_US: "later"}
    asked = pd.DataFrame(
        [
            {"decision_id": name, "event_timestamp": pd.Timestamp(instant(NOON_US + us)), "moment": said}
            for us, said in moments.items()
            for name in ("answered", "silent")
        ]
    )
    found = repo.store.get_historical_features(entity_df=asked, features=["outcomes:value", "outcomes:answered"]).to_df()
    told = {
        (row.decision_id, row.moment): None if pd.isna(row.value) else (row.value, bool(row.answered))
        for row in found.itertuples(index=False)
    }
    default, answer = (0.5, False), (2.0, True)
    assert told == {
        **dict(zip((("answered", said) for said in moments.values()), (None, default, default, answer, answer), strict=True)),
        **dict(zip((("silent", said) for said in moments.values()), (None, default, default, default, default), strict=True)),
    }


def test_a_file_that_cannot_be_written_is_left_as_it_was(log: Log, tmp_path: Path) -> None:
    path = tmp_path / "outcomes.parquet"
    write_outcomes(log, path)
    before = path.read_bytes()

    def stop(rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_outcomes(log, path, stop)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["outcomes.parquet"]


def test_it_is_not_materialised(repo: Repo, log: Log) -> None:
    """Nobody serves it: it would be a row in Redis for each decision there ever was."""
    write_outcomes(log, repo.data / "outcomes.parquet")
    views = repo.store._get_feature_views_to_materialize(None)
    assert "tasks" in {view.name for view in views}
    assert "outcomes" not in {view.name for view in views}
