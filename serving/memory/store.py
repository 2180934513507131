"""The decision store's promises in plain Python: what every other store must do, for tests and for reading."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from features.packed import pack
from policies.evidence import add_decision, add_reward, decayed
from policies.rewards import Tally, fold
from policies.types import ArmId, DecisionId, Evidence, Floats, Namespace, PolicyName, ScopeId, no_evidence
from serving.events import Activated, DecisionMade, Event, EvidenceAdded, LogEntry, RewardRecorded, ScopeForgotten
from serving.ids import shard_of
from serving.ports import (
    ActivatedTooLate,
    ArmLimit,
    Decision,
    Draft,
    Forgotten,
    NotActivated,
    PublishedPolicy,
    Query,
    Recorded,
    RewardLimit,
    RewardOutcome,
    RewardStatus,
    Snapshot,
    StoreError,
    Told,
    UnknownDecision,
)

T = TypeVar("T")
R = TypeVar("R")

NOTHING_HELD: Mapping[ArmId, int] = {}

MAX_REWARDS = 100
"""Rewards one decision may have."""


@dataclass(slots=True)
class _Open:
    """A decision that can still be rewarded, or still says why not. ``deadline`` None: not active."""

    decision: Decision
    generation: int
    decided_at: int
    deadline: int | None
    expires_at: int
    tally: Tally = field(default_factory=Tally)
    reward_ids: list[str] = field(default_factory=list)


class MemoryDecisionStore:
    """`serving.ports.DecisionStore` in one process; nothing awaits, so every method is atomic. Idle scopes are never dropped.

    Args:
        clock: microseconds since the epoch; the only clock.
        rows: feature rows by key, each a mapping of field to bytes.
        idempotency_window_s: seconds for which an answer to a request_id is kept.
    """

    def __init__(
        self, clock: Callable[[], int], rows: Mapping[bytes, Mapping[bytes, bytes]] | None = None, idempotency_window_s: float = 3600.0
    ) -> None:
        self._clock = clock
        self._rows = {} if rows is None else rows
        self._reply_us = _us(idempotency_window_s)
        self._evidence: defaultdict[tuple[Namespace, ScopeId], dict[ArmId, Floats]] = defaultdict(dict)
        self._decisions: dict[DecisionId, _Open] = {}
        self._replies: dict[tuple[PolicyName, ScopeId, str], tuple[int, Recorded]] = {}
        self._generations: defaultdict[tuple[PolicyName, ScopeId], int] = defaultdict(int)
        self._logged: defaultdict[int, int] = defaultdict(int)
        self.log: list[LogEntry] = []

    async def read(self, queries: Sequence[Query]) -> list[Snapshot | Exception]:
        """See the port."""
        return [self._read(query) for query in queries]

    async def decide(self, drafts: Sequence[Draft]) -> list[Recorded | Exception]:
        """See the port."""
        return _each(self._decide, drafts)

    def _read(self, query: Query) -> Snapshot:
        spec, now = query.policy.spec, self._clock()
        return Snapshot(
            now=now / 1e6,
            evidence=self._rows_of(query.policy, query.scope, query.arms, now, query.held),
            rows=[pack([self._rows.get(key, {}).get(name) for name in fields]) for key, fields in query.rows],
            generation=self._generations[spec.name, query.scope],
            recorded=None if query.request_id is None else self._answered(spec.name, query.scope, query.request_id, now),
        )

    def _decide(self, draft: Draft) -> Recorded:
        policy, decision, request_id, body_hash, generation = (
            draft.policy,
            draft.decision,
            draft.request_id,
            draft.body_hash,
            draft.generation,
        )
        name, scope, rules, now = policy.spec.name, decision.scope, policy.spec.reward, self._clock()
        if self._generations[name, scope] != generation:
            raise Forgotten("the scope was forgotten after the decision was made")
        earlier = self._decisions.get(decision.decision_id)
        if earlier is not None and now < earlier.expires_at:
            if earlier.generation != generation:
                raise Forgotten("the scope was forgotten after the decision was made")
            return Recorded(decision, None if decision.deferred else _seconds(earlier.deadline), body_hash, replayed=False)
        if request_id is not None and (answered := self._answered(name, scope, request_id, now)) is not None:
            return answered
        deadline = None if decision.deferred else now + _us(rules.window_s)
        is_open = _Open(decision, generation, now, deadline, now + _us(rules.window_s + rules.late_grace_s))
        learned = [] if decision.deferred else self._learn_default(policy, is_open, now)
        self._decisions[decision.decision_id] = is_open
        recorded = Recorded(decision, _seconds(deadline), body_hash, replayed=False)
        if request_id is not None:
            replay = Recorded(decision, _seconds(deadline), body_hash, replayed=True)
            self._replies[name, scope, request_id] = (now + self._reply_us, replay)
        self._append(name, policy.namespace, scope, [DecisionMade(decision, now, deadline, generation, body_hash, draft.inputs), *learned])
        return recorded

    async def activate(self, policy: PublishedPolicy, decision_id: DecisionId) -> float:
        """See the port."""
        now, rules = self._clock(), policy.spec.reward
        opened = self._open(decision_id, now)
        if opened.deadline is None:
            if now > opened.decided_at + _us(rules.window_s):
                raise ActivatedTooLate("a deferred decision can be activated only within one window from the decision")
            learned = self._learn_default(policy, opened, now)
            opened.deadline = now + _us(rules.window_s)
            opened.expires_at = now + _us(rules.window_s + rules.late_grace_s)
            activated = Activated(decision_id, now, opened.deadline)
            self._append(policy.spec.name, policy.namespace, opened.decision.scope, [activated, *learned])
        return opened.deadline / 1e6

    async def reward(self, rewards: Sequence[Told]) -> list[RewardOutcome | Exception]:
        """See the port."""
        return _each(self._reward, rewards)

    def _reward(self, told: Told) -> RewardOutcome:
        policy, decision_id, value, reward_id, occurred_at = told
        now, rules, reward_id = self._clock(), policy.spec.reward, reward_id or ""
        opened = self._open(decision_id, now)
        if opened.deadline is None:
            raise NotActivated("the decision was deferred and never activated")
        before = rules.default if opened.tally.value is None else opened.tally.value
        if reward_id in opened.reward_ids or (rules.aggregate == "first" and opened.reward_ids):
            return RewardOutcome(RewardStatus.DUPLICATE, before)
        if len(opened.reward_ids) >= MAX_REWARDS:
            raise RewardLimit(f"the decision already has {MAX_REWARDS} rewards")
        status, after, learned = RewardStatus.LATE, before, []
        if now <= opened.deadline:
            tally = fold(rules.aggregate, opened.tally, value)
            assert tally.value is not None  # noqa: S101  it has just had a reward
            learned = [self._learn(policy, opened, now, before, tally.value, reward_id)]
            status, after, opened.tally = RewardStatus.APPLIED, tally.value, tally
        opened.reward_ids.append(reward_id)
        recorded = RewardRecorded(decision_id, reward_id, status, value, now, occurred_at)
        self._append(policy.spec.name, policy.namespace, opened.decision.scope, [recorded, *learned])
        return RewardOutcome(status, after)

    async def evidence(self, policy: PublishedPolicy, scope: ScopeId) -> Evidence:
        """See the port."""
        arms = tuple(sorted(self._evidence[policy.namespace, scope]))
        return self._rows_of(policy, scope, arms, self._clock())

    async def forget(self, name: PolicyName, namespaces: Sequence[Namespace], scope: ScopeId) -> None:
        """See the port. Decisions stay known as forgotten until they would have expired; of the log, nothing of the scope is left."""
        self._generations[name, scope] += 1
        for namespace in namespaces:
            self._evidence.pop((namespace, scope), None)
        self._replies = {key: kept for key, kept in self._replies.items() if key[:2] != (name, scope)}
        self.log = [entry for entry in self.log if entry.scope != scope or entry.namespace not in namespaces]
        self._append(name, Namespace(""), scope, [ScopeForgotten(name, self._generations[name, scope], self._clock())])

    async def ping(self) -> None:
        """See the port."""

    def _open(self, decision_id: DecisionId, now: int) -> _Open:
        found = self._decisions.get(decision_id)
        if found is None or now >= found.expires_at:
            raise UnknownDecision("no such decision, or its window and grace are over")
        if found.generation != self._generations[found.decision.policy, found.decision.scope]:
            raise Forgotten("the scope was forgotten after the decision was made")
        return found

    def _answered(self, name: PolicyName, scope: ScopeId, request_id: str, now: int) -> Recorded | None:
        expires_at, recorded = self._replies.get((name, scope, request_id), (0, None))
        return recorded if now < expires_at else None

    def _learn_default(self, policy: PublishedPolicy, opened: _Open, now: int) -> list[EvidenceAdded]:
        default = policy.spec.reward.default
        return [] if default is None else [self._learn(policy, opened, now, None, default, "")]

    def _learn(self, policy: PublishedPolicy, opened: _Open, now: int, before: float | None, after: float, reward_id: str) -> EvidenceAdded:
        """Teach the chosen arm that its decision counts for ``after``; ``before`` None: it has taught nothing yet."""
        decision, half_life = opened.decision, policy.spec.half_life_s
        arm, x = decision.arms[decision.chosen], decision.x[decision.chosen]
        arms = self._evidence[policy.namespace, decision.scope]
        if before is None and arm not in arms and len(arms) >= policy.spec.max_arms:
            raise ArmLimit("the scope already holds as many arms as the policy allows")
        row = arms.get(arm, no_evidence((arm,), len(x)).rows[0])
        if before is None:
            arms[arm] = add_decision(row, x, now, half_life, after, decided_at_us=opened.decided_at)
        else:
            arms[arm] = add_reward(row, x, now, half_life, decided_at_us=opened.decided_at, old=before, new=after)
        return EvidenceAdded(
            decision_id=decision.decision_id,
            reward_id=reward_id,
            version=decision.version,
            propensity=decision.propensity,
            arm=arm,
            grew=before is None,
            before=before or 0.0,
            after=after,
            at_us=now,
            decided_at_us=opened.decided_at,
            x=x,
        )

    def _rows_of(
        self, policy: PublishedPolicy, scope: ScopeId, arms: tuple[ArmId, ...], now: int, held: Mapping[ArmId, int] = NOTHING_HELD
    ) -> Evidence:
        nothing = no_evidence(arms, policy.dimension)
        stored = self._evidence[policy.namespace, scope]
        found = [(arm, stored.get(arm, empty)) for arm, empty in zip(arms, nothing.rows, strict=True)]
        changed = [(arm, row) for arm, row in found if held.get(arm) != int(row[0])]
        rows = np.array([row for _, row in changed]).reshape(len(changed), nothing.rows.shape[1])
        return decayed(Evidence(tuple(arm for arm, _ in changed), rows, policy.dimension), now, policy.spec.half_life_s)

    def _append(self, name: PolicyName, namespace: Namespace, scope: ScopeId, events: Iterable[Event]) -> None:
        shard = shard_of(name, scope)
        self._logged[shard] += 1
        self.log.append(LogEntry("memory", self._logged[shard], namespace, scope, 0, tuple(events)))


def _each(work: Callable[[T], R], asked: Sequence[T]) -> list[R | Exception]:
    """What each gets, refusals as they are."""
    answers: list[R | Exception] = []
    for one in asked:
        try:
            answers.append(work(one))
        except StoreError as refused:
            answers.append(refused)
    return answers


def _us(seconds: float) -> int:
    return round(seconds * 1e6)


def _seconds(us: int | None) -> float | None:
    return None if us is None else us / 1e6
