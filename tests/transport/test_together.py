"""Scores that are read together are what each would be if the protobuf library read it by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from ooml.bandit.v1 import bandit_pb2 as pb

from features.columns import Columns
from serving.service.commands import Score
from serving.service.validate import MAX_CANDIDATES, MAX_ENTRIES
from serving.transport import parse, together

TEXTS = st.sampled_from(["", "a", "task_id", "é", "x" * 127, "x" * 128]) | st.text(max_size=3)
NAMES = st.sampled_from(["task_id", "user_id"])
CANDIDATES = st.builds(
    pb.Candidate,
    id=TEXTS,
    arm=st.just("") | TEXTS,
    entities=st.dictionaries(NAMES, TEXTS, max_size=2),
    features=st.just({}) | st.dictionaries(NAMES, st.floats(), max_size=1),
)
PLAIN = st.builds(pb.Candidate, id=st.text("abc", min_size=1, max_size=3), entities=st.fixed_dictionaries({"task_id": st.just("t")}))
REQUESTS = st.builds(
    pb.ScoreRequest,
    policy=TEXTS,
    entities=st.dictionaries(NAMES, TEXTS, max_size=2),
    context=st.dictionaries(TEXTS, st.floats(), max_size=3),
    candidates=st.lists(PLAIN, max_size=4) | st.lists(CANDIDATES, max_size=4),
    request_time=st.none() | st.builds(Timestamp, seconds=st.integers(-5, 5), nanos=st.integers(-1, 5)),
    utc_offset=st.none() | st.builds(Duration, seconds=st.integers(-5, 5)),
    request_id=st.just("") | TEXTS,
    deferred=st.booleans(),
    explain=st.booleans(),
    served=st.none() | st.builds(pb.Served, candidate_id=TEXTS, propensity=st.floats(), decided_at=st.none() | st.builds(Timestamp)),
)


def read(*bodies: bytes) -> list[Score | Exception]:
    return parse.scores(list(map(parse.sent, bodies)))


def alone(body: bytes) -> Score:
    return parse.score(pb.ScoreRequest.FromString(body))._replace(message=body)


def written(message: pb.ScoreStreamRequest) -> bytes:
    """All that is in it, the entries of its maps in order."""
    return message.SerializeToString(deterministic=True)


def same(one: Score | Exception, other: Score | Exception) -> bool:
    """Their texts show all that is in them, NaN too; maps are told by what they hold."""
    return repr(plain(one)) == repr(plain(other))


def plain(score: Score | Exception) -> Any:
    if isinstance(score, Exception):
        return type(score)
    maps = {name: [sorted(own.items()) for own in getattr(score, name)] for name in ("own_entities", "own_features")}
    shared = {name: sorted(getattr(score, name).items()) for name in ("entities", "context")}
    return {**score._asdict(), **maps, **shared}


@settings(max_examples=300)
@given(st.lists(REQUESTS, min_size=1, max_size=4))
def test_what_is_read_together_is_what_each_is_by_itself(requests: list[pb.ScoreRequest]) -> None:
    bodies = [request.SerializeToString() for request in requests]
    assert all(same(found, alone(body)) for found, body in zip(read(*bodies), bodies, strict=True))


PARTS = [
    b"\n\x01a",
    b"\n\x01b",
    b"\n\x81\x00a",
    b"\x12\x01a",
    b"\x1a\x00",
    b"\x1a\x02\n\x00",
    b"\x1a\x04\n\x00\x12\x00",
    b"\x1a\x06\n\x01k\x12\x01v",
    b"\x1a\x06\x12\x01v\n\x01k",
    b"\x22\x00",
    b"\x7a\x01a",
    b"\x8a\x00\x01a",
]
"""Fields of candidates, as encoders write them and as none does."""


@settings(max_examples=300)
@given(st.lists(st.lists(st.sampled_from(PARTS), max_size=4), min_size=1, max_size=3))
def test_candidates_are_what_they_are_however_they_are_written(candidates: list[list[bytes]]) -> None:
    written = [b"".join(fields) for fields in candidates]
    body = b"\n\x01p" + b"".join(b"\x22" + bytes([len(one)]) + one for one in written)
    (found,) = read(body)
    try:
        expected: Score | Exception = alone(body)
    except DecodeError as error:
        expected = error
    assert same(found, expected)


ENTRIES = [
    b"\n\x01k\x11" + b"\0" * 8,
    b"\n\x01k\x12\x08" + b"\0" * 8,
    b"\n\x01k\x12\x10" + b"\0" * 16,
    b"\n\x01k",
    b"\x11" + b"\1" * 8,
    b"\n\x01k\x7a\x07" + b"x" * 7,
]


@given(st.lists(st.sampled_from(ENTRIES), max_size=3))
def test_numbers_of_a_context_are_what_they_are_however_they_are_written(entries: list[bytes]) -> None:
    body = b"\n\x01p" + b"".join(b"\x1a" + bytes([len(one)]) + one for one in entries)
    assert same(read(body)[0], alone(body))


def usual(**fields: Any) -> pb.ScoreRequest:
    candidates = [pb.Candidate(id="a", entities={"task_id": "t"}), pb.Candidate(id="b", entities={"task_id": "u"})]
    return pb.ScoreRequest(policy="p", entities={"user_id": "u"}, context={"rain": 1.0}, candidates=candidates, **fields)


def maps_of(*requests: pb.ScoreRequest) -> list[together.Maps] | None:
    return together.maps_of([parse.sent(request.SerializeToString()).head for request in requests])


def test_what_most_send_is_read_in_columns() -> None:
    found = maps_of(usual(), pb.ScoreRequest(), usual(explain=True))
    assert found is not None
    assert [maps.ids for maps in found] == [["a", "b"], [], ["a", "b"]]
    assert isinstance(found[2].own_entities, Columns)
    assert found[2].own_entities.of == {"task_id": ["t", "u"]}
    assert (found[2].entities, found[2].context) == ({"user_id": "u"}, {"rain": 1.0})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda request: request.candidates.add(id="c", arm="a", entities={"task_id": "v"}),
        lambda request: request.candidates.add(id="c", entities={"task_id": "v"}, features={"f": 1.0}),
        lambda request: request.candidates.add(id="c"),
        lambda request: request.candidates.add(id="c", entities={"user_id": "v"}),
        lambda request: request.candidates.add(id="c", entities={"task_id": "v", "user_id": "v"}),
        lambda request: request.candidates.add(id="é", entities={"task_id": "v"}),
        lambda request: request.candidates.add(id="x" * 128, entities={"task_id": "v"}),
        lambda request: request.candidates.add(entities={"task_id": "v"}),
        lambda request: request.candidates.extend([pb.Candidate()] * MAX_CANDIDATES),
        lambda request: request.entities.update({str(k): "v" for k in range(MAX_ENTRIES)}),
        lambda request: request.context.update({str(k): 0.0 for k in range(MAX_ENTRIES)}),
    ],
)
def test_where_one_is_not_as_most_are_each_is_read_by_itself(spoil: Callable[[pb.ScoreRequest], object]) -> None:
    request = usual()
    spoil(request)
    assert maps_of(usual(), request) is None
    bodies = [usual().SerializeToString(), request.SerializeToString()]
    assert all(same(found, alone(body)) for found, body in zip(read(*bodies), bodies, strict=True))


def test_slates_may_have_entities_of_different_names() -> None:
    other = pb.ScoreRequest(candidates=[pb.Candidate(id="a", entities={"item_id": "i"})])
    found = maps_of(usual(), other)
    assert found is not None
    assert [list(maps.own_entities) for maps in found] == [[{"task_id": "t"}, {"task_id": "u"}], [{"item_id": "i"}]]


def test_values_of_one_candidate_are_not_taken_for_those_of_another_because_the_lengths_would_fit() -> None:
    entry = b"\x1a\x06\n\x01k\x12\x01v"
    two_entries, two_ids = entry + entry, b"\n\x06abcdef" + b"\n\x01g"
    body = b"\n\x01p" + b"".join(b"\x22" + bytes([len(one)]) + one for one in (two_entries, two_ids))
    (found,) = read(body)
    assert same(found, alone(body))
    assert isinstance(found, Score)
    assert found.ids == ["", "g"]


def test_a_malformed_request_hides_no_other() -> None:
    good, bad = usual().SerializeToString(), b"\n\x01p\x22\x01\n"
    found = read(good, bad, good)
    assert isinstance(found[1], DecodeError)
    assert same(found[0], alone(good))
    assert same(found[2], alone(good))


@given(st.integers(0, 2**64 - 1), REQUESTS)
def test_a_request_of_a_stream_is_the_same_request_in_one_piece_or_in_two(sequence: int, request: pb.ScoreRequest) -> None:
    item = pb.ScoreStreamRequest(sequence=sequence, request=request)
    more = pb.ScoreStreamRequest(sequence=sequence, request=pb.ScoreRequest(policy="q", explain=True))
    for body in (item.SerializeToString(), item.SerializeToString() + more.SerializeToString()):
        found = parse.streamed(body)
        read = pb.ScoreStreamRequest(sequence=found.sequence, request=pb.ScoreRequest.FromString(found.request.body))
        assert written(read) == written(pb.ScoreStreamRequest.FromString(body))


def test_an_item_of_a_stream_without_anything_is_number_0_and_asks_nothing() -> None:
    assert parse.streamed(b"") == parse.Streamed(0, parse.sent(b""))
