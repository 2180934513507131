"""Moves events from the outbox to the bus. Any number of relays may run; what one of them took and did not live to tell, another takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from events.bus import Bus, BusUnavailable, Message, MessageTooLarge
from events.insisting import insist
from events.outbox import AGAIN_S, Entry, Outbox
from events.reading import EntryReader
from serving.following import Report
from serving.ports import Unavailable

WAIT_S = 1.0
PAUSE_S = 0.5
_TOGETHER = 16
"""Entries read without a look at what else there is to do."""

T = TypeVar("T")


class _Taken(NamedTuple):
    """What so many entries tell."""

    entries: int
    messages: Sequence[Message]


class Relay:
    """Takes entries, publishes what they tell, and leaves them where they are: they are dropped by whoever keeps the events for good.

    An entry that is still there when its keeper is done with all that was on the bus after it had been taken was lost on the way (the relay
    died, the bus forgot): it is published again.

    Args:
        keeper: name of the subscription that keeps events for good.
        report: told of what goes wrong, as a structlog method is, once until it is well again.
        again_s: how long an entry may be on its way.
    """

    def __init__(self, outbox: Outbox, entries: EntryReader, bus: Bus, keeper: str, report: Report, *, again_s: float = AGAIN_S) -> None:
        self._outbox = outbox
        self._bus = bus
        self._entries = entries
        self._keeper = keeper
        self._report = report
        self._again_s = again_s
        self._taken: _Taken | None = None
        self._mark: tuple[int, float] | None = None
        self.published = 0
        """Messages, so far."""

    def progress(self) -> dict[str, int]:
        """For the log."""
        return {"published": self.published}

    async def run(self) -> None:
        """Move events until cancelled; while the store or the bus is away, wait for it."""
        looked_at = 0.0
        clock = asyncio.get_running_loop().time
        taking = self._taking()
        try:
            while True:
                self._taken = await taking
                taking = self._taking()  # meanwhile: the bus takes its time to write
                await self._insist(partial(self.move, 0.0))
                if clock() - looked_at >= self._again_s / 4:
                    await self._insist(self.move_again)
                    looked_at = clock()
        finally:
            taking.cancel()

    async def move(self, wait_s: float) -> int:
        """Publish what is new; how many entries that were.

        Raises:
            Unavailable, BusUnavailable: what was taken is published by the next `move`; should this relay die, by another's `move_again`.
        """
        if self._taken is None:
            self._taken = await self._take(wait_s)
        await self._publish(self._taken.messages)
        entries, self._taken = self._taken.entries, None
        return entries

    async def move_again(self) -> int:
        """Publish what was lost on the way; how many entries that were.

        Raises:
            Unavailable, BusUnavailable.
        """
        marked_at = await self._marked_at()
        if marked_at is None:
            return 0
        clock = asyncio.get_running_loop().time
        again, before = 0, list[Entry]()
        # Taking them anew makes them young again, so the next are others; but for those who wait for no time at all. What was taken since
        # the mark grows older meanwhile: how old is old enough is asked each time.
        while (entries := await self._outbox.take_again(max(self._again_s, clock() - marked_at))) and entries != before:
            await self._publish(await self._told_by(entries))
            again, before = again + len(entries), entries
        if again:
            self._report("events were published again that were lost on the way", entries=again)
        return again

    def _taking(self) -> asyncio.Task[_Taken]:
        return asyncio.create_task(self._insist(partial(self._take, WAIT_S)))

    async def _take(self, wait_s: float) -> _Taken:
        entries = await self._outbox.take(wait_s)
        return _Taken(len(entries), await self._told_by(entries))

    async def _told_by(self, entries: Sequence[Entry]) -> list[Message]:
        messages: list[Message] = []
        for number, entry in enumerate(entries, 1):
            messages += await self._entries.messages(entry)
            if number % _TOGETHER == 0:
                await asyncio.sleep(0)  # else the bus would run out of what is being published
        return messages

    async def _marked_at(self) -> float | None:
        """When all was on the bus that the keeper is done with by now; None: it is not known to be done with anything."""
        standing = await self._bus.standing(self._keeper)
        if standing is None:
            return None
        now = asyncio.get_running_loop().time()
        if self._mark is None or standing.last < self._mark[0] or standing.done >= standing.last:
            self._mark = (standing.last, now)
        last, at = self._mark
        if standing.done < last:
            return None
        self._mark = (standing.last, now)
        return at

    async def _publish(self, messages: Sequence[Message]) -> None:
        if messages:
            try:
                await self._bus.publish(messages)
            except MessageTooLarge as error:  # the others were published; these stay where they are, until the bus takes them
                self._report("events are too large for the bus", error=str(error))
            self.published += len(messages)

    async def _insist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        away = (Unavailable, BusUnavailable)
        return await insist(attempt, away, self._report, "events cannot be moved", well="events are moved again", pause_s=PAUSE_S)
