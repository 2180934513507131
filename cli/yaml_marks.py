"""YAML read strictly, with the line and column of every value: what PyYAML knows but does not tell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Path = tuple[str | int, ...]
"""Keys and indices from the top of a document to one of its values."""

# YAML 1.1 calls 1e-3 a text because it has no point. Nobody else does.
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")

# And 1:30 ninety, 010 eight and 0b11 three. Nobody means that either.
_DISGUISED = re.compile(r"[-+]?(\d[\d_]*(:[\d_.]+)+|0[\d_]+|0[bx][\da-fA-F_]+)")


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file; both count from 1."""

    line: int
    column: int


_TOP = Mark(1, 1)


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document.

    Args:
        value: dicts, lists and scalars.
        marks: where each key (or item of a list) stands; the whole document is the empty path.
        mistakes: what YAML allows or forgives and we do not.
    """

    value: object
    marks: Mapping[Path, Mark]
    mistakes: tuple[tuple[Mark, str], ...]

    def mark(self, path: Path) -> Mark:
        """Where a value stands, or else the nearest thing around it."""
        while path not in self.marks:
            path = path[:-1]
        return self.marks[path]


def read(text: str) -> Document:
    """Read one document; malformed YAML is a mistake with its place, not an exception."""
    try:
        return _read(text)
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = Mark(at.line + 1, at.column + 1) if at else _TOP
        said = ", ".join(part for part in (error.context, error.problem) if part)
        return _unread(f"not YAML: {said}", mark)
    except yaml.YAMLError as error:  # a character that YAML forbids
        return _unread(f"not YAML: {' '.join(str(error).split())}")
    except RecursionError:
        return _unread("nested too deeply")


def _read(text: str) -> Document:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is None:
        return _unread("the file is empty")
    reading = _Reading()
    value = reading.value(node, ())
    return Document(value, reading.marks, tuple(reading.mistakes))


def _unread(why: str, mark: Mark = _TOP) -> Document:
    return Document(None, {(): mark}, ((mark, why),))


class _Reading:
    def __init__(self) -> None:
        self.marks: dict[Path, Mark] = {}
        self.mistakes: list[tuple[Mark, str]] = []
        self._seen: set[int] = set()

    def value(self, node: Node, path: Path) -> object:
        self.marks.setdefault(path, _mark(node))
        if id(node) in self._seen:
            self.mistakes.append((_mark(node), "anchors and aliases are not for policies: write the value out"))
            return None
        self._seen.add(id(node))
        if isinstance(node, MappingNode):
            return dict(self._items(node, path))
        if isinstance(node, SequenceNode):
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        return self._scalar(node)

    def _items(self, node: MappingNode, path: Path) -> Iterator[tuple[str, object]]:
        first: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.mistakes.append((_mark(key), "a key must be a plain name"))
                continue
            name: str = key.value  # as written: YAML would make a boolean of an outcome called `no`
            if name in first:
                self.mistakes.append((_mark(key), f"`{name}` stands here twice; first in line {first[name]}"))
                continue
            first[name] = _mark(key).line
            self.marks[(*path, name)] = _mark(key)
            yield name, self.value(value, (*path, name))

    def _scalar(self, node: Node) -> object:
        loader = yaml.SafeLoader("")
        try:
            if isinstance(node, ScalarNode) and node.style is None and node.tag.endswith(":str") and _EXPONENT.fullmatch(node.value):
                return float(node.value)
            if isinstance(node, ScalarNode) and node.style is None and _DISGUISED.fullmatch(node.value) and not node.tag.endswith(":str"):
                read_as = loader.construct_object(node)
                self.mistakes.append((_mark(node), f"`{node.value}` is {read_as} to YAML: write that number out, or quote what you mean"))
                return read_as
            return loader.construct_object(node)
        except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:  # what constructors throw at a tag that does not fit
            said = error.problem if isinstance(error, yaml.MarkedYAMLError) else str(error)
            self.mistakes.append((_mark(node), f"not a value: {said}"))
            return None
        finally:
            loader.dispose()


def _mark(node: Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)
