"""The outbox as a source of events: for a sink without a broker between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from events.bus import Delivery
from events.outbox import AGAIN_S, Entry, Outbox
from events.reading import EntryReader


class DirectSource:
    """`events.sink.Source` over the outbox. The sink drops what it has kept, so there is nothing to be done when it is.

    Args:
        again_s: after so long, what was taken and not dropped comes again. What was taken before this source was made, by a sink that must
            be dead by now, comes at once.
    """

    def __init__(self, outbox: Outbox, entries: EntryReader, again_s: float = AGAIN_S) -> None:
        self._outbox = outbox
        self._entries = entries
        self._again_s = again_s
        self._began = asyncio.get_running_loop().time()
        self._look_at = 0.0

    async def fetch(self, most: int, wait_s: float) -> list[Delivery]:
        """About so many; an entry is not divided.

        Raises:
            Unavailable.
        """
        entries = await self._overdue() or await self._outbox.take(wait_s)
        return [Delivery(message, None) for entry in entries for message in await self._entries.messages(entry)]

    async def done(self, deliveries: Sequence[Delivery]) -> None:
        """Nothing."""

    async def _overdue(self) -> list[Entry]:
        now = asyncio.get_running_loop().time()
        if now < self._look_at:
            return []
        found = await self._outbox.take_again(min(self._again_s, now - self._began))
        if not found:
            self._look_at = now + self._again_s / 4
        return found
