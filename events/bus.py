"""The bus: whoever wants to know what happened subscribes; one port, several adapters, which pass one suite of tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class BusUnavailable(Exception):
    """The bus did not answer in time, or did not keep what it was given. Nothing is known of what it has kept; its message says why."""


class MessageTooLarge(Exception):
    """Some messages are of a size that the bus never takes; the others were published. Its message says which, and what to set."""


class Message(NamedTuple):
    """One event on the bus.

    Args:
        subject: see `events.subjects`.
        id: of the event, 32 hexadecimal digits (`events.identity`): the bus keeps one of several that come within its window.
        body: `ooml.bandit.v1.Event`, serialised.
        origin: where it lies in the outbox, so that it can be dropped there once it is kept for good; None: it comes from elsewhere.
        why: it was put aside, if it is a dead letter.
    """

    subject: str
    id: str
    body: bytes
    origin: Origin | None = None
    why: str | None = None


class Origin(NamedTuple):
    """One of the events of one entry of the outbox.

    Args:
        shard: 0 to 255.
        entry: id of the entry in the shard's stream, ``milliseconds-number``.
        part: 0 … parts - 1.
        parts: events of that entry.
    """

    shard: int
    entry: str
    part: int
    parts: int


class Standing(NamedTuple):
    """Where a subscription stands among the messages of its bus, which numbers them in the order in which they were kept.

    Args:
        done: all up to this number are done.
        last: number of the last one there is for it; lower than it was, where the bus has forgotten what it kept.
    """

    done: int
    last: int


class Bus(Protocol):
    """Keeps events in order for those who subscribe. At least once: whoever subscribes may get a message again."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Return once all are kept, durably. A message whose id came before, within the bus' window, is kept once.

        Raises:
            BusUnavailable: some may be kept, some not. Publishing them again is safe.
            MessageTooLarge: all but those are kept.
        """

    async def subscribe(self, name: str, subjects: Sequence[str]) -> Subscription:
        """Messages of some subjects (``*`` stands for one word, ``>`` for all that follow), from the first one kept, or from where this
        subscription was left; it is found again by its name. Messages of others, who publish no ids, get one made of what they hold.

        One reader a name: whoever subscribes takes the place over, and gets again what the one before did not say to be done.

        Raises:
            BusUnavailable.
        """

    async def backlog(self, name: str) -> int | None:
        """Messages that the subscription of that name has not said to be done; None: nobody has subscribed under it.

        What has just been published is counted a moment later.

        Raises:
            BusUnavailable.
        """

    async def standing(self, name: str) -> Standing | None:
        """Of the subscription of that name; None: nobody has subscribed under it.

        Raises:
            BusUnavailable.
        """


class Subscription(Protocol):
    """One reader's place on the bus."""

    async def fetch(self, most: int, wait_s: float) -> list[Delivery]:
        """The next messages, at most so many, as soon as there are some; none when none come within the time.

        Raises:
            BusUnavailable.
        """

    async def done(self, deliveries: Sequence[Delivery]) -> None:
        """These need not come again. What is never said to be done comes again, after some time or to the next who subscribes; so may
        all that came before the bus was away. Cheap for many at once, dearer the less their order is that of their coming.

        Raises:
            BusUnavailable: they may come again.
        """


class Delivery(NamedTuple):
    """A message as it came.

    Args:
        message: it.
        token: by which the adapter knows it again.
    """

    message: Message
    token: object
