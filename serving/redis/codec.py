"""The packed forms of decisions and events. ``docs/redis-keys.md`` gives them byte by byte; all numbers are little-endian.

Scripts write the heads (what only the store knows: times, generation), this module what the caller knows; it reads both.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from policies.rewards import Tally
from policies.types import HEADER, ArmId, DecisionId, Evidence, Floats, Namespace, PolicyName, PolicyVersion, ScopeId, triangle
from serving.events import Activated, DecisionMade, Event, EvidenceAdded, LogEntry, RewardRecorded, ScopeDropped, ScopeForgotten
from serving.ports import Decision, Inputs, RewardStatus

_FORMAT = 1
_DEFERRED, _SERVED, _CLAIMED, _ALIKE = 1, 2, 4, 8
_NUMBERS = struct.Struct("<BBIHHHHdddQ")
_MADE = struct.Struct("<ddd")
_FACTS = struct.Struct("<IdH")
_RECORD = struct.Struct("<BIddHHdd")
_INPUTS = struct.Struct("<BHHH")
_SIZE = struct.Struct("<H")
_SIZES = tuple(map(_SIZE.pack, range(1 << 16)))
"""Of all lengths a text may have: looked up, for half of what is packed is lengths."""


def pack_facts(decision: Decision) -> bytes:
    """What of a decision its record and its evidence keep: version, propensity, scope, chosen arm and x."""
    x = decision.x[decision.chosen]
    return pack_facts_of(decision.version, decision.propensity, decision.scope, decision.arms[decision.chosen], x)


def pack_facts_of(version: int, propensity: float, scope: str, arm: str, x: Floats) -> bytes:
    """The same, one by one."""
    return b"".join((_FACTS.pack(version, propensity, len(x)), *_texts((scope, arm)), _floats(x)))


def pack_record(
    facts: bytes, *, generation: int, decided_at_us: int, deadline_us: int | None, tally: Tally, reward_ids: Sequence[str]
) -> bytes:
    """The record of an open decision, as scripts write it.

    Args:
        facts: packed.
        generation: of its scope when it was made.
        deadline_us: end of its window; None while deferred.
        tally: of the rewards that came in time.
        reward_ids: of all rewards, in order.
    """
    active, deadline = deadline_us is not None, -1 if deadline_us is None else deadline_us
    head = _RECORD.pack(
        active, generation, decided_at_us, deadline, len(reward_ids), tally.count, tally.sum, 0.0 if tally.value is None else tally.value
    )
    return b"".join((head, facts, *_texts(reward_ids)))


def pack_reply(made: DecisionMade) -> bytes:
    """A kept reply, as scripts write it."""
    deadline = -1 if made.deadline_us is None else made.deadline_us
    return _MADE.pack(made.generation, made.at_us, deadline) + pack_decision(made.decision, made.body_hash)


def pack_decision(decision: Decision, body_hash: bytes) -> bytes:
    """A decision as it is logged and replied, but for its head. Where all candidates have the same vector, it stands there once."""
    k, d = decision.x.shape
    x = _floats(decision.x)
    first = x[: 8 * d]
    alike = x == first * k
    claimed = decision.decided_at_claimed
    flags = _DEFERRED * decision.deferred | _SERVED * decision.served | _CLAIMED * (claimed is not None) | _ALIKE * alike
    numbers = _NUMBERS.pack(
        _FORMAT,
        flags,
        decision.version,
        k,
        d,
        len(decision.status) // k,
        decision.chosen,
        decision.propensity,
        decision.request_time,
        claimed or 0.0,
        decision.seed,
    )
    texts = _texts((decision.decision_id, decision.policy, decision.namespace, decision.scope))
    slate = zip(map(str.encode, decision.candidates), map(_arm, decision.arms), strict=True)
    texts += [part for name, arm in slate for part in (_SIZES[len(name)], name, arm)]
    hashed = (_SIZE.pack(len(body_hash)), body_hash)
    return b"".join((numbers, *hashed, *texts, _floats(decision.scores), first if alike else x, decision.status))


def pack_inputs(inputs: Inputs) -> bytes:
    """What a decision was made from, as it is logged."""
    k, v = inputs.moments.shape
    return b"".join((_INPUTS.pack(_FORMAT, k, v, len(inputs.sources)), inputs.sources, _floats(inputs.moments), inputs.message))


def unpack_inputs(packed: bytes) -> Inputs:
    """What `pack_inputs` wrote.

    Raises:
        ValueError: it is of a format this version does not know.
    """
    reader = _Reader(packed)
    form, k, v, f = reader.numbers(_INPUTS)
    if form != _FORMAT:
        raise ValueError(f"inputs of format {form}; this version reads {_FORMAT}")
    sources = reader.take(f)
    moments = reader.floats(k * v).reshape(k, v)
    return Inputs(reader.rest(), moments, sources)


def unpack_decision(packed: bytes) -> DecisionMade:
    """A logged or kept decision, head included.

    Raises:
        ValueError: it is of a format this version does not know.
    """
    reader = _Reader(packed)
    generation, at, deadline = reader.numbers(_MADE)
    form, flags, version, k, d, f, chosen, propensity, request_time, claimed, seed = reader.numbers(_NUMBERS)
    if form != _FORMAT:
        raise ValueError(f"a decision of format {form}; this version reads {_FORMAT}")
    body_hash = reader.chunk()
    decision_id, policy, namespace, scope, *names = reader.texts(4 + 2 * k)
    decision = Decision(
        decision_id=DecisionId(decision_id),
        policy=PolicyName(policy),
        version=PolicyVersion(version),
        namespace=Namespace(namespace),
        scope=ScopeId(scope),
        candidates=tuple(names[::2]),
        arms=tuple(names[1::2]),
        scores=reader.floats(4 * k).reshape(k, 4),
        chosen=chosen,
        propensity=propensity,
        x=np.broadcast_to(reader.floats(d), (k, d)) if flags & _ALIKE else reader.floats(k * d).reshape(k, d),
        status=reader.rest(),
        request_time=request_time,
        seed=seed,
        deferred=bool(flags & _DEFERRED),
        served=bool(flags & _SERVED),
        decided_at_claimed=claimed if flags & _CLAIMED else None,
    )
    if len(decision.status) != k * f:
        raise ValueError(f"a decision with {len(decision.status)} statuses, not {k * f}")
    return DecisionMade(decision, int(at), None if deadline < 0 else int(deadline), int(generation), body_hash)


def unpack_evidence(
    arms: Sequence[ArmId], rows: Sequence[bytes | None], dimension: int, held: Mapping[ArmId, int] | None = None
) -> Evidence:
    """The evidence of some arms from their stored rows, None where there is none, but for those that are still at the version held."""
    if held:
        changed = [(arm, row) for arm, row in zip(arms, rows, strict=True) if row != b"" and (row is not None or held.get(arm) != 0)]
        arms, rows = [arm for arm, _ in changed], [row for _, row in changed]
    width = HEADER + dimension + triangle(dimension)
    joined = b"".join([row or bytes(8 * width) for row in rows])
    return Evidence(tuple(arms), np.frombuffer(joined, "<f8").reshape(len(rows), width), dimension)


def unpack_entry(fields: Mapping[bytes, bytes]) -> LogEntry:
    """An entry of the outbox from its fields, as ``XRANGE`` gives them."""
    return LogEntry(
        epoch=fields[b"epoch"].decode(),
        seq=int(fields[b"seq"]),
        namespace=Namespace(fields[b"ns"].decode()),
        scope=ScopeId(fields[b"scope"].decode()),
        shed=int(fields.get(b"shed", 0)),
        events=tuple(unpack(fields) for name, unpack in _EVENTS.items() if name in fields),
    )


def _decision(fields: Mapping[bytes, bytes]) -> DecisionMade:
    made = unpack_decision(fields[b"decision"])
    inputs = fields.get(b"inputs")
    return replace(made, inputs=unpack_inputs(inputs)) if inputs else made


def _activated(fields: Mapping[bytes, bytes]) -> Activated:
    reader = _Reader(fields[b"activated"])
    at, deadline = reader.numbers(struct.Struct("<dd"))
    return Activated(DecisionId(reader.text()), int(at), int(deadline))


def _reward(fields: Mapping[bytes, bytes]) -> RewardRecorded:
    reader = _Reader(fields[b"reward"])
    late, at, value, occurred_at = reader.numbers(struct.Struct("<Bddd"))
    return RewardRecorded(
        decision_id=DecisionId(reader.text()),
        reward_id=reader.text(),
        status=RewardStatus.LATE if late else RewardStatus.APPLIED,
        value=value,
        at_us=int(at),
        occurred_at=None if math.isnan(occurred_at) else occurred_at,
    )


def _evidence(fields: Mapping[bytes, bytes]) -> EvidenceAdded:
    reader = _Reader(fields[b"evidence"])
    grew, at, decided_at, before, after = reader.numbers(struct.Struct("<Bdddd"))
    decision_id, reward_id = reader.text(), reader.text()
    version, propensity, dimension = reader.numbers(_FACTS)
    reader.text()  # the scope, which the entry names already
    return EvidenceAdded(
        decision_id=DecisionId(decision_id),
        reward_id=reward_id,
        version=PolicyVersion(version),
        propensity=propensity,
        arm=ArmId(reader.text()),
        grew=bool(grew),
        before=before,
        after=after,
        at_us=int(at),
        decided_at_us=int(decided_at),
        x=reader.floats(dimension),
    )


def _forgotten(fields: Mapping[bytes, bytes]) -> ScopeForgotten:
    reader = _Reader(fields[b"forgotten"])
    at, generation = reader.numbers(struct.Struct("<dd"))
    return ScopeForgotten(PolicyName(reader.text()), int(generation), int(at))


def _dropped(fields: Mapping[bytes, bytes]) -> ScopeDropped:
    at, arms = struct.unpack("<dd", fields[b"dropped"])
    return ScopeDropped(int(arms), int(at))


_EVENTS: Mapping[bytes, Callable[[Mapping[bytes, bytes]], Event]] = {
    b"decision": _decision,
    b"activated": _activated,
    b"reward": _reward,
    b"evidence": _evidence,
    b"forgotten": _forgotten,
    b"dropped": _dropped,
}


class _Reader:
    """Takes packed bytes apart from the left."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._at = 0

    def numbers(self, form: struct.Struct) -> tuple[Any, ...]:
        found = form.unpack_from(self._packed, self._at)
        self._at += form.size
        return found

    def chunk(self) -> bytes:
        (size,) = _SIZE.unpack_from(self._packed, self._at)
        self._at += 2 + size
        return self._packed[self._at - size : self._at]

    def take(self, count: int) -> bytes:
        self._at += count
        return self._packed[self._at - count : self._at]

    def text(self) -> str:
        return self.chunk().decode()

    def texts(self, count: int) -> list[Any]:
        """So many, of whatever kind of name, in three quarters of the time of one by one."""
        packed, at, found = self._packed, self._at, []
        for _ in range(count):
            (size,) = _SIZE.unpack_from(packed, at)
            at += 2 + size
            found.append(packed[at - size : at].decode())
        self._at = at
        return found

    def floats(self, count: int) -> Floats:
        found = np.frombuffer(self._packed, "<f8", count, self._at)
        self._at += 8 * count
        return found

    def rest(self) -> bytes:
        return self._packed[self._at :]


def _texts(texts: Sequence[str]) -> list[bytes]:
    """Each text's size and bytes."""
    return [part for encoded in map(str.encode, texts) for part in (_SIZES[len(encoded)], encoded)]


@lru_cache(maxsize=4096)
def _arm(arm: ArmId) -> bytes:
    """An arm's size and bytes: the same few come again and again."""
    return b"".join(_texts((arm,)))


def _floats(values: Floats) -> bytes:
    return np.ascontiguousarray(values, "<f8").tobytes()
