"""Decisions: from a spec, beliefs and slates to scores, propensities and the candidates drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from policies import epsilon_greedy, lints, linucb, uniform
from policies.posterior import Posterior
from policies.propensity import draw, propensities
from policies.scores import Scores
from policies.spec import PolicySpec
from policies.types import Floats, Ints

MAX_SEED = 2**53
"""Seeds stay below it, so that a float64 or a JavaScript number holds them."""


@dataclass(frozen=True, slots=True)
class Slates:
    """What may be chosen from, for n decisions that one policy makes at the same time. Candidates are laid end to end, C in all.

    They are decided together because a handful of numbers costs an array as much as a hundred do; none depends on any other.

    Args:
        X: (C, d) vectors of the candidates.
        arms: per slate the rows of its m distinct arms in the posterior, in order of appearance.
        arm_index: per slate the (K,) place of each candidate's arm in its ``arms``.
    """

    X: Floats
    arms: Sequence[Ints]
    arm_index: Sequence[Ints]

    @property
    def sizes(self) -> list[int]:
        """(n,) candidates in each slate."""
        return [len(index) for index in self.arm_index]


@dataclass(frozen=True, slots=True)
class Choices:
    """What was drawn, and from what.

    Args:
        index: (n,) place of the candidate drawn, in its slate.
        seed: (n,) of the sampler's generator; 0 when the algorithm samples nothing.
        scores: of all C candidates.
        propensities: (C,) the probabilities the draws were made with.
    """

    index: list[int]
    seed: list[int]
    scores: Scores
    propensities: Floats


def choose(spec: PolicySpec, belief: Posterior, slates: Slates, rng: np.random.Generator) -> Choices:
    """Decide.

    Args:
        spec: algorithm, α and ε.
        belief: about the arms of all slates; arms may stand in several.
        slates: at least one.
        rng: source of the seeds (Thompson sampling alone) and of the draws.

    Raises:
        ValueError: a score is not finite.
    """
    sizes = slates.sizes
    seeds = rng.integers(1, MAX_SEED, len(sizes)).tolist() if spec.algorithm == "lints" else [0] * len(sizes)
    scores = evaluate(spec, belief, slates, seeds)
    p = propensities(scores.score, sizes, spec.exploration)
    shares, us = p.tolist(), rng.random(len(sizes)).tolist()
    index, start = [], 0
    for size, u in zip(sizes, us, strict=True):
        index.append(draw(shares[start : start + size], u))
        start += size
    return Choices(index, seeds, scores, p)


def evaluate(spec: PolicySpec, belief: Posterior, slates: Slates, seeds: Sequence[int]) -> Scores:
    """The scores of slates, as `choose` sees them: with logged seeds, what decisions were or another policy's would have been made of."""
    if spec.algorithm == "uniform":
        return uniform.scores(len(slates.X))
    if spec.algorithm == "lints":
        ends = np.cumsum([0, *slates.sizes]).tolist()
        worlds = zip(slates.arms, slates.arm_index, pairwise(ends), seeds, strict=True)
        drawn = [
            lints.scores(Posterior(belief.theta[arms], belief.root[arms]), slates.X[start:end], index, spec.alpha, seed)
            for arms, index, (start, end), seed in worlds
        ]
        return (
            drawn[0]
            if len(drawn) == 1
            else Scores(*(np.concatenate(c) for c in zip(*((s.score, s.mean, s.uncertainty) for s in drawn), strict=True)))
        )
    rows = [arms[index] for arms, index in zip(slates.arms, slates.arm_index, strict=True)]
    row = rows[0] if len(rows) == 1 else np.concatenate(rows)
    if spec.algorithm == "linucb":
        return linucb.scores(belief, slates.X, row, spec.alpha)
    return epsilon_greedy.scores(belief, slates.X, row)
