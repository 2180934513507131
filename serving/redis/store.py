"""The decision store on Redis: each method one script, on one node or a cluster."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from redis.exceptions import ConnectionError

from features.packed import pack
from policies.evidence import decayed
from policies.remember import remembered
from policies.types import ArmId, DecisionId, Evidence, Namespace, PolicyName, ScopeId
from serving.ids import SHARDS, parse_decision_id, shard_of
from serving.ports import (
    ActivatedTooLate,
    ArmLimit,
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
    Unavailable,
    UnknownDecision,
)
from serving.redis import scripts
from serving.redis.codec import pack_decision, pack_facts, pack_inputs, unpack_decision, unpack_evidence
from serving.redis.connect import Client
from serving.redis.errors import refusal, unavailable
from serving.redis.keys import Keys, keys_of
from serving.redis.link import Command, LinkedCluster, slot_of
from serving.redis.scripts import Call, Script
from serving.redis.wire import Argument

MAX_REWARDS = 100
"""Rewards one decision may have."""

IDLE_GRACE_S = 7 * 86_400.0
"""How long idle evidence waits for the janitor before it expires unlogged."""

ERASED_AT_ONCE = 128
"""Members or entries one call of `forget` looks at."""

_REFUSALS: dict[bytes, StoreError] = {
    b"UNKNOWN": UnknownDecision("no such decision, or its window and grace are over"),
    b"NOT_ACTIVATED": NotActivated("the decision was deferred and never activated"),
    b"TOO_LATE": ActivatedTooLate("a deferred decision can be activated only within one window from the decision"),
    b"FORGOTTEN": Forgotten("the scope was forgotten after the decision was made"),
    b"ARM_LIMIT": ArmLimit("the scope already holds as many arms as the policy allows"),
    b"REWARD_LIMIT": RewardLimit(f"the decision already has {MAX_REWARDS} rewards"),
    b"FULL": Unavailable("the event log is full: its sink is too far behind"),
}


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How a store keeps and logs.

    Args:
        sink: ``none``: nobody reads the log, so each shard's keeps about its newest ``outbox_limit`` entries; ``drained``: somebody does.
            Then decisions are left out of the log from half the limit on, and at the limit nothing more is accepted.
        outbox_limit: entries a shard's log may hold.
        idempotency_window_s: seconds for which an answer to a request_id is kept.
    """

    sink: Literal["none", "drained"] = "none"
    outbox_limit: int = 256
    idempotency_window_s: float = 3600.0

    @property
    def outbox(self) -> tuple[Argument, ...]:
        """What every script that logs must know: ``ARGV[1]`` to ``ARGV[3]``; the first is put in when it is sent."""
        return ("", self.outbox_limit, int(self.sink != "none"))


