"""What the store keeps of decisions, made again from the log: records of those that can still be rewarded, and replies to request_ids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from events.log import Log
from events.recompute import Ends, rows_in
from policies.rewards import Tally, fold
from policies.types import ArmId, CandidateId, DecisionId, Namespace, PolicyName, PolicyVersion, ScopeId
from serving.events import DecisionMade
from serving.ports import Decision, PublishedPolicy
from serving.redis.codec import pack_facts_of, pack_record
from serving.redis.store import rules_of

Policies = Mapping[Namespace, PublishedPolicy]

_DECIDED = ["decision_id", "policy", "namespace", "scope", "policy_version", "propensity", "recorded_at", "reward_deadline", "generation"]
_CHOICE = ["chosen", "arms", "dimension", "x"]
_TAUGHT = ["decision_id", "policy", "namespace", "scope", "policy_version", "propensity", "decided_at", "arm", "x"]
_REPLIED = (
    *_DECIDED,
    *["request_id", "body_hash", "request_time", "chosen", "seed", "deferred", "served", "decided_at", "candidate_ids", "arms"],
    *["scores", "means", "uncertainties", "propensities", "dimension", "x", "feature_status"],
)


class Record(NamedTuple):
    """A decision that can still be rewarded or activated.

    Args:
        packed: as scripts write it.
        expires_at_ms: end of its window and grace, milliseconds since the epoch.
    """

    decision_id: DecisionId
    policy: PolicyName
    scope: ScopeId
    packed: bytes
    expires_at_ms: int


class _Facts(NamedTuple):
    """What a record has of a decision, whatever came of it."""

    decision_id: DecisionId
    policy: PublishedPolicy
    scope: ScopeId
    packed: bytes
    generation: int
    decided_at_us: int
    deadline_us: int | None


class _Reward(NamedTuple):
    at_us: int
    sequence: int
    reward_id: str
    status: str
    value: float


def records(log: Log, policies: Policies, ends: Ends, now_us: int) -> Iterator[Record]:
    """Of every decision that is not over, of published policies.

    What a decision was is known from the log of it; where that was shed, from what it taught. One that was shed and taught nothing is lost.

    Args:
        ends: of scopes.
        now_us: the store's time, microseconds since the epoch.

    Raises:
        TableUnavailable.
    """
    # The longest that a decision can matter: activated at the end of one window, it has another, and its grace.
    lives = [1000 * rules.life_ms + rules.window_us for rules in map(rules_of, policies.values())]
    since = max(0, now_us - max(lives, default=0))
    activated = {name: (at, deadline) for name, at, deadline in _rows(log, "activated", "decision_id recorded_at reward_deadline", since)}
    rewards: defaultdict[str, list[_Reward]] = defaultdict(list)
    for name, *said in _rows(log, "reward", "decision_id recorded_at sequence reward_id status value", since):
        rewards[name].append(_Reward(*said))
    for facts in _facts(log, policies, ends, since):
        opened_at, deadline = activated.get(facts.decision_id, (facts.decided_at_us, facts.deadline_us))
        expires_at_ms = opened_at // 1000 + rules_of(facts.policy).life_ms
        if expires_at_ms * 1000 <= now_us:
            continue
        tally, seen = Tally(), sorted(rewards.get(facts.decision_id, ()))
        for reward in seen:
            if reward.status == "APPLIED":
                tally = fold(facts.policy.spec.reward.aggregate, tally, reward.value)
        packed = pack_record(
            facts.packed,
            generation=facts.generation,
            decided_at_us=facts.decided_at_us,
            deadline_us=deadline,
            tally=tally,
            reward_ids=[reward.reward_id for reward in seen],
        )
        yield Record(facts.decision_id, facts.policy.spec.name, facts.scope, packed, expires_at_ms)


def replies(log: Log, policies: Policies, ends: Ends, since_us: int) -> Iterator[tuple[str, DecisionMade]]:
    """Answers to request_ids that were given since then, each with its request_id.

    Raises:
        TableUnavailable.
    """
    table = log.table(("decision",), _REPLIED, since_us=since_us, where=pc.field("request_id") != "")
    for row in _named(table):
        if row["namespace"] in policies and row["recorded_at"] > ends.before(row["policy"], "", row["scope"]):
            yield row["request_id"], _made(row)


def _facts(log: Log, policies: Policies, ends: Ends, since_us: int) -> Iterator[_Facts]:
    """Of decisions as they were logged; then of those that were not, as they taught."""
    logged: set[str] = set()
    for batch in log.batches(("decision",), (*_DECIDED, *_CHOICE), since_us=since_us):
        for row in _named(batch):
            chosen, d = row["chosen"], row["dimension"]
            logged.add(row["decision_id"])
            facts = _of(row, policies, ends, row["arms"][chosen], row["x"][chosen * d : (chosen + 1) * d], row["recorded_at"])
            if facts is not None:
                yield facts._replace(generation=row["generation"], deadline_us=row["reward_deadline"])
    for batch in log.batches(("evidence",), (*_TAUGHT, "grew"), since_us=since_us):
        for row in _named(batch.filter(batch["grew"]).select(_TAUGHT)):
            if row["decision_id"] not in logged:
                facts = _of(row, policies, ends, row["arm"], row["x"], row["decided_at"])
                if facts is not None:
                    yield facts


def _of(row: Mapping[str, Any], policies: Policies, ends: Ends, arm: str, x: Sequence[float], decided_at_us: int) -> _Facts | None:
    """None of a scope that was forgotten since, or a policy that is not published."""
    policy = policies.get(row["namespace"])
    if policy is None or decided_at_us <= ends.before(row["policy"], "", row["scope"]):
        return None
    return _Facts(
        row["decision_id"],
        policy,
        row["scope"],
        pack_facts_of(row["policy_version"], row["propensity"], row["scope"], arm, np.array(x, np.float64)),
        max((end.generation for end in ends.forgotten.get((row["policy"], row["scope"]), ())), default=0),
        decided_at_us,
        decided_at_us + rules_of(policy).window_us,
    )


def _made(row: Mapping[str, Any]) -> DecisionMade:
    k, d = len(row["arms"]), row["dimension"]
    decision = Decision(
        decision_id=DecisionId(row["decision_id"]),
        policy=PolicyName(row["policy"]),
        version=PolicyVersion(row["policy_version"]),
        namespace=Namespace(row["namespace"]),
        scope=ScopeId(row["scope"]),
        candidates=tuple(map(CandidateId, row["candidate_ids"])),
        arms=tuple(map(ArmId, row["arms"])),
        scores=np.array([row[name] for name in ("scores", "means", "uncertainties", "propensities")]).T,
        chosen=row["chosen"],
        propensity=row["propensity"],
        x=np.array(row["x"]).reshape(k, d),
        status=row["feature_status"],
        request_time=row["request_time"] / 1e6,
        seed=row["seed"] % (1 << 64),
        deferred=row["deferred"],
        served=row["served"],
        decided_at_claimed=None if row["decided_at"] is None else row["decided_at"] / 1e6,
    )
    return DecisionMade(decision, row["recorded_at"], row["reward_deadline"], row["generation"], row["body_hash"])


def _rows(log: Log, kind: str, columns: str, since_us: int) -> Iterator[tuple[Any, ...]]:
    return rows_in(log.table((kind,), columns.split(), since_us=since_us))


def _named(rows: pa.Table | pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Row by row; times in microseconds."""
    names = rows.schema.names
    return (dict(zip(names, row, strict=True)) for row in rows_in(rows))
