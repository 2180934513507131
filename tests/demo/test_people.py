from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cli.demo_people import (
    DAY_S,
    OUTCOMES,
    VALUES,
    WAKING,
    Moments,
    People,
    Tasks,
    best_rewards,
    draw_moments,
    draw_people,
    outcome_probabilities,
    react,
    traits,
)
from policies.types import Floats

START = 1_767_571_200.0  # 2026-01-05, midnight UTC


def world(seed: int = 0, count: int = 40, rounds: int = 9) -> tuple[People, Moments]:
    rng = np.random.default_rng(seed)
    people = draw_people(rng, count, START)
    return people, draw_moments(rng, people, START, rounds)


def one_person(*, steady: tuple[float, float, float], swing: tuple[float, float, float], priority: int) -> tuple[People, Moments]:
    """Someone at UTC whose peak is at noon, with one task created a year before the moment, due never, asked at noon and at midnight."""
    noon = START + DAY_S / 2
    tasks = Tasks(np.array([[noon - 365 * DAY_S]]), np.array([[math.nan]]), np.array([[False]]), np.array([[priority]]))
    people = People(np.zeros(1), np.array([12.0]), np.array([steady]), np.array([swing]), tasks)
    return people, Moments(np.array([[noon, noon + DAY_S / 2]]), np.zeros((1, 2, 1), dtype=np.int64), np.full((1, 2), 0.5))


def test_outcome_probabilities_are_probabilities() -> None:
    probabilities = outcome_probabilities(*world())
    assert probabilities.shape == (40, 9, 8, 3)
    assert probabilities.min() >= 0.0
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1.0, atol=1e-12)


def test_outcome_probabilities_are_the_ordered_logit_of_taste_and_hour() -> None:
    people, moments = one_person(steady=(0.0, 0.0, 1.0), swing=(0.0, 0.0, 2.0), priority=4)
    # urgency 1 is (1 - 0.625) · 2 = 0.75 above the middle; at noon it weighs 1 + 2, at midnight 1 - 2
    for moment, utility in ((0, 3 * 0.75), (1, -1 * 0.75)):
        done = 1 / (1 + math.exp(-(utility - 0.5)))
        dismissed = 1 / (1 + math.exp(utility + 0.5))
        expected = [done, 1 - done - dismissed, dismissed]
        np.testing.assert_allclose(outcome_probabilities(people, moments)[0, moment, 0], expected, rtol=1e-12)


def test_without_a_swing_the_hour_changes_nothing() -> None:
    people, moments = one_person(steady=(0.0, 0.0, 1.0), swing=(0.0, 0.0, 0.0), priority=1)
    noon, midnight = outcome_probabilities(people, moments)[0, :, 0]
    np.testing.assert_allclose(noon, midnight, rtol=1e-12)


def test_a_year_old_task_has_age_one_and_one_never_due_is_not_overdue() -> None:
    np.testing.assert_allclose(traits(*one_person(steady=(0, 0, 0), swing=(0, 0, 0), priority=3))[0, 0, 0], [0.0, 1.0, 0.75])


def test_nobody_earns_more_than_the_best_and_uniform_earns_the_mean() -> None:
    probabilities = outcome_probabilities(*world())
    expected = probabilities @ VALUES
    best = best_rewards(probabilities)
    assert best.tolist() == [[max(slate) for slate in person] for person in expected.tolist()]
    assert best.mean() > expected.mean()
    for always in range(expected.shape[-1]):
        assert (best >= expected[..., always]).all()


def test_the_hour_is_worth_knowing() -> None:
    """Choosing by the mean over all hours, which is all that a model without interactions can learn, leaves much of the best unearned."""
    rng = np.random.default_rng(3)
    people = draw_people(rng, 60, START)
    moments = draw_moments(rng, people, START, 60)
    probabilities = outcome_probabilities(people, moments)
    hourless = People(people.utc_offset_s, people.peak_hour, people.steady, np.zeros_like(people.swing), people.tasks)
    chosen = (outcome_probabilities(hourless, moments) @ VALUES).argmax(axis=-1)
    earned = np.take_along_axis(probabilities @ VALUES, chosen[..., None], axis=-1).mean()
    assert 0.1 < earned < 0.5 * best_rewards(probabilities).mean()


def test_the_same_seed_draws_the_same_world_and_another_seed_another() -> None:
    first, again, other = (outcome_probabilities(*world(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_people_are_asked_in_order_at_waking_hours_about_different_tasks() -> None:
    people, moments = world()
    assert (np.diff(moments.request_time) >= 0).all()
    hours = (moments.request_time + people.utc_offset_s[:, None]) / 3600 % 24
    assert hours.min() >= WAKING[0] - 1 / 3600  # times are whole seconds
    assert hours.max() < WAKING[1]
    assert all(len(set(slate)) == len(slate) for person in moments.slates.tolist() for slate in person)


def test_tasks_without_a_time_are_due_at_a_midnight_and_tasks_without_a_date_have_no_time() -> None:
    tasks = world()[0].tasks
    dated = ~np.isnan(tasks.due_at)
    assert 0.5 < dated.mean() < 0.9
    np.testing.assert_array_equal(tasks.due_at[dated & ~tasks.due_has_time] % DAY_S, 0.0)
    assert not tasks.due_has_time[~dated].any()


@given(st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3), st.floats(0.0, 1.0, exclude_max=True))
def test_react_gives_each_outcome_its_share_of_luck(weights: list[float], luck: float) -> None:
    probabilities: Floats = np.array(weights) / sum(weights)
    done, snooze = probabilities[0], probabilities[0] + probabilities[1]
    expected = OUTCOMES[0] if luck < done else OUTCOMES[1] if luck < snooze else OUTCOMES[2]
    assert react(probabilities, luck) == expected


def test_react_never_runs_out_of_outcomes_for_rounded_probabilities() -> None:
    assert react(np.array([0.3, 0.3, 0.3999999]), 0.9999999999) == "dismiss"
