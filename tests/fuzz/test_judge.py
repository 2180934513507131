"""What an attack must find, it finds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode
from ooml.bandit.v1 import bandit_pb2 as pb

from serving.ports import Unavailable
from tests.fuzz import attack
from tests.fuzz.attack import Attack, send
from tests.fuzz.cases import Case
from tests.fuzz.judge import Answer, problems
from tests.fuzz.site import Site
from tests.transport.harness import World, score_request

SCORE = "/ooml.bandit.v1.BanditService/Score"
REQUEST = score_request().SerializeToString()


def answer_to(method: str, *messages: pb.ScoreRequest | pb.BatchScoreRequest | pb.ScoreStreamRequest, reply: Any) -> list[str]:
    bodies = [message.SerializeToString() for message in messages]
    case = Case("n", f"/ooml.bandit.v1.BanditService/{method}", tuple(bodies))
    return list(problems(case, bodies, Answer(StatusCode.OK, "", [reply.SerializeToString()])))


def decision(*ids: str) -> pb.ScoreResponse:
    ranking = [pb.ScoredCandidate(candidate_id=name, propensity=1 / len(ids)) for name in ids]
    return pb.ScoreResponse(candidate_id=ids[0], propensity=1 / len(ids), ranking=ranking)


async def test_nothing_is_found_where_nothing_is_wrong(here: World) -> None:
    assert await problems_of(here, Case("n", SCORE, (REQUEST,))) == []
    assert await problems_of(here, Case("n", SCORE, (b"\xff",))) == []


async def test_a_mistake_of_the_servers_is_found(here: World) -> None:
    here.obstacles.error = KeyError("x")
    assert await problems_of(here, Case("n", SCORE, (REQUEST,))) == ["INTERNAL: internal error; it has been logged"]


async def test_a_mistake_in_a_batch_or_a_stream_is_found(here: World) -> None:
    here.obstacles.error = KeyError("x")
    batch = pb.BatchScoreRequest(requests=[score_request()]).SerializeToString()
    streamed = pb.ScoreStreamRequest(request=score_request()).SerializeToString()
    for method, message in (("BatchScore", batch), ("ScoreStream", streamed)):
        found = await problems_of(here, Case("n", f"/ooml.bandit.v1.BanditService/{method}", (message,)))
        assert found == ["INTERNAL: internal error; it has been logged"]


async def test_a_call_that_hangs_is_found_unless_it_was_hurried(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attack, "DEADLINE_S", 0.3)
    here.obstacles.open.clear()
    (found,) = await problems_of(here, Case("n", SCORE, (REQUEST,)))
    assert found.startswith(("UNAVAILABLE: the store did not answer in time", "DEADLINE_EXCEEDED"))
    assert await problems_of(here, Case("n", SCORE, (REQUEST,), hurried=True)) == []


async def test_a_store_that_is_away_is_found(here: World) -> None:
    here.obstacles.error = Unavailable("it is away")
    assert await problems_of(here, Case("n", SCORE, (REQUEST,))) == ["UNAVAILABLE: it is away"]


async def problems_of(here: World, case: Case) -> list[str]:
    with grpc.insecure_channel(f"127.0.0.1:{here.port}") as channel:
        answer = await asyncio.to_thread(send, channel, case, case.messages)
    return list(problems(case, case.messages, answer))


@pytest.mark.parametrize("domain", ["", "example.com"])
def test_an_error_without_its_reason_is_found(domain: str) -> None:
    packed = AnyMessage()
    packed.Pack(ErrorInfo(reason="ERROR_REASON_INVALID_REQUEST", domain=domain))
    details = Status(code=3, details=[packed] if domain else []).SerializeToString()
    found = problems(Case("n", SCORE, (REQUEST,)), [REQUEST], Answer(StatusCode.INVALID_ARGUMENT, "", [], details))
    assert list(found) == ["INVALID_ARGUMENT without its reason"]


def test_a_decision_that_is_anothers_is_found() -> None:
    wrong = "a decision about other candidates than were asked about"
    batch = pb.BatchScoreRequest(requests=[score_request()])
    assert answer_to("Score", score_request(), reply=decision("a", "b")) == []
    assert answer_to("Score", score_request(), reply=decision("a", "c")) == [wrong]
    assert answer_to("BatchScore", batch, reply=pb.BatchScoreResponse(results=[pb.ScoreResult(response=decision("c", "b"))])) == [wrong]
    assert answer_to("BatchScore", batch, reply=pb.BatchScoreResponse()) == ["0 results for 1 requests"]
    streamed = pb.ScoreStreamRequest(sequence=7, request=score_request())
    assert answer_to("ScoreStream", streamed, reply=pb.ScoreStreamResponse(sequence=7, response=decision("a", "b"))) == []
    for reply in (
        pb.ScoreStreamResponse(sequence=8, response=decision("a", "b")),
        pb.ScoreStreamResponse(sequence=7, response=decision("c")),
    ):
        assert answer_to("ScoreStream", streamed, reply=reply) == [f"{wrong} under its sequence"]


def test_a_decision_about_what_cannot_be_read_is_found() -> None:
    bodies = [b"\n\x01\n"]  # a batch of one request that is cut off
    case = Case("n", "/ooml.bandit.v1.BanditService/BatchScore", tuple(bodies))
    reply = pb.BatchScoreResponse(results=[pb.ScoreResult(response=decision("a"))])
    found = list(problems(case, bodies, Answer(StatusCode.OK, "", [reply.SerializeToString()])))
    assert found == ["a decision about a request that cannot be read"]


def test_propensities_that_are_none_are_found() -> None:
    reply = decision("a", "b")
    reply.ranking[0].propensity = 0.6
    assert answer_to("Score", score_request(), reply=reply) == ["propensities sum to 1.1, 0.5 the one drawn with"]


def test_a_word_of_people_nobody_may_hear_of_is_found() -> None:
    here = Site("nowhere", Path(), 0, (b"canary", b"\x01\x02\x03"))
    assert [here.leaks(data) for data in (b"a canary sings", b"\x01\x02", b"\x00\x01\x02\x03", b"")] == [True, False, True, False]


@pytest.mark.parametrize(
    ("mebibytes", "found"),
    [
        ([100, 300] * attack.WINDOW, []),
        ([100] * attack.WINDOW + [140] * attack.WINDOW, [f"the worker keeps 40 MiB more than it ever took in {attack.WINDOW} rounds"]),
        ([100, 700], ["the worker takes 700 MiB"]),
    ],
    ids=["goes up and down", "leaks", "takes too much at once"],
)
def test_memory_without_bound_is_found(monkeypatch: pytest.MonkeyPatch, mebibytes: Sequence[int], found: list[str]) -> None:
    taken = iter(mebibytes)
    monkeypatch.setattr(Attack, "resident_bytes", property(lambda _: next(taken) << 20))
    here = Attack(Site("nowhere", Path(), 0))
    assert [problem for _ in mebibytes for problem in here.look_at_memory()] == found
