"""The processes of one server: workers that share a port, the watcher of the feature registry, one address of metrics for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from serving.child import Orders
from serving.metrics import Exposition
from serving.settings import Settings, address, unknown_variables
from serving.supervisor import Events, PortTaken, Role, Supervisor, hold_port

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Fleet:
    """A server about to run: await ``supervisor.run()``.

    Args:
        supervisor: of all its processes.
        grpc: address it listens on.
        metrics: address Prometheus scrapes, None without one.
    """

    supervisor: Supervisor
    grpc: str
    metrics: str | None


@contextmanager
def fleet(settings: Settings, listening: Callable[[], None] = lambda: None) -> Iterator[Fleet]:
    """Take the ports of a server and say which processes it is made of.

    Args:
        listening: called once, when the first worker listens.

    Raises:
        PortTaken: of the gRPC port or the metrics port.
    """
    for name in unknown_variables():
        log.warning("unknown setting ignored", variable=name)
    with hold_port(settings.host, settings.port) as holder, _exposition(settings) as exposition:
        grpc = address(*holder.getsockname()[:2])
        supervisor = Supervisor(
            roles=_roles(settings, grpc),
            grace_s=settings.drain_grace_s,
            events=_events(exposition, listening),
            environment=exposition.environment if exposition else {},
        )
        yield Fleet(supervisor, grpc, address(settings.metrics_host, exposition.port) if exposition else None)


def _roles(settings: Settings, grpc: str) -> list[Role]:
    def worker(slot: int) -> Role:
        # Every life of every worker draws from a stream of its own: the n-th one of a slot is n rounds after its first.
        return Role(
            f"worker-{slot}", "serving.main", lambda life: Orders(settings, grpc, slot, stream=slot + life * settings.workers).to_line()
        )

    roles = [worker(slot) for slot in range(settings.workers)]
    if settings.feature_repo is not None:
        roles.append(Role("watcher", "serving.watcher", lambda _: Orders(settings).to_line(), essential=False))
    return roles


def _events(exposition: Exposition | None, listening: Callable[[], None]) -> Events:
    heard = False

    def ready(role: str) -> None:
        nonlocal heard
        if not heard and role.startswith("worker"):
            heard = True
            listening()

    if exposition is None:
        return Events(ready)
    return Events(ready, exposition.ended, exposition.restarted)


@contextmanager
def _exposition(settings: Settings) -> Iterator[Exposition | None]:
    if not settings.metrics_port:
        yield None
        return
    try:
        exposition = Exposition(settings.metrics_host, settings.metrics_port)
    except OSError as error:
        where = address(settings.metrics_host, settings.metrics_port)
        raise PortTaken(f"cannot serve metrics on {where}: {error.strerror}. Stop what is there, or choose another port") from None
    try:
        yield exposition
    finally:
        exposition.close()
