"""Health and reflection take what comes as our own services do."""

from __future__ import annotations

from typing import Any

import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from serving.transport.server import SERVICES
from tests.transport.harness import REFLECTION, World, failure


@pytest.mark.parametrize("path", ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch", REFLECTION])
async def test_bytes_that_are_no_message_are_invalid_and_leave_no_traceback(here: World, path: str, caplog: Any) -> None:
    kinds: dict[str, Any] = {"Check": here.channel.unary_unary, "Watch": here.channel.unary_stream}
    if path == REFLECTION:
        call = here.channel.stream_stream(path)(iter([b"\xff\xff"])).read()  # type: ignore[arg-type]
    else:
        name = path.rpartition("/")[2]
        call = kinds[name](path)(b"\xff\xff")
        call = call.read() if name == "Watch" else call
    with capture_logs() as lines:
        seen = await failure(call)
    assert (seen.code, seen.reason) == (StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert seen.message == "the request is not a message of this method's type"
    assert (lines, caplog.records) == ([], [])


async def test_health_lists_every_service(here: World) -> None:
    await here.server.publish_health(True)
    stub: Any = health_pb2_grpc.HealthStub(here.channel)
    listed = (await stub.List(health_pb2.HealthListRequest())).statuses
    assert {name: answer.status for name, answer in listed.items()} == dict.fromkeys(
        ("", *SERVICES), health_pb2.HealthCheckResponse.SERVING
    )
