"""Messages read no deeper than they are asked for.

The protobuf library makes an object of each nested message and of each map that is looked at, which takes longer than all else that is
done to read a Score. But other messages can be read from the same bytes: such as leave what is nested as the bytes it is; and such as
read several messages laid end to end, for those are one message that has each field several times.
Wire format: https://protobuf.dev/programming-guides/encoding#last-one-wins.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor

_Field = descriptor_pb2.FieldDescriptorProto


def shallow(message: Descriptor) -> Any:
    """The class of messages that read the same bytes, but in which repeated messages, and entries of maps, are bytes."""
    return _read_as(message, "shallow", columns=False)


def columns(message: Descriptor) -> Any:
    """The same, for several messages laid end to end: each field holds the values of all of them, in order.

    Which value belongs to which message is lost, where they are not known to have one each.
    """
    return _read_as(message, "columns", columns=True)


def _read_as(message: Descriptor, how: str, *, columns: bool) -> Any:
    original = descriptor_pb2.DescriptorProto()
    message.CopyToProto(original)
    read = descriptor_pb2.DescriptorProto(name="Message")
    for field in original.field:
        own = read.field.add(name=field.name, number=field.number, label=field.label, type=field.type)
        if field.type == _Field.TYPE_MESSAGE:
            if columns or field.label == _Field.LABEL_REPEATED:
                own.type = _Field.TYPE_BYTES
            else:
                own.type_name = field.type_name
        if columns:
            own.label = _Field.LABEL_REPEATED
    package = f"{message.full_name}.{how}"
    known = [message.file, *message.file.dependencies]
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3", dependency=[each.name for each in known], message_type=[read]
    )
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Message"))
