"""Work that is cut off when its time is over. One timer serves all that ends within the same few milliseconds."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

TICK_S = 0.005
"""How late work may be cut off."""


class Deadlines:
    """All work of one event loop that is bounded in time. A timer each (`asyncio.timeout`) would take three times as long."""

    def __init__(self) -> None:
        self._due: dict[int, set[Bound | Limit]] = {}

    def within(self, seconds: float) -> Bound:
        """A block of code that may take so long. When it takes longer it is cancelled where it waits, and raises TimeoutError."""
        return Bound(self, seconds)

    def limit(self, future: asyncio.Future[Any], seconds: float) -> Limit:
        """A future that may take so long, and is cancelled when it takes longer."""
        return Limit(self, future, seconds)

    def add(self, bound: Bound | Limit, seconds: float) -> int:
        """Watch something; the tick at which it is cut off."""
        loop = asyncio.get_running_loop()
        tick = int((loop.time() + seconds) / TICK_S) + 1
        due = self._due.get(tick)
        if due is None:
            due = self._due[tick] = set()
            loop.call_at(tick * TICK_S, self._cut, tick)
        due.add(bound)
        return tick

    def drop(self, bound: Bound | Limit, tick: int) -> None:
        """Watch it no more."""
        due = self._due.get(tick)
        if due is not None:
            due.discard(bound)

    def _cut(self, tick: int) -> None:
        for bound in self._due.pop(tick):
            bound.cut()


class Bound:
    """See `Deadlines.within`."""

    __slots__ = ("_cancelled_before", "_cut", "_deadlines", "_seconds", "_task", "_tick")

    def __init__(self, deadlines: Deadlines, seconds: float) -> None:
        self._deadlines = deadlines
        self._seconds = seconds
        self._cut = False

    def __enter__(self) -> None:
        task: asyncio.Task[Any] | None = asyncio.current_task()
        assert task is not None  # noqa: S101  only coroutines wait
        self._task = task
        self._cancelled_before = task.cancelling()
        self._tick = self._deadlines.add(self, self._seconds)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._deadlines.drop(self, self._tick)
        if self._cut and self._task.uncancel() <= self._cancelled_before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def cut(self) -> None:
        """Its time is over."""
        self._cut = True
        self._task.cancel()


class Limit:
    """See `Deadlines.limit`."""

    __slots__ = ("_deadlines", "_future", "_tick", "reached")

    def __init__(self, deadlines: Deadlines, future: asyncio.Future[Any], seconds: float) -> None:
        self._deadlines = deadlines
        self._future = future
        self.reached = False
        self._tick = deadlines.add(self, seconds)

    def lift(self) -> None:
        """The future is done; what cuts it off need not watch any more."""
        self._deadlines.drop(self, self._tick)

    def cut(self) -> None:
        """Its time is over."""
        self.reached = self._future.cancel()
