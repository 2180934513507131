"""Between a client and a server: proxies that count connections, or fall silent without closing them."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

HEADERS, END_STREAM = 1, 1
FRAME_HEAD = 9


@dataclass
class Proxy:
    """One address that leads to a server.

    Args:
        upstream: ``host:port`` of the server.
        freezes: whether each connection falls silent, both ways, once the server has ended its first answer. Only without TLS.
    """

    upstream: str
    freezes: bool = False
    address: str = ""
    connections: int = 0
    _open: list[asyncio.StreamWriter] = field(default_factory=list)

    async def listen(self) -> None:
        """Take an address."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = "{}:{}".format(*server.sockets[0].getsockname()[:2])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        host, _, port = self.upstream.rpartition(":")
        answers, asks = await asyncio.open_connection(host, int(port))
        self._open += [writer, asks]
        asking = asyncio.create_task(_pass_on(reader, asks))
        frozen = await (_pass_on_first_answer if self.freezes else _pass_on)(answers, writer)
        if frozen:
            asking.cancel()  # both connections stay open
        else:
            writer.close()
            await asking


@contextmanager
def proxying() -> Iterator[Proxies]:
    """A thread that runs proxies until the block is left."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxies", daemon=True)
    thread.start()
    try:
        yield Proxies(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@dataclass(frozen=True, slots=True)
class Proxies:
    """Where proxies run."""

    loop: asyncio.AbstractEventLoop

    def add(self, upstream: str, *, freezes: bool) -> Proxy:
        """A proxy that listens."""
        proxy = Proxy(upstream, freezes)
        asyncio.run_coroutine_threadsafe(proxy.listen(), self.loop).result()
        return proxy


@contextmanager
def silent() -> Iterator[str]:
    """An address where connections are taken, by the kernel, and nobody ever says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"127.0.0.1:{listener.getsockname()[1]}"


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
    return False


async def _pass_on_first_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Pass on HTTP/2 frames up to the one that ends a stream; whether there was one."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readexactly(FRAME_HEAD)
            writer.write(head + await reader.readexactly(int.from_bytes(head[:3])))
            await writer.drain()
            if head[3] == HEADERS and head[4] & END_STREAM:
                return True
    return False
