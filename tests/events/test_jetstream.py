"""What JetStream may do to us, and others may do to it; on real brokers, that are killed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import nats as nats_py
import pytest
from nats.aio.transport import TcpTransport
from nats.js.api import DiscardPolicy, StorageType

from cli.embedded_nats import EmbeddedNats
from events.bus import BusUnavailable, Message, MessageTooLarge, Origin
from events.jetstream import STREAMS, JetStreamBus
from events.subjects import ALL, DEAD_LETTERS
from tests.events.buses import AGAIN_S, came, fetched, jetstream, message, messages

TIMEOUT_S = 1.0
BUSY_S = 5.0
"""What a busy machine may take beside; far less than what would be waited for otherwise."""
KEEP_S, WINDOW_S = 7 * 86_400.0, 120.0
T = TypeVar("T")


async def publish_as_others_do(server: EmbeddedNats, subject: str, body: bytes, headers: dict[str, str] | None = None) -> None:
    client = await nats_py.connect(server.url)
    await client.jetstream().publish(subject, body, headers=headers)
    await client.close()


async def publish_as_relays_do(bus: JetStreamBus, sent: Sequence[Message]) -> None:
    """Once more, if the first time found that the connection has ended."""
    try:
        await bus.publish(sent)
    except BusUnavailable:
        await bus.publish(sent)


async def test_what_was_acknowledged_is_there_after_the_broker_was_killed_and_its_ids_are_known(nats: EmbeddedNats) -> None:
    async with jetstream(nats) as bus:
        subscription = await bus.subscribe("reader", [ALL])
        await bus.publish(messages(range(100)))
        await subscription.done(await fetched(subscription, 40))
        nats.kill()
        nats.start()
        await publish_as_relays_do(bus, messages(range(90, 110)))
        numbers = came(await fetched(subscription, 70))
    # The broker may have forgotten what was done, never what was published.
    assert numbers[-70:] == list(range(40, 110)) or numbers == list(range(70))


async def test_everything_is_read_by_one_who_fetches_while_it_keeps_though_the_broker_is_killed_again_and_again(nats: EmbeddedNats) -> None:
    total, kept = 6_000, set[int]()

    async def insist(call: Callable[[], Awaitable[T]]) -> T:
        while True:
            with suppress(BusUnavailable):
                return await call()

    async def publish(bus: JetStreamBus) -> None:
        for first in range(0, total, 100):
            await insist(lambda first=first: bus.publish(messages(range(first, first + 100))))  # type: ignore[misc]

    async with jetstream(nats) as writing, jetstream(nats) as reading:
        subscription = await reading.subscribe("reader", [ALL])
        publishing = asyncio.create_task(publish(writing))
        gathering = asyncio.create_task(insist(lambda: subscription.fetch(200, 0.1)))
        kill_at = [1_000, 2_000, 4_000]
        while len(kept) < total or await insist(lambda: reading.backlog("reader")) != 0:
            deliveries = await gathering
            gathering = asyncio.create_task(insist(lambda: subscription.fetch(200, 0.1)))
            kept.update(came(deliveries))
            if kill_at and len(kept) > kill_at[0]:
                kill_at.pop(0)
                nats.kill()
                nats.start()
            await insist(partial(subscription.done, deliveries))
        gathering.cancel()
        await publishing
    assert kept == set(range(total))
    assert kill_at == []


async def test_readers_and_writers_go_on_when_a_killed_broker_is_back(nats: EmbeddedNats) -> None:
    async with jetstream(nats) as bus:
        subscription = await bus.subscribe("reader", [ALL])
        await bus.publish(messages(range(3)))
        waiting = asyncio.create_task(subscription.fetch(10, 30.0))
        first = await waiting
        waiting = asyncio.create_task(subscription.fetch(10, 30.0))
        await asyncio.sleep(0.05)
        nats.kill()
        with pytest.raises(BusUnavailable):
            await waiting
        restarting = asyncio.create_task(asyncio.to_thread(nats.start))
        await bus.publish(messages(range(3, 6)))  # waits for it
        await restarting
        assert came(await fetched(subscription, 6)) == [0, 1, 2, 3, 4, 5]
        await subscription.done(first)  # of before: they have come again, and may come once more
    async with jetstream(nats) as bus:
        assert came(await fetched(await bus.subscribe("reader", [ALL]), 6)) == [0, 1, 2, 3, 4, 5]


async def test_a_broker_that_is_away_is_unavailable_within_the_timeout(nats: EmbeddedNats) -> None:
    async with jetstream(nats, timeout_s=TIMEOUT_S) as bus:
        subscription = await bus.subscribe("reader", [ALL])
        nats.kill()
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: subscription.fetch(1, 30.0),  # finds that the connection has ended
            lambda: subscription.fetch(1, 30.0),
            lambda: bus.publish([message(1)]),
            lambda: bus.subscribe("other", [ALL]),
            lambda: bus.backlog("reader"),
        ]
        for call in calls:
            began = time.monotonic()
            with pytest.raises(BusUnavailable, match=f"NATS at {nats.host}:{nats.port}: ") as error:
                await call()
            assert time.monotonic() - began < TIMEOUT_S + BUSY_S
        assert "Connect call failed" in str(error.value)


async def test_a_broker_that_refuses_in_the_moment_the_time_is_over_is_unavailable_too(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = 0

    async def refused(*_: object, **__: object) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            with suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()
        elif attempts > 3:
            pytest.fail("it goes on")
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(TcpTransport, "connect", refused)
    async with asyncio.timeout(10.0):
        with pytest.raises(BusUnavailable, match="refused"):
            await JetStreamBus(["nats://127.0.0.1:1"], "the broker", timeout_s=0.1).publish([message(1)])


@pytest.mark.parametrize("count", [1, 3_000])
async def test_a_broker_that_hangs_is_unavailable_within_the_timeout_and_found_again(nats: EmbeddedNats, count: int) -> None:
    sent = [Message("signals.x.served", f"{number:032x}", b"x" * 20_000) for number in range(count)]
    async with jetstream(nats, timeout_s=TIMEOUT_S) as bus:
        subscription = await bus.subscribe("reader", [ALL])
        pid = nats.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(BusUnavailable, match="no answer within 1 s"):
                await bus.publish(sent)
            with pytest.raises(BusUnavailable):
                await subscription.fetch(1, 0.0)
            assert time.monotonic() - began < 2 * TIMEOUT_S + BUSY_S
        finally:
            os.kill(pid, signal.SIGCONT)
        await bus.publish(sent)
        assert sorted(came(await fetched(subscription, count))) == list(range(count))


async def test_a_broker_that_lost_its_data_gets_its_streams_and_readers_anew(nats: EmbeddedNats) -> None:
    async with jetstream(nats) as bus:
        subscription = await bus.subscribe("reader", [ALL])
        await bus.publish(messages(range(5)))
        before = await fetched(subscription, 5)
        nats.kill()
        shutil.rmtree(nats.data_dir / "jetstream")
        nats.start()
        await publish_as_relays_do(bus, messages(range(3, 8)))
        assert await bus.backlog("reader") is None
        await subscription.done(before)  # of another life of the broker: says nothing of what it keeps now
        assert came(await fetched(subscription, 5)) == [3, 4, 5, 6, 7]


async def test_streams_that_were_deleted_under_us_are_made_again(nats: EmbeddedNats) -> None:
    client = await nats_py.connect(nats.url)
    async with jetstream(nats, timeout_s=TIMEOUT_S) as bus:
        subscription = await bus.subscribe("reader", [ALL])
        await client.jetstream().delete_stream("SIGNALS")
        with pytest.raises(BusUnavailable, match="no stream keeps that subject"):
            await bus.publish([message(1)])
        await bus.publish([message(1)])
        assert came(await fetched(subscription, 1)) == [1]
        await client.jetstream().delete_consumer("SIGNALS", "reader")
        with pytest.raises(BusUnavailable):
            await subscription.fetch(1, 0.0)
        assert came(await fetched(subscription, 1)) == [1]
    await client.close()


async def test_messages_of_others_come_as_they_are(nats: EmbeddedNats) -> None:
    async with jetstream(nats) as bus:
        subscription = await bus.subscribe("reader", [ALL])
        await publish_as_others_do(nats, "signals.x", b"\xff no event")
        await publish_as_others_do(nats, "signals.x", b"", {"Status": "404", "Description": "No Messages"})
        await publish_as_others_do(nats, "signals.x", b"a", {"Nats-Msg-Id": "theirs", "Ooml-Origin": "1 2-3 0 1", "Ooml-Why": "because"})
        bad = ["", "1", "256 1-1 0 1", "1 1-1 1 1", "1 x 0 1", "1 1-1 0 1 2", "-1 1-1 0 1", "١ 1-1 0 1"]
        for number, origin in enumerate(bad):
            await publish_as_others_do(nats, "signals.x", b"", {"Nats-Msg-Id": str(number), "Ooml-Origin": origin})
        found = [delivery.message for delivery in await fetched(subscription, 3 + len(bad))]
    assert [one.body for one in found[:3]] == [b"\xff no event", b"", b"a"]
    assert [len(one.id) for one in found[:2]] == [32, 32]
    assert found[0].id != found[1].id
    assert found[2] == Message("signals.x", "theirs", b"a", Origin(1, "2-3", 0, 1), "because")
    assert [one.origin for one in found[3:]] == [None] * len(bad)


async def test_done_is_one_acknowledgement_however_many_there_are(nats: EmbeddedNats) -> None:
    client = await nats_py.connect(nats.url)
    acknowledged = await client.subscribe("$JS.ACK.>")
    await client.flush()
    async with jetstream(nats) as bus:
        subscription = await bus.subscribe("reader", [ALL])
        await bus.publish(messages(range(2_000)))
        await subscription.done(await fetched(subscription, 2_000))
        assert await bus.backlog("reader") == 0
    await client.flush()
    assert acknowledged.pending_msgs == 1
    await client.close()


@pytest.mark.parametrize("done_before", [0, 5])
async def test_two_who_read_under_one_name_lose_nothing(nats: EmbeddedNats, done_before: int) -> None:
    async with jetstream(nats) as one, jetstream(nats) as two:
        await one.publish(messages(range(20)))
        first = await one.subscribe("reader", [ALL])
        taken = await fetched(first, 5)
        await first.done(taken[:done_before])
        second = await two.subscribe("reader", [ALL])
        assert came(await fetched(second, 5)) == list(range(done_before, done_before + 5))  # and dies
        more = await fetched(first, 10)
        await first.done([*taken, *more])
        assert await one.backlog("reader") == 20 - done_before
        third = await two.subscribe("reader", [ALL])
        rest = await fetched(third, 20 - done_before)
        assert came(rest) == list(range(done_before, 20))
        await third.done(rest)
        assert await one.backlog("reader") == 0


async def test_a_reader_from_whom_another_took_messages_begins_again(nats: EmbeddedNats) -> None:
    async with jetstream(nats) as one, jetstream(nats) as two:
        await one.publish(messages(range(20)))
        paused = await one.subscribe("reader", [ALL])
        await fetched(paused, 5)
        subscription = await two.subscribe("reader", [ALL])
        await subscription.done(await fetched(subscription, 5))
        assert came(await fetched(paused, 5)) == [5, 6, 7, 8, 9]  # it knows nothing of the other, and dies
        rest = await fetched(subscription, 15)
        assert came(rest) == list(range(5, 20))
        await subscription.done(rest)
        assert await two.backlog("reader") == 0


async def test_a_message_the_broker_takes_at_no_time_stops_no_other(tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path) as server:
        async with jetstream(server) as bus:
            with pytest.raises(
                MessageTooLarge, match=r"1 messages are larger .* the first one of signals.x.served, 8388608 bytes: raise max"
            ):
                await bus.publish([message(1), Message("signals.x.served", "large", bytes(8 << 20)), message(2)])
            subscription = await bus.subscribe("reader", [ALL])
            assert came(await fetched(subscription, 2)) == [1, 2]
            largest = Message("signals.x.served", "3" * 32, bytes((8 << 20) - 4096))
            await bus.publish([largest])
            assert (await fetched(subscription, 1))[0].message == largest


async def answers_to(nats: EmbeddedNats, publish: Callable[[], Awaitable[None]]) -> list[dict[str, object]]:
    """What the broker answers publishers with meanwhile."""
    async with asyncio.timeout(10.0):
        client = await nats_py.connect(nats.url)
        heard = await client.subscribe("_INBOX.>")
        await client.flush()
        await publish()
        await client.flush()
        answers = [json.loads((await heard.next_msg()).data) for _ in range(heard.pending_msgs)]
        await client.close()
    return [answer for answer in answers if answer.get("stream") == "SIGNALS"]


async def test_many_messages_are_kept_and_synced_as_few_batches_and_come_one_by_one(nats: EmbeddedNats) -> None:
    async with jetstream(nats) as bus:
        subscription = await bus.subscribe("reader", [ALL])
        answers = await answers_to(nats, lambda: bus.publish(messages(range(300))))
        assert [answer.get("count") for answer in answers] == [256, 44]
        assert came(await fetched(subscription, 300)) == list(range(300))


async def test_a_batch_of_which_some_were_kept_before_is_kept_without_them(nats: EmbeddedNats) -> None:
    async with jetstream(nats) as bus:
        subscription = await bus.subscribe("reader", [ALL])
        await bus.publish(messages(range(50)))
        await bus.publish([*messages(range(25, 100)), *messages(range(90, 110))])
        assert came(await fetched(subscription, 110)) == list(range(110))
        assert await bus.backlog("reader") == 110


async def test_messages_of_two_streams_may_be_published_together(nats: EmbeddedNats) -> None:
    async with jetstream(nats) as bus:
        signals, dead = await bus.subscribe("signals", [ALL]), await bus.subscribe("dead", [DEAD_LETTERS])
        await bus.publish([message(n, DEAD_LETTERS if n % 3 == 0 else "signals.tip.served") for n in range(60)])
        assert came(await fetched(dead, 20)) == list(range(0, 60, 3))
        assert came(await fetched(signals, 40)) == [n for n in range(60) if n % 3]


@pytest.mark.parametrize("count", [2, 60])
async def test_what_the_broker_refuses_is_told_at_once_and_in_its_words(nats: EmbeddedNats, count: int) -> None:
    client = await nats_py.connect(nats.url)
    await client.jetstream().add_stream(name="SIGNALS", subjects=[ALL], max_msgs=1, discard=DiscardPolicy.NEW, allow_atomic=True)
    async with jetstream(nats, timeout_s=30.0) as bus, asyncio.timeout(10.0):
        with pytest.raises(BusUnavailable, match="maximum messages exceeded"):
            await bus.publish(messages(range(count)))
    await client.close()


async def test_a_stream_that_somebody_set_up_otherwise_is_used_as_it_is(nats: EmbeddedNats) -> None:
    client = await nats_py.connect(nats.url)
    await client.jetstream().add_stream(name="SIGNALS", subjects=[ALL], storage=StorageType.FILE, max_age=1000.0)
    async with jetstream(nats) as bus:
        answers = await answers_to(nats, lambda: bus.publish(messages(range(100))))
        assert [answer.get("count") for answer in answers] == [None] * 100  # it takes no batches, and is not asked to
        assert came(await fetched(await bus.subscribe("reader", [ALL]), 100)) == list(range(100))
    assert (await client.jetstream().stream_info("SIGNALS")).config.max_age == 1000.0
    await client.close()


async def test_a_stream_as_earlier_versions_made_it_takes_batches_from_now_on(nats: EmbeddedNats) -> None:
    client = await nats_py.connect(nats.url)
    for name, subject in STREAMS.items():
        await client.jetstream().add_stream(
            name=name, subjects=[subject], storage=StorageType.FILE, max_age=KEEP_S, duplicate_window=WINDOW_S
        )
    await client.jetstream().publish("signals.tip.served", b"", headers={"Nats-Msg-Id": message(0).id})
    async with jetstream(nats, again_after_s=60.0) as bus:
        answers = await answers_to(nats, lambda: bus.publish(messages(range(1, 101))))
        assert [answer.get("count") for answer in answers] == [100]
        assert came(await fetched(await bus.subscribe("reader", [ALL]), 101)) == list(range(101))
    config = (await client.jetstream().stream_info("SIGNALS")).config
    assert (config.max_age, config.duplicate_window, config.allow_atomic) == (KEEP_S, WINDOW_S, True)
    await client.close()


@asynccontextmanager
async def as_version(nats: EmbeddedNats, version: bytes) -> AsyncIterator[str]:
    """URL under which the broker says that it is of another version; whoever connects there is gone before this ends."""
    ended = asyncio.Semaphore(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, there = await asyncio.open_connection(nats.host, nats.port)
        await asyncio.gather(pass_on(reader, there), pass_on(theirs, writer))
        ended.release()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while said := await reader.read(1 << 16):
                writer.write(re.sub(rb'"version":"[^"]*"', b'"version":"' + version + b'"', said))
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await ended.acquire()


@pytest.mark.parametrize(("version", "counts"), [(b"2.14.9", [None] * 100), (b"2.15.0", [100])])
async def test_a_broker_that_syncs_each_message_of_a_batch_is_sent_none(
    nats: EmbeddedNats, version: bytes, counts: list[int | None]
) -> None:
    async with as_version(nats, version) as url, JetStreamBus([url], "the broker") as bus:
        answers = await answers_to(nats, lambda: bus.publish(messages(range(100))))
        assert [answer.get("count") for answer in answers] == counts


async def test_a_batch_that_a_relay_died_in_is_seen_by_nobody_and_its_messages_can_be_published(nats: EmbeddedNats) -> None:
    batches = nats.data_dir / "jetstream" / "$G" / "streams" / "SIGNALS" / "batches"
    dying = await nats_py.connect(nats.url)
    async with jetstream(nats, again_after_s=60.0) as bus:
        subscription = await bus.subscribe("reader", [ALL])
        for place, one in enumerate(messages(range(30)), 1):
            headers = {"Nats-Msg-Id": one.id, "Nats-Batch-Id": "half", "Nats-Batch-Sequence": str(place)}
            await dying.publish(one.subject, one.body, headers=headers)
        await dying.flush()
        await dying.close()
        await bus.publish(messages(range(60)))
        assert came(await fetched(subscription, 60)) == list(range(60))
        assert await bus.backlog("reader") == 60
        assert any(batches.iterdir())
    nats.kill()
    nats.start()
    assert not batches.exists()
    async with jetstream(nats) as bus:
        assert await bus.backlog("reader") == 60


async def test_subjects_that_no_stream_keeps_are_refused(nats: EmbeddedNats) -> None:
    async with jetstream(nats) as bus:
        for subjects in (["other.>"], [ALL, DEAD_LETTERS], [">"]):
            with pytest.raises(ValueError, match=r"no stream keeps all of .*: there is one each of signals.> and deadletters.signals"):
                await bus.subscribe("reader", subjects)


async def test_a_password_is_told_to_nobody_who_speaks_no_tls_though_asked_to(nats: EmbeddedNats) -> None:
    bus = JetStreamBus([f"tls://me:hunter2@{nats.host}:{nats.port}"], "the broker", timeout_s=TIMEOUT_S)
    with pytest.raises(BusUnavailable, match="the server speaks no TLS") as error:
        await bus.publish([message(1)])
    assert "hunter2" not in str(error.value)


async def test_wrong_credentials_are_told_as_such(tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path, configuration='authorization { user: me, password: "right" }\n') as server:
        address = f"{server.host}:{server.port}"
        wrong = JetStreamBus([f"nats://me:wrong@{address}"], address)
        with pytest.raises(BusUnavailable, match="Authorization Violation") as error:
            await wrong.publish([message(1)])
        assert "wrong" not in str(error.value)
        async with JetStreamBus([f"nats://me:right@{address}"], address) as right:  # pragma: allowlist secret
            await right.publish([message(1)])


async def test_what_was_not_done_comes_again_though_its_reader_lives(nats: EmbeddedNats) -> None:
    async with jetstream(nats, again_after_s=AGAIN_S) as bus:
        subscription = await bus.subscribe("reader", [ALL])
        await bus.publish(messages(range(100)))
        began = time.monotonic()
        deliveries = await fetched(subscription, 100)
        again = await fetched(subscription, 100)
        assert time.monotonic() - began > AGAIN_S / 2  # by the broker's clock and by ours
        assert sorted(came(again)) == list(range(100))
        await subscription.done(deliveries)
        assert await subscription.fetch(10, 2 * AGAIN_S) == []
        assert await bus.backlog("reader") == 0
