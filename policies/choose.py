"""One decision: from a spec, a prior, evidence and a slate to scores, propensities and the candidate drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policies import epsilon_greedy, lints, linucb, uniform
from policies.posterior import Prior, posterior
from policies.propensity import draw, propensities
from policies.scores import Scores
from policies.spec import PolicySpec
from policies.types import Evidence, Floats, Ints

MAX_SEED = 2**53
"""Seeds stay below it, so that a float64 or a JavaScript number holds them."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was drawn, and from what.

    Args:
        index: of the candidate drawn.
        seed: of the sampler's generator; 0 when the algorithm samples nothing.
        scores: of all K candidates.
        propensities: (K,) the probabilities the draw was made with.
    """

    index: int
    seed: int
    scores: Scores
    propensities: Floats


def choose(spec: PolicySpec, prior: Prior, evidence: Evidence, X: Floats, arm_index: Ints, rng: np.random.Generator) -> Choice:
    """Decide.

    Args:
        spec: algorithm, α and ε.
        prior: of the m distinct arms.
        evidence: of the same arms, in the same order, decayed to now.
        X: (K, d) vectors of the candidates.
        arm_index: (K,) the row of each candidate's arm in ``evidence``.
        rng: source of the seed (Thompson sampling alone) and of the draw.

    Raises:
        ValueError: a score is not finite.
        numpy.linalg.LinAlgError: the evidence is not that of any real vectors.
    """
    seed = int(rng.integers(1, MAX_SEED)) if spec.algorithm == "lints" else 0
    scores = evaluate(spec, prior, evidence, X, arm_index, seed)
    p = propensities(scores.score, spec.exploration)
    return Choice(draw(p, rng.random()), seed, scores, p)


def evaluate(spec: PolicySpec, prior: Prior, evidence: Evidence, X: Floats, arm_index: Ints, seed: int) -> Scores:
    """The scores of a slate, as `choose` sees them: with a logged seed, what a decision was or another policy's would have been made of."""
    if spec.algorithm == "uniform":
        return uniform.scores(len(X))
    belief = posterior(prior, evidence)
    match spec.algorithm:
        case "linucb":
            return linucb.scores(belief, X, arm_index, spec.alpha)
        case "lints":
            return lints.scores(belief, X, arm_index, spec.alpha, seed)
        case "epsilon_greedy":
            return epsilon_greedy.scores(belief, X, arm_index)
