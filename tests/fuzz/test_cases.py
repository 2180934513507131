"""The calls of an attack: the same for the same seed, of every kind, and fit to be made again."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from serving.transport.server import MAX_MESSAGE_BYTES
from tests.fuzz import words
from tests.fuzz.cases import METHODS, MOST_BYTES, Case, cases, load

DECISION_ID = "0123456789abcdef" * 2 + "012345"


def test_the_same_seed_makes_the_same_calls() -> None:
    assert list(cases(5, 0)) == list(cases(5, 0))
    assert list(cases(5, 0)) != list(cases(5, 1))
    assert list(cases(5, 0)) != list(cases(6, 0))


def test_every_method_is_called_with_messages_good_and_bad() -> None:
    well, badly = set(), set()
    longest = 0
    for case in (case for number in range(8) for case in cases(1, number)):
        for message in case.messages:
            longest = max(longest, len(message))
            try:
                GetMessageClass(METHODS[case.method].request).FromString(message)
                well.add(case.method)
            except DecodeError:
                badly.add(case.method)
    assert well == badly == METHODS.keys()
    assert longest == MOST_BYTES == MAX_MESSAGE_BYTES
    assert {path.split("/")[1] for path in METHODS} == {
        "ooml.bandit.v1.BanditService",
        "ooml.bandit.v1.PolicyService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


def test_a_case_is_kept_whole(tmp_path: Path) -> None:
    case = Case("n", "/ooml.bandit.v1.BanditService/ScoreStream", (b"\xff\x00", b""), hurried=True)
    case.save(tmp_path / "case", "why")
    assert load(tmp_path / "case") == case


def test_a_rounds_decisions_are_put_where_they_are_named() -> None:
    assert {len(words.decision(k)) for k in range(words.DECISIONS)} == {len(DECISION_ID)}
    case = Case("n", "m", (b"<" + words.decision(1).encode() + b">" + words.decision(0).encode(), b"x"))
    other = DECISION_ID[::-1]
    assert case.bodies([DECISION_ID, other]) == [f"<{other}>{DECISION_ID}".encode(), b"x"]
