"""The decision store on Redis: each method one script, on one node or a cluster."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from redis.asyncio import RedisCluster
from redis.exceptions import ConnectionError

from policies.evidence import decayed
from policies.types import ArmId, DecisionId, Evidence, Namespace, PolicyName, ScopeId
from serving.ids import SHARDS, parse_decision_id, shard_of
from serving.ports import (
    ActivatedTooLate,
    ArmLimit,
    Decision,
    Forgotten,
    NotActivated,
    PublishedPolicy,
    Query,
    Recorded,
    RewardLimit,
    RewardOutcome,
    RewardStatus,
    Row,
    Snapshot,
    StoreError,
    Unavailable,
    UnknownDecision,
)
from serving.redis import scripts
from serving.redis.codec import pack_decision, pack_facts, unpack_decision, unpack_evidence
from serving.redis.connect import Client
from serving.redis.errors import unavailable
from serving.redis.keys import Keys, keys_of
from serving.redis.scripts import Argument, Script

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
        connections: scripts that may be under way at once; more wait.
    """

    sink: Literal["none", "drained"] = "none"
    outbox_limit: int = 256
    idempotency_window_s: float = 3600.0
    connections: int = 32

    def outbox(self, epoch: str) -> tuple[Argument, ...]:
        """What every writing script must know of the log: ``ARGV[1]`` to ``ARGV[3]``."""
        return (epoch, self.outbox_limit, int(self.sink != "none"))


class RedisDecisionStore:
    """`serving.ports.DecisionStore` on one Redis or Valkey node, or a cluster of them.

    Args:
        client: from `connect`; the caller closes it.
        epoch: names the log of a shard that has none yet; unguessable, so that a log begun anew is not taken for the old one.
        settings: how it keeps and logs.
    """

    def __init__(self, client: Client, epoch: str, settings: StoreSettings | None = None) -> None:
        settings = settings or StoreSettings()
        self._client = client
        self._on_cluster = isinstance(client, RedisCluster)
        self._under_way = asyncio.Semaphore(settings.connections)
        self._reply_ms = _ms(settings.idempotency_window_s)
        self._drained = settings.sink != "none"
        self._outbox = settings.outbox(epoch)

    async def read(self, query: Query) -> Snapshot:
        """See the port. On a cluster, feature rows lie in other slots and are read beside the script, not in it."""
        spec, scope, rows = query.policy.spec, query.scope, query.rows
        keys = keys_of(shard_of(spec.name, scope))
        generation_key = keys.generation(spec.name, scope)
        names: list[str | bytes] = [
            keys.evidence(query.policy.namespace, scope),
            generation_key,
            generation_key if query.request_id is None else keys.reply(spec.name, scope, query.request_id),
        ]
        arguments: list[Argument] = [len(query.arms), *query.arms]
        if self._on_cluster and rows:
            answer, found = await _together(self._read(scripts.READ, names, arguments), self._read_rows(rows))
        else:
            names += [key for key, _ in rows]
            for fields, run in groupby(fields for _, fields in rows):
                arguments += (len(list(run)), len(fields), *fields)
            answer = await self._read(scripts.READ, names, arguments)
            found = answer[5:]
        seconds, micros, generation, kept, packed = answer[:5]
        now_us = int(seconds) * 1_000_000 + int(micros)
        return Snapshot(
            now=now_us / 1e6,
            evidence=decayed(unpack_evidence(query.arms, packed, query.policy.dimension), now_us, spec.half_life_s),
            rows=found,
            generation=int(generation),
            recorded=_replayed(kept, int(generation)),
        )

    async def decide(
        self, policy: PublishedPolicy, decision: Decision, *, request_id: str | None, body_hash: bytes, generation: int
    ) -> Recorded:
        """See the port."""
        name, scope, rules = policy.spec.name, decision.scope, policy.spec.reward
        keys = keys_of(shard_of(name, scope))
        names = [
            keys.evidence(policy.namespace, scope),
            keys.generation(name, scope),
            keys.open(name, scope),
            keys.decision(decision.decision_id),
        ]
        if request_id is not None:
            names.append(keys.reply(name, scope, request_id))
        arguments: tuple[Argument, ...] = (
            generation,
            decision.decision_id,
            request_id or "",
            int(decision.deferred),
            _us(rules.window_s),
            _ms(rules.window_s + rules.late_grace_s),
            self._reply_ms,
            pack_facts(decision),
            pack_decision(decision, body_hash),
        )
        status, said = await self._write(scripts.DECIDE, keys, names, (*_rules(policy), *arguments))
        if status == b"REPLAYED":
            recorded = _replayed(said, generation)
            assert recorded is not None  # noqa: S101  the script compared the generations
            return recorded
        return Recorded(decision, None if decision.deferred else int(said) / 1e6, body_hash, replayed=False)

    async def activate(self, policy: PublishedPolicy, decision_id: DecisionId) -> float:
        """See the port."""
        keys, rules = _keys(decision_id), policy.spec.reward
        arguments = (decision_id, _us(rules.window_s), _ms(rules.window_s + rules.late_grace_s))
        _, deadline = await self._write(scripts.ACTIVATE, keys, [keys.decision(decision_id)], (*_rules(policy), *arguments))
        return int(deadline) / 1e6

    async def reward(
        self, policy: PublishedPolicy, decision_id: DecisionId, value: float, reward_id: str | None, occurred_at: float | None
    ) -> RewardOutcome:
        """See the port. All rewards of a decision that have no id count as one."""
        keys = _keys(decision_id)
        occurred = struct.pack("<d", math.nan if occurred_at is None else occurred_at)
        arguments = (decision_id, repr(float(value)), reward_id or "", occurred, policy.spec.reward.aggregate, MAX_REWARDS)
        status, *worth = await self._write(scripts.REWARD, keys, [keys.decision(decision_id)], (*_rules(policy), *arguments))
        return RewardOutcome(RewardStatus[status.decode()], struct.unpack("<d", worth[0])[0] if worth else None)

    async def evidence(self, policy: PublishedPolicy, scope: ScopeId) -> Evidence:
        """See the port."""
        keys = keys_of(shard_of(policy.spec.name, scope))
        seconds, micros, found = await self._read(scripts.EVIDENCE, [keys.evidence(policy.namespace, scope)], ())
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
            if isinstance(self._client, RedisCluster):
                await self._client.initialize()
                one_a_node = {self._client.get_node_from_key(keys.health): keys.health for keys in all_keys}
                await _together(*(self._client.set(key, 1, px=60_000) for key in one_a_node.values()))
            else:
                await self._client.set(keys_of(0).health, 1, px=60_000)

    async def _read_rows(self, rows: Sequence[Row]) -> Any:
        pipeline = self._client.pipeline()
        for key, fields in rows:
            pipeline.execute_command("HMGET", key, *fields)
        async with self._under_way:
            with unavailable():
                return await pipeline.execute()

    async def _read(self, script: Script, names: Sequence[str | bytes], arguments: Sequence[Argument]) -> Any:
        """Run a script that changes nothing: when the connection breaks it is asked once more."""
        try:
            return await self._run(script, names, arguments)
        except Unavailable as error:
            if not isinstance(error.__cause__, ConnectionError):
                raise
            return await self._run(script, names, arguments)

    async def _write(self, script: Script, keys: Keys, names: Sequence[str], arguments: Sequence[Argument]) -> Any:
        answer = await self._run(script, [keys.sequence, keys.outbox, *names], (*self._outbox, *arguments))
        if (refusal := _REFUSALS.get(answer[0])) is not None:
            raise type(refusal)(*refusal.args)
        return answer

    async def _run(self, script: Script, names: Sequence[str | bytes], arguments: Sequence[Argument]) -> Any:
        async with self._under_way:
            with unavailable():
                return await script.run(self._client, names, arguments)


