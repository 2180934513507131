"""What every bus promises."""

from __future__ import annotations

import asyncio
import string
import time

import pytest

from events.bus import Message, Origin
from events.subjects import ALL, DEAD_LETTERS, covers
from tests.events.buses import AGAIN_S, AnyBus, came, fetched, message, messages
from tests.store.conftest import until


async def test_what_was_published_comes_in_order_and_as_it_was(bus: AnyBus) -> None:
    sent = messages(range(5_000))
    await bus.publish(sent)
    subscription = await bus.subscribe("reader", [ALL])
    assert [delivery.message for delivery in await fetched(subscription, 5_000)] == sent
    assert await subscription.fetch(10, 0.0) == []


async def test_a_message_whose_id_came_before_is_kept_once(bus: AnyBus) -> None:
    await bus.publish([message(1), message(2), message(1)])
    await bus.publish([message(2), message(3)])
    assert came(await fetched(await bus.subscribe("reader", [ALL]), 3)) == [1, 2, 3]
    assert await bus.backlog("reader") == 3


async def test_publishing_nothing_is_done_at_once(bus: AnyBus) -> None:
    await bus.publish([])


async def test_what_a_message_carries_beside_its_body_arrives_unchanged(bus: AnyBus) -> None:
    printable = "".join(sorted(set(string.printable) - set(string.whitespace)))
    ids = ["0" * 32, printable, "  blanks around  ", "a\r\nNats-Rollup: all", "%41", "A", "a: b", "x" * 1000]
    sent = [Message("signals.x.served", name, b"\0\xff\r\n", Origin(255, "1700000000000-3", 0, 2)) for name in ids]
    sent.append(Message("signals.x.served", "of a dead letter", b"", None, "no event:\r\n\t“%” ünd "))
    await bus.publish(sent)
    assert [delivery.message for delivery in await fetched(await bus.subscribe("reader", [ALL]), len(sent))] == sent


async def test_a_reader_waits_for_messages_and_gets_them_as_soon_as_they_come(bus: AnyBus) -> None:
    subscription = await bus.subscribe("reader", [ALL])
    waiting = asyncio.create_task(subscription.fetch(10, 30.0))
    assert not (await asyncio.wait([waiting], timeout=0.1))[0]
    began = time.monotonic()
    await bus.publish(messages(range(3)))
    first = await waiting
    assert time.monotonic() - began < 5.0
    assert came([*first, *await fetched(subscription, 3 - len(first))] if len(first) < 3 else first) == [0, 1, 2]


async def test_when_none_come_within_the_time_there_are_none(bus: AnyBus) -> None:
    subscription = await bus.subscribe("reader", [ALL])
    began = time.monotonic()
    assert await subscription.fetch(10, 0.2) == []
    assert 0.15 < time.monotonic() - began < 5.0


async def test_a_subscription_is_found_again_by_its_name_where_it_was_left(bus: AnyBus) -> None:
    await bus.publish(messages(range(10)))
    subscription = await bus.subscribe("reader", [ALL])
    await subscription.done(await fetched(subscription, 4))
    assert came(await fetched(await bus.subscribe("reader", [ALL]), 6)) == [4, 5, 6, 7, 8, 9]
    assert came(await fetched(await bus.subscribe("another", [ALL]), 10)) == list(range(10))


async def test_what_the_one_before_did_not_say_to_be_done_comes_to_the_next_at_once(bus: AnyBus) -> None:
    await bus.publish(messages(range(10)))
    died = await bus.subscribe("reader", [ALL])
    deliveries = await fetched(died, 8)
    await died.done(deliveries[:3])
    assert came(await fetched(await bus.subscribe("reader", [ALL]), 7)) == [3, 4, 5, 6, 7, 8, 9]  # long before LONG_S


async def test_what_was_not_done_comes_again_and_what_was_does_not(hasty_bus: AnyBus) -> None:
    bus = hasty_bus
    await bus.publish(messages(range(10)))
    subscription = await bus.subscribe("reader", [ALL])
    deliveries = await fetched(subscription, 10)
    await subscription.done([one for one in deliveries if one not in (deliveries[2], deliveries[7])])
    assert await bus.backlog("reader") in (2, 8)  # counting those done behind one that is not, or not
    again = await fetched(subscription, 2)
    assert came(again) == [2, 7]
    await subscription.done(again)
    assert await bus.backlog("reader") == 0
    assert await subscription.fetch(10, 2 * AGAIN_S) == []


