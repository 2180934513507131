"""Replies of a stream: one is written at a time, a few may be owed, and the end waits for the last."""

from __future__ import annotations

import asyncio

import pytest

from serving.transport.replies import PeerGone, Replies

WIDTH = 2


class Peer:
    """Takes replies one after the other, when it is let."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.busy = False
        self.free = asyncio.Event()
        self.free.set()

    async def take(self, reply: bytes) -> None:
        assert not self.busy
        self.busy = True
        await self.free.wait()
        self.got.append(reply)
        self.busy = False


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
def replies(peer: Peer) -> Replies:
    return Replies(peer.take, WIDTH)


async def test_replies_are_written_in_the_order_in_which_they_are_known(replies: Replies, peer: Peer) -> None:
    for _ in range(WIDTH):
        await replies.take_place()
    replies.put(b"second")
    replies.put(b"first")
    replies.complete()
    await replies.write()
    assert peer.got == [b"second", b"first"]


async def test_a_reply_that_comes_while_another_is_written_is_written_after_it(replies: Replies, peer: Peer) -> None:
    writing = asyncio.create_task(replies.write())
    await replies.take_place()
    await replies.take_place()
    peer.free.clear()
    replies.put(b"a")
    await turns()
    assert peer.busy
    replies.put(b"b")
    peer.free.set()
    replies.complete()
    await writing
    assert peer.got == [b"a", b"b"]


async def test_the_end_waits_for_every_reply_that_is_owed(replies: Replies, peer: Peer) -> None:
    await replies.take_place()
    writing = asyncio.create_task(replies.write())
    replies.complete()
    await turns()
    assert not writing.done()
    replies.put(b"late")
    await writing
    assert peer.got == [b"late"]


async def test_a_place_is_free_again_once_its_reply_is_written_and_not_before(replies: Replies, peer: Peer) -> None:
    writing = asyncio.create_task(replies.write())
    for _ in range(WIDTH):
        await replies.take_place()
    third = asyncio.create_task(replies.take_place())
    peer.free.clear()
    replies.put(b"a")
    await turns()
    assert not third.done()
    peer.free.set()
    await third
    replies.put(b"b")
    replies.put(b"c")
    replies.complete()
    await writing
    assert peer.got == [b"a", b"b", b"c"]


async def test_whoever_leaves_cancels_what_is_owed_to_them_alone(replies: Replies) -> None:
    loop = asyncio.get_running_loop()
    owed, answered, another_s = loop.create_future(), loop.create_future(), loop.create_future()
    replies.owe(owed)
    replies.owe(answered)
    answered.set_result(b"")
    await turns()
    replies.abandon()
    assert owed.cancelled()
    assert not answered.cancelled()
    assert not another_s.done()


async def test_a_peer_that_cannot_be_written_to_ends_the_writing(peer: Peer) -> None:
    async def gone(_: bytes) -> None:
        raise ConnectionResetError

    replies = Replies(gone, WIDTH)
    await replies.take_place()
    replies.put(b"a")
    with pytest.raises(PeerGone):
        await replies.write()
