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


def alone(body: bytes) -> Score | Exception:
    try:
        return parse.score(body)
    except DecodeError as error:
        return error


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
    assert same(found, alone(body))


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


def maps_of(*requests: pb.ScoreRequest) -> list[together.Maps | None]:
    return together.maps_of([parse.sent(request.SerializeToString()).head for request in requests])


def test_what_most_send_is_read_in_columns() -> None:
    first, empty, last = maps_of(usual(), pb.ScoreRequest(), usual(explain=True))
    assert first is not None
    assert empty is not None
    assert last is not None
    assert [maps.ids for maps in (first, empty, last)] == [["a", "b"], [], ["a", "b"]]
    assert isinstance(last.own_entities, Columns)
    assert last.own_entities.of == {"task_id": ["t", "u"]}
    assert (last.entities, last.context) == ({"user_id": "u"}, {"rain": 1.0})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda request: request.candidates.add(id="c", arm="a", entities={"task_id": "v"}),
        lambda request: request.candidates.add(id="c", entities={"task_id": "v"}, features={"f": 1.0}),
        lambda request: request.candidates.add(id="c"),
        lambda request: request.candidates.add(id="c", entities={"user_id": "v"}),
        lambda request: request.candidates.add(id="c", entities={"task_id": "v", "user_id": "v"}),
        lambda request: request.candidates.add(id="é" * 64, entities={"task_id": "v"}),
        lambda request: request.candidates.add(id="x" * 128, entities={"task_id": "v"}),
        lambda request: request.candidates.add(entities={"task_id": "v"}),
        lambda request: request.entities.update({str(k): "v" for k in range(MAX_ENTRIES)}),
        lambda request: request.context.update({str(k): 0.0 for k in range(MAX_ENTRIES)}),
    ],
)
def test_a_request_that_is_not_like_most_is_read_by_itself(spoil: Callable[[pb.ScoreRequest], object]) -> None:
    request = usual()
    spoil(request)
    assert maps_of(usual(), request)[1] is None
    bodies = [usual().SerializeToString(), request.SerializeToString()]
    assert all(same(found, alone(body)) for found, body in zip(read(*bodies), bodies, strict=True))


def test_whoever_is_seen_to_be_unlike_at_once_keeps_no_others_from_being_read_together() -> None:
    odd = pb.ScoreRequest(candidates=[pb.Candidate(id="c", arm="a")])
    found = maps_of(odd, usual(), odd)
    assert [maps is None for maps in found] == [True, False, True]


def test_candidates_that_are_too_many_are_counted_and_not_read() -> None:
    (found,) = read(b"\n\x01p" + b"\x22\x01\n" * (MAX_CANDIDATES + 1))
    assert isinstance(found, Score)
    assert (found.policy, len(found.ids), len(found.arms)) == ("p", MAX_CANDIDATES + 1, 0)


def test_slates_may_have_entities_of_different_names_and_in_any_script() -> None:
    other = pb.ScoreRequest(candidates=[pb.Candidate(id="é", entities={"item_id": "ñ"})])
    found = maps_of(usual(), other)
    assert [maps and list(maps.own_entities) for maps in found] == [[{"task_id": "t"}, {"task_id": "u"}], [{"item_id": "ñ"}]]


@settings(max_examples=500)
@given(st.data())
def test_messages_that_make_sense_only_when_laid_end_to_end_are_malformed(data: st.DataObject) -> None:
    """Candidates, or entries of the maps of two requests, cut where no message ends."""
    whole = b"".join(part for _ in range(3) for part in (b"\n\x03abc", data.draw(st.sampled_from(PARTS), label="part")))
    number = data.draw(st.sampled_from([0x12, 0x1A, 0x22]), label="field")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), min_size=1, max_size=4), label="cuts"))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    of_first = data.draw(st.integers(0, len(pieces)), label="of the first request")
    bodies = [
        b"\n\x01p" + b"".join(bytes([number, len(piece)]) + piece for piece in some) for some in (pieces[:of_first], pieces[of_first:])
    ]
    for found, body in zip(read(*bodies), bodies, strict=True):
        assert same(found, alone(body))


def field(tag: int, value: bytes) -> bytes:
    return bytes([tag, len(value)]) + value


