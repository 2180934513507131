"""Scores read together: the candidates of all of them in columns, which takes half of what each by itself does, or less.

Only where all are as most are: each candidate with an id and at most one entity, all of a request's with the same. What is read then is
what the protobuf library reads. Of messages laid end to end it is known whose the values are when each message begins with the first
field and is just as long as its share of the values: as the lengths of all add up to those of all values, nothing else is in any of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

from ooml.bandit.v1 import bandit_pb2 as pb

from features.columns import Columns
from serving.service.commands import NOTHING
from serving.service.validate import MAX_CANDIDATES, MAX_ENTRIES
from serving.transport.shallow import columns, shallow

_ENTRIES = pb.ScoreRequest.DESCRIPTOR.nested_types_by_name
HEAD = shallow(pb.ScoreRequest.DESCRIPTOR)
"""A ScoreRequest down to its candidates and the entries of its maps, which are bytes."""
BATCH = shallow(pb.BatchScoreRequest.DESCRIPTOR)
"""A BatchScoreRequest down to its requests, which are bytes."""
STREAMED = columns(pb.ScoreStreamRequest.DESCRIPTOR)
"""A ScoreStreamRequest whose request is bytes: in pieces, if it is written in several."""
_CANDIDATES = columns(pb.Candidate.DESCRIPTOR)
_TEXTS, _NUMBERS = columns(_ENTRIES["EntitiesEntry"]), columns(_ENTRIES["ContextEntry"])

_FIRST = b"\x0a"
"""The tag of a text that is a message's first field: a candidate's id, an entry's key."""
_BEFORE = 2
"""Bytes of a tag and of a length below 128."""
_NUMBER = 9
"""Bytes of a tag and a double."""

_first = itemgetter(slice(len(_FIRST)))


class Maps(NamedTuple):
    """The columns of a ScoreRequest's candidates, and its own maps."""

    ids: list[Any]
    own_entities: Sequence[Mapping[str, str]]
    entities: Mapping[str, str]
    context: Mapping[str, float]


class _Irregular(Exception):
    """Some message is not as most are."""


def maps_of(heads: Sequence[Any]) -> list[Maps] | None:
    """What is nested in each of some requests, given their `HEAD`; None when some are not as most are.

    Raises:
        google.protobuf.message.DecodeError: some message is malformed.
    """
    if any(len(h.candidates) > MAX_CANDIDATES or len(h.entities) > MAX_ENTRIES or len(h.context) > MAX_ENTRIES for h in heads):
        return None
    try:
        slates = _slates([list(head.candidates) for head in heads])
        entities = _maps(_TEXTS, [head.entities for head in heads])
        context = _maps(_NUMBERS, [head.context for head in heads])
    except _Irregular:
        return None
    return [Maps(*slate, *maps) for slate, *maps in zip(slates, entities, context, strict=True)]


def _slates(slates: Sequence[Sequence[bytes]]) -> list[tuple[list[str], Sequence[Mapping[str, str]]]]:
    """Each slate's ids and own entities."""
    messages = list(chain.from_iterable(slates))
    found = _CANDIDATES.FromString(b"".join(messages))
    if found.arm or found.features:
        raise _Irregular
    ids, entries = _one_each(found.id, messages), _one_each(found.entities, messages) if found.entities else []
    _check(messages, ids, [_BEFORE + len(entry) for entry in entries] or [0] * len(messages))
    names, values = _columns(_TEXTS, entries)
    alike = names.count(names[0]) == len(names) if names else True
    read: list[tuple[list[str], Sequence[Mapping[str, str]]]] = []
    start = 0
    for slate in slates:
        end = start + len(slate)
        if not alike and len(set(names[start:end])) > 1:
            raise _Irregular
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
    found = kind.FromString(b"".join(entries))
    names, values = _one_each(found.key, entries), _one_each(found.value, entries)
    _check(entries, names, [_NUMBER] * len(values) if kind is _NUMBERS else [_BEFORE + len(value) for value in values])
    return names, values


def _one_each(values: Sequence[Any], messages: Sequence[bytes]) -> list[Any]:
    """Of a field, as many values as there are messages: others are not looked at, there may be millions of them."""
    if len(values) != len(messages):
        raise _Irregular
    return list(values)


def _check(messages: Sequence[bytes], firsts: Sequence[str], rest: Sequence[int]) -> None:
    """See that each message holds one text, first, and beside it a value that takes so many bytes, and nothing else.

    Args:
        messages: (n,) laid end to end.
        firsts, rest: the n texts there are in all of them, and the bytes that each of the n values takes.

    A text that is not all ASCII takes more bytes than it has characters, and so is not as most are.
    """
    if not (
        set(map(_first, messages)) <= {_FIRST}
        and list(map(len, messages)) == [_BEFORE + len(first) + more for first, more in zip(firsts, rest, strict=True)]
    ):
        raise _Irregular
