"""Where measures happen: servers that several of them share, started when the first asks for them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
import redis
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc

from benchmarks import people, servers
from benchmarks.cells import Cell, cpu_s
from benchmarks.load import BenchmarkError, Generator, Load, Message, first_that_can
from benchmarks.servers import Server
from benchmarks.sizes import Sizes
from cli.embedded import EmbeddedServer
from cli.up import feast_environment

BATCH = 100
BATCH_S = 60.0


@dataclass
class Site:
    """One run of the benchmark.

    Args:
        folder: for everything that is written; the caller removes it.
        sizes: how much is measured.
        seed: of the servers' random draws.
        generators: there are, best first.
        progress: told how far the measure that runs has come.
    """

    folder: Path
    sizes: Sizes
    seed: int
    generators: Sequence[Generator]
    progress: Callable[[str], None] = lambda _: None
    stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stack.close()

    def tell(self, how_far: str) -> None:
        """Tell whoever looks on now how far the measure that runs has come."""
        self.progress(how_far)

    @cached_property
    def store(self) -> EmbeddedServer:
        """One Valkey, with the settings that keep what it acknowledged."""
        return self.stack.enter_context(servers.store(self.folder / "store"))

    @cached_property
    def redis(self) -> redis.Redis:
        """A connection to that store."""
        client: redis.Redis = self.stack.enter_context(redis.Redis.from_url(self.store.url))
        return client

    @cached_property
    def data(self) -> Path:
        """Folder of the sample's data and of the feature registry."""
        return self.folder / "data"

    @cached_property
    def ooml(self) -> Server:
        """One worker on that store, brought up with the sample."""
        self.tell("bringing up ooml")
        people.write(self.data, self.sizes.users)
        server = self.stack.enter_context(servers.up(self.store, self.data, self.seed))
        self.check_features(server)
        return server

    @cached_property
    def echo(self) -> Server:
        """The same messages with nothing in between."""
        return self.stack.enter_context(servers.echo())

    @cached_property
    def waiting_echo(self) -> Server:
        """The same, waiting for that store: one read, one write."""
        return self.stack.enter_context(servers.echo(self.store))

    def feast(self, name: str) -> dict[str, str]:
        """Variables under which Feast's SDK finds the sample, in a copy of the registry under that name."""
        found = feast_environment(self.data, self.store.url)
        copy = self.folder / f"{name}.db"
        shutil.copy(self.data / "registry.db", copy)
        return {**found, "OOML_FEAST_REGISTRY": f"sqlite:///{copy}"}

    def scores(self, candidates: int = people.CANDIDATES) -> list[Message]:
        """A Score of everyone in the sample."""
        return people.scores(self.sizes.users, candidates)

    def send(self, server: Server, load: Load, units: int = 1) -> Cell:
        """Measure a load.

        Args:
            units: decisions (or rewards) a call carries.
        """
        generator = first_that_can(self.generators, load)
        worker, store = cpu_s(server.workers), cpu_s(server.stores)
        answers = generator.send(server.address, load)
        return Cell(
            answers.seconds,
            answers.replies,
            answers.wall_s,
            cpu_s(server.workers) - worker,
            cpu_s(server.stores) - store,
            units * load.calls,
            generator.name,
            answers.late_s,
        )

    def check_features(self, server: Server) -> None:
        """Feast's keys are really there: of some people nothing is absent but whether a task is overdue that is never due.

        Raises:
            BenchmarkError: something is.
        """
        with grpc.insecure_channel(server.address) as channel:
            stub = bandit_pb2_grpc.BanditServiceStub(channel)
            for message in self.scores()[:: max(1, self.sizes.users // 20)]:
                status = stub.Score(pb.ScoreRequest.FromString(message.body), timeout=5.0).feature_status
                if status.expired or set(status.missing_features) - {"is_overdue"}:
                    raise BenchmarkError(f"features are missing: {status}")

    def decisions(self, server: Server, messages: Sequence[Message], count: int) -> list[str]:
        """Ids of fresh decisions, to be rewarded, each of another message."""
        made: list[str] = []
        with grpc.insecure_channel(server.address) as channel:
            stub = bandit_pb2_grpc.BanditServiceStub(channel)
            while len(made) < count:
                some = range(len(made), min(count, len(made) + BATCH))
                requests = [pb.ScoreRequest.FromString(messages[i % len(messages)].body) for i in some]
                answer = stub.BatchScore(pb.BatchScoreRequest(requests=requests), timeout=BATCH_S)
                made += [_decided(result) for result in answer.results]
        return made


def _decided(result: pb.ScoreResult) -> str:
    if not result.response.decision_id:
        raise BenchmarkError(f"a Score of a batch was refused: {result.error.message}")
    return result.response.decision_id