class RedisDecisionStore:
    """`serving.ports.DecisionStore` on one Redis or Valkey node, or a cluster of them.

    Args:
        client: from `connect`; the caller closes it.
        settings: how it keeps and logs.
    """

    def __init__(self, client: Client, settings: StoreSettings | None = None) -> None:
        settings = settings or StoreSettings()
        self._client = client
        self._on_cluster = isinstance(client, LinkedCluster)
        self._reply_ms = _ms(settings.idempotency_window_s)
        self._drained = settings.sink != "none"
        self._outbox = settings.outbox

    async def read(self, queries: Sequence[Query]) -> list[Snapshot | Exception]:
        """See the port. On a cluster, feature rows lie in other slots and are read beside the scripts, not in them."""
        calls = [self._reading(query) for query in queries]
        beside = (
            [Command(slot_of(key), ("HMGET", key, *fields)) for query in queries for key, fields in query.rows] if self._on_cluster else []
        )
        answers = await self._ask_again(scripts.READ, calls, beside)
        found = iter(answers[len(calls) :])
        snapshots: list[Snapshot | Exception] = []
        for query, answer in zip(queries, answers, strict=False):
            rows = [next(found) for _ in query.rows] if self._on_cluster else ()
            wrong = [a for a in (answer, *rows) if isinstance(a, Exception)]
            if wrong:
                snapshots.append(refusal(wrong[0]))
            else:
                snapshots.append(_snapshot(query, answer[:5], list(map(pack, rows)) if self._on_cluster else answer[5:]))
        return snapshots

    async def decide(self, drafts: Sequence[Draft]) -> list[Recorded | Exception]:
        """See the port."""
        answers = await scripts.DECIDE.run_all(self._client, [self._drafting(draft) for draft in drafts])
        return [_recorded(draft, answer) for draft, answer in zip(drafts, answers, strict=True)]

    async def activate(self, policy: PublishedPolicy, decision_id: DecisionId) -> float:
        """See the port."""
        keys, rules = _keys(decision_id), rules_of(policy)
        arguments = (*rules.learning, decision_id, rules.window_us, rules.life_ms)
        _, deadline = await self._write(scripts.ACTIVATE, keys, [keys.decision(decision_id)], arguments)
        return int(deadline) / 1e6

    async def reward(self, rewards: Sequence[Told]) -> list[RewardOutcome | Exception]:
        """See the port."""
        calls = [self._telling(told) for told in rewards]
        answers = iter(await scripts.REWARD.run_all(self._client, [call for call in calls if call is not None]))
        return [UnknownDecision(*_REFUSALS[b"UNKNOWN"].args) if call is None else _outcome(next(answers)) for call in calls]

    async def evidence(self, policy: PublishedPolicy, scope: ScopeId) -> Evidence:
        """See the port."""
        keys = keys_of(shard_of(policy.spec.name, scope))
        (answer,) = await self._ask_again(scripts.EVIDENCE, [Call(keys.slot, [keys.evidence(policy.namespace, scope)], ())], ())
        if isinstance(answer, Exception):
            raise refusal(answer)
        seconds, micros, found = answer
        stored = sorted(zip(map(bytes.decode, found[::2]), found[1::2], strict=True))
        evidence = unpack_evidence([ArmId(arm) for arm, _ in stored], [row for _, row in stored], policy.dimension)
        return decayed(evidence, int(seconds) * 1_000_000 + int(micros), policy.spec.half_life_s)

    async def forget(self, name: PolicyName, namespaces: Sequence[Namespace], scope: ScopeId) -> None:
        """See the port. Where nobody drains the log, what it says of the scope is erased as well."""
        keys = keys_of(shard_of(name, scope))
        generation = keys.generation(name, scope)
        names = [generation, *(keys.evidence(namespace, scope) for namespace in namespaces)]
        _, logged = await self._write(scripts.FORGET, keys, names, (name, scope))
        cursor = b"0"
        while True:
            page: tuple[Argument, ...] = (cursor, ERASED_AT_ONCE, keys.decision(DecisionId("")), keys.reply(name, scope, ""))
            cursor = await self._run(scripts.ERASE, [keys.open(name, scope), generation], page)
            if cursor == b"0":
                break
        after = b"" if self._drained else b"-"
        while after:
            page = (after if after == b"-" else b"(" + after, b"(" + logged, ERASED_AT_ONCE, scope, *namespaces)
            after = await self._run(scripts.UNLOG, [keys.outbox], page)

    async def ping(self) -> None:
        """See the port. On a cluster every master must answer."""
        all_keys = map(keys_of, range(SHARDS))
        with unavailable():
            if isinstance(self._client, LinkedCluster):
                await self._client.initialize()
                one_a_node = {self._client.get_node_from_key(keys.health): keys.health for keys in all_keys}
                await asyncio.gather(*(self._client.set(key, 1, px=60_000) for key in one_a_node.values()))
            else:
                await self._client.set(keys_of(0).health, 1, px=60_000)

    def _reading(self, query: Query) -> Call:
        name, scope = query.policy.spec.name, query.scope
        keys = keys_of(shard_of(name, scope))
        generation = keys.generation(name, scope)
        reply = generation if query.request_id is None else keys.reply(name, scope, query.request_id)
        names: list[str | bytes] = [keys.evidence(query.policy.namespace, scope), generation, reply]
        held = struct.pack(f"<{len(query.arms)}d", *(query.held.get(arm, -1) for arm in query.arms)) if query.held else b""
        arguments: list[Argument] = [len(query.arms), held, *query.arms]
        if not self._on_cluster:
            names += [key for key, _ in query.rows]
            for fields, run in groupby(fields for _, fields in query.rows):
                arguments += (len(list(run)), len(fields), *fields)
        return Call(keys.slot, names, arguments)

    def _drafting(self, draft: Draft) -> Call:
        policy, decision = draft.policy, draft.decision
        name, scope, rules = policy.spec.name, decision.scope, rules_of(policy)
        keys = keys_of(shard_of(name, scope))
        names = [
            keys.sequence,
            keys.outbox,
            keys.evidence(policy.namespace, scope),
            keys.generation(name, scope),
            keys.open(name, scope),
            keys.decision(decision.decision_id),
        ]
        if draft.request_id is not None:
            names.append(keys.reply(name, scope, draft.request_id))
        arguments: tuple[Argument, ...] = (
            *self._outbox,
            *rules.learning,
            draft.generation,
            decision.decision_id,
            draft.request_id or "",
            int(decision.deferred),
            rules.window_us,
            rules.life_ms,
            self._reply_ms,
            pack_facts(decision),
            pack_decision(decision, draft.body_hash),
            b"" if draft.inputs is None else pack_inputs(draft.inputs),
        )
        return Call(keys.slot, names, arguments)

    def _telling(self, told: Told) -> Call | None:
        """None when no decision has such an id."""
        parsed = parse_decision_id(told.decision_id)
        if parsed is None:
            return None
        keys = keys_of(parsed[0])
        arguments: tuple[Argument, ...] = (
            *self._outbox,
            *rules_of(told.policy).learning,
            told.decision_id,
            repr(float(told.value)),
            told.reward_id or "",
            struct.pack("<d", math.nan if told.occurred_at is None else told.occurred_at),
            told.policy.spec.reward.aggregate,
            MAX_REWARDS,
        )
        return Call(keys.slot, [keys.sequence, keys.outbox, keys.decision(told.decision_id)], arguments)

    async def _ask_again(self, script: Script, calls: Sequence[Call], beside: Sequence[Command]) -> list[Any]:
        """Run a script that changes nothing: what got no answer because the connection broke is asked once more."""
        answers = await script.run_all(self._client, calls, beside)
        lost = [place for place, answer in enumerate(answers) if isinstance(answer, ConnectionError)]
        if lost:
            again = [calls[place] for place in lost if place < len(calls)]
            others = [beside[place - len(calls)] for place in lost if place >= len(calls)]
            for place, answer in zip(lost, await script.run_all(self._client, again, others), strict=True):
                answers[place] = answer
        return answers

    async def _write(self, script: Script, keys: Keys, names: Sequence[str], arguments: Sequence[Argument]) -> Any:
        (answer,) = await script.run_all(self._client, [Call(keys.slot, [keys.sequence, keys.outbox, *names], (*self._outbox, *arguments))])
        if (refused := _refused(answer)) is not None:
            raise refused
        return answer

    async def _run(self, script: Script, names: Sequence[str | bytes], arguments: Sequence[Argument]) -> Any:
        with unavailable():
            return await script.run(self._client, names, arguments)


