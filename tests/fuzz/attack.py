"""Rounds of calls against a server, and what was found."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc

from tests.fuzz.cases import METHODS, Case
from tests.fuzz.judge import Answer, problems
from tests.fuzz.site import Site

AT_ONCE = 8
DEADLINE_S = 15.0
"""A call that takes longer hangs."""
HURRIED_S = 0.003
MOST_BYTES = 640 << 20
"""Memory a worker may take at any time: that of so many of the longest messages at once, each read into many small pieces."""
GROWTH_BYTES = 32 << 20
WINDOW = 25
"""Rounds after which its least memory is compared with the most it took in as many first rounds: the first shows what is kept."""


@dataclass(frozen=True)
class Finding:
    """Something that must never happen, and the call after which it did; None: nobody knows which of the round's."""

    problem: str
    case: Case | None


@dataclass
class Attack:
    """One server under attack.

    Args:
        site: the server.
    """

    site: Site
    sent: int = 0
    rounds: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    _taken: list[int] = field(default_factory=list)
    _log_end: int = 0

    def round(self, cases: Sequence[Case], decisions: list[str]) -> list[Finding]:
        """Make a round of calls, then look at the server."""
        worker = self.site.worker.pid
        findings = list(self._all(cases, decisions))
        self.rounds += 1
        return [*findings, *(Finding(problem, None) for problem in self._look(worker))]

    def _look(self, worker: int) -> Iterator[str]:
        if self.site.worker.pid != worker:
            yield "the worker died"
            return
        lines, self._log_end = self.site.complaints(self._log_end)
        yield from (f"logged: {line}" for line in lines)
        if not self.site.canary_is_whole():
            yield "what the people nobody may hear of taught has changed"
        yield from self.look_at_memory()

    def look_at_memory(self) -> Iterator[str]:
        """What is wrong with the memory the worker takes; to be asked after each round."""
        self._taken.append(self.resident_bytes)
        if self._taken[-1] > MOST_BYTES:
            yield f"the worker takes {self._taken[-1] >> 20} MiB"
        if len(self._taken) % WINDOW == 0 and (grown := min(self._taken[-WINDOW:]) - max(self._taken[:WINDOW])) > GROWTH_BYTES:
            yield f"the worker keeps {grown >> 20} MiB more than it ever took in {WINDOW} rounds"

    @property
    def resident_bytes(self) -> int:
        """Memory the worker takes."""
        return int(self.site.worker.memory_info().rss)

    def _all(self, cases: Sequence[Case], decisions: list[str]) -> Iterator[Finding]:
        options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        bodies = [case.bodies(decisions) for case in cases]
        with grpc.insecure_channel(self.site.address, options) as channel, ThreadPoolExecutor(AT_ONCE) as threads:
            answers = threads.map(partial(send, channel), cases, bodies)
            for case, body, answer in zip(cases, bodies, answers, strict=True):
                self.sent += 1
                self.codes[answer.code.name] += 1
                self.slowest = max(self.slowest, (answer.took_s, case.name))
                yield from (Finding(problem, case) for problem in self._problems(case, body, answer))

    def _problems(self, case: Case, bodies: Sequence[bytes], answer: Answer) -> Iterator[str]:
        yield from problems(case, bodies, answer)
        if any(map(self.site.leaks, (*answer.replies, answer.message.encode(), answer.details or b""))):
            yield "tells of people nobody may hear of"


def send(channel: grpc.Channel, case: Case, bodies: Sequence[bytes]) -> Answer:
    """Make a call with these requests, byte for byte."""
    replies: list[bytes] = []
    began = time.monotonic()
    timeout = HURRIED_S if case.hurried else DEADLINE_S
    try:
        if METHODS[case.method].streams:
            ask: Any = channel.stream_stream(case.method)
            replies.extend(ask(iter(bodies), timeout=timeout))
        else:
            ask = channel.unary_unary(case.method)
            replies.append(ask(bodies[0], timeout=timeout))
    except grpc.RpcError as caught:
        error: Any = caught
        trailers = dict(error.trailing_metadata() or ())
        details = trailers.get("grpc-status-details-bin")
        return Answer(error.code(), error.details() or "", replies, details, time.monotonic() - began)
    return Answer(grpc.StatusCode.OK, "", replies, None, time.monotonic() - began)
