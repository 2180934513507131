"""Real stores for tests: one node, or a cluster of three masters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import redis

from cli.embedded import EmbeddedServer, free_port

SLOTS = 16_384


class Node(EmbeddedServer):
    """A master of a cluster."""

    def __init__(self, data_dir: Path, program: Path) -> None:
        super().__init__(data_dir, program=program, settings={"cluster-enabled": "yes", "cluster-node-timeout": "5000"})
        self.bus_port = 0
        self._is_known = False

    def start(self, timeout_s: float = 20.0) -> Self:
        """Start; from the first time on, others know it by its ports."""
        super().start(timeout_s)
        self._is_known = True
        return self

    def _arguments(self) -> Sequence[str]:
        if not self._is_known:  # a port that was free a moment ago may be another server's now: each attempt takes a new one
            self.bus_port = free_port()
        return [*super()._arguments(), "--cluster-port", str(self.bus_port)]


@dataclass(frozen=True)
class Cluster:
    """Three masters that share the slots; `host`, `port` and `url` are the first one's."""

    nodes: tuple[Node, ...]

    @property
    def host(self) -> str:
        return self.nodes[0].host

    @property
    def port(self) -> int:
        return self.nodes[0].port

    @property
    def url(self) -> str:
        return self.nodes[0].url


Store = EmbeddedServer | Cluster


def eventually(holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Return as soon as the condition holds; fail when it does not within the time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not so within {timeout_s} s"
        time.sleep(0.01)


def flush(store: Store) -> None:
    """Leave the store empty."""
    for node in store.nodes if isinstance(store, Cluster) else (store,):
        with redis.Redis(host=node.host, port=node.port) as client:
            client.flushall()


@contextmanager
def cluster(data_dir: Path, program: Path, masters: int = 3) -> Iterator[Cluster]:
    """A running cluster whose nodes all agree who serves which slot."""
    nodes = tuple(Node(data_dir / str(i), program) for i in range(masters))
    try:
        for node in nodes:
            node.start()
        _join(nodes)
        eventually(lambda: _agreed(nodes), 30)
        yield Cluster(nodes)
    finally:
        for node in nodes:
            node.stop()


def _join(nodes: tuple[Node, ...]) -> None:
    for i, node in enumerate(nodes):
        with redis.Redis(host=node.host, port=node.port) as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", SLOTS * i // len(nodes), SLOTS * (i + 1) // len(nodes) - 1)
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", i + 1)
    with redis.Redis(host=nodes[0].host, port=nodes[0].port) as first:
        for node in nodes[1:]:
            first.execute_command("CLUSTER MEET", node.host, node.port, node.bus_port)


def _agreed(nodes: tuple[Node, ...]) -> bool:
    views: set[tuple[tuple[int, int, int], ...]] = set()
    for node in nodes:
        with redis.Redis(host=node.host, port=node.port, decode_responses=True) as client:
            if client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                return False
            slots = client.execute_command("CLUSTER SLOTS")
        views.add(tuple(sorted((start, end, owner[1]) for start, end, owner in slots)))  # owner: host, port, id
    return len(views) == 1 and sum(end - start + 1 for start, end, _ in views.pop()) == SLOTS
