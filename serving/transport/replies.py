"""The replies of one stream, from the requests they are owed to until they are written."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any


class PeerGone(Exception):
    """Whom a reply is for has left: there is nobody to tell anything."""


class Replies:
    """Written one after the other, by one task, in the order in which they come to be known.

    Args:
        send: writes one reply; not called again before it returns.
        width: replies that may be owed, or known and not written yet, before the stream has no room for another request.
    """

    def __init__(self, send: Callable[[bytes], Awaitable[None]], width: int) -> None:
        self._send = send
        self._width = self._room = width
        self._owed: set[asyncio.Future[Any]] = set()
        self._known: deque[bytes] = deque()
        self._complete = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    async def take_place(self) -> None:
        """Wait until there is room for another request, and take it."""
        while not self._room:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        self._room -= 1

    def owe(self, answer: asyncio.Future[Any]) -> None:
        """A request is being worked on; `abandon` will cancel it."""
        self._owed.add(answer)
        answer.add_done_callback(self._owed.discard)

    def put(self, reply: bytes) -> None:
        """A reply is known."""
        self._known.append(reply)
        _wake(self._writer)

    def complete(self) -> None:
        """No more requests come."""
        self._complete = True
        _wake(self._writer)

    def abandon(self) -> None:
        """Nobody waits for what is still owed."""
        for answer in list(self._owed):
            answer.cancel()

    async def write(self) -> None:
        """Write replies until no more requests come and every one that took a place has its reply.

        Raises:
            PeerGone.
        """
        while True:
            while self._known:
                try:
                    await self._send(self._known.popleft())
                except Exception as error:  # gRPC's own has no public name
                    raise PeerGone from error
                self._room += 1
                _wake(self._reader)
            if self._complete and self._room == self._width:
                return
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
