"""Fills an empty Redis from the log: evidence, decisions that can still be rewarded, kept replies, and who was forgotten."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from events.audit import Stage, by_namespace
from events.held import clocks, is_empty
from events.log import Advance, Log
from events.recompute import COLUMNS, TAUGHT, Ends, Recount, Sums
from events.records import Record, records, replies
from policies.evidence import AS_OF, VERSION
from policies.types import ArmId, Namespace, PolicyName, ScopeId
from serving.events import DecisionMade
from serving.ids import shard_of
from serving.ports import PublishedPolicy
from serving.redis.codec import pack_reply
from serving.redis.connect import Client
from serving.redis.errors import unavailable
from serving.redis.keys import keys_of
from serving.redis.link import Command
from serving.redis.published import load
from serving.redis.store import IDLE_GRACE_S, rules_of

_STEP = 1000
"""Commands sent at a time."""
_MEANWHILE = (
    "{key} was written meanwhile, so Redis holds neither what the log tells nor all of what happened since: stop every server, empty this "
    "Redis, publish the policies with `ooml apply`, and rebuild again"
)


class CannotRebuild(Exception):
    """Redis is not as it must be; nothing was changed, or its message says what was. It says what to do."""


@dataclass(slots=True)
class Rebuilt:
    """What was put back.

    Args:
        arms, scopes: of evidence.
        decisions: that can still be rewarded or activated.
        replies: to request_ids.
        forgotten: scopes that were forgotten, once or more often.
        unpublished: terms in the log, by namespace, that were left out because no published policy has the namespace.
    """

    arms: int = 0
    scopes: int = 0
    decisions: int = 0
    replies: int = 0
    forgotten: int = 0
    unpublished: Mapping[Namespace, int] = field(default_factory=dict)


class Rebuilder:
    """Puts back what the log tells.

    Args:
        client: from `connect`; owned by the caller.
        url: of the table.
        idempotency_window_s: for which replies are kept.
        stage: told how far it is.
    """

    def __init__(
        self, client: Client, url: str, idempotency_window_s: float, stage: Stage = lambda what, total: lambda count: None
    ) -> None:
        self._client = client
        self._url = url
        self._reply_ms = round(idempotency_window_s * 1000)
        self._stage = stage

    async def run(self, *, only_published: bool = False) -> Rebuilt:
        """Put everything back. Nobody may serve meanwhile.

        Args:
            only_published: leave out what belongs to no published policy, instead of refusing.

        Raises:
            CannotRebuild, Unavailable, TableUnavailable, ValueError.
        """
        if not await is_empty(self._client):
            raise CannotRebuild("Redis holds evidence or decisions: a rebuild fills an empty one. `ooml audit` says whether it is right")
        policies = by_namespace(await load(self._client))
        _, now_us = await clocks(self._client)
        log = Log(self._url)
        ends = Ends.of(log)
        recount = Recount({namespace: policy.spec.half_life_s for namespace, policy in policies.items()}, ends)
        for batch in log.batches(TAUGHT, COLUMNS, advance=self._stage("reading the log", log.rows)):
            recount.add(batch)
        if recount.unknown and not only_published:
            raise CannotRebuild(_unpublished(recount.unknown))
        found = Rebuilt(unpublished=recount.unknown)
        await self._put(self._forgotten(ends, found), "who was forgotten")
        for namespace, sums in recount.sums.items():
            await self._put(evidence(policies[namespace], sums, now_us, found), f"evidence of {policies[namespace].spec.name}")
        await self._put(self._decisions(log, policies, ends, now_us, found), "open decisions")
        return found

    def _forgotten(self, ends: Ends, found: Rebuilt) -> Iterator[Command]:
        for (policy, scope), times in ends.forgotten.items():
            keys = _keys(policy, scope)
            found.forgotten += 1
            yield Command(keys.slot, ("SET", keys.generation(PolicyName(policy), ScopeId(scope)), times[-1].generation, "NX"))

    def _decisions(
        self, log: Log, policies: Mapping[Namespace, PublishedPolicy], ends: Ends, now_us: int, found: Rebuilt
    ) -> Iterator[Command]:
        last: defaultdict[tuple[PolicyName, ScopeId], int] = defaultdict(int)
        for record in records(log, policies, ends, now_us):
            found.decisions += 1
            last[record.policy, record.scope] = max(record.expires_at_ms, last[record.policy, record.scope])
            yield from _record(record)
        for request_id, made in replies(log, policies, ends, now_us - 1000 * self._reply_ms):
            decision, expires_at_ms = made.decision, made.at_us // 1000 + self._reply_ms
            if expires_at_ms * 1000 > now_us:
                found.replies += 1
                last[decision.policy, decision.scope] = max(expires_at_ms, last[decision.policy, decision.scope])
                yield from _reply(request_id, made, expires_at_ms)
        for (policy, scope), at_ms in last.items():
            keys = _keys(policy, scope)
            # A little longer, as the scripts have it: so that they need not say so again at every decision.
            yield Command(keys.slot, ("PEXPIREAT", keys.open(policy, scope), at_ms + (at_ms - now_us // 1000) // 8))

    async def _put(self, commands: Iterable[Command], what: str) -> None:
        await put(self._client, commands, self._stage(f"writing {what}", None))


def evidence(policy: PublishedPolicy, sums: Sums, now_us: int, found: Rebuilt) -> Iterator[Command]:
    """What puts the evidence of a namespace in its place.

    Args:
        now_us: microseconds since the epoch. It is every row's version: higher than any that a replica may still hold.
        found: told how much it is.
    """
    by_scope: defaultdict[ScopeId, list[tuple[ArmId, int]]] = defaultdict(list)
    for (scope, arm), place in sums.arms.items():
        if sums.rows[place, VERSION] > 0:
            by_scope[scope].append((arm, place))
    idle_ms = rules_of(policy).idle_ms
    for scope, arms in by_scope.items():
        keys = _keys(policy.spec.name, scope)
        key = keys.evidence(policy.namespace, scope)
        rows = sums.rows[[place for _, place in arms]]
        rows[:, VERSION] = now_us
        found.scopes += 1
        found.arms += len(arms)
        for (arm, _), row in zip(arms, rows, strict=True):
            yield Command(keys.slot, ("HSETNX", key, arm, np.ascontiguousarray(row, "<f8").tobytes()))
        if idle_ms is not None:
            # At least until the janitor comes by, who says in the log that the scope is dropped.
            until_ms = max(int(rows[:, AS_OF].max()) // 1000 + idle_ms, now_us // 1000 + round(IDLE_GRACE_S * 1000))
            yield Command(keys.slot, ("PEXPIREAT", key, until_ms))


async def put(client: Client, commands: Iterable[Command], advance: Advance) -> None:
    """Send commands of which each must find its place empty.

    Raises:
        CannotRebuild: one did not; some were done.
        Unavailable.
    """
    some: list[Command] = []
    for command in commands:
        some.append(command)
        if len(some) == _STEP:
            await _send(client, some)
            advance(len(some))
            some = []
    await _send(client, some)
    advance(len(some))


async def _send(client: Client, commands: list[Command]) -> None:
    with unavailable():
        answers = await client.ask(commands) if commands else []
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, Exception):
                raise answer
            if answer in (None, 0) and command.words[0] != "ZADD":
                raise CannotRebuild(_MEANWHILE.format(key=command.words[1]))


def _record(record: Record) -> Iterator[Command]:
    keys = _keys(record.policy, record.scope)
    yield Command(keys.slot, ("SET", keys.decision(record.decision_id), record.packed, "PXAT", record.expires_at_ms, "NX"))
    yield Command(keys.slot, ("ZADD", keys.open(record.policy, record.scope), record.expires_at_ms, f"d{record.decision_id}"))


def _reply(request_id: str, made: DecisionMade, expires_at_ms: int) -> Iterator[Command]:
    policy, scope = made.decision.policy, made.decision.scope
    keys = _keys(policy, scope)
    yield Command(keys.slot, ("SET", keys.reply(policy, scope, request_id), pack_reply(made), "PXAT", expires_at_ms, "NX"))
    yield Command(keys.slot, ("ZADD", keys.open(policy, scope), expires_at_ms, f"r{request_id}"))


def _keys(policy: str, scope: str) -> Any:
    return keys_of(shard_of(PolicyName(policy), ScopeId(scope)))


def _unpublished(terms: Mapping[Namespace, int]) -> str:
    listed = ", ".join(f"{namespace} ({count} terms of evidence)" for namespace, count in sorted(terms.items()))
    return (
        f"no published policy has the namespaces {listed}, so it is not known how their evidence adds up. First publish with `ooml apply` "
        "what they were declared as (the older file, then the newer: both stay published), or leave them out with --only-published"
    )
