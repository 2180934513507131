"""A bus inside one process: for tests, and for whoever needs no other. It forgets all when the process ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from events.bus import Delivery, Message, Standing
from events.subjects import covers


class MemoryBus:
    """Keeps all it was given.

    Args:
        window_s: how long a message's id is remembered.
        again_after_s: after how long what was delivered and not said to be done comes again.
    """

    def __init__(self, *, window_s: float = 120.0, again_after_s: float = 60.0) -> None:
        self.again_after_s = again_after_s
        self.kept: list[Message] = []
        self.grew = asyncio.Condition()
        self._window_s = window_s
        self._seen: dict[str, float] = {}
        self._places: dict[str, _Place] = {}

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `Bus`."""
        now = monotonic()
        self._seen = {name: at for name, at in self._seen.items() if now - at <= self._window_s}
        for message in messages:
            if message.id not in self._seen:
                self._seen[message.id] = now
                self.kept.append(message)
        async with self.grew:
            self.grew.notify_all()

    async def subscribe(self, name: str, subjects: Sequence[str]) -> MemorySubscription:
        """See `Bus`."""
        before = self._places.get(name)
        place = self._places[name] = _Place(subjects)
        if before is not None:
            place.floor = place.next = before.floor
            place.done = before.done
        return MemorySubscription(self, place)

    async def backlog(self, name: str) -> int | None:
        """See `Bus`."""
        place = self._places.get(name)
        if place is None:
            return None
        return sum(number not in place.done and place.wants(self.kept[number]) for number in range(place.floor, len(self.kept)))

    async def standing(self, name: str) -> Standing | None:
        """See `Bus`."""
        place = self._places.get(name)
        if place is None:
            return None
        last = len(self.kept)
        open_ones = (number for number in range(place.floor, last) if number not in place.done and place.wants(self.kept[number]))
        return Standing(next(open_ones, last), last)


@dataclass(slots=True)
class _Place:
    """Where a subscription stands: `next` to deliver, all before `floor` done; in between `done` ones, and `open` ones with their time."""

    subjects: Sequence[str]
    next: int = 0
    floor: int = 0
    done: set[int] = field(default_factory=set)
    open: dict[int, float] = field(default_factory=dict)

    def wants(self, message: Message) -> bool:
        return any(covers(subject, message.subject) for subject in self.subjects)


class MemorySubscription:
    """See `Subscription`."""

    def __init__(self, bus: MemoryBus, place: _Place) -> None:
        self._bus, self._place = bus, place

    async def fetch(self, most: int, wait_s: float) -> list[Delivery]:
        """See `Subscription`."""
        until = monotonic() + wait_s
        while not (found := self._take(most)) and monotonic() < until:
            due = min(self._place.open.values(), default=until) + self._bus.again_after_s
            async with self._bus.grew:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._bus.grew.wait(), max(0.0, min(due, until) - monotonic()))
        return found

    async def done(self, deliveries: Sequence[Delivery]) -> None:
        """See `Subscription`."""
        place = self._place
        for delivery in deliveries:
            place.open.pop(delivery.token, None)  # type: ignore[call-overload]  # it is a number, made here
            place.done.add(delivery.token)  # type: ignore[arg-type]
        while place.floor in place.done:
            place.done.discard(place.floor)
            place.floor += 1

    def _take(self, most: int) -> list[Delivery]:
        """What is due again, then what is new."""
        place, kept, now = self._place, self._bus.kept, monotonic()
        numbers = [number for number, at in place.open.items() if now - at >= self._bus.again_after_s][:most]
        while len(numbers) < most and place.next < len(kept):
            if place.next not in place.done:
                if place.wants(kept[place.next]):
                    numbers.append(place.next)
                else:
                    place.done.add(place.next)
            place.next += 1
        place.open |= dict.fromkeys(numbers, now)
        return [Delivery(kept[number], number) for number in numbers]