def test_nobody_s_entities_are_taken_for_those_of_whoever_came_in_the_same_moment() -> None:
    before = field(0x0A, b"att") + field(0x12, field(0x0A, b"k") + field(0x0A, b"user_id") + b"\n\x12x")
    theirs = pb.ScoreRequest(policy="p", entities={"user_id": "alice"}).SerializeToString()
    after = field(0x0A, b"att") + field(0x12, b"\n" + field(0x12, b"v" * 10) + field(0x12, b"mallo") + field(0x12, b""))
    bodies = before, theirs, after
    assert all(same(found, alone(body)) for found, body in zip(read(*bodies), bodies, strict=True))


def test_candidates_that_are_malformed_are_not_read_because_they_make_sense_laid_end_to_end() -> None:
    entry = field(0x0A, b"key") + field(0x12, b"val")
    one, other = b"\n\x01a\n\x09123456789\x1a", b"\n" + entry + field(0x1A, field(0x0A, b"key") + field(0x12, b"w"))
    (found,) = read(field(0x0A, b"p") + field(0x22, one) + field(0x22, other))
    assert isinstance(found, DecodeError)


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
        assert isinstance(found.request, parse.Sent)
        read = pb.ScoreStreamRequest(sequence=found.sequence, request=pb.ScoreRequest.FromString(found.request.body))
        assert written(read) == written(pb.ScoreStreamRequest.FromString(body))


def test_an_item_of_a_stream_without_anything_is_number_0_and_asks_nothing() -> None:
    assert parse.streamed(b"") == parse.Streamed(0, parse.sent(b""))


@pytest.mark.parametrize(("body", "sequence"), [(b"\x0a\x02\x05\x06", 0), (b"\x08\x01\x0a\x01\x80", 1), (b"\x08\x01\x08\x02", 2)])
def test_the_number_of_an_item_is_what_the_protobuf_library_reads(body: bytes, sequence: int) -> None:
    assert (parse.streamed(body).sequence, pb.ScoreStreamRequest.FromString(body).sequence) == (sequence, sequence)


def test_pieces_of_an_item_that_make_sense_only_together_are_malformed() -> None:
    with pytest.raises(DecodeError):
        pb.ScoreStreamRequest.FromString(b"\x12\x01\n\x12\x02\x01p")
    assert isinstance(parse.streamed(b"\x12\x01\n\x12\x02\x01p").request, DecodeError)


def test_an_item_whose_request_is_malformed_keeps_its_number() -> None:
    found = parse.streamed(b"\x08\x07\x12\x01\n")
    assert found.sequence == 7
    assert isinstance(found.request, DecodeError)


@given(st.integers(-5, 5), st.integers(0, 5))
def test_a_message_that_is_written_in_pieces_is_put_together(seconds: int, nanos: int) -> None:
    body = pb.ScoreRequest(request_time=Timestamp(seconds=seconds)).SerializeToString()
    body += pb.ScoreRequest(request_time=Timestamp(nanos=nanos), utc_offset=Duration(seconds=seconds)).SerializeToString()
    assert same(read(body)[0], alone(body))


NESTED = {
    0x2A: Timestamp(seconds=5, nanos=7).SerializeToString(),
    0x32: Duration(seconds=5, nanos=7).SerializeToString(),
    0x52: pb.Served(candidate_id="hello", propensity=0.5, decided_at=Timestamp(seconds=300)).SerializeToString(),
}


@given(st.sampled_from(sorted(NESTED)), st.lists(st.integers(0, 30), max_size=3))
def test_pieces_that_make_sense_only_together_are_malformed(number: int, places: list[int]) -> None:
    whole = NESTED[number]
    cuts = sorted(min(place, len(whole)) for place in places)
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    body = usual().SerializeToString() + b"".join(field(number, piece) for piece in pieces)
    assert same(read(body)[0], alone(body))


@pytest.mark.parametrize("number", sorted(NESTED))
@pytest.mark.parametrize("depth", [1, 60, 97, 98, 99, 100, 101])
def test_what_is_nested_too_deep_for_the_library_is_malformed(number: int, depth: int) -> None:
    groups = b"\x1b" * depth + b"\x1c" * depth
    length = bytes([len(groups)]) if len(groups) < 128 else bytes([len(groups) & 0x7F | 0x80, len(groups) >> 7])
    body = usual().SerializeToString() + bytes([number]) + length + groups
    assert same(read(body)[0], alone(body))


def test_what_is_malformed_beside_the_maps_is_found_as_well() -> None:
    (found,) = read(usual().SerializeToString() + b"\x2a\x01\x08")
    assert isinstance(found, DecodeError)