@dataclass(frozen=True, slots=True)
class Rules:
    """What scripts must know of a policy.

    Args:
        learning: those that learn: ``ARGV[4]`` to ``ARGV[9]``.
        window_us: of a decision, microseconds.
        life_ms: of its record, milliseconds.
    """

    learning: tuple[Argument, ...]
    window_us: int
    life_ms: int

    @property
    def idle_ms(self) -> int | None:
        """How long evidence nobody touches lives, milliseconds; None: for ever."""
        idle = self.learning[-1]
        return idle if isinstance(idle, int) else None


@remembered
def rules_of(policy: PublishedPolicy) -> Rules:
    """What scripts must know of it."""
    spec, reward = policy.spec, policy.spec.reward
    # A decision in its window has taught its scope the default: that must not be dropped before the answer is in.
    idle = "" if spec.idle_s is None else _ms(max(spec.idle_s, reward.window_s) + IDLE_GRACE_S)
    half_life = "" if spec.half_life_s is None else repr(spec.half_life_s * 1e6)
    default = "" if reward.default is None else repr(float(reward.default))
    learning = (spec.name, policy.namespace, half_life, default, spec.max_arms, idle)
    return Rules(learning, _us(reward.window_s), _ms(reward.window_s + reward.late_grace_s))


def _refused(answer: Any) -> Exception | None:
    """Why a script that writes did nothing; None: it did."""
    if isinstance(answer, Exception):
        return refusal(answer)
    if (refused := _REFUSALS.get(answer[0])) is not None:
        return type(refused)(*refused.args)
    return None


def _recorded(draft: Draft, answer: Any) -> Recorded | Exception:
    if (refused := _refused(answer)) is not None:
        return refused
    status, said = answer
    if status == b"REPLAYED":
        recorded = _replayed(said, draft.generation)
        assert recorded is not None  # noqa: S101  the script compared the generations
        return recorded
    return Recorded(draft.decision, None if draft.decision.deferred else int(said) / 1e6, draft.body_hash, replayed=False)


def _outcome(answer: Any) -> RewardOutcome | Exception:
    if (refused := _refused(answer)) is not None:
        return refused
    status, *worth = answer
    return RewardOutcome(RewardStatus[status.decode()], struct.unpack("<d", worth[0])[0] if worth else None)


def _snapshot(query: Query, answer: Sequence[Any], rows: Sequence[bytes]) -> Snapshot:
    seconds, micros, generation, kept, packed = answer
    now_us = int(seconds) * 1_000_000 + int(micros)
    evidence = unpack_evidence(query.arms, packed, query.policy.dimension, query.held)
    return Snapshot(
        now=now_us / 1e6,
        evidence=decayed(evidence, now_us, query.policy.spec.half_life_s),
        rows=rows,
        generation=int(generation),
        recorded=_replayed(kept, int(generation)),
    )


def _replayed(kept: bytes | None, generation: int) -> Recorded | None:
    """The earlier answer, unless its scope was forgotten since."""
    if kept is None:
        return None
    made = unpack_decision(kept)
    if made.generation != generation:
        return None
    return Recorded(made.decision, None if made.deadline_us is None else made.deadline_us / 1e6, made.body_hash, replayed=True)


def _keys(decision_id: DecisionId) -> Keys:
    parsed = parse_decision_id(decision_id)
    if parsed is None:
        raise UnknownDecision(*_REFUSALS[b"UNKNOWN"].args)
    return keys_of(parsed[0])


def _us(seconds: float) -> int:
    return round(seconds * 1e6)


def _ms(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1e3))
