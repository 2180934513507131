"""The gRPC server: both services, health and reflection on one address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from ooml.bandit.v1 import bandit_pb2, bandit_pb2_grpc, policy_pb2, policy_pb2_grpc

from serving.certificates import TlsFiles
from serving.service.bandit import BanditService
from serving.service.policies import PolicyService
from serving.transport.acceptors import Acceptors
from serving.transport.admission import Admission, Gate
from serving.transport.bandit_servicer import BanditServicer
from serving.transport.calls import Calls, Ending, Limits, Observer
from serving.transport.entrance import Entrance
from serving.transport.guests import Guests
from serving.transport.parse import READERS
from serving.transport.policy_servicer import PolicyServicer
from serving.transport.tls import server_credentials

SERVICES = (
    bandit_pb2.DESCRIPTOR.services_by_name["BanditService"].full_name,
    policy_pb2.DESCRIPTOR.services_by_name["PolicyService"].full_name,
)
MAX_MESSAGE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a server listens.

    Args:
        limits: on calls.
        reuse_port: whether other processes of this user may listen on the same port.
        reflection: whether the contract can be read from the server.
        max_connection_age_s: age at which a connection is asked to reconnect.
        connection_grace_s: how long calls on such a connection may still take.
        keepalive_s: silence after which a client is asked whether it is there.
        keepalive_timeout_s: how long it may take to say so.
        tls: files to speak TLS with; None: in clear.
    """

    limits: Limits = field(default_factory=Limits)
    reuse_port: bool = False
    reflection: bool = True
    max_connection_age_s: float = 300.0
    connection_grace_s: float = 30.0
    keepalive_s: float = 30.0
    keepalive_timeout_s: float = 10.0
    tls: TlsFiles | None = None


class GrpcServer:
    """One server. Create it in the event loop it runs in.

    Args:
        bandit, policies: the use cases.
        observer: hears of every call.
        served: whether a policy of that name is served.
        gate: who may call; None: anybody.
    """

    def __init__(
        self,
        bandit: BanditService,
        policies: PolicyService,
        observer: Observer,
        served: Callable[[str], bool],
        options: ServerOptions | None = None,
        gate: Gate | None = None,
    ) -> None:
        options = options or ServerOptions()
        self._calls = Calls(options.limits, observer, served)
        self._tls = options.tls
        self._server = grpc.aio.server(options=_channel_options(options))
        admission = Admission(gate)
        entrance: Any = Entrance(self._server, self._calls, admission, READERS)
        self._health = _Health()
        self._stopping: asyncio.Task[None] | None = None
        bandit_pb2_grpc.add_BanditServiceServicer_to_server(BanditServicer(bandit, self._calls, admission), entrance)
        policy_pb2_grpc.add_PolicyServiceServicer_to_server(PolicyServicer(policies), entrance)
        self._acceptors = Acceptors(self._server, entrance.unary)
        guests: Any = Guests(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, guests)
        if options.reflection:
            names = [*SERVICES, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name]
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(names), guests)  # type: ignore[no-untyped-call]

    def listen(self, address: str) -> int:
        """Take an address (``host:port``, port 0: a free one); returns the port.

        Raises:
            RuntimeError: it cannot be taken.
            BadCertificates: the files for TLS cannot be used.
        """
        if self._tls is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, server_credentials(self._tls))

    async def start(self) -> None:
        """Begin to answer. Health says NOT_SERVING until it is told otherwise."""
        await self.publish_health(False)
        await self._server.start()
        self._acceptors.start()

    async def publish_health(self, serving: bool) -> None:
        """Tell load balancers whether this server can serve, for each service and for the server as a whole."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", *SERVICES):
            await self._health.set(service, status)

    async def drain(self) -> None:
        """Answer new calls with UNAVAILABLE, and say so to load balancers, for good; calls in flight go on. `stop` should follow."""
        self._calls.drain()
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_s: float) -> None:
        """Drain, stop listening, let calls in flight finish, and end; after ``grace_s`` calls still in flight are cancelled.

        Said again, it waits for the same end: gRPC crashes when a server is stopped twice at once.
        """
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(grace_s))
        await asyncio.shield(self._stopping)

    async def _stop(self, grace_s: float) -> None:
        await self.drain()
        stopping = asyncio.create_task(self._server.stop(grace_s))
        await self._calls.wait_idle(grace_s)
        self._health.watches.end()
        await stopping
        await self._acceptors.ended()


class _Health(health.aio.HealthServicer):  # type: ignore[misc]  # it has no types
    """Health whose watchers can be sent away: they would hold up the end of the server for the whole grace."""

    def __init__(self) -> None:
        super().__init__()
        self.watches = Ending()

    async def List(self, request: health_pb2.HealthListRequest, context: object) -> health_pb2.HealthListResponse:  # noqa: N802
        """Tell of every service at once."""
        asked = {service: health_pb2.HealthCheckRequest(service=service) for service in ("", *SERVICES)}
        return health_pb2.HealthListResponse(statuses={name: await self.Check(one, context) for name, one in asked.items()})

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: object) -> None:  # noqa: N802
        """Tell of changes until the caller leaves or the server ends."""
        async with self.watches.leaves():
            await super().Watch(request, context)


def _channel_options(options: ServerOptions) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", int(options.reuse_port)),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_connection_age_ms", round(options.max_connection_age_s * 1000)),
        ("grpc.max_connection_age_grace_ms", round(options.connection_grace_s * 1000)),
        # A peer that vanished without a word is noticed; a client may ask as often without being cut off.
        ("grpc.keepalive_time_ms", round(options.keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(options.keepalive_timeout_s * 1000)),
        ("grpc.http2.ping_timeout_ms", round(options.keepalive_timeout_s * 1000)),  # what gRPC's core really goes by
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]
