"""The one way in: every call of this package's services is admitted, bounded in time, and answered with a proper status."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from serving.transport.admission import Admission
from serving.transport.calls import Calls
from serving.transport.status import abort

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Entrance:
    """Where this package's services are added instead of to the server itself: their handlers are wrapped, once.

    An interceptor would do the same anew for every call, health and reflection included.

    Args:
        server: gets the wrapped handlers.
        calls: what each call passes through.
        admission: lets calls begin.
        readers: full name of a method → what reads its requests, in the place of generated code.

    Attributes:
        unary: full name of each method that is unary both ways → its wrapped handler, registered with the server by its name.
    """

    def __init__(self, server: grpc.aio.Server, calls: Calls, admission: Admission, readers: Mapping[str, Callable[[bytes], Any]]) -> None:
        self._server = server
        self._readers = readers
        self._calls = calls
        self._admission = admission
        self.unary: dict[str, Handler] = {}

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """As a server's."""
        wrapped = {name: self._wrap(f"/{service}/{name}", handler) for name, handler in handlers.items()}
        unary = {name: handler for name, handler in wrapped.items() if handler.unary_unary is not None}
        streams = {name: handler for name, handler in wrapped.items() if name not in unary}
        self._server.add_registered_method_handlers(service, unary)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, streams),))
        self.unary |= {f"/{service}/{name}": handler for name, handler in unary.items()}

    def add_generic_rpc_handlers(self, handlers: Sequence[object]) -> None:
        """Nothing: generated code adds the same handlers by both ways, and here their names are not told."""

    def _wrap(self, method: str, handler: Handler) -> Handler:
        name = method.rpartition("/")[2]
        parse, render = tolerant(self._readers.get(method, handler.request_deserializer)), _lenient(handler.response_serializer)
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(self._stream(method, name, handler.stream_stream), parse, render)
        return grpc.unary_unary_rpc_method_handler(self._unary(method, name, handler.unary_unary), parse, render)

    def _unary(self, method: str, name: str, handle: Any) -> Any:
        def admitted(request: Any, context: Context) -> Awaitable[Any]:
            if isinstance(request, DecodeError):
                self._admission.admit(method, context)
                raise request
            return self._admission.begin(method, context, request, partial(handle, request, context))

        async def call(request: Any, context: Context) -> Any:
            work = partial(admitted, request, context)
            answer = await self._calls.answer(name, getattr(request, "policy", ""), context.time_remaining(), work)
            return await abort(context, answer) if isinstance(answer, Status) else answer

        return call

    def _stream(self, method: str, name: str, handle: Any) -> Any:
        async def call(requests: Any, context: Context) -> None:
            status = None
            try:
                self._admission.admit(method, context)
                async with self._calls.stream():
                    await handle(requests, context)
            except asyncio.CancelledError as left:
                left.__traceback__ = None  # it holds the task group that raised it, and that its requests: a cycle
                raise
            except Exception as error:
                status = self._calls.told(name, error)
            if status is not None:
                await abort(context, status)

        return call


def tolerant(parse: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    """A deserialiser that returns its error, so that a malformed message gets a status like any other mistake."""
    if parse is None:
        raise TypeError("a handler without deserialiser")

    def read(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError as error:
            return error

    return read


def _lenient(render: Callable[[Any], bytes] | None) -> Callable[[Any], bytes]:
    """A serialiser that also takes what is serialised already."""
    if render is None:
        raise TypeError("a handler without serialiser")
    return lambda message: message if isinstance(message, bytes) else render(message)
