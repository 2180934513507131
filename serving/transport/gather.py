"""Work that costs little more for many than for one, done for all who ask while the last of it is under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter, thread_time
from typing import Generic, TypeVar

from serving.transport.status import without_frames

T = TypeVar("T")
U = TypeVar("U")
R = TypeVar("R")

TURNS = 2
"""Turns of the event loop for which whoever comes first waits for company: those who came in the same moment are there by then."""
COMPANY_S = 0.003
"""How long, at most, a group waits for those who were there before."""
ALONE = 64
"""Groups that do not wait after one has waited in vain."""


class Gatherer(Generic[T, U, R]):
    """Answers requests in groups, one group after the other.

    Whoever asks while nothing is under way waits for nobody. Whoever asks while a group is under way belongs to the next, with all others
    who did: the busier it is, the larger the groups, and the less each costs. After a group of several, the next waits until as many
    are there as were before, for callers who get an answer tend to ask again. If they do not come, and this thread has little else
    to do meanwhile, then it is no crowd, and waiting only makes answers late: for some time groups do not.

    Args:
        prepare: looks at requests when they come, whatever is under way: what they become, in order, or the error that is the answer.
        work: what is done with a group of prepared requests: one answer each, in order, errors as they are. It must end by itself, in
            bounded time.
        most: how much a group may hold; a single request may be more.
        size: of a prepared request.
    """

    def __init__(
        self,
        prepare: Callable[[Sequence[T]], Sequence[U | Exception]],
        work: Callable[[Sequence[U]], Awaitable[Sequence[R | Exception]]],
        most: int,
        size: Callable[[U], int] = lambda _: 1,
    ) -> None:
        self._prepare = prepare
        self._work = work
        self._most = most
        self._size = size
        self._new: list[tuple[T, asyncio.Future[R]]] = []
        self._waiting: deque[tuple[U, asyncio.Future[R]]] = deque()
        self._group: list[tuple[U, asyncio.Future[R]]] = []
        self._runner: asyncio.Task[None] | None = None
        self._enough = most
        self._alone = 0
        self._gathered: asyncio.Future[None] | None = None

    def put(self, request: T) -> asyncio.Future[R]:
        """The answer to come. Whoever ceases to wait cancels it, and says so with `left`."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        if not self._new:
            loop.call_soon(self._receive, loop, TURNS)
        self._new.append((request, answer))
        return answer

    async def ask(self, request: T) -> R:
        """The answer; whoever is cancelled leaves the others waiting."""
        try:
            return await self.put(request)
        except asyncio.CancelledError:
            self.left()
            raise

    def left(self) -> None:
        """Give up the group that is under way if nobody waits for it any more."""
        if self._runner is not None and self._group and all(answer.done() for _, answer in self._group):
            self._runner.cancel()

    def _receive(self, loop: asyncio.AbstractEventLoop, turns: int) -> None:
        """Prepare all who came, together."""
        if turns:
            loop.call_soon(self._receive, loop, turns - 1)
            return
        new, self._new = [one for one in self._new if not one[1].done()], []
        try:
            prepared = self._prepare([request for request, _ in new])
            if len(prepared) != len(new):
                raise RuntimeError(f"{len(prepared)} of {len(new)} requests prepared")
        except Exception as error:
            prepared = [error] * len(new)
        for (_, answer), one in zip(new, prepared, strict=True):
            if isinstance(one, Exception):
                answer.set_exception(without_frames(one))
            else:
                self._waiting.append((one, answer))
        if self._waiting and self._runner is None:
            self._start()
        if len(self._waiting) >= self._enough:
            self._gather_no_more()

    def _start(self) -> None:
        self._runner = asyncio.create_task(self._run())
        self._runner.add_done_callback(self._ended)

    def _ended(self, runner: asyncio.Task[None]) -> None:
        """All are answered, or the last group was given up; those who came meanwhile get another runner."""
        self._runner = None
        self._group = []
        self._gathered = None
        if self._waiting:
            self._start()

    async def _run(self) -> None:
        while self._waiting:
            self._group = group = self._take()
            if not group:
                continue
            try:
                found = await self._work([prepared for prepared, _ in group])
                if len(found) != len(group):
                    raise RuntimeError(f"{len(found)} answers to {len(group)} requests")  # else nobody would ever hear of it
            except Exception as error:
                found = [error] * len(group)
            for (_, answer), said in zip(group, found, strict=True):
                if not answer.done():
                    if isinstance(said, Exception):
                        answer.set_exception(without_frames(said))
                    else:
                        answer.set_result(said)
            self._group = []
            if self._alone:
                self._alone -= 1
            elif len(group) > 1:
                await self._company(len(group) + len(self._waiting))

    def _take(self) -> list[tuple[U, asyncio.Future[R]]]:
        """The next group, of those who still wait for their answer."""
        group: list[tuple[U, asyncio.Future[R]]] = []
        room = self._most
        while self._waiting and room > 0:
            prepared, answer = self._waiting.popleft()
            if not answer.done():
                group.append((prepared, answer))
                room -= self._size(prepared)
        return group

    async def _company(self, before: int) -> None:
        """Wait until as many are there as were before, for a moment at most."""
        self._enough = min(before, self._most)
        if len(self._waiting) >= self._enough:
            return
        loop = asyncio.get_running_loop()
        self._gathered = gathered = loop.create_future()
        timer = loop.call_later(COMPANY_S, self._gather_no_more)
        began, worked = perf_counter(), thread_time()
        try:
            await gathered
        finally:
            timer.cancel()
            self._gathered = None
        if len(self._waiting) < self._enough and thread_time() - worked < 0.5 * (perf_counter() - began):
            self._alone = ALONE

    def _gather_no_more(self) -> None:
        if self._gathered is not None and not self._gathered.done():
            self._gathered.set_result(None)