def _rules(policy: PublishedPolicy) -> tuple[Argument, ...]:
    """What the scripts that learn must know of a policy: ``ARGV[4]`` to ``ARGV[9]``."""
    spec = policy.spec
    default = spec.reward.default
    # A decision in its window has taught its scope the default: that must not be dropped before the answer is in.
    life = "" if spec.idle_s is None else _ms(max(spec.idle_s, spec.reward.window_s) + IDLE_GRACE_S)
    half_life = "" if spec.half_life_s is None else repr(spec.half_life_s * 1e6)
    return (spec.name, policy.namespace, half_life, "" if default is None else repr(float(default)), spec.max_arms, life)


def _replayed(kept: bytes | None, generation: int) -> Recorded | None:
    """The earlier answer, unless its scope was forgotten since."""
    if kept is None:
        return None
    made = unpack_decision(kept)
    if made.generation != generation:
        return None
    return Recorded(made.decision, None if made.deadline_us is None else made.deadline_us / 1e6, made.body_hash, replayed=True)


async def _together(*calls: Awaitable[Any]) -> list[Any]:
    """The answers of several calls under way at once; when one fails, its error once all are over."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


def _keys(decision_id: DecisionId) -> Keys:
    parsed = parse_decision_id(decision_id)
    if parsed is None:
        raise _REFUSALS[b"UNKNOWN"]
    return keys_of(parsed[0])


def _us(seconds: float) -> int:
    return round(seconds * 1e6)


def _ms(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1e3))
