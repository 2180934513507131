"""Load from outside the server: which messages, how many at once or how often, and who can send them.

Three generators speak the same few words (`Load` in, `Answers` out): the compiled one of `loadgen/`, built when Go is on PATH; h2load,
which sends one message over and over, so that every call is about the same person; and a Python loop, whose own time is in what it
measures. Each load goes to the first of them that can send it, and every result says which that was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from policies.types import Floats

DEADLINE_S = 5.0
"""Of each call."""

TIMEOUT_S = 300.0
"""Of one load: whatever happens, it ends."""


class BenchmarkError(Exception):
    """Nothing can be measured, or what was measured is not what was asked for."""


class Message(NamedTuple):
    """One request: full name of its method (over HTTP: path), and its bytes."""

    method: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Load:
    """What to send and how.

    Args:
        messages: sent in turn, over and over.
        calls: how many to make.
        in_flight: calls under way at once, each answered before its place is taken by the next (closed loop).
        connections: that share the calls in turn.
        rate: calls a second, at random moments and whether or not earlier ones are answered (open loop); each call's time counts from
            the moment it was meant to begin. None: closed loop.
        seed: of those moments.
        protocol: ``unary`` or ``stream`` of gRPC, or ``http``: POST of JSON.
        distinct: whether every message must be sent, or replies are wanted: sending one over and over will not do.
    """

    messages: Sequence[Message]
    calls: int
    in_flight: int = 1
    connections: int = 1
    rate: float | None = None
    seed: int = 1
    protocol: Literal["unary", "stream", "http"] = "unary"
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of a load.

    Args:
        seconds: (calls,) how long each took, as its sender saw it.
        replies: (calls,) in the order of the calls; empty when the generator keeps none.
        wall_s: from the first call to the last answer.
        late_s: (calls,) how much later than meant each began, which is in its seconds too; None in a closed loop, or where nobody
            looked.
    """

    seconds: Floats
    replies: Sequence[bytes]
    wall_s: float
    late_s: Floats | None = None


class Generator(Protocol):
    """Sends a load; ends by itself. Every answer was OK and not empty, or it raises."""

    @property
    def name(self) -> str:
        """As results call it."""

    def can(self, load: Load) -> bool:
        """Whether it knows how to send that."""

    def send(self, address: str, load: Load) -> Answers:
        """Send it all to a server at ``host:port``.

        Raises:
            BenchmarkError: an answer was missing, empty or an error.
        """


def first_that_can(generators: Sequence[Generator], load: Load) -> Generator:
    """Who sends a load.

    Raises:
        BenchmarkError: nobody can.
    """
    for generator in generators:
        if generator.can(load):
            return generator
    raise BenchmarkError(f"no load generator here can send {load.protocol}")
