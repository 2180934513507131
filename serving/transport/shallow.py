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
    """The class of messages that read the same bytes, but in which all messages, and entries of maps, are bytes.

    A field that holds one message holds a list, empty where there is none: its pieces, if it was written in several. Those are one message
    only if each is a message by itself. No field may be in a oneof, or ``optional``.
    """
    return _read_as(message, "shallow", columns=False)


def columns(message: Descriptor) -> Any:
    """The same, for several messages laid end to end: each field holds the values of all of them, in order.

    Which value belongs to which message is lost, and where one of them is malformed, what are values may be none.
    """
    return _read_as(message, "columns", columns=True)


def _read_as(message: Descriptor, how: str, *, columns: bool) -> Any:
    original = descriptor_pb2.DescriptorProto()
    message.CopyToProto(original)
    read = descriptor_pb2.DescriptorProto(name=message.name)
    for field in original.field:
        assert not field.HasField("oneof_index")  # noqa: S101  of a contract that is compiled in
        nested = field.type == _Field.TYPE_MESSAGE
        read.field.add(
            name=field.name,
            number=field.number,
            label=_Field.LABEL_REPEATED if nested or columns else field.label,
            type=_Field.TYPE_BYTES if nested else field.type,
        )
    package = f"{how}.{message.full_name.lower()}"
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3", message_type=[read])
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{message.name}"))
