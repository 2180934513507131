"""Messages of any type, made from its descriptor: some that a server must answer, some that no client would send."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from ooml.bandit.v1 import bandit_pb2 as pb

from tests.fuzz import words

RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
MOST_VALUES = 4_000
"""In one message, about."""


class Maker:
    """Makes messages; the same ones from the same generator.

    Args:
        rng: all chance comes from it.
        wild: how likely a value is one that goes wrong.
    """

    def __init__(self, rng: random.Random, wild: float) -> None:
        self._rng = rng
        self._wild = wild
        self._left = MOST_VALUES

    def any(self, descriptor: Descriptor, fill: float = 0.6) -> Any:
        """A message with any of its fields set to anything."""
        message = GetMessageClass(descriptor)()
        for field in descriptor.fields:
            if self._rng.random() < fill and self._left > 0:
                self._set(message, field)
        return message

    def _set(self, message: Message, field: FieldDescriptor) -> None:
        self._left -= 1
        if field.is_repeated:
            self._fill(getattr(message, field.name), field)
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(self.any(field.message_type))
        else:
            setattr(message, field.name, self._scalar(field))

    def _fill(self, container: Any, field: FieldDescriptor) -> None:
        size = self._size(field.name)
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
            for k in range(size):
                name = self._name(field.name) if k < len(words.NASTY_SIZES) else f"n{k}"
                if value.message_type is None:
                    container[name if key.type == FieldDescriptor.TYPE_STRING else self._scalar(key)] = self._scalar(value, name)
        elif entry is not None:
            container.extend(self.any(entry, 0.6 if size < 20 else 0.1) for _ in range(size))
        else:
            container.extend(self._scalar(field) for _ in range(size))

    def _size(self, name: str) -> int:
        if name in words.LIMITS and self._rng.random() < 0.03 * self._wild:
            return min(words.LIMITS[name] + self._rng.randint(-1, 1), max(self._left, 0))
        return self._rng.choice(words.NASTY_SIZES)

    def _name(self, field: str) -> str:
        likely: Sequence[str] = tuple(words.ENTITIES) if field == "entities" else words.FEATURES
        return self._rng.choice(words.NASTY_TEXTS if self._rng.random() < self._wild else likely)

    def _scalar(self, field: FieldDescriptor, key: str | None = None) -> Any:
        self._left -= 1
        kind, wild = field.cpp_type, self._rng.random() < self._wild
        if kind == FieldDescriptor.CPPTYPE_STRING:
            if field.type == FieldDescriptor.TYPE_BYTES:
                return self._rng.randbytes(self._rng.randrange(20))
            likely = words.ENTITIES.get(key or "") or words.LIKELY_TEXTS.get(field.name)
            return self._rng.choice(words.NASTY_TEXTS if wild or not likely else likely)
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return self._rng.random() < 0.5
        if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
            return self._rng.choice(words.NASTY_DOUBLES) if wild else self._rng.random()
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            return self._rng.choice(words.NASTY_INTEGERS[:6])
        low, high = RANGES[kind]
        number = self._rng.choice((*words.NASTY_INTEGERS, *words.TIMES) if wild else words.TIMES[2:5])
        return min(max(number, low), high)

    def likely(self, descriptor: Descriptor) -> Any:
        """A message that a server answers well, as far as chance can make one."""
        make = _LIKELY.get(descriptor.name)
        return make(self) if make else self.any(descriptor, 1.0)

    def nudged(self, descriptor: Descriptor) -> Any:
        """A likely message, a few of whose fields are set to anything, or taken away."""
        message = self.likely(descriptor)
        for _ in range(self._rng.randint(1, 3)):
            place: Message = message
            while (inner := self._inside(place)) and self._rng.random() < 0.6:
                place = self._rng.choice(inner)
            if not place.DESCRIPTOR.fields:
                break
            fields: Sequence[Any] = place.DESCRIPTOR.fields
            field = self._rng.choice(fields)
            place.ClearField(field.name)
            if self._rng.random() < 0.8:
                self._set(place, field)
        return message

    @staticmethod
    def _inside(message: Message) -> list[Message]:
        found: list[Message] = []
        for field, value in message.ListFields():
            if field.message_type is None or field.message_type.GetOptions().map_entry:
                continue
            found += list(value) if field.is_repeated else [value]
        return found

    def score(self) -> pb.ScoreRequest:
        """A Score of a served policy with all that it needs."""
        rng = self._rng
        policy = rng.choice(words.POLICIES)
        request = pb.ScoreRequest(policy=policy, entities={"user_id": rng.choice(words.PEOPLE)}, explain=rng.random() < 0.3)
        own = policy.startswith("tips")
        if not own:
            request.context["rain"] = rng.random()
        for k in range(rng.choice((1, 2, 3, 12, 40))):
            candidate = request.candidates.add(id=f"c{k}")
            if own:
                candidate.entities["task_id"] = rng.choice(words.ENTITIES["task_id"])
            else:
                candidate.features["price"] = rng.choice((-1.0, 0.5, 2.0))
        request.deferred = rng.random() < 0.2
        if rng.random() < 0.3:
            request.request_id = rng.choice(words.LIKELY_TEXTS["request_id"])
        if rng.random() < 0.3:
            request.request_time.CopyFrom(Timestamp(seconds=rng.choice(words.TIMES[1:6])))
        if rng.random() < 0.2:
            request.served.CopyFrom(pb.Served(candidate_id="c0", propensity=rng.random() or 1.0))
        return request

    def reward(self) -> pb.RewardRequest:
        """A Reward of a decision that was made."""
        rng = self._rng
        request = pb.RewardRequest(decision_id=words.decision(rng.randrange(words.DECISIONS)), reward_id=rng.choice(("", "a", "b", "c")))
        if rng.random() < 0.5:
            request.value = rng.random()
        else:
            request.outcome = rng.choice(words.LIKELY_TEXTS["outcome"])
        return request

    def scores(self) -> pb.BatchScoreRequest:
        """Several of them."""
        return pb.BatchScoreRequest(requests=[self.score() for _ in range(self._rng.choice((1, 2, 8)))])

    def rewards(self) -> pb.BatchRewardRequest:
        """Several of them."""
        return pb.BatchRewardRequest(requests=[self.reward() for _ in range(self._rng.choice((1, 2, 30)))])

    def streamed(self) -> pb.ScoreStreamRequest:
        """One of a stream."""
        return pb.ScoreStreamRequest(sequence=self._rng.randrange(2**64), request=self.score())


_LIKELY: dict[str, Callable[[Maker], Message]] = {
    "ScoreRequest": Maker.score,
    "RewardRequest": Maker.reward,
    "BatchScoreRequest": Maker.scores,
    "BatchRewardRequest": Maker.rewards,
    "ScoreStreamRequest": Maker.streamed,
}


def mutated(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Bytes with a few things wrong: flipped, cut, doubled, put in, or joined with another message's."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        to = min(len(data), at + rng.randrange(1, 16))
        match rng.randrange(7):
            case 0 if data:
                at = min(at, len(data) - 1)
                data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
            case 1:
                data = data[:at]
            case 2:
                data = data[:at] + data[to:]
            case 3:
                data = data[:at] + data[at:to] * rng.randrange(2, 6) + data[to:]
            case 4:
                data = data[:at] + rng.randbytes(rng.randrange(1, 12)) + data[at:]
            case 5:
                data = data[:at] + rng.choice(_AWKWARD) + data[at:]
            case _:
                data = data[:at] + other[rng.randrange(len(other) + 1) :]
    return data


_AWKWARD = (
    b"\xff" * 10,  # a number too long
    b"\x80" * 9 + b"\x01",
    b"\x0a\xff\xff\xff\xff\x07",  # a text of 2 GiB
    b"\x0a\x02\xc3\x28",  # a text that is no UTF-8
    b"\x0b" * 64,  # groups within groups
    b"\x0c",
    b"\x00",
    struct.pack("<d", float("nan")),
)
