"""Events whose vectors stay what they are on the wire: eight bytes a number, end to end. To make a Python object of each number would take
most of the time of whoever moves events by the thousand.

`Event` and the others are those of ``ooml.bandit.v1`` with every ``repeated double`` declared as ``repeated bytes``: both are written as a
length and the bytes of the numbers, so each reads what the other wrote. Such a field holds one item, `doubles`; or none; or, of a writer
who wrote it in pieces, several in order. They are typed as the public ones, for all but their vectors is the same.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import numpy as np
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import Message
from ooml.bandit.v1 import events_pb2 as pb

from policies.types import Floats

M = TypeVar("M", bound=Message)

_PACKAGE = "ooml.bandit.v1.packed"
_WITH_VECTORS = ("decision_made", "evidence_added")


def _declare() -> None:
    file = FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(file)
    public = file.package
    file.name, file.package = "ooml/bandit/v1/packed_events.proto", _PACKAGE
    for message in file.message_type:
        for field in message.field:
            if field.type == FieldDescriptorProto.TYPE_DOUBLE and field.label == FieldDescriptorProto.LABEL_REPEATED:
                field.type = FieldDescriptorProto.TYPE_BYTES
            own, _, name = field.type_name.rpartition(f".{public}.")
            if not own and name.partition(".")[0] in pb.DESCRIPTOR.message_types_by_name:
                field.type_name = f".{_PACKAGE}.{name}"
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())


def _packed(message: type[M]) -> type[M]:
    found = descriptor_pool.Default().FindMessageTypeByName(f"{_PACKAGE}.{message.DESCRIPTOR.name}")
    return cast("type[M]", message_factory.GetMessageClass(found))


_declare()
Event = _packed(pb.Event)
DecisionMade = _packed(pb.DecisionMade)
DecisionActivated = _packed(pb.DecisionActivated)
RewardReceived = _packed(pb.RewardReceived)
EvidenceAdded = _packed(pb.EvidenceAdded)
ScopeForgotten = _packed(pb.ScopeForgotten)
ScopeDropped = _packed(pb.ScopeDropped)
DecisionsShed = _packed(pb.DecisionsShed)


def doubles(numbers: Floats) -> Any:
    """What a vector's field is made of."""
    return [np.ascontiguousarray(numbers, "<f8").tobytes()] if numbers.size else []


def read(body: bytes) -> pb.Event:
    """An `Event` of this module from the bytes of any.

    Raises:
        DecodeError: they are of none.
    """
    event = Event.FromString(body)
    kind = event.WhichOneof("kind")
    if kind in _WITH_VECTORS and not getattr(event, kind).x:
        # Its writer may have written number by number, which is allowed, though nobody does.
        return Event.FromString(pb.Event.FromString(body).SerializeToString())
    return event


def packed(event: pb.Event) -> pb.Event:
    """The same as an `Event` of this module."""
    return event if isinstance(event, Event) else Event.FromString(event.SerializeToString())
