"""Requests decided together: read once, decide purely, write once, for all who ask at the same time.

Nobody's decision depends on who else is in the group: each has its own features, evidence, draw and record. What they share is the cost of
two round trips and of every array operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from policies.choose import Slates, choose
from policies.posterior import Posterior, joined, posterior, ridge_prior
from policies.types import ArmId, Evidence, Ints, PolicyName
from serving.ids import ENTROPY_BYTES, new_decision_id, shard_of
from serving.ports import Decision, DecisionStore, Draft, Inputs, PolicyCatalog, PublishedPolicy, Query, Recorded, Row, Snapshot, StoreError
from serving.service.beliefs import Beliefs, Held
from serving.service.commands import Scored
from serving.service.errors import RequestIdReused, UnknownPolicy
from serving.service.slate import Asked, arms_by_feature, distinct, features_of, vectors


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a service takes time and chance from: the clock (seconds since the epoch), a generator of its own, unguessable bytes."""

    clock: Callable[[], float]
    rng: np.random.Generator
    entropy: Callable[[int], bytes]


class _Case(NamedTuple):
    """One request on its way to a decision.

    Args:
        asked: what is to be decided.
        arms: (m,) distinct arms of its slate, in order of appearance.
        arm_index: (K,) place of each candidate's arm in them.
        arm_of: (K,) each candidate's arm.
        snapshot: what was read for it.
        request_time: at which its features are computed, seconds since the epoch.
    """

    asked: Asked
    arms: tuple[ArmId, ...]
    arm_index: Ints
    arm_of: Sequence[ArmId]
    snapshot: Snapshot
    request_time: float


