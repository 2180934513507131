"""What is sent: calls of every method, made from a seed alone."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from ooml.bandit.v1 import bandit_pb2, policy_pb2

from tests.fuzz import words
from tests.fuzz.messages import Maker, mutated

ROUND = 400
"""Cases to a round, after which the server is looked at."""
MOST_BYTES = 4 * 1024 * 1024
"""Longest message the contract allows."""


@dataclass(frozen=True)
class Method:
    """One method that can be called.

    Args:
        path: as gRPC names it.
        request, response: types of its messages.
        streams: whether it takes and gives any number of them.
        ours: whether its errors are what the contract says.
    """

    path: str
    request: Descriptor
    response: type[Any]
    streams: bool
    ours: bool


def _methods(service: ServiceDescriptor, ours: bool) -> Iterator[Method]:
    for method in service.methods:
        if method.client_streaming == method.server_streaming:  # Health's Watch ends only with its caller
            path = f"/{service.full_name}/{method.name}"
            yield Method(path, method.input_type, GetMessageClass(method.output_type), method.client_streaming, ours)


METHODS: Mapping[str, Method] = {
    method.path: method
    for module, ours in ((bandit_pb2, True), (policy_pb2, True), (health_pb2, False), (reflection_pb2, False))
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in _methods(service, ours)
}


@dataclass(frozen=True)
class Case:
    """One call.

    Args:
        name: says where it comes from.
        method: its path.
        messages: serialised requests, in which `words.decision` stands for ids.
        hurried: whether its deadline is too near to be met.
    """

    name: str
    method: str
    messages: tuple[bytes, ...]
    hurried: bool = False

    def bodies(self, decisions: list[str]) -> list[bytes]:
        """Its requests with the ids of decisions that were made."""
        filled = []
        for message in self.messages:
            for k, decision_id in enumerate(decisions):
                message = message.replace(words.decision(k).encode(), decision_id.encode())
            filled.append(message)
        return filled

    def save(self, path: Path, problem: str) -> None:
        """Keep it for `load`."""
        messages = [base64.b64encode(message).decode() for message in self.messages]
        kept = {"problem": problem, "name": self.name, "method": self.method, "hurried": self.hurried, "messages": messages}
        path.write_text(json.dumps(kept, indent=1))


def load(path: Path) -> Case:
    """A case that was kept."""
    kept = json.loads(path.read_text())
    return Case(kept["name"], kept["method"], tuple(map(base64.b64decode, kept["messages"])), kept["hurried"])


def cases(seed: int, number: int) -> Iterator[Case]:
    """A round of calls: the same ones for the same seed and number."""
    for k in range(ROUND):
        name = f"{seed}-{number}-{k}"
        rng = random.Random(name)
        method = rng.choice(_FREQUENT if rng.random() < 0.8 else list(METHODS.values()))
        count = rng.randint(0, 8) if method.streams else 1
        messages = tuple(_message(rng, method.request) for _ in range(count))
        yield Case(name, method.path, messages, rng.random() < 0.02)


_FREQUENT = [METHODS[f"/ooml.bandit.v1.BanditService/{name}"] for name in ("Score", "Reward", "BatchScore", "BatchReward", "ScoreStream")]


def _message(rng: random.Random, descriptor: Descriptor) -> bytes:
    kind = rng.random()
    if kind < 0.05:
        return rng.randbytes(rng.randrange(200))
    if kind < 0.055:
        return _vast(rng, descriptor)
    maker = Maker(rng, wild=rng.choice((0.02, 0.1, 0.5)))
    if kind < 0.20:
        message = maker.likely(descriptor)
    elif kind < 0.65:
        message = maker.nudged(descriptor)
    else:
        message = maker.any(descriptor)
    data: bytes = message.SerializeToString()
    if kind > 0.80:
        data = mutated(rng, data, maker.likely(descriptor).SerializeToString())
    return data[:MOST_BYTES]


def _vast(rng: random.Random, descriptor: Descriptor) -> bytes:
    """A message about as long as may be: one piece over and over, which is a field repeated, or the last of its values."""
    piece: bytes = Maker(rng, wild=0.1).any(descriptor, 0.2).SerializeToString() or rng.randbytes(9)
    return (piece * (MOST_BYTES // len(piece) + 1))[: MOST_BYTES - rng.choice((0, 1, 1_000))]
