"""What every call passes through: whether it may enter, how long it may take, what becomes of its errors, who hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal, Protocol, TypeVar

import structlog
from google.rpc.status_pb2 import Status

from serving.ports import Unavailable
from serving.transport.admission import CALLER
from serving.transport.deadlines import Deadlines
from serving.transport.errors import Draining, OutOfTime, TooManyInFlight
from serving.transport.status import INTERNAL, answer_to, code_of, status_of, without_frames

log = structlog.get_logger()

T = TypeVar("T")

WORK = 0.9
"""Part of a call's time that work may take, so that an answer still reaches a caller whose store hangs."""
LEAST_S = 0.001
"""A call with less time left is not begun."""


class Observer(Protocol):
    """Hears of every call. A policy is named only if it is served, else it is empty."""

    def began(self) -> None:
        """A call came in; `ended` follows."""

    def ended(self, method: str, policy: str, code: str, duration_s: float) -> None:
        """That call was answered."""

    def decided(self, policy: str) -> None:
        """A decision was made: not a repeated answer to the same request."""

    def refused(self, why: str) -> None:
        """A caller was turned away, or one request of theirs; why is one of a few words."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds calls.

    Args:
        max_in_flight: calls handled at once; a batch is one, a stream as many as its requests being answered.
        default_deadline_s: of a call whose caller set none, and of each request of a stream.
        access_log: severity of the one line written per call.
    """

    max_in_flight: int = 256
    default_deadline_s: float = 1.0
    access_log: Literal["off", "debug", "info"] = "debug"


class Ending:
    """Something that comes to an end once, and the blocks of code that are left, wherever they wait, when it does."""

    def __init__(self) -> None:
        self.ended = False
        self._blocks: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def leaves(self) -> AsyncIterator[None]:
        """Around a block; left at once if the end has come."""
        block = asyncio.timeout(0 if self.ended else None)
        try:
            async with block:
                self._blocks.add(block)
                yield
        except TimeoutError:
            if not block.expired():
                raise
        finally:
            self._blocks.discard(block)

    def end(self) -> None:
        """It ends now, for good."""
        self.ended = True
        now = asyncio.get_running_loop().time()
        for block in self._blocks:
            block.reschedule(now)


