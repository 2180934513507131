"""Bytes of messages that are sent too often for the protobuf library, which takes an object and six assignments for each candidate.

A message may be written piece by piece: pieces of the same message add up when they stand one after the other. So the library writes what
is there once, and this module what is there for each candidate. Wire format: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from google.protobuf.message import Message
from ooml.bandit.v1 import bandit_pb2 as pb

from policies.types import ArmId
from serving.ports import Decision

BYTES, DOUBLE = 2, 1


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def tag(message: type[Message], name: str, wire_type: int) -> bytes:
    """What stands before a field's value."""
    return _varint(message.DESCRIPTOR.fields_by_name[name].number << 3 | wire_type)


SIZES = tuple(map(_varint, range(1024)))
"""Of all lengths that an id, an arm (256 bytes at most) and a candidate of both can have."""

_RANKING = tag(pb.ScoreResponse, "ranking", BYTES)
_ID = tag(pb.ScoredCandidate, "candidate_id", BYTES)
_ARM = tag(pb.ScoredCandidate, "arm", BYTES)
_NUMBERS = ("score", "mean", "uncertainty", "propensity")
_ROW = np.dtype([part for name in _NUMBERS for part in ((f"{name} tag", "u1"), (name, "<f8"))])
_TEMPLATE = np.zeros((), _ROW)
for _name in _NUMBERS:
    _TEMPLATE[f"{_name} tag"] = tag(pb.ScoredCandidate, _name, DOUBLE)[0]


def rankings(decided: Sequence[tuple[Decision, Sequence[int]]]) -> list[bytes]:
    """The part of each ScoreResponse that lists its candidates, without their features.

    Args:
        decided: decisions, and the (K,) indices into each slate in the order of the list.
    """
    if not decided:
        return []
    scores = np.concatenate([decision.scores for decision, _ in decided])
    rows = np.empty(len(scores), _ROW)
    rows[:] = _TEMPLATE
    for column, name in enumerate(_NUMBERS):
        rows[name] = scores[:, column]
    numbers, width, start = rows.tobytes(), _ROW.itemsize, 0
    parts = []
    for decision, order in decided:
        arms = list(map(_arm, decision.arms))
        names = [b"".join((_ID, SIZES[len(text)], text)) for text in map(str.encode, decision.candidates)]
        part: list[bytes] = []
        for k in order:
            own, arm, at = names[k], arms[k], start + width * k
            part += (_RANKING, SIZES[len(own) + len(arm) + width], own, arm, numbers[at : at + width])
        start += width * len(order)
        parts.append(b"".join(part))
    return parts


@lru_cache(maxsize=4096)
def _arm(arm: ArmId) -> bytes:
    """An arm as a field: the same few come again and again."""
    encoded = arm.encode()
    return b"".join((_ARM, SIZES[len(encoded)], encoded))


def field(message: type[Message], name: str) -> Callable[[bytes], bytes]:
    """Writes a message's field that holds another message, given its bytes."""
    before = tag(message, name, BYTES)
    return lambda payload: b"".join((before, _varint(len(payload)), payload))
