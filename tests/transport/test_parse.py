"""Messages become commands."""

from __future__ import annotations

import math

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from ooml.bandit.v1 import bandit_pb2 as pb

from policies.types import CandidateId, PolicyName
from serving.service.commands import Reward, Score, Served
from serving.transport import parse, render
from tests.transport.harness import score_request


def read(request: pb.ScoreRequest) -> Score:
    return parse.score(request.SerializeToString())


def test_a_whole_score_is_parsed_field_by_field() -> None:
    request = pb.ScoreRequest(
        policy="p",
        entities={"user_id": "u"},
        context={"rain": 0.5},
        candidates=[pb.Candidate(id="c", arm="a", entities={"task_id": "t"}, features={"price": 2.0}), pb.Candidate(id="d")],
        request_time=Timestamp(seconds=10, nanos=250_000_000),
        utc_offset=Duration(seconds=-3600, nanos=-500_000_000),
        deferred=True,
        explain=True,
        served=pb.Served(candidate_id="c", propensity=0.5, decided_at=Timestamp(seconds=-1)),
    )
    assert read(request) == Score(
        policy=PolicyName("p"),
        ids=[CandidateId("c"), CandidateId("d")],
        arms=["a", ""],
        own_entities=[{"task_id": "t"}, {}],
        own_features=[{"price": 2.0}, {}],
        entities={"user_id": "u"},
        context={"rain": 0.5},
        request_time=10.25,
        utc_offset_s=-3600.5,
        deferred=True,
        explain=True,
        served=Served(CandidateId("c"), 0.5, -1.0),
        message=request.SerializeToString(),
    )


def test_what_a_message_leaves_out_is_absent_not_zero() -> None:
    assert read(pb.ScoreRequest()) == Score(PolicyName(""), [], [], [], [])
    assert parse.reward(pb.RewardRequest()) == Reward("")
    assert read(pb.ScoreRequest(served=pb.Served())).served == Served(CandidateId(""), 0.0, None)


def test_a_reward_is_a_value_or_an_outcome() -> None:
    assert parse.reward(pb.RewardRequest(decision_id="d", value=0.0)) == Reward("d", value=0.0)
    assert parse.reward(pb.RewardRequest(decision_id="d", outcome="")) == Reward("d", outcome="")
    when = Timestamp(seconds=1, nanos=500_000_000)
    assert parse.reward(pb.RewardRequest(decision_id="d", value=1.0, reward_id="r", occurred_at=when)) == Reward(
        "d", value=1.0, reward_id="r", occurred_at=1.5
    )


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1))
def test_a_time_that_is_none_is_not_a_number(seconds: int, nanos: int) -> None:
    parsed = read(pb.ScoreRequest(request_time=Timestamp(seconds=seconds, nanos=nanos))).request_time
    assert parsed is not None
    assert math.isnan(parsed) == (not 0 <= nanos < 10**9)


@given(st.integers(-62_135_596_800, 253_402_300_799), st.integers(0, 10**9 - 1))
def test_a_time_stays_within_its_second(seconds: int, nanos: int) -> None:
    parsed = read(pb.ScoreRequest(request_time=Timestamp(seconds=seconds, nanos=nanos))).request_time
    assert parsed is not None
    assert seconds <= parsed < seconds + 1
    assert parsed == pytest.approx(seconds + nanos / 1e9, abs=2**-14, rel=0)


@given(st.integers(-(2**40), 2**40), st.integers(-(2**31), 2**31 - 1))
def test_an_offset_that_contradicts_itself_is_not_a_number(seconds: int, nanos: int) -> None:
    parsed = read(pb.ScoreRequest(utc_offset=Duration(seconds=seconds, nanos=nanos))).utc_offset_s
    contradicts = abs(nanos) >= 10**9 or (seconds > 0 > nanos) or (seconds < 0 < nanos)
    assert math.isnan(parsed) == contradicts


@given(st.integers(-62_135_596_800 * 10**6, 253_402_300_799 * 10**6))
def test_times_keep_their_microseconds(us: int) -> None:
    # A double of seconds carries microseconds exactly up to 2^32 seconds, the year 2106.
    near = abs(us) < 2**32 * 10**6
    rendered = render.timestamp(us / 1e6)
    assert 0 <= rendered.nanos < 10**9
    assert abs(rendered.seconds * 10**6 + rendered.nanos // 1000 - us) <= (0 if near else 32)


def test_the_body_hash_is_of_everything_but_the_request_id() -> None:
    one, other = score_request(request_id="r"), score_request(request_id="s")
    assert read(one).body_hash == read(other).body_hash
    assert len(read(one).body_hash) == 16
    assert one.request_id == "r"
    assert read(score_request()).body_hash == b""
    for changes in ({"explain": True}, {"deferred": True}, {"context": {"rain": 1.0000001}}, {"served": pb.Served()}):
        assert read(score_request(request_id="r", **changes)).body_hash != read(one).body_hash


@given(st.permutations([f"k{i}" for i in range(8)]))
def test_the_body_hash_does_not_depend_on_the_order_of_maps(names: list[str]) -> None:
    request = score_request(request_id="r", context={})
    for name in names:
        request.context[name] = float(name[1:])
    expected = score_request(request_id="r", context={f"k{i}": float(i) for i in range(8)})
    assert read(request).body_hash == read(expected).body_hash


def test_a_request_is_handed_on_as_it_came_for_the_log() -> None:
    request = pb.ScoreRequest(policy="p", request_id="r", candidates=[pb.Candidate(id="é", entities={"task_id": "7"})], explain=True)
    assert pb.ScoreRequest.FromString(read(request).message) == request
