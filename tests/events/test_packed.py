"""Vectors kept as bytes are the vectors that were written, however they were written."""

from __future__ import annotations

import struct

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor
from ooml.bandit.v1 import events_pb2 as pb

from events.columns import table_of
from events.identity import identity
from events.packed import Event, packed, read
from tests.events.build import decided, forgotten, learned, rewarded

X = [1.0, -0.0, 2.5]


def vectors(event: pb.Event) -> list[float]:
    x: list[float] = table_of([event], [b"i"])["x"].to_pylist()[0]
    return x


def test_a_packed_event_is_the_same_bytes_the_same_event_and_the_same_row() -> None:
    decision = decided()
    decision.decision_made.x.extend(X)
    decision.decision_made.propensities.extend([0.25, 0.75])
    for event in (decision, learned(x=tuple(X)), rewarded(), forgotten()):
        also = read(event.SerializeToString())
        assert isinstance(also, Event)
        assert also.SerializeToString() == packed(event).SerializeToString() == event.SerializeToString()
        assert identity(also) == identity(event)
        assert table_of([also], [b"i"]).equals(table_of([event], [b"i"]))
    assert table_of([packed(decision)], [b"i"])["x"].to_pylist() == [X]
    assert table_of([packed(decision)], [b"i"])["propensities"].to_pylist() == [[0.25, 0.75]]


def test_a_vector_written_number_by_number_is_read_as_well() -> None:
    event = learned(x=tuple(X))
    apart = _written_number_by_number(event)
    assert apart != event.SerializeToString()
    assert vectors(read(apart)) == X


def test_a_vector_written_in_pieces_is_read_as_well() -> None:
    event = learned(x=())
    in_pieces = packed(event)
    in_pieces.evidence_added.x.extend([struct.pack("<d", X[0]), struct.pack("<dd", *X[1:])])  # type: ignore[list-item]
    assert vectors(read(in_pieces.SerializeToString())) == X
    assert list(pb.Event.FromString(in_pieces.SerializeToString()).evidence_added.x) == X


def test_parts_of_numbers_are_refused_even_where_two_would_make_a_whole() -> None:
    broken = [packed(learned(x=())) for _ in range(2)]
    for event in broken:
        event.evidence_added.x.append(b"half")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="x has parts of numbers"):
        table_of(broken, [b"i", b"j"])


def _written_number_by_number(event: pb.Event) -> bytes:
    """As a writer does who declared ``x`` as ``[packed = false]``."""
    file = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(file)
    (added,) = (message for message in file.message_type if message.name == "EvidenceAdded")
    (x,) = (field for field in added.field if field.name == "x")
    x.options.packed = False
    pool = descriptor_pool.DescriptorPool()
    for needed in _needed_by(pb.DESCRIPTOR):
        pool.AddSerializedFile(needed.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    other = message_factory.GetMessageClass(pool.FindMessageTypeByName("ooml.bandit.v1.Event"))
    return other.FromString(event.SerializeToString()).SerializeToString()


def _needed_by(file: FileDescriptor) -> list[FileDescriptor]:
    """In such an order that what a file needs comes before it."""
    found = [each for needed in file.dependencies for each in (*_needed_by(needed), needed)]
    return list(dict.fromkeys(found))
