"""One connection to NATS, for as long as it lives: many messages on their way at once. Whoever meets its end opens another."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, Self, TypeVar

import nats.aio.client
import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import APIError

from events.bus import Message
from events.headers import headers_of

T = TypeVar("T")

FAILURES = (nats.errors.Error, OSError, TimeoutError)
"""What calls of a `Link` raise when it is of no use any more."""

_SYNCS_BATCHES = (2, 15)
"""Servers from that version on sync once for all messages of a batch; those since 2.12, which know batches too, for each of them."""
_BATCH = 256
"""Messages of a batch, at most; a server takes a thousand."""
_WORTH = 24
"""Fewer are sent one by one: to open and to close a batch costs the server about as much as it costs to keep so many."""
_ONE_BY_ONE = 64
"""Messages written before what is pending goes out, where there are no batches: the server works while we write."""
_BYTES_TOGETHER = 512 << 10
_ON_THEIR_WAY = 6
"""So many times that before we wait for the server. It answers when it has synced all that it found waiting: with more, a slow disk would
look like a server that is silent."""
_RETRY_S = 0.05
_NO_RESPONDERS = "503"


class Link:
    """A connection. Its failures (`FAILURES`) are its end: close it then.

    Args:
        timeout_s: how long it may take until something is heard of what was sent.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._client = _Client()
        self._sent: dict[str, _Sent] = {}
        self._numbers = itertools.count()
        self._inbox = ""
        self._heard_at = 0.0
        self._said: Exception | None = None
        self._opening = asyncio.timeout(timeout_s)
        self.takes_batches = True
        """Whether the streams do: one that does not refuses each batch, which is then sent once more, one by one."""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, servers: Sequence[str], timeout_s: float) -> Self:
        """Connect, trying until the time is over.

        Raises:
            FAILURES.
        """
        link = cls(timeout_s)
        try:
            async with link._opening:
                await link._client.connect(
                    list(servers),
                    error_cb=link._note,
                    closed_cb=link._end,
                    allow_reconnect=False,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=_RETRY_S,  # type: ignore[arg-type]  # it is a time to sleep
                    connect_timeout=timeout_s,  # type: ignore[arg-type]
                    pending_size=0,  # what is pending is bounded here; a buffer that fills up would wait for the socket without end
                )
                link._inbox = link._client.new_inbox()
                await link._client.subscribe(f"{link._inbox}.*", cb=link._hear)
        except BaseException as error:
            await link.close()
            if isinstance(error, TimeoutError) and link._said is not None:
                raise link._said from None
            raise
        return link

    @property
    def jetstream(self) -> JetStreamContext:
        """To make streams and consumers with."""
        return self._client.jetstream(timeout=self._timeout_s)

    @property
    def version(self) -> tuple[int, int]:
        """Of the server."""
        version = self._client.connected_server_version
        return version.major, version.minor

    @property
    def largest(self) -> int:
        """Bytes of the largest message that the server takes, headers included."""
        return self._client.max_payload

    async def publish(self, messages: Sequence[Message]) -> None:
        """Return when all are kept.

        Raises:
            FAILURES.
        """
        together = self.takes_batches and self.version >= _SYNCS_BATCHES
        on_their_way: deque[_Sent] = deque()
        try:
            for group in _groups(messages, _BATCH if together else _ONE_BY_ONE):
                if len(on_their_way) == _ON_THEIR_WAY:
                    await self._kept(on_their_way.popleft())
                on_their_way.append(await self._send(group, as_batch=together and len(group) >= _WORTH))
            while on_their_way:
                await self._kept(on_their_way.popleft())
        finally:
            for sent in on_their_way:
                del self._sent[sent.reply]

    async def ask(self, subject: str) -> None:
        """Send an empty request and return when it is answered.

        Raises:
            FAILURES.
        """
        await self.answer(self._client.request(subject, b"", timeout=self._timeout_s))

    async def answer(self, request: Coroutine[Any, Any, T]) -> T:
        """What a request is answered with. The client alone would wait for an answer though the connection has ended.

        Raises:
            FAILURES.
        """
        asking = asyncio.create_task(request)
        try:
            await asyncio.wait((asking, self.ended), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise self._failure()
            return asking.result()
        finally:
            asking.cancel()

    async def listen(self, hear: Callable[[Any], Awaitable[None]]) -> str:
        """Call whenever something comes; the subject where, one word short.

        Raises:
            FAILURES.
        """
        inbox = self._client.new_inbox()
        # Without a bound on bytes: no more comes than is asked for.
        await self._client.subscribe(f"{inbox}.*", cb=hear, pending_bytes_limit=0)
        return inbox

    async def send(self, subject: str, body: bytes, reply: str) -> None:
        """Send without waiting.

        Raises:
            FAILURES.
        """
        await self._client.publish(subject, body, reply)

    async def heard(self, answer: asyncio.Future[None], since: Callable[[], float], patience_s: float) -> None:
        """Wait for an answer, for as long as something is heard: within that time of the last time that something was, by the loop's clock.

        Raises:
            FAILURES.
        """
        clock = asyncio.get_running_loop().time
        while not answer.done():
            left_s = since() + patience_s - clock()
            if left_s <= 0:
                raise TimeoutError(f"no answer within {patience_s:g} s")
            await asyncio.wait((answer, self.ended), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if self.ended.done() and not answer.done():
                raise self._failure()

    async def close(self) -> None:
        """Close it, also when nobody is at its other end. Safe to repeat."""
        await self._client.close()
        await self._end()

    async def _send(self, messages: Sequence[Message], *, as_batch: bool) -> _Sent:
        sent = _Sent(f"{self._inbox}.{next(self._numbers)}", messages, as_batch)
        self._sent[sent.reply] = sent
        for number, message in enumerate(messages, 1):
            headers, reply = headers_of(message), sent.reply
            if as_batch:
                headers |= {"Nats-Batch-Id": sent.reply, "Nats-Batch-Sequence": str(number)}
                if number < len(messages):
                    reply = ""
                else:
                    headers["Nats-Batch-Commit"] = "1"
            await self._client.publish(message.subject, message.body, reply, headers)
        await asyncio.sleep(0)
        return sent

    async def _kept(self, sent: _Sent) -> None:
        """Return when they are; send them one by one if the server refused them as a batch, as it does when it has one of them already."""
        try:
            await self.heard(sent.answered, lambda: max(self._heard_at, sent.sent_at), self._timeout_s)
        finally:
            del self._sent[sent.reply]
        if sent.as_batch and isinstance(sent.error, APIError):
            await self._kept(await self._send(sent.messages, as_batch=False))
        elif sent.error is not None:
            raise sent.error

    async def _hear(self, answer: Any) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        sent = self._sent.get(answer.subject)
        if sent is not None:
            sent.hear(answer)

    def _failure(self) -> Exception:
        return self._said or nats.errors.ConnectionClosedError()

    async def _note(self, error: Exception) -> None:
        if self._opening.expired() and not self._client.is_closed:
            # To `asyncio.wait_for` of Python 3.11, an attempt that fails in the moment the time is over has failed, and the time is not
            # over: the client would try again without end.
            self._said = self._said or error
            raise TimeoutError
        self._said = error

    async def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class _Client(nats.aio.client.Client):
    def _connect_command(self) -> bytes:
        # The password is in it. A server, or somebody in between, who says that it knows no TLS is not told.
        server = self._current_server
        if server is not None and server.uri.scheme == "tls" and not self._server_info.get("tls_required"):
            raise nats.errors.Error("the server speaks no TLS, and tls:// was asked for")
        return super()._connect_command()

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        # It would write what is pending first, though nobody may read any more, or be there. Whoever sent it is told that it may be lost.
        self._pending, self._pending_data_size = [], 0
        if self._transport:
            self._transport._io_writer.transport.abort()  # type: ignore[attr-defined]  # it is TCP
        await super()._close(status, do_cbs)


class _Sent:
    """Messages on their way: each is answered once, or all of a batch together."""

    def __init__(self, reply: str, messages: Sequence[Message], as_batch: bool) -> None:
        loop = asyncio.get_running_loop()
        self.reply = reply
        self.messages = messages
        self.as_batch = as_batch
        self.answered: asyncio.Future[None] = loop.create_future()
        self.error: Exception | None = None
        self.sent_at = loop.time()
        self._open = len(messages)

    def hear(self, answer: Any) -> None:
        """One of them is kept, or all of the batch are, or are not."""
        if self.answered.done():
            return
        if answer.headers and answer.headers.get("Status") == _NO_RESPONDERS:
            self.error = nats.errors.Error("no stream keeps that subject")
        else:
            try:
                said = json.loads(answer.data)
            except ValueError:
                return  # somebody else who hears of it answers too
            if "error" in said:
                self.error = APIError(**said["error"])  # `from_error` raises it
            elif "stream" in said:
                self._open -= said.get("count", 1)
        if self.error or not self._open:
            self.answered.set_result(None)


def _groups(messages: Iterable[Message], most: int) -> Iterator[list[Message]]:
    """Messages in order, as they are sent together."""
    group: list[Message] = []
    size = 0
    for message in messages:
        if group and (len(group) == most or size + len(message.body) > _BYTES_TOGETHER):
            yield group
            group, size = [], 0
        group.append(message)
        size += len(message.body)
    if group:
        yield group
