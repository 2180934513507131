"""Takes in calls that come together together.

grpc.aio asks its core for one call, and for the next once its own loop has dealt with that one: some five turns of the event loop and a
hand-over between threads each. Calls that come while the loop is busy with others queue there, one behind the other. Here many are asked
for beforehand, so that all who came meanwhile begin in one turn. What is made of a call is grpc.aio's business as before; only its method
need not be looked up, for core matches methods it was told of by itself.

For that it calls functions of grpcio which are not part of its API, and so only of the version whose functions these are: with any other,
grpc.aio's loop is left alone. See docs/adr/0014-taken-in-together.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc
import structlog
from grpc._cython import cygrpc  # type: ignore[attr-defined]

log = structlog.get_logger()

VERSION = "1.85"
"""Of grpcio, major and minor: another may have changed what is called here."""
EACH = 32
"""Calls of each method asked for beforehand."""


class Acceptors:
    """Takes in the unary calls of some methods, beside a server's own loop, which goes on to take in its share and all others.

    Args:
        server: that the methods are registered with.
        methods: full name (``/package.Service/Method``) → handler, unary both ways.
    """

    def __init__(self, server: grpc.aio.Server, methods: Mapping[str, grpc.RpcMethodHandler[Any, Any]]) -> None:
        self._server: Any = server._server  # type: ignore[attr-defined]
        self._methods = methods
        self._accepting: list[asyncio.Task[None]] = []
        self._calls: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin; the server has been started."""
        if not grpc.__version__.startswith(f"{VERSION}."):
            log.info("calls are taken in one by one", grpcio=grpc.__version__, together_with=VERSION)
            return
        loop = asyncio.get_running_loop()
        for method, handler in self._methods.items():
            self._accepting += [loop.create_task(self._accept(loop, method, handler)) for _ in range(EACH)]
        for accepting in self._accepting:
            accepting.add_done_callback(_ended)

    async def ended(self) -> None:
        """Wait until nothing is asked for any more: the server has been stopped."""
        if self._accepting:
            await asyncio.wait(self._accepting)

    async def _accept(self, loop: asyncio.AbstractEventLoop, method: str, handler: Any) -> None:
        name = method.encode()
        while self._server.is_running():
            try:
                call = await self._server._request_registered_call(name)
            except cygrpc._RequestCallError:
                continue  # the server is stopped, or whoever called was gone before the call was taken in
            work = cygrpc._handle_unary_unary_rpc(handler, call, loop)
            task = loop.create_task(cygrpc._schedule_rpc_coro(work, call, loop, method))
            self._calls.add(task)  # else nobody holds it
            task.add_done_callback(self._calls.discard)


def _ended(accepting: asyncio.Task[None]) -> None:
    """Others, and the server's own loop, go on."""
    if not accepting.cancelled() and (error := accepting.exception()) is not None:
        log.error("one less takes in calls", exc_info=error)
