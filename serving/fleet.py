"""The processes of one server: workers that share a port, the watcher of the feature registry, one address of metrics for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
def fleet(
    settings: Settings,
    listening: Callable[[], None] = lambda: None,
    environment: Mapping[str, str] | None = None,
    stderr: int | None = None,
) -> Iterator[Fleet]:
    """Take the ports of a server and say which processes it is made of.

    Args:
        listening: called once, when every worker has begun to listen.
        environment: added to the processes' own.
        stderr: file descriptor that they log to; None: our stderr.

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
            events=_events(settings.workers, exposition, listening),
            environment={**(environment or {}), **(exposition.environment if exposition else {})},
            stderr=stderr,
        )
        yield Fleet(supervisor, grpc, address(settings.metrics_host, exposition.port) if exposition else None)


def _roles(settings: Settings, grpc: str) -> list[Role]:
    def worker(slot: int) -> Role:
        # Every life of every worker draws from a stream of its own: the n-th one of a slot is n rounds after its first.
        return Role(
            _worker_name(slot), "serving.main", lambda life: Orders(settings, grpc, slot, stream=slot + life * settings.workers).to_line()
        )

    roles = [worker(slot) for slot in range(settings.workers)]
    if settings.feature_repo is not None:
        roles.append(Role("watcher", "serving.watcher", lambda _: Orders(settings).to_line(), essential=False))
    return roles


def _events(workers: int, exposition: Exposition | None, listening: Callable[[], None]) -> Events:
    waited_for = {_worker_name(slot) for slot in range(workers)}

    def ready(role: str) -> None:
        if role in waited_for:
            waited_for.discard(role)
            if not waited_for:
                listening()

    if exposition is None:
        return Events(ready)
    return Events(ready, exposition.ended, exposition.restarted)


def _worker_name(slot: int) -> str:
    return f"worker-{slot}"


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
