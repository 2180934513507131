"""Whom the calls are about: people of the feature repository's sample, more of them, each with tasks of their own."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from ooml.bandit.v1 import bandit_pb2 as pb

from benchmarks.load import Message
from cli.up import sample_data

SERVICE = "/ooml.bandit.v1.BanditService"
SCORE, REWARD, BATCH, STREAM = (f"{SERVICE}/{name}" for name in ("Score", "Reward", "BatchScore", "ScoreStream"))
POLICY = "tips"
CANDIDATES = 10
_sample = cache(sample_data)


def write(folder: Path, users: int) -> None:
    """The sample's Parquet files for so many users, as of now, where `ooml up` takes them for its own."""
    _sample().write(folder, datetime.now(UTC), users)


def user_id(user: int) -> str:
    """Of the user of that number."""
    return str(_sample().user_name(user))


def task_ids(user: int, users: int, count: int) -> list[str]:
    """So many tasks: a user's own, from the first, and then those of the next users of the sample."""
    sample = _sample()
    each = sample.TASKS_EACH
    return [sample.task_name((user + k // each) % users, k % each) for k in range(count)]


def request(user: int, users: int, candidates: int = CANDIDATES, *, scope: str | None = None) -> pb.ScoreRequest:
    """A Score about a user and their tasks; with more candidates than they have tasks, on with those of the next users.

    Args:
        users: of the sample.
        scope: whose evidence is used; None: the user's own.
    """
    return pb.ScoreRequest(
        policy=POLICY,
        entities={"user_id": scope or user_id(user)},
        candidates=[pb.Candidate(id=task, entities={"task_id": task}) for task in task_ids(user, users, candidates)],
    )


def scores(users: int, candidates: int = CANDIDATES) -> list[Message]:
    """(users,) Score of every user."""
    return [Message(SCORE, request(user, users, candidates).SerializeToString()) for user in range(users)]


def reward(decision_id: str) -> Message:
    """The tip was followed."""
    return Message(REWARD, pb.RewardRequest(decision_id=decision_id, outcome="done").SerializeToString())
