"""Score, Activate and Reward: read once, decide purely, write once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from policies.choose import Choice, choose
from policies.posterior import ridge_prior
from policies.types import ArmId, DecisionId, Floats, Ints, PolicyName, ScopeId
from policies.vector import feature_names
from serving.ids import new_decision_id, parse_decision_id, shard_of
from serving.ports import (
    Decision,
    DecisionStore,
    PolicyCatalog,
    PublishedPolicy,
    Query,
    Ranked,
    Recorded,
    RewardOutcome,
    Snapshot,
    UnknownDecision,
)
from serving.service.commands import Reward, Score, Scored
from serving.service.errors import InvalidRequest, RequestIdReused, UnknownPolicy
from serving.service.slate import Features, FeatureSource, arms_before_read, arms_by_feature, distinct, scope_of, vectors
from serving.service.validate import activate_violations, reward_value, reward_violations, score_violations


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a service takes time and chance from: the clock (seconds since the epoch), a generator of its own, unguessable bytes."""

    clock: Callable[[], float]
    rng: np.random.Generator
    entropy: Callable[[int], bytes]


class BanditService:
    """Decides and learns. Holds nothing that cannot be lost."""

    def __init__(self, store: DecisionStore, catalog: PolicyCatalog, sources: Sources) -> None:
        self._store = store
        self._catalog = catalog
        self._sources = sources

    async def score(self, request: Score) -> Scored:
        """Choose one candidate and record the decision before answering.

        Raises:
            InvalidRequest: with every mistake of the request.
            UnknownPolicy, RequestIdReused, and what `DecisionStore.read` and `decide` raise.
        """
        violations = list(score_violations(request))
        policy = self._catalog.live(request.policy)
        if policy is None:
            if violations:
                raise InvalidRequest(violations)
            raise UnknownPolicy(unknown_policy(request.policy, self._catalog))
        scope, problems = scope_of(policy, request)
        source = FeatureSource(policy, request)
        violations += problems + source.violations
        if violations:
            raise InvalidRequest(violations)

        request_id = request.request_id or None
        known_arms = arms_before_read(policy, request)
        arms, arm_index = distinct(known_arms or [])
        snapshot = await self._store.read(Query(policy, scope, arms, source.rows, request_id))
        if snapshot.recorded is not None:
            return await self._replay(snapshot.recorded, request)
        request_time = self._sources.clock() if request.request_time is None else request.request_time
        features = source.features(snapshot, request_time)
        x = vectors(policy, request, features)
        if known_arms is None:
            # Arms that stored features name are known only now: the one rule that costs a second read.
            known_arms = arms_by_feature(policy, request, features)
            arms, arm_index = distinct(known_arms)
            snapshot = await self._store.read(Query(policy, scope, arms, (), request_id))
            if snapshot.recorded is not None:
                return await self._replay(snapshot.recorded, request)
        decision = self._decide(policy, scope, request, known_arms, arm_index, x, features, snapshot, request_time)
        recorded = await self._store.decide(
            policy, decision, request_id=request_id, body_hash=request.body_hash, generation=snapshot.generation
        )
        if recorded.replayed:
            return await self._replay(recorded, request)
        return _scored(policy, recorded)

    async def activate(self, decision_id: str) -> float:
        """Open a deferred decision's window; returns the reward deadline, in seconds since the epoch.

        Raises:
            InvalidRequest: with every mistake of the request.
            UnknownDecision, ActivatedTooLate, Forgotten, ArmLimit.
        """
        violations = list(activate_violations(decision_id))
        if violations:
            raise InvalidRequest(violations)
        policy = await self._policy_of(decision_id)
        return await self._store.activate(policy, DecisionId(decision_id))

    async def reward(self, request: Reward) -> RewardOutcome:
        """Count a reward towards its decision, once.

        Raises:
            InvalidRequest: with every mistake of the request.
            UnknownDecision, NotActivated, Forgotten, ArmLimit, RewardLimit.
        """
        violations = list(reward_violations(request))
        if violations:
            raise InvalidRequest(violations)
        policy = await self._policy_of(request.decision_id)
        value, violations = reward_value(request, policy.spec.reward)
        if violations:
            raise InvalidRequest(violations)
        return await self._store.reward(policy, DecisionId(request.decision_id), value, request.reward_id or None, request.occurred_at)

    def _decide(
        self,
        policy: PublishedPolicy,
        scope: ScopeId,
        request: Score,
        arms: list[ArmId],
        arm_index: Ints,
        x: Floats,
        features: Features,
        snapshot: Snapshot,
        request_time: float,
    ) -> Decision:
        """The pure middle of a Score: what is known goes in, a decision that is not yet recorded comes out."""
        spec = policy.spec
        prior = ridge_prior(len(snapshot.evidence.arms), policy.dimension, spec.ridge)
        choice = choose(spec, prior, snapshot.evidence, x, arm_index, self._sources.rng)
        served = request.served
        ids = [c.id for c in request.candidates]
        chosen = choice.index if served is None else ids.index(served.candidate_id)
        return Decision(
            decision_id=new_decision_id(shard_of(spec.name, scope), policy.namespace, self._sources.entropy(12)),
            policy=spec.name,
            version=policy.version,
            namespace=policy.namespace,
            scope=scope,
            slate=_ranked(request, arms, choice),
            chosen=chosen,
            propensity=float(choice.propensities[chosen]) if served is None else served.propensity,
            x=x,
            status=features.status.tobytes(),
            request_time=request_time,
            seed=choice.seed,
            deferred=request.deferred,
            served=served is not None,
            decided_at_claimed=None if served is None else served.decided_at,
        )

    async def _replay(self, recorded: Recorded, request: Score) -> Scored:
        """Answer an earlier request again, if this is the same one."""
        if recorded.body_hash != request.body_hash:
            raise RequestIdReused(f"request_id {request.request_id!r} has answered another request; use a new one for each decision")
        policy = await self._catalog.by_namespace(recorded.decision.namespace)
        if policy is None:
            raise UnknownPolicy(unknown_policy(recorded.decision.policy, self._catalog))
        return _scored(policy, recorded)

    async def _policy_of(self, decision_id: str) -> PublishedPolicy:
        """The rules a decision was made under, which its id names."""
        parsed = parse_decision_id(decision_id)
        policy = await self._catalog.by_namespace(parsed[1]) if parsed else None
        if policy is None:
            raise UnknownDecision("no such decision, or its window and grace are over")
        return policy


def unknown_policy(name: PolicyName, catalog: PolicyCatalog) -> str:
    """What to tell a caller who names a policy that is not served."""
    return f"no policy {name!r} is served; served are: {', '.join(catalog.names()) or 'none yet (run `ooml apply`)'}"


def _ranked(request: Score, arms: list[ArmId], choice: Choice) -> tuple[Ranked, ...]:
    scores = choice.scores
    columns = (scores.score.tolist(), scores.mean.tolist(), scores.uncertainty.tolist(), choice.propensities.tolist())
    return tuple(map(Ranked, [c.id for c in request.candidates], arms, *columns))


def _scored(policy: PublishedPolicy, recorded: Recorded) -> Scored:
    slate = recorded.decision.slate
    ranking = tuple(sorted(range(len(slate)), key=lambda k: -slate[k].score))
    return Scored(recorded, policy.features, feature_names(policy.spec, policy.features), ranking)