class Calls:
    """All calls of one server.

    Args:
        served: whether a policy of that name is served. Other names are not passed on: anybody could make metrics without end.
    """

    def __init__(self, limits: Limits, observer: Observer, served: Callable[[str], bool]) -> None:
        self._limits = limits
        self._served = served
        self._observer = observer
        self._deadlines = Deadlines()
        self._drain = Ending()
        self._in_flight = 0
        self._streams = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def decided(self, policy: str) -> None:
        """Tell that a decision was made."""
        self._observer.decided(policy)

    def allotted_s(self, remaining_s: float | None) -> float:
        """A call's whole time, given what its caller left of it (None: no deadline)."""
        return self._limits.default_deadline_s if remaining_s is None else remaining_s

    async def answer(self, method: str, policy: str, remaining_s: float | None, work: Callable[[], Awaitable[T]]) -> T | Status:
        """Do a call's work if it may enter: what it returns, or the status of what went wrong. Raises only when cancelled.

        Args:
            method: for logs and metrics.
            policy: likewise, as the caller names it; empty when the call names none.
            remaining_s: until the caller's deadline; None without one.
            work: begun at most once.
        """
        call = _Call(self, method, policy)
        answer: T | Status | None = call.refusal
        try:
            if call.refusal is not None:
                return call.refusal
            answer = await self.attempt(method, WORK * self.allotted_s(remaining_s), work)
            return answer
        finally:
            call.end(answer)

    def follow(
        self,
        method: str,
        policy: str,
        remaining_s: float | None,
        work: Callable[[], asyncio.Future[T]],
        tell: Callable[[T | Status | None], None],
    ) -> None:
        """`answer` for work that is a future, without a task that waits for it.

        Args:
            work: cancelled when its time is over; whoever asked for it may cancel it too.
            tell: told once, now or later, of what `answer` would return; of None if whoever asked cancelled the work.
        """
        call = _Call(self, method, policy)
        allotted_s = WORK * self.allotted_s(remaining_s)
        if call.refusal is None and allotted_s < LEAST_S:
            call.refusal = status_of(OutOfTime())
        if call.refusal is not None:
            call.end(call.refusal)
            tell(call.refusal)
            return
        future = work()
        limit = self._deadlines.limit(future, allotted_s)

        def done(future: asyncio.Future[T]) -> None:
            limit.lift()
            outcome = None if future.cancelled() and not limit.reached else self.outcome(method, future)
            call.end(outcome)
            tell(outcome)

        future.add_done_callback(done)

    async def attempt(self, method: str, timeout_s: float, work: Callable[[], Awaitable[T]]) -> T | Status:
        """Do work within a time: what it returns, or the status of what went wrong. Raises only when cancelled."""
        try:
            if timeout_s < LEAST_S:
                raise OutOfTime
            try:
                with self._deadlines.within(timeout_s):
                    return await work()
            except TimeoutError as error:
                raise _late() from error
        except Exception as error:
            return self.told(method, error)

    def outcome(self, method: str, answer: asyncio.Future[Any]) -> Any:
        """What is known of an answer when its time is over: itself, or the status of what went wrong."""
        if answer.cancelled():
            return status_of(_late())
        error = answer.exception()
        if error is None:
            return answer.result()
        if not isinstance(error, Exception):
            raise error
        return self.told(method, error)

    def told(self, method: str, error: Exception) -> Status:
        """The status of an error; one that nobody planned is logged, one about its caller counted."""
        if answer_to(error) is INTERNAL:
            log.error("call failed", method=method, exc_info=error)
        if why := getattr(error, "why", ""):
            self._observer.refused(why)
        return status_of(without_frames(error))

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[None]:
        """Around a stream, which counts as in flight only through its requests.

        Raises:
            Draining.
        """
        if self._drain.ended:
            raise Draining
        self._enter(0, +1)
        try:
            yield
        finally:
            self._enter(0, -1)

    def until_drained(self) -> AbstractAsyncContextManager[None]:
        """Around the reading of a stream: leaves the block, wherever it waits, once the server begins to drain."""
        return self._drain.leaves()

    def check_draining(self) -> None:
        """Raises Draining once the server drains."""
        if self._drain.ended:
            raise Draining

    def drain(self) -> None:
        """Refuse new calls, and stop reading streams; calls in flight go on."""
        self._drain.end()

    async def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no call is in flight and no stream open; whether it came to that."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        return self._idle.is_set()

    def _enter(self, calls: int, streams: int) -> None:
        self._in_flight += calls
        self._streams += streams
        if self._in_flight or self._streams:
            self._idle.clear()
        else:
            self._idle.set()

    def _refusal(self) -> Status | None:
        if self._drain.ended:
            return status_of(Draining())
        if self._in_flight >= self._limits.max_in_flight:
            return status_of(TooManyInFlight(self._limits.max_in_flight))
        return None

    def _ended(self, method: str, policy: str, answer: object, duration_s: float) -> None:
        message = None
        if answer is None:
            code = "CANCELLED"
        elif isinstance(answer, Status):
            code, message = code_of(answer).name, answer.message
        else:
            code = "OK"
        self._observer.ended(method, policy, code, duration_s)
        if self._limits.access_log != "off":
            level, caller = _LEVELS[self._limits.access_log], CALLER.get().id  # who that is, its work has told
            log.log(level, "call", method=method, policy=policy, code=code, ms=_ms(duration_s), error=message, caller=caller)


class _Call:
    """One call from when it comes in to its answer: counted if it may enter, else refused; told of in any case."""

    __slots__ = ("_began", "_calls", "_entered", "_method", "_policy", "refusal")

    def __init__(self, calls: Calls, method: str, policy: str) -> None:
        self._began = perf_counter()  # the loop's own clock may count whole milliseconds
        self._calls, self._method = calls, method
        self._policy = policy if policy and calls._served(policy) else ""
        calls._observer.began()
        self.refusal = calls._refusal()
        self._entered = self.refusal is None
        if self._entered:
            calls._enter(+1, 0)

    def end(self, answer: object) -> None:
        """It is answered, or (None) its caller has left."""
        if self._entered:
            self._calls._enter(-1, 0)
        self._calls._ended(self._method, self._policy, answer, perf_counter() - self._began)


def _late() -> Unavailable:
    return Unavailable("the store did not answer in time; whether the call took effect is not known")


_LEVELS = {"debug": 10, "info": 20}


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
