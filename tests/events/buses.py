"""Buses under test."""

from __future__ import annotations

from collections.abc import Iterable

from cli.embedded_nats import EmbeddedNats
from events.bus import Delivery, Message, Subscription
from events.jetstream import JetStreamBus
from events.memory import MemoryBus

AGAIN_S = 1.0
"""After so long what was not done comes again, on buses of tests that wait for it; a busy machine says in less what is done."""
LONG_S = 60.0
"""On all others: so long that nothing comes again however slow the machine is."""


def jetstream(server: EmbeddedNats, *, timeout_s: float = 5.0, again_after_s: float = LONG_S) -> JetStreamBus:
    return JetStreamBus([server.url], f"{server.host}:{server.port}", timeout_s=timeout_s, again_after_s=again_after_s)


AnyBus = JetStreamBus | MemoryBus


def message(number: int, subject: str = "signals.tip.served") -> Message:
    """The n-th message: its id is made of its number alone."""
    return Message(subject, f"{number:032x}", f"body {number}".encode())


def messages(numbers: Iterable[int], subject: str = "signals.tip.served") -> list[Message]:
    return [message(number, subject) for number in numbers]


def came(deliveries: Iterable[Delivery]) -> list[int]:
    """Numbers of the messages that came."""
    return [int(delivery.message.id, 16) for delivery in deliveries]


async def fetched(subscription: Subscription, count: int, wait_s: float = 5.0) -> list[Delivery]:
    """So many messages, in as many fetches as it takes."""
    found: list[Delivery] = []
    while len(found) < count:
        more = await subscription.fetch(count - len(found), wait_s)
        assert more, f"{len(found)} of {count} came"
        found += more
    return found
