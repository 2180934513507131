"""People whose habits depend on the hour: a closed model, so that the best anyone could do for them is known.

Somebody likes urgent things in the morning and old, small ones in the evening; somebody else the other way round. What a person does with a
tip follows from how overdue, old and urgent the task is, each weighed by a steady taste and by one that swings with the hour:
u = Σ_j (steady_j + swing_j · cos(2π(hour − peak)/24)) · trait_j. An ordered logit turns u into done, snooze or dismiss.

The swing is a product of hour and trait: a model without such products sees only the steady part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.transforms import is_overdue, priority, task_age
from policies.types import Floats, Ints

OUTCOMES = ("done", "snooze", "dismiss")
VALUES: Floats = np.array([1.0, 0.0, -1.0])
"""What each outcome is worth, as the policies' specs say too."""

DAY_S = 86_400.0
WAKING = (7.0, 23.0)
"""Local hours between which people are asked."""

_HALF_SNOOZE = 0.5
"""Half the width, in utility, of the band between dismissing and doing."""
_STEADY = (0.3, -0.3, 0.5)
_SWING = (2.8, -3.4, 3.4)
"""Mean weights of overdue, age and priority."""
_CENTRE = np.array([0.35, 0.55, 0.625])
_SCALE = np.array([1.0, 3.0, 2.0])
"""Traits are centred and scaled so that none of them rules the others."""


@dataclass(frozen=True, slots=True)
class Tasks:
    """What is on the lists of n people, T tasks each; times in seconds since the epoch.

    Args:
        created_at: (n, T).
        due_at: (n, T), NaN where a task has no due date; midnight UTC of the day where it has a date but no time.
        due_has_time: (n, T).
        priority: (n, T), 1 to 4, 4 the most urgent.
    """

    created_at: Floats
    due_at: Floats
    due_has_time: NDArray[np.bool_]
    priority: Ints


@dataclass(frozen=True, slots=True)
class People:
    """Who they are, and what nobody who serves them can see.

    Args:
        utc_offset_s: (n,) local time minus UTC, in seconds.
        peak_hour: (n,) local hour at which the swing is at its highest.
        steady, swing: (n, 3) weights of overdue, age and priority.
        tasks: their lists.
    """

    utc_offset_s: Floats
    peak_hour: Floats
    steady: Floats
    swing: Floats
    tasks: Tasks


@dataclass(frozen=True, slots=True)
class Moments:
    """When people are asked, between which tasks, and the luck of each moment: drawn beforehand, so that every policy meets the same.

    Args:
        request_time: (n, R) seconds since the epoch, ascending for each person.
        slates: (n, R, K) indices of different tasks of the person.
        luck: (n, R) uniform in [0, 1), which decides what a person does (see `react`).
    """

    request_time: Floats
    slates: Ints
    luck: Floats


def draw_people(rng: np.random.Generator, count: int, start: float, tasks: int = 24) -> People:
    """Draw people and their lists as they are at `start` (seconds since the epoch, a UTC midnight)."""
    shape = (count, tasks)
    offset_s = rng.choice([-28_800.0, -18_000.0, 0.0, 3_600.0, 19_800.0, 32_400.0], count)
    has_time = rng.random(shape) < 0.5
    due_at = start + DAY_S * rng.normal(2.0, 8.0, shape)
    due_at = np.where(has_time, np.floor(due_at), np.floor(due_at / DAY_S) * DAY_S)
    due_at[rng.random(shape) < 0.3] = np.nan
    return People(
        utc_offset_s=offset_s,
        peak_hour=rng.uniform(0.0, 24.0, count),
        steady=rng.normal(_STEADY, 0.8, (count, 3)),
        swing=rng.normal(_SWING, 0.9, (count, 3)),
        tasks=Tasks(
            np.floor(start - DAY_S * (1.0 + rng.exponential(40.0, shape))), due_at, has_time & ~np.isnan(due_at), rng.integers(1, 5, shape)
        ),
    )


def draw_moments(rng: np.random.Generator, people: People, start: float, rounds: int, slate: int = 8, a_day: int = 4) -> Moments:
    """Draw when each of the n people is asked: `a_day` times a local day, at random waking hours, `slate` of their tasks each time."""
    count, tasks = people.tasks.priority.shape
    days = -(-rounds // a_day)
    hours = np.sort(rng.uniform(*WAKING, (count, days, a_day))) + 24.0 * np.arange(days)[:, None]
    times = start + 3600.0 * hours.reshape(count, -1)[:, :rounds] - people.utc_offset_s[:, None]
    order = rng.random((count, rounds, tasks)).argsort(axis=-1)
    return Moments(np.floor(times), order[..., :slate], rng.random((count, rounds)))


def traits(people: People, moments: Moments) -> Floats:
    """(n, R, K, 3) how overdue, old and urgent each offered task is, as the service's features measure it; never due is not overdue."""
    who, tasks = np.arange(len(people.peak_hour))[:, None, None], people.tasks
    now, offset_s = moments.request_time[..., None], people.utc_offset_s[:, None, None]
    due_at, has_time = tasks.due_at[who, moments.slates], tasks.due_has_time[who, moments.slates].astype(np.float64)
    overdue = np.nan_to_num(is_overdue(due_at, has_time, now, offset_s), nan=0.0)
    return np.stack(
        [overdue, task_age(tasks.created_at[who, moments.slates], now), priority(tasks.priority[who, moments.slates].astype(np.float64))],
        axis=-1,
    )


def outcome_probabilities(people: People, moments: Moments) -> Floats:
    """(n, R, K, 3) the chance of each of `OUTCOMES` for every task that could be offered."""
    hour = ((moments.request_time + people.utc_offset_s[:, None]) / 3600.0) % 24.0
    tide = np.cos(2.0 * np.pi * (hour - people.peak_hour[:, None]) / 24.0)
    weights = people.steady[:, None] + people.swing[:, None] * tide[..., None]
    utility = np.einsum("nrj,nrkj->nrk", weights, (traits(people, moments) - _CENTRE) * _SCALE)
    done, not_dismissed = _logistic(utility - _HALF_SNOOZE), _logistic(utility + _HALF_SNOOZE)
    return np.stack([done, not_dismissed - done, 1.0 - not_dismissed], axis=-1)


def best_rewards(probabilities: Floats) -> Floats:
    """(n, R) expected reward of one who knows everybody's habits: no policy can do better."""
    best: Floats = (probabilities @ VALUES).max(axis=-1)
    return best


def react(probabilities: Floats, luck: float) -> str:
    """What a person does with a tip whose outcomes have these (3,) probabilities."""
    return OUTCOMES[min(int(np.searchsorted(np.cumsum(probabilities), luck, side="right")), len(OUTCOMES) - 1)]


def _logistic(u: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-u))