class Decider:
    """Decides groups of requests and records what was decided."""

    def __init__(self, store: DecisionStore, catalog: PolicyCatalog, sources: Sources) -> None:
        self._store = store
        self._catalog = catalog
        self._sources = sources
        self._beliefs = Beliefs()

    async def decide(self, group: Sequence[Asked]) -> list[Scored | Exception]:
        """One answer a request, in order; what is wrong with one is its own.

        Errors, beside what the store answers: InvalidRequest, UnknownPolicy, RequestIdReused.
        """
        answers: dict[int, Scored | Exception] = {}
        cases = await self._read(group, answers)
        drafts: dict[int, Draft] = {}
        for policy, places in _by_policy(group, cases):
            of_policy = {place: cases[place] for place in places}
            if policy.spec.arm_rule == "feature":
                of_policy = await self._read_arms(of_policy, answers)
            if of_policy:
                drafts |= self._drafts(policy, of_policy, answers)
        if drafts:
            for place, recorded in zip(drafts, await self._store.decide(list(drafts.values())), strict=True):
                answers[place] = recorded if isinstance(recorded, Exception) else await self._scored(group[place], recorded)
        self._beliefs.shed()
        return [answers[place] for place in range(len(group))]

    async def _read(self, group: Sequence[Asked], answers: dict[int, Scored | Exception]) -> dict[int, _Case]:
        """What the requests need, in one round trip; those that have an answer already are left out."""
        slates = [distinct(asked.arms or ()) for asked in group]
        snapshots = await self._snapshots(group, [arms for arms, _ in slates], [asked.rows for asked in group])
        now = self._sources.clock()
        cases = {}
        for place, (asked, (arms, arm_index), snapshot) in enumerate(zip(group, slates, snapshots, strict=True)):
            if isinstance(snapshot, Exception):
                answers[place] = snapshot
            elif snapshot.recorded is not None:
                answers[place] = await self._scored(asked, snapshot.recorded)
            else:
                at = asked.request.request_time
                cases[place] = _Case(asked, arms, arm_index, asked.arms or (), snapshot, now if at is None else at)
        return cases

    async def _read_arms(self, cases: Mapping[int, _Case], answers: dict[int, Scored | Exception]) -> dict[int, _Case]:
        """Arms that stored features name are known only once these are read: the one rule that costs a second round trip."""
        found: dict[int, list[ArmId]] = {}
        for place, case in cases.items():
            try:
                features = features_of([case.asked], [case.snapshot.rows], [case.request_time])
                found[place] = arms_by_feature(case.asked, features)
            except Exception as error:
                answers[place] = error
        group, slates = [cases[place].asked for place in found], [distinct(arms) for arms in found.values()]
        snapshots = await self._snapshots(group, [arms for arms, _ in slates], [()] * len(group))
        result = {}
        for (place, arm_of), (arms, arm_index), snapshot in zip(found.items(), slates, snapshots, strict=True):
            if isinstance(snapshot, Exception):
                answers[place] = snapshot
            elif snapshot.recorded is not None:
                answers[place] = await self._scored(cases[place].asked, snapshot.recorded)
            else:
                with_rows = snapshot._replace(rows=cases[place].snapshot.rows)
                result[place] = cases[place]._replace(arms=arms, arm_index=arm_index, arm_of=arm_of, snapshot=with_rows)
        return result

    async def _snapshots(
        self, group: Sequence[Asked], arms: Sequence[tuple[ArmId, ...]], rows: Sequence[Sequence[Row]]
    ) -> list[Snapshot | Exception]:
        """What was read for each request; where beliefs are held, they are brought up to date and its evidence is left out."""
        queries: list[Query] = []
        held_by: list[Held | None] = []
        wanted: dict[Held, tuple[Asked, dict[ArmId, None]]] = {}
        for asked, mine, needed in zip(group, arms, rows, strict=True):
            held = self._beliefs.of(asked.policy, asked.scope) if mine and Beliefs.worth_holding(asked.policy) else None
            held_by.append(held)
            if held is not None:
                wanted.setdefault(held, (asked, {}))[1].update(dict.fromkeys(mine))
            own = mine if held is None else ()
            queries.append(Query(asked.policy, asked.scope, own, needed, asked.request.request_id or None))
        # Last, so that a scope forgotten in between is seen to be: its generation was read before its evidence.
        queries += [Query(asked.policy, asked.scope, tuple(union), (), None, held.versions) for held, (asked, union) in wanted.items()]
        snapshots = await self._store.read(queries)
        failed: dict[Held, Exception] = {}
        for held, snapshot in zip(wanted, snapshots[len(group) :], strict=True):
            if isinstance(snapshot, Exception):
                failed[held] = snapshot
            else:
                held.take_up(snapshot.evidence)
        return [snapshot if held is None else failed.get(held, snapshot) for held, snapshot in zip(held_by, snapshots, strict=False)]

    def _drafts(self, policy: PublishedPolicy, cases: Mapping[int, _Case], answers: dict[int, Scored | Exception]) -> dict[int, Draft]:
        """What is to be recorded of each; if something is wrong with one of them, each is looked at alone."""
        try:
            return dict(zip(cases, self._draft(policy, list(cases.values())), strict=True))
        except Exception as error:
            if len(cases) > 1:
                alone = (self._drafts(policy, {place: case}, answers) for place, case in cases.items())
                return {place: draft for drafts in alone for place, draft in drafts.items()}
            answers[next(iter(cases))] = error
            return {}

    def _draft(self, policy: PublishedPolicy, cases: Sequence[_Case]) -> Iterator[Draft]:
        """The pure middle: what is known goes in, decisions that are not yet recorded come out.

        Raises:
            InvalidRequest, or whatever else is wrong with one of them.
        """
        spec = policy.spec
        features = features_of([c.asked for c in cases], [c.snapshot.rows for c in cases], [c.request_time for c in cases])
        X = vectors(policy, features)
        belief, rows = self._belief(policy, cases)
        choices = choose(spec, belief, Slates(X, rows, [c.arm_index for c in cases]), self._sources.rng)
        scores = np.empty((len(X), 4))
        scores[:, 0], scores[:, 1], scores[:, 2] = choices.scores.score, choices.scores.mean, choices.scores.uncertainty
        scores[:, 3] = choices.propensities
        entropy = self._sources.entropy(ENTROPY_BYTES * len(cases))
        propensities = choices.propensities.tolist()
        start = 0
        for n, (case, index, seed) in enumerate(zip(cases, choices.index, choices.seed, strict=True)):
            asked, request, served = case.asked, case.asked.request, case.asked.request.served
            candidates = tuple(request.ids)
            end = start + len(candidates)
            chosen = index if served is None else candidates.index(served.candidate_id)
            unguessable = entropy[ENTROPY_BYTES * n : ENTROPY_BYTES * (n + 1)]
            decision = Decision(
                decision_id=new_decision_id(shard_of(spec.name, asked.scope), policy.namespace, unguessable),
                policy=spec.name,
                version=policy.version,
                namespace=policy.namespace,
                scope=asked.scope,
                candidates=candidates,
                arms=tuple(case.arm_of),
                scores=scores[start:end],
                chosen=chosen,
                propensity=propensities[start + chosen] if served is None else served.propensity,
                x=X[start:end],
                status=features.status[start:end].tobytes(),
                request_time=case.request_time,
                seed=seed,
                deferred=request.deferred,
                served=served is not None,
                decided_at_claimed=None if served is None else served.decided_at,
            )
            inputs = Inputs(request.message, features.moments[start:end], features.sources)
            start = end
            yield Draft(policy, decision, request.request_id or None, request.body_hash, case.snapshot.generation, inputs)

    def _belief(self, policy: PublishedPolicy, cases: Sequence[_Case]) -> tuple[Posterior, list[Ints]]:
        """What is believed of all arms of some slates, and per slate the rows of its own."""
        spec = policy.spec
        if Beliefs.worth_holding(policy):
            helds = {case.asked.scope: self._beliefs.of(policy, case.asked.scope) for case in cases}
            first = dict(zip(helds, np.cumsum([0, *(len(held.versions) for held in helds.values())]).tolist(), strict=False))
            rows = [first[case.asked.scope] + helds[case.asked.scope].rows_of(case.arms) for case in cases]
            return joined([held.belief for held in helds.values()]), rows
        found = [case.snapshot.evidence.rows for case in cases]
        ends = np.cumsum([len(rows) for rows in found]).tolist()
        evidence = Evidence((), found[0] if len(found) == 1 else np.concatenate(found), policy.dimension)
        rows = [np.arange(end - len(of), end) for of, end in zip(found, ends, strict=True)]
        return posterior(ridge_prior(ends[-1], policy.dimension, spec.ridge), evidence), rows

    async def _scored(self, asked: Asked, recorded: Recorded) -> Scored | Exception:
        """The answer to a request: what an earlier one with the same request_id got, if that was the same request."""
        if not recorded.replayed:
            return _ranked(asked.policy, recorded)
        if recorded.body_hash != asked.request.body_hash:
            used = asked.request.request_id
            return RequestIdReused(f"request_id {used!r} has answered another request; use a new one for each decision")
        try:
            policy = await self._catalog.by_namespace(recorded.decision.namespace)
        except StoreError as error:
            return error
        return unknown_policy(recorded.decision.policy) if policy is None else _ranked(policy, recorded)


def unknown_policy(name: PolicyName) -> UnknownPolicy:
    """What to tell a caller who names a policy that is not served. No others are named: not every caller may know of them."""
    return UnknownPolicy(f"no policy {name!r} is served; ListPolicies names those that are, `ooml apply` publishes more")


def _ranked(policy: PublishedPolicy, recorded: Recorded) -> Scored:
    score = recorded.decision.scores[:, 0].tolist()
    return Scored(recorded, policy, sorted(range(len(score)), key=score.__getitem__, reverse=True))


def _by_policy(group: Sequence[Asked], places: Iterable[int]) -> Iterator[tuple[PublishedPolicy, list[int]]]:
    """The requests to each version of a policy."""
    of: dict[int, list[int]] = {}
    for place in places:
        of.setdefault(id(group[place].policy), []).append(place)
    return ((group[mine[0]].policy, mine) for mine in of.values())
