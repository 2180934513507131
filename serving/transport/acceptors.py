"""Takes in calls that come together together.

grpc.aio asks its core for one call, and for the next once its own loop has dealt with that one: some five turns of the event loop and a
hand-over between threads each. Calls that come while the loop is busy with others queue there, one behind the other. Here many are asked
for beforehand, so that as many who came meanwhile begin in one turn. What is made of a call is grpc.aio's business as before; only its
method need not be looked up, for core matches methods it was told of by itself.

For that it uses parts of grpcio which are not of its API, and so only of the version that has them: with any other, grpc.aio's loop is left
alone. See docs/adr/0014-taken-in-together.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any

import grpc
import structlog

log = structlog.get_logger()

VERSION = "1.85.1"
"""Of grpcio: any other may have changed what is used here."""
EACH = 32
"""Calls of each method asked for beforehand."""


class Acceptors:
    """Takes in the unary calls of some methods, beside a server's own loop, which goes on to take in its share and all others.

    Args:
        server: that the methods are registered with.
        methods: full name (``/package.Service/Method``) → handler, unary both ways.
    """

    def __init__(self, server: grpc.aio.Server, methods: Mapping[str, grpc.RpcMethodHandler[Any, Any]]) -> None:
        self._server: Any = server
        self._methods = methods
        self._calls: set[asyncio.Task[None]] = set()
        self._asked = 0
        self._done = asyncio.Event()
        self._done.set()

    def start(self) -> None:
        """Begin; the server has been started."""
        if grpc.__version__ != VERSION:
            log.info("calls are taken in one by one", grpcio=grpc.__version__, together_with=VERSION)
            return
        from grpc._cython import cygrpc  # type: ignore[attr-defined]  # not before it is known to be there

        self._core, self._loop = cygrpc, asyncio.get_running_loop()
        for method in self._methods:
            for _ in range(EACH):
                self._ask(method)

    async def ended(self) -> None:
        """Wait until nothing is asked for any more: the server has been stopped."""
        await self._done.wait()

    def _ask(self, method: str) -> None:
        """Ask core for a call.

        Not by a task: core writes the call to where this coroutine keeps it, and whoever ends a loop cancels all tasks there are.
        """
        request = self._server._server._request_registered_call(method.encode())
        coming = request.send(None)
        coming._asyncio_future_blocking = False  # as a task does with what it is given to wait for
        coming.add_done_callback(partial(self._came, method, request))
        self._asked += 1
        self._done.clear()

    def _came(self, method: str, request: Coroutine[Any, Any, Any], _: asyncio.Future[None]) -> None:
        self._asked -= 1
        call = None
        try:
            try:
                request.send(None)
            except StopIteration as came:
                call = came.value
            except self._core._RequestCallError:
                pass  # the server stops
            if self._server._server.is_running():
                self._ask(method)
            if call is not None:
                self._begin(method, call)
        finally:
            if not self._asked:
                self._done.set()

    def _begin(self, method: str, call: Any) -> None:
        work = self._core._handle_unary_unary_rpc(self._methods[method], call, self._loop)
        task = self._loop.create_task(self._core._schedule_rpc_coro(work, call, self._loop, method))
        self._calls.add(task)  # else nobody holds it
        task.add_done_callback(self._calls.discard)
