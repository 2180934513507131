"""Services of others on our server, health and reflection: who sends them what is no message gets a status, and the log no traceback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from serving.transport.entrance import Context, Handler, tolerant
from serving.transport.status import abort, aborting, status_of, without_frames


class Guests:
    """Where their services are added instead of to the server itself.

    Args:
        server: gets the wrapped handlers.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """As a server's."""
        wrapped = {name: _wrap(handler) for name, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))

    def add_generic_rpc_handlers(self, handlers: Sequence[object]) -> None:
        """Nothing: generated code adds the same handlers by both ways, and here their names are not told."""


def _wrap(handler: Handler) -> Handler:
    parse, render = tolerant(handler.request_deserializer), handler.response_serializer
    if handler.stream_stream is not None:
        return grpc.stream_stream_rpc_method_handler(_stream(handler.stream_stream), parse, render)
    if handler.unary_stream is not None:
        return grpc.unary_stream_rpc_method_handler(_unary(handler.unary_stream), parse, render)
    return grpc.unary_unary_rpc_method_handler(_unary(handler.unary_unary), parse, render)


def _unary(handle: Any) -> Any:
    async def call(request: Any, context: Context) -> Any:
        if isinstance(request, DecodeError):
            return await _refuse(context, request)
        with aborting():
            return await handle(request, context)

    return call


def _stream(handle: Any) -> Any:
    async def messages(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        async for request in requests:
            if isinstance(request, DecodeError):
                await _refuse(context, request)
                return
            yield request

    async def call(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        async for reply in handle(messages(requests, context), context):
            yield reply

    return call


async def _refuse(context: Context, error: DecodeError) -> None:
    """End a call that sent what is no message."""
    await abort(context, status_of(without_frames(error)))
