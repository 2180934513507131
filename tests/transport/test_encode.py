"""Messages written by hand are those the protobuf library would write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
import numpy as np
from google.rpc.status_pb2 import Status
from hypothesis import example, given, settings
from ooml.bandit.v1 import bandit_pb2 as pb

from policies.types import PolicyVersion
from serving.ports import Decision, Recorded
from serving.service.commands import Scored
from serving.transport import encode, render
from tests.store.build import decision, policy

ID_BYTES = 256
P = policy()
IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=ID_BYTES).filter(lambda text: len(text.encode()) <= ID_BYTES)
LONG = st.sampled_from(["x" * ID_BYTES, "é" * 128, "日" * 85, "🦊" * 64, "x" * 127, "x" * 128])
NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 5e-324, -1.7976931348623157e308])
SPECIAL = [0.0, -0.0, 1.0, -1e308, 5e-324]


@st.composite
def scored(draw: st.DrawFn) -> Scored:
    """Any decision, in the order of its ranking or any other."""
    k = draw(st.integers(1, 4))
    texts = st.lists(IDS | LONG, min_size=k, max_size=k)
    numbers = draw(st.lists(NUMBER, min_size=4 * k, max_size=4 * k))
    made = decided(
        draw(texts),
        draw(texts),
        np.array(numbers).reshape(k, 4),
        chosen=draw(st.integers(0, k - 1)),
        propensity=draw(NUMBER),
        version=PolicyVersion(draw(st.integers(0, 2**32 - 1))),
        status=draw(st.binary(min_size=2 * k, max_size=2 * k).map(lambda raw: bytes(b % 3 for b in raw))),
    )
    deadline = draw(st.none() | st.integers(0, 2**52).map(lambda us: us / 1e6))
    return Scored(Recorded(made, deadline, b"", False), P, draw(st.permutations(range(k))))


def decided(ids: Sequence[str], arms: Sequence[str], scores: Any, **fields: Any) -> Decision:
    return decision(P, candidates=tuple(ids), arms=tuple(arms), scores=scores, **{"chosen": 0, "status": bytes(2 * len(ids)), **fields})


def built(one: Scored) -> pb.ScoreResponse:
    """The same answer, field by field."""
    made = one.recorded.decision
    codes = [made.status[j::2] for j in range(2)]
    answer = pb.ScoreResponse(
        decision_id=made.decision_id,
        candidate_id=made.candidates[made.chosen],
        propensity=made.propensity,
        policy_version=made.version,
        feature_status=pb.FeatureStatus(
            present=made.status.count(0),
            missing=made.status.count(1),
            expired=made.status.count(2),
            missing_features=[f"f{j}" for j in range(2) if 1 in codes[j]],
            expired_features=[f"f{j}" for j in range(2) if 2 in codes[j]],
        ),
    )
    if one.recorded.reward_deadline is not None:
        answer.reward_deadline.FromMicroseconds(round(one.recorded.reward_deadline * 1e6))
    for k in one.ranking:
        row = answer.ranking.add()
        row.candidate_id, row.arm = made.candidates[k], made.arms[k]
        row.score, row.mean, row.uncertainty, row.propensity = made.scores[k].tolist()
    return answer


def same(written: bytes, expected: pb.ScoreResponse) -> bool:
    """Whether bytes say what a message does, to the sign of a zero."""
    return pb.ScoreResponse.FromString(written).SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


def of_size(k: int, id_bytes: int = 8) -> Scored:
    numbers = np.resize(np.array(SPECIAL), (k, 4))
    made = decided([f"{i:0{id_bytes}d}" for i in range(k)], [f"arm {i % 7}" for i in range(k)], numbers)
    return Scored(Recorded(made, 1.5, b"", False), P, range(k - 1, -1, -1))


@given(scored())
@example(of_size(1, ID_BYTES))
@example(of_size(500))
@example(of_size(500, ID_BYTES))
def test_an_answer_parses_to_what_the_library_builds_field_by_field(one: Scored) -> None:
    (written,) = render.score_responses([one], [False])
    assert same(written, built(one))


@settings(max_examples=50)
@given(st.lists(scored(), max_size=4))
@example([of_size(3), of_size(500), of_size(1)])
def test_answers_written_together_are_those_written_alone(several: list[Scored]) -> None:
    together = render.score_responses(several, [False] * len(several))
    assert together == [written for one in several for written in render.score_responses([one], [False])]


@settings(max_examples=50)
@given(scored(), scored())
def test_an_explanation_adds_the_vectors_to_its_own_answer_alone(one: Scored, other: Scored) -> None:
    k = len(other.recorded.decision.candidates)
    x = np.arange(2.0 * k).reshape(k, 2)
    told = other._replace(recorded=other.recorded._replace(decision=other.recorded.decision._replace(x=x)))
    plain, explained = render.score_responses([one, told], [False, True])
    expected = built(told)
    for place, row in zip(told.ranking, expected.ranking, strict=True):
        row.features.update({"f0": 2.0 * place, "f1": 2.0 * place + 1})
    assert same(plain, built(one))
    assert same(explained, expected)


@settings(max_examples=50)
@given(st.lists(scored() | st.text(max_size=20), max_size=4))
@example([of_size(500, ID_BYTES), "refused"])
def test_a_reply_to_a_batch_is_its_answers_and_errors_one_after_the_other(several: list[Scored | str]) -> None:
    result, response = encode.field(pb.BatchScoreResponse, "results"), encode.field(pb.ScoreResult, "response")
    written, expected = b"", pb.BatchScoreResponse()
    for one in several:
        if isinstance(one, str):
            error = Status(code=3, message=one.replace("\0", ""))
            written += result(pb.ScoreResult(error=error).SerializeToString())
            expected.results.add(error=error)
        else:
            written += result(response(render.score_responses([one], [False])[0]))
            expected.results.add(response=built(one))
    assert pb.BatchScoreResponse.FromString(written) == expected


@settings(max_examples=50)
@given(scored(), st.integers(0, 2**64 - 1))
@example(of_size(500, ID_BYTES), 2**64 - 1)
def test_a_reply_of_a_stream_is_its_number_and_its_answer(one: Scored, sequence: int) -> None:
    response = encode.field(pb.ScoreStreamResponse, "response")
    written = pb.ScoreStreamResponse(sequence=sequence).SerializeToString() + response(render.score_responses([one], [False])[0])
    assert pb.ScoreStreamResponse.FromString(written) == pb.ScoreStreamResponse(sequence=sequence, response=built(one))


def test_an_empty_message_in_a_field_is_there() -> None:
    written = encode.field(pb.ScoreResult, "response")(b"")
    assert pb.ScoreResult.FromString(written).WhichOneof("result") == "response"


def test_nobody_s_answers_are_none() -> None:
    assert render.score_responses([], []) == []
