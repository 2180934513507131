"""Posteriors of wide vectors, kept for as long as the evidence they follow from is still at the same version.

To factorise a wide arm costs more than all else of a decision, and a decision changes one arm. So a worker keeps what it worked out, sends
the versions it holds with every read, and the store returns what has changed: an exact check, never a time to live. Nothing here is lost
that could not be worked out again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from policies.posterior import WIDE, Posterior, posterior, ridge_prior
from policies.types import ArmId, Evidence, Floats, Ints, Namespace, ScopeId
from serving.ports import PublishedPolicy

_Key = tuple[Namespace, ScopeId, float]

MOST_BYTES = 32 * 1024 * 1024
"""Of all that is kept. A scope that alone has more is not kept."""


class Held:
    """What is believed of the arms of one scope, each at a version of its evidence."""

    def __init__(self, dimension: int, ridge: float) -> None:
        self._ridge = ridge
        self._place: dict[ArmId, int] = {}
        self.versions: dict[ArmId, int] = {}
        self._theta: Floats = np.empty((0, dimension))
        self._root: Floats = np.empty((0, dimension, dimension))

    @property
    def belief(self) -> Posterior:
        """Of all arms there are, in the order in which they came."""
        return Posterior(self._theta, self._root)

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""
        return self._root.nbytes + self._theta.nbytes

    def take_up(self, evidence: Evidence) -> None:
        """Work out anew what is believed of arms whose evidence has changed."""
        if not evidence.arms:
            return
        changed = posterior(ridge_prior(len(evidence.arms), evidence.dimension, self._ridge), evidence)
        new = [arm for arm in evidence.arms if arm not in self._place]
        if new:
            self._place |= {arm: len(self._place) + i for i, arm in enumerate(new)}
            self._theta = np.concatenate([self._theta, np.empty((len(new), *self._theta.shape[1:]))])
            self._root = np.concatenate([self._root, np.empty((len(new), *self._root.shape[1:]))])
        places = self.rows_of(evidence.arms)
        self._theta[places] = changed.theta
        self._root[places] = changed.root
        self.versions |= dict(zip(evidence.arms, evidence.version.tolist(), strict=True))

    def rows_of(self, arms: Sequence[ArmId]) -> Ints:
        """(m,) rows of arms in ``belief``."""
        return np.array([self._place[arm] for arm in arms], dtype=np.int64)


class Beliefs:
    """What is held of all scopes; the one not asked for longest goes first when it gets too much."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._held: OrderedDict[_Key, Held] = OrderedDict()
        self._asked: set[_Key] = set()
        self._counted: dict[_Key, int] = {}
        self._bytes = 0

    @staticmethod
    def worth_holding(policy: PublishedPolicy) -> bool:
        """Whether keeping saves work: with a half-life evidence weighs less at every moment, and narrow arms are cheap."""
        return policy.dimension >= WIDE and policy.spec.half_life_s is None

    def of(self, policy: PublishedPolicy, scope: ScopeId) -> Held:
        """What is held of a scope; at first, nothing."""
        key = (policy.namespace, scope, policy.spec.ridge)
        held = self._held.get(key) or Held(policy.dimension, policy.spec.ridge)
        self._held[key] = held
        self._held.move_to_end(key)
        self._asked.add(key)
        return held

    def shed(self) -> None:
        """Count anew what was asked for since the last time, and forget what is too much."""
        for key in self._asked:
            now = self._held[key].nbytes
            self._bytes += now - self._counted.get(key, 0)
            self._counted[key] = now
        self._asked.clear()
        while self._bytes > self._most_bytes:
            key, _ = self._held.popitem(last=False)
            self._bytes -= self._counted.pop(key)