async def test_a_fetch_that_is_given_up_loses_nothing(bus: AnyBus) -> None:
    subscription = await bus.subscribe("reader", [ALL])
    for number in range(20):
        waiting = asyncio.create_task(subscription.fetch(10, 30.0))
        await asyncio.sleep(0)
        publishing = asyncio.create_task(bus.publish([message(number)]))
        for _ in range(number):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, publishing, return_exceptions=True)
    assert came(await fetched(await bus.subscribe("reader", [ALL]), 20)) == list(range(20))


@pytest.mark.parametrize(
    ("subjects", "expected"),
    [
        (["signals.>"], [0, 1, 2, 3]),
        (["signals.tip.*"], [0, 1]),
        (["signals.*.served"], [0, 2]),
        (["signals.task.synced", "signals.tip.feedback"], [1, 3]),
        (["signals.tip.served", "signals.tip.*", "signals.tip.served"], [0, 1]),
        (["signals.*"], []),
    ],
)
async def test_a_reader_gets_the_subjects_it_asked_for(bus: AnyBus, subjects: list[str], expected: list[int]) -> None:
    every = ["signals.tip.served", "signals.tip.feedback", "signals.digits.served", "signals.task.synced"]
    await bus.publish([message(number, subject) for number, subject in enumerate(every)])
    subscription = await bus.subscribe("reader", subjects)
    assert await bus.backlog("reader") == len(expected)
    deliveries = await fetched(subscription, len(expected))
    assert came(deliveries) == expected
    assert await subscription.fetch(10, 0.0) == []
    await subscription.done(deliveries)
    assert await bus.backlog("reader") == 0


async def test_dead_letters_are_kept_apart(bus: AnyBus) -> None:
    await bus.publish([message(1, DEAD_LETTERS), message(2)])
    assert came(await fetched(await bus.subscribe("events", [ALL]), 1)) == [2]
    assert came(await fetched(await bus.subscribe("letters", [DEAD_LETTERS]), 1)) == [1]


async def test_nobody_s_backlog_is_none(bus: AnyBus) -> None:
    assert await bus.backlog("nobody") is None
    await bus.subscribe("somebody", [ALL])
    assert await bus.backlog("somebody") == 0
    await bus.publish(messages(range(3)))

    async def three_wait() -> bool:
        return await bus.backlog("somebody") == 3

    await until(three_wait)  # a broker tells how many wait a moment after it has taken them
    assert await bus.backlog("nobody") is None


async def test_a_subscription_stands_where_all_before_is_done(bus: AnyBus) -> None:
    assert await bus.standing("reader") is None
    subscription = await bus.subscribe("reader", [ALL])
    await stands(bus, (0, 0))
    await bus.publish(messages(range(5)))
    await stands(bus, (0, 5))
    deliveries = await fetched(subscription, 5)
    await stands(bus, (0, 5))
    await subscription.done(deliveries[:3])
    await stands(bus, (3, 5))
    await bus.publish([message(5)])
    await subscription.done(deliveries)
    await stands(bus, (5, 6))
    await subscription.done(await fetched(subscription, 1))
    await stands(bus, (6, 6))
    assert await (await bus.subscribe("reader", [ALL])).fetch(1, 0.0) == []
    await stands(bus, (6, 6))


async def stands(bus: AnyBus, place: tuple[int, int]) -> None:
    """Return once it stands there: a broker tells how many wait a moment after it has taken them."""

    async def there() -> bool:
        return await bus.standing("reader") == place

    await until(there)


@pytest.mark.parametrize(
    ("pattern", "subject", "does"),
    [
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.*", "a.>", False),
        ("a.>", "a.>", True),
        ("a.>", "a.*.c", True),
        ("a.b", "a.*", False),
        ("a.*.c", "a.b.c", True),
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
    ],
)
def test_a_subject_with_wildcards_stands_for_others(pattern: str, subject: str, does: bool) -> None:
    assert covers(pattern, subject) is does
