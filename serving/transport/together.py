"""Scores read together: the candidates of all of them in columns, which takes half of what each by itself does, or less.

Only such requests as are like most: each candidate with an id and at most one entity, all of a request's with the same; texts of fewer
than 128 bytes. What was found is written again, message by message, as encoders write it. Where that is what came, what was found is what
the protobuf library finds; where it is not, nothing that was found is of any use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from struct import Struct
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError, Message
from ooml.bandit.v1 import bandit_pb2 as pb

from features.columns import Columns
from serving.service.commands import NOTHING
from serving.service.validate import MAX_CANDIDATES, MAX_ENTRIES
from serving.transport import encode
from serving.transport.shallow import columns, shallow

_TextEntry, _NumberEntry = pb.ScoreRequest.EntitiesEntry, pb.ScoreRequest.ContextEntry
HEAD = shallow(pb.ScoreRequest.DESCRIPTOR)
"""A ScoreRequest down to its candidates and the entries of its maps, which are bytes."""
BATCH = shallow(pb.BatchScoreRequest.DESCRIPTOR)
"""A BatchScoreRequest down to its requests, which are bytes."""
STREAMED = shallow(pb.ScoreStreamRequest.DESCRIPTOR)
"""A ScoreStreamRequest whose request is bytes."""
_CANDIDATES = columns(pb.Candidate.DESCRIPTOR)
_TEXTS, _NUMBERS = columns(_TextEntry.DESCRIPTOR), columns(_NumberEntry.DESCRIPTOR)

_LONGEST = 127
"""Bytes that a text, or a message in another, has at most, so that one byte says how many there are."""
_LONGEST_PAIR = 2 * (2 + _LONGEST)
_number = Struct("<d").pack


def _before(message: type[Message], name: str) -> list[bytes]:
    """What stands before a text or a message in that field, by its length in bytes: its tag, and the length."""
    return [encode.tag(message, name, encode.BYTES) + length for length in encode.SIZES[: _LONGEST + 1]]


_ID, _ENTITIES = _before(pb.Candidate, "id"), _before(pb.Candidate, "entities")
_KEY, _TEXT = _before(_TextEntry, "key"), _before(_TextEntry, "value")
_NUMBER = encode.tag(_NumberEntry, "value", encode.DOUBLE)


class Maps(NamedTuple):
    """The columns of a ScoreRequest's candidates, and its own maps."""

    ids: list[Any]
    own_entities: Sequence[Mapping[str, str]]
    entities: Mapping[str, str]
    context: Mapping[str, float]


class _Unlike(Exception):
    """Some message is not like most."""


def maps_of(heads: Sequence[Any]) -> list[Maps | None]:
    """What is nested in each of some requests, given their `HEAD`; None for one that must be read by itself.

    Where it is not None, each message beside the maps came in one piece.
    """
    found: list[Maps | None] = [None] * len(heads)
    places = [place for place, head in enumerate(heads) if _seems_like_most(head)]
    try:
        for place, maps in zip(places, _read([heads[place] for place in places]), strict=True):
            found[place] = maps
    except (_Unlike, DecodeError):
        pass
    return found


def _seems_like_most(head: Any) -> bool:
    """Whether it can be, and is worth trying: by its sizes, and by its first candidate."""
    candidates = head.candidates
    if len(candidates) > MAX_CANDIDATES or len(head.entities) > MAX_ENTRIES or len(head.context) > MAX_ENTRIES:
        return False
    for pieces in (head.request_time, head.utc_offset, head.served):
        # Several pieces may make sense only together, and deep nesting only where it is not seen how deep it begins.
        if pieces and (len(pieces) > 1 or len(pieces[0]) > _LONGEST):
            return False
    if not candidates:
        return True
    first = candidates[0]
    end = first[1] + 2 if len(first) > 1 else 1
    return end == len(first) or first[end : end + 1] == _ENTITIES[0][:1]


def _read(heads: Sequence[Any]) -> list[Maps]:
    """All of them.

    Raises:
        _Unlike, DecodeError: one of them at least must be read by itself.
    """
    slates = _slates([list(head.candidates) for head in heads])
    entities = _maps(_TEXTS, [head.entities for head in heads])
    context = _maps(_NUMBERS, [head.context for head in heads])
    return [Maps(*slate, *maps) for slate, *maps in zip(slates, entities, context, strict=True)]


def _slates(slates: Sequence[Sequence[bytes]]) -> list[tuple[list[str], Sequence[Mapping[str, str]]]]:
    """Each slate's ids and own entities."""
    messages = list(chain.from_iterable(slates))
    found = _CANDIDATES.FromString(_end_to_end(messages))
    ids, entries = _one_each(found.id, messages), _one_each(found.entities, messages) if found.entities else []
    _check(messages, *_written(_ID, map(str.encode, ids)), *(_written(_ENTITIES, entries) if entries else ()))
    names, values = _columns(_TEXTS, entries)
    alike = names.count(names[0]) == len(names) if names else True
    read: list[tuple[list[str], Sequence[Mapping[str, str]]]] = []
    start = 0
    for slate in slates:
        end = start + len(slate)
        if not alike and len(set(names[start:end])) > 1:
            raise _Unlike
        own = Columns({names[start]: values[start:end]}) if entries and slate else [NOTHING] * len(slate)
        read.append((ids[start:end], own))
        start = end
    return read


def _maps(kind: Any, maps: Sequence[Sequence[bytes]]) -> list[Mapping[str, Any]]:
    """Each map, given its entries."""
    names, values = _columns(kind, list(chain.from_iterable(maps)))
    read, start = [], 0
    for entries in maps:
        end = start + len(entries)
        read.append(dict(zip(names[start:end], values[start:end], strict=True)) if entries else NOTHING)
        start = end
    return read


def _columns(kind: Any, entries: Sequence[bytes]) -> tuple[list[str], list[Any]]:
    """Keys and values of entries of maps."""
    if not entries:
        return [], []
    found = kind.FromString(_end_to_end(entries))
    names, values = _one_each(found.key, entries), _one_each(found.value, entries)
    written = (repeat(_NUMBER), map(_number, values)) if kind is _NUMBERS else _written(_TEXT, map(str.encode, values))
    _check(entries, *_written(_KEY, map(str.encode, names)), *written)
    return names, values


def _end_to_end(messages: Sequence[bytes]) -> bytes:
    """They in one, if none is so long that it cannot be like most: it may hold whatever takes long to read."""
    if messages and max(map(len, messages)) > _LONGEST_PAIR:
        raise _Unlike
    return b"".join(messages)


def _one_each(values: Sequence[Any], messages: Sequence[bytes]) -> list[Any]:
    """Of a field, as many values as there are messages: others are not looked at, there may be millions of them."""
    if len(values) != len(messages):
        raise _Unlike
    return list(values)


def _written(before: Sequence[bytes], values: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
    """A field of each message: what stands before its value, and the value."""
    values = list(values)
    try:
        return [before[len(value)] for value in values], values
    except IndexError:
        raise _Unlike from None


def _check(messages: Sequence[bytes], *parts: Iterable[bytes]) -> None:
    """See that each message is its parts, one after the other, and so holds them and nothing else."""
    if messages != list(map(b"".join, zip(*parts, strict=False))):
        raise _Unlike
