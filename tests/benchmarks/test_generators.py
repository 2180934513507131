"""Every generator of load, against the echo."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import grpc
import numpy as np
import pytest
import redis
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1.bandit_pb2_grpc import BanditServiceStub

from benchmarks import generators, people, servers
from benchmarks.load import BenchmarkError, Generator, Load, Message, first_that_can
from benchmarks.python_load import PythonLoop
from cli.embedded import EmbeddedServer

pytestmark = pytest.mark.slow
SCORES = people.scores(users=7)
STREAMED = [Message(people.STREAM, body) for _, body in SCORES]
HERE = [name for name, program in (("loadgen", "go"), ("h2load", "h2load"), ("python", sys.executable)) if shutil.which(program)]
"""Generators this machine can have; where Go or h2load is missing, what stands in for them is tested alone."""


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    with servers.echo() as server:
        yield server.address


@pytest.fixture(scope="module")
def all_generators() -> dict[str, Generator]:
    return {generator.name.split(",")[0]: generator for generator in generators.available()}


@pytest.fixture(params=HERE)
def generator(request: pytest.FixtureRequest, all_generators: dict[str, Generator]) -> Generator:
    return all_generators[request.param]


@pytest.mark.parametrize("rate", [None, 400.0])
def test_every_call_is_made_and_timed(generator: Generator, echo: str, rate: float | None) -> None:
    answers = generator.send(echo, Load(SCORES, calls=50, in_flight=4, connections=2, rate=rate))
    assert answers.seconds.shape == (50,)
    assert (answers.seconds > 0).all()
    assert answers.wall_s > (0.03 if rate else 0)
    if rate is None or generator.name.startswith("h2load"):
        assert answers.late_s is None
    else:
        assert answers.late_s is not None
        assert ((answers.late_s >= 0) & (answers.late_s < answers.seconds)).all()


@pytest.mark.skipif("loadgen" not in HERE or sys.platform != "linux", reason="an alarm is loadgen's, and exact on Linux alone")
def test_calls_at_random_moments_begin_then_and_not_at_the_next_whole_millisecond(all_generators: dict[str, Generator], echo: str) -> None:
    answers = all_generators["loadgen"].send(echo, Load(SCORES, calls=200, connections=2, rate=400.0))
    assert answers.late_s is not None
    assert np.quantile(answers.late_s, 0.25) < 0.000_15  # of moments put off to whole milliseconds, 0.00025


@pytest.mark.parametrize("messages", [SCORES, STREAMED], ids=["unary", "stream"])
@pytest.mark.parametrize("name", [name for name in HERE if name != "h2load"])
def test_replies_come_in_the_order_of_the_messages_which_are_sent_in_turn(
    name: str, messages: list[Message], all_generators: dict[str, Generator], echo: str
) -> None:
    protocol: Literal["unary", "stream"] = "stream" if messages is STREAMED else "unary"
    answers = all_generators[name].send(echo, Load(messages, calls=20, in_flight=12, connections=3, protocol=protocol))
    chosen = [pb.ScoreResponse.FromString(reply).candidate_id for reply in answers.replies]
    assert chosen == [f"user-{k % 7:02d}-task-00" for k in range(20)]


def test_a_call_that_fails_ends_the_load(generator: Generator, echo: str) -> None:
    with pytest.raises(BenchmarkError):
        generator.send(echo, Load([Message(f"{people.SERVICE}/Nothing", b"")], calls=50, in_flight=4))


def test_a_message_each_is_more_than_h2load_can() -> None:
    h2load = generators.H2load("h2load")
    found: list[Generator] = [h2load, PythonLoop()]
    assert first_that_can(found, Load(SCORES, 10)).name == "h2load, one person"
    assert first_that_can(found, Load(SCORES, 10, distinct=True)).name == "python"
    assert first_that_can(found, Load(SCORES, 10, protocol="stream")).name == "python"
    with pytest.raises(BenchmarkError, match="stream"):
        first_that_can([h2load], Load(SCORES, 10, protocol="stream"))


def test_without_go_and_h2load_the_python_loop_remains(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [generator.name for generator in generators.available()] == ["python"]


def test_a_generator_that_does_not_build_is_told_of_and_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho no network >&2; exit 1\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    assert "loadgen" not in [generator.name for generator in generators.available()]
    assert "no network" in capsys.readouterr().err


def test_the_echo_answers_with_as_many_candidates_as_were_asked_about(echo: str) -> None:
    with grpc.insecure_channel(echo) as channel:
        reply = BanditServiceStub(channel).Score(pb.ScoreRequest.FromString(SCORES[0].body))
    assert len(reply.ranking) == people.CANDIDATES


def test_an_echo_with_a_store_reads_and_writes_once_before_it_replies(clean_valkey: EmbeddedServer) -> None:
    with redis.Redis.from_url(clean_valkey.url) as client, servers.echo(clean_valkey) as server:
        client.config_resetstat()
        PythonLoop().send(server.address, Load(SCORES, calls=10))
        asked = {name: said["calls"] for name, said in client.info("commandstats").items()}
    assert asked.items() >= {"cmdstat_ping": 10, "cmdstat_set": 10}.items()


def test_an_echo_whose_store_is_gone_answers_nothing(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as store:
        pass
    with servers.echo(store) as server, pytest.raises(BenchmarkError):
        PythonLoop().send(server.address, Load(SCORES, calls=1))
