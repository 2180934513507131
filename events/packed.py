"""Events whose vectors stay what they are on the wire: eight bytes a number, end to end. To make a Python object of each number would take
most of the time of whoever moves events by the thousand.

`PackedEvent` is `ooml.bandit.v1.Event` with every ``repeated double`` declared as ``repeated bytes``: both are written as a length and the
bytes of the numbers, so each reads what the other wrote. Such a field holds one item, little-endian doubles end to end; or none, or, of a
writer who wrote it in pieces, several in order.
"""

from __future__ import annotations

from typing import cast

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from ooml.bandit.v1 import events_pb2 as pb

_PACKAGE = "ooml.bandit.v1.packed"
_WITH_VECTORS = ("decision_made", "evidence_added")


def _declared() -> type[pb.Event]:
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
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return cast("type[pb.Event]", message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Event")))


PackedEvent = _declared()
"""Typed as the public one, for all but its vectors is the same."""


def read(body: bytes) -> pb.Event:
    """A `PackedEvent` from the bytes of an event.

    Raises:
        DecodeError: they are of none.
    """
    event = PackedEvent.FromString(body)
    kind = event.WhichOneof("kind")
    if kind in _WITH_VECTORS and not getattr(event, kind).x:
        # Its writer may have written number by number, which is allowed, though nobody does.
        return PackedEvent.FromString(pb.Event.FromString(body).SerializeToString())
    return event


def packed(event: pb.Event) -> pb.Event:
    """The same as a `PackedEvent`."""
    return event if isinstance(event, PackedEvent) else PackedEvent.FromString(event.SerializeToString())
