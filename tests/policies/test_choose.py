"""What is drawn, and with which probability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from policies.choose import MAX_SEED, Choices, Slates, choose, evaluate
from policies.posterior import joined, posterior, ridge_prior
from policies.propensity import propensities
from policies.scores import Scores
from policies.spec import Algorithm, PolicySpec
from policies.types import Floats, no_evidence
from tests.policies.build import arms, evidence, history, index, spec

ALGORITHMS: tuple[Algorithm, ...] = ("linucb", "lints", "epsilon_greedy", "uniform")
K, D = 6, 3
ARM_OF = index(0, 1, 0, 2, 1, 3)
X: Floats = np.random.default_rng(0).normal(size=(K, D))
SEEN = evidence(4, D, history(np.random.default_rng(1), 3, D, 30))  # arm 3 stays cold
BELIEF = posterior(ridge_prior(4, D, 1.0), SEEN)
SLATE = Slates(X, [index(0, 1, 2, 3)], [ARM_OF])


@dataclass(frozen=True)
class Choice:
    """One decision."""

    index: int
    seed: int
    scores: Scores
    propensities: Floats


def one(made: Choices) -> Choice:
    return Choice(made.index[0], made.seed[0], made.scores, made.propensities)


def draws(policy: PolicySpec, n: int, seed: int = 0) -> list[Choice]:
    rng = np.random.default_rng(seed)
    return [one(choose(policy, BELIEF, SLATE, rng)) for _ in range(n)]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_candidates_are_drawn_as_often_as_their_logged_probabilities_say(algorithm: Algorithm) -> None:
    n = 20_000
    choices = draws(spec(algorithm=algorithm, exploration=0.3, alpha=1.0), n)
    drawn = np.bincount([c.index for c in choices], minlength=K)
    expected = np.sum([c.propensities for c in choices], axis=0)
    variance = np.sum([c.propensities * (1 - c.propensities) for c in choices], axis=0)
    np.testing.assert_array_less(np.abs(drawn - expected), 4 * np.sqrt(variance))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_mean_of_one_over_the_propensity_is_the_number_of_candidates(algorithm: Algorithm) -> None:
    n = 20_000
    weights = np.array([1.0 / c.propensities[c.index] for c in draws(spec(algorithm=algorithm, exploration=0.3), n)])
    assert abs(weights.mean() - K) < 4 * weights.std() / np.sqrt(n) + 1e-12


def test_without_exploration_the_best_score_is_chosen_for_certain() -> None:
    for algorithm in ("linucb", "lints", "epsilon_greedy"):
        for choice in draws(spec(algorithm=algorithm, exploration=0.0), 50):
            assert choice.index == int(np.argmax(choice.scores.score))
            assert choice.propensities[choice.index] == 1.0


def test_a_thompson_decision_can_be_made_again_from_its_seed() -> None:
    policy = spec(algorithm="lints", exploration=0.1)
    choices = draws(policy, 20)
    assert len({c.seed for c in choices}) == 20
    for choice in choices:
        assert 0 < choice.seed < MAX_SEED
        np.testing.assert_array_equal(evaluate(policy, BELIEF, SLATE, [choice.seed]).score, choice.scores.score)


def test_algorithms_that_sample_nothing_log_no_seed_and_draw_alike() -> None:
    greedy, linucb = (draws(spec(algorithm=a, exploration=1.0), 20, seed=5) for a in ("epsilon_greedy", "linucb"))
    assert {c.seed for c in greedy + linucb} == {0}
    assert [c.index for c in greedy] == [c.index for c in linucb]


def test_another_algorithm_or_alpha_reads_the_same_evidence() -> None:
    rows = SEEN.rows.copy()
    for algorithm in ALGORITHMS:
        for alpha in (0.0, 3.0):
            draws(spec(algorithm=algorithm, alpha=alpha), 1)
    np.testing.assert_array_equal(SEEN.rows, rows)
    wide, narrow = (evaluate(spec(alpha=alpha), BELIEF, SLATE, [0]) for alpha in (2.0, 0.5))
    np.testing.assert_array_equal(wide.mean, narrow.mean)
    np.testing.assert_allclose(wide.score - wide.mean, 4 * (narrow.score - narrow.mean), rtol=1e-12)


def test_arms_nobody_has_evidence_of_are_all_alike_to_a_first_decision() -> None:
    rng = np.random.default_rng(2)
    same = np.ones((3, 2))
    belief = posterior(ridge_prior(3, 2, 1.0), no_evidence(arms(3), 2))
    choice = choose(spec(exploration=0.0), belief, Slates(same, [index(0, 1, 2)], [index(0, 1, 2)]), rng)
    np.testing.assert_allclose(choice.propensities, [1 / 3] * 3, rtol=1e-15)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dimension", [D, 20])
def test_slates_decided_together_score_as_each_alone(algorithm: Algorithm, dimension: int) -> None:
    rng = np.random.default_rng(3)
    policy = spec(algorithm=algorithm, exploration=0.2, alpha=1.5)
    sizes, places = [6, 1, 4, 4], [index(0, 1, 0, 2, 1, 3), index(0), index(0, 1, 2, 3), index(0, 1, 2, 3)]
    beliefs = [posterior(ridge_prior(4, dimension, 0.5), evidence(4, dimension, history(rng, 4, dimension, n))) for n in (0, 5, 40, 9)]
    X = rng.normal(size=(sum(sizes), dimension))
    seeds = [11, 12, 13, 14]
    arms_of = [index(*range(4)), index(2), index(3, 2, 1, 0), index(*range(4))]
    together = Slates(X, [4 * n + arms for n, arms in enumerate(arms_of)], places)
    whole = evaluate(policy, joined(beliefs), together, seeds)
    p = propensities(whole.score, sizes, policy.exploration)
    start = 0
    for n, size in enumerate(sizes):
        mine = slice(start, start + size)
        alone = evaluate(policy, beliefs[n], Slates(X[mine], [arms_of[n]], [places[n]]), [seeds[n]])
        for part, expected in ((whole.score, alone.score), (whole.mean, alone.mean), (whole.uncertainty, alone.uncertainty)):
            np.testing.assert_allclose(part[mine], expected, rtol=1e-12, atol=1e-13)
        np.testing.assert_array_equal(p[mine], propensities(alone.score, [size], policy.exploration))
        start += size


def test_wide_slates_of_all_arms_score_as_each_candidate_alone() -> None:
    rng = np.random.default_rng(4)
    m, d, n = 3, 20, 5
    belief = posterior(ridge_prior(m, d, 1.0), evidence(m, d, history(rng, m, d, 50)))
    X = rng.normal(size=(m * n, d))
    order = index(*range(m))
    scores = evaluate(spec(), belief, Slates(X, [order] * n, [order] * n), [0] * n)
    for k, x in enumerate(X):
        alone = evaluate(spec(), belief, Slates(x[None], [index(k % m)], [index(0)]), [0])
        np.testing.assert_allclose(scores.score[k], alone.score[0], rtol=1e-12)
