"""What was promised: the images of released contracts, and what the contract of now breaks of the last one.

An image is what `buf build` makes of a contract: a FileDescriptorSet, comments included, from which stubs can be built again.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet

PROTOS = Path(__file__).resolve().parent
BUF = Path(sys.executable).parent / "buf"

_IMAGE = re.compile(r"v(\d+)\.(\d+)\.(\d+)\.binpb")
Version = tuple[int, int, int]


def images(protos: Path) -> dict[Version, Path]:
    """The committed images by version, oldest first."""
    found = {_version(match.groups()): path for path in (protos / "released").iterdir() if (match := _IMAGE.fullmatch(path.name))}
    return dict(sorted(found.items()))


def next_version(protos: Path) -> Version:
    """The version that the project has now, as pyproject.toml beside the contract says."""
    declared = tomllib.loads((protos.parent / "pyproject.toml").read_text())["project"]["version"]
    return _version(declared.split("."))


def build(protos: Path, image: Path) -> None:
    """Write the image of a contract.

    Raises:
        subprocess.CalledProcessError: buf refused; it has said why.
    """
    subprocess.run([BUF, "build", protos, "-o", image], check=True)  # noqa: S603  # our own arguments


def broken(protos: Path, last: Path) -> list[str]:
    """What a contract breaks of a released one, given its image, a line each; none when old clients may go on as they are.

    Raises:
        subprocess.CalledProcessError: it is no contract at all; buf has said why.
    """
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch) / "now.binpb"
        build(protos, image)
        now = read(image)
    ran = subprocess.run([BUF, "breaking", protos, "--against", last], capture_output=True, text=True)  # noqa: S603
    return [*(ran.stdout + ran.stderr).splitlines(), *changed_zeros(read(last), now)]


def read(image: Path) -> FileDescriptorSet:
    """An image from its file."""
    return FileDescriptorSet.FromString(image.read_bytes())


def changed_zeros(before: FileDescriptorSet, now: FileDescriptorSet) -> Iterator[str]:
    """Enums whose zero says something else than it did: what it says is what every message without the field means.

    That it has another name is found by buf; that its comment has other words is not.
    """
    new = dict(_zeros(now))
    for name, comment in _zeros(before):
        if name in new and new[name] != comment:
            yield (
                f'The comment of the zero value "{name}" changed from "{comment}" to "{new[name]}". Zero is what messages without the '
                f"field mean: keep its comment, and give a new meaning a new value."
            )


def _zeros(image: FileDescriptorSet) -> Iterator[tuple[str, str]]:
    for file in image.file:
        comments = {tuple(place.path): " ".join(place.leading_comments.split()) for place in file.source_code_info.location}
        for path, scope, enum in _enums(file):
            for k, value in enumerate(enum.value):
                if value.number == 0:
                    yield f"{scope}.{enum.name}.{value.name}", comments.get((*path, EnumDescriptorProto.VALUE_FIELD_NUMBER, k), "")


def _enums(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str, EnumDescriptorProto]]:
    """Every enum of a file, with its place in the source and the full name of what holds it."""
    yield from (((FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER, k), file.package, enum) for k, enum in enumerate(file.enum_type))
    yield from _nested((FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER,), file.package, file.message_type)


def _nested(
    path: tuple[int, ...], scope: str, messages: Sequence[DescriptorProto]
) -> Iterator[tuple[tuple[int, ...], str, EnumDescriptorProto]]:
    for k, message in enumerate(messages):
        here, name = (*path, k), f"{scope}.{message.name}"
        yield from (((*here, DescriptorProto.ENUM_TYPE_FIELD_NUMBER, j), name, enum) for j, enum in enumerate(message.enum_type))
        yield from _nested((*here, DescriptorProto.NESTED_TYPE_FIELD_NUMBER), name, message.nested_type)


def _version(parts: Sequence[str]) -> Version:
    major, minor, patch = (int(part) for part in parts)
    return major, minor, patch
