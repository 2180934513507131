"""What Redis holds of what the log tells: evidence, and decisions that can still be rewarded. Read a few keys at a time."""

from __future__ import annotations

import re
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from events.recompute import NEVER, ScopeArm
from policies.evidence import AS_OF
from policies.types import ArmId, DecisionId, Namespace
from serving.ids import SHARDS
from serving.redis.connect import Client
from serving.redis.errors import unavailable
from serving.redis.keys import keys_of, scope_of_evidence
from serving.redis.link import Command, slot_of

_STEP = 500
"""Keys looked at per call."""
KEYS = "ooml:{*}:*"
_KIND = re.compile(rb"ooml:\{\d+\}:(ev|dec):")


@dataclass(slots=True)
class Held:
    """As it was read, key by key: each scope at one moment, but not all of them at the same.

    Args:
        evidence: packed rows, by namespace and arm of a scope.
        open: ids of decisions that can still be rewarded or activated.
        began_us: the store's clock before it was read, in microseconds since the epoch.
    """

    began_us: int

    evidence: dict[Namespace, dict[ScopeArm, bytes]] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)

    def until(self, namespace: Namespace, arm: ScopeArm) -> tuple[int, int]:
        """See `events.recompute.Until`: a row stands for a time. Where there is none, there was none before, unless its scope has ended."""
        row = self.evidence.get(namespace, {}).get(arm)
        return (self.began_us, NEVER) if row is None else (as_of(row), as_of(row))


def as_of(row: bytes) -> int:
    """For which time a packed row stands, in microseconds."""
    return int(struct.unpack_from("<d", row, 8 * AS_OF)[0])


async def clocks(client: Client) -> tuple[int, int]:
    """The store's time, in microseconds since the epoch: of a cluster's nodes the earliest and the latest.

    Raises:
        Unavailable.
    """
    with unavailable():
        answers = await _answers(client, [Command(keys.slot, ("TIME",)) for keys in map(keys_of, range(SHARDS))])
    times = [int(seconds) * 1_000_000 + int(micros) for seconds, micros in answers]
    return min(times), max(times)


async def held(client: Client, advance: Callable[[int], object] = lambda keys: None) -> Held:
    """All of it.

    Args:
        advance: told how many keys were looked at.

    Raises:
        Unavailable.
    """
    found = Held((await clocks(client))[0])
    async for page in _pages(client):
        evidence, decisions = _of_kind(page, b"ev"), _of_kind(page, b"dec")
        answers = await _ask(client, [*(("HGETALL", key) for key in evidence), *(("STRLEN", key) for key in decisions)])
        _put(found, evidence, answers)
        # An empty record says that its scope was forgotten; one that expired meanwhile has no length, either.
        found.open.update(_name(key) for key, size in zip(decisions, answers[len(evidence) :], strict=True) if size)
        advance(len(page))
    return found


async def evidence_of(client: Client, keys: Sequence[str]) -> Held:
    """The evidence that some keys hold.

    Raises:
        Unavailable.
    """
    found = Held((await clocks(client))[0])
    for first in range(0, len(keys), _STEP):
        page = [key.encode() for key in keys[first : first + _STEP]]
        _put(found, page, await _ask(client, [("HGETALL", key) for key in page]))
    return found


async def still_open(client: Client, decision_ids: Sequence[str]) -> list[str]:
    """Which of some decisions are neither over nor forgotten.

    Raises:
        Unavailable.
    """
    found: list[str] = []
    for first in range(0, len(decision_ids), _STEP):
        page = decision_ids[first : first + _STEP]
        keys = [keys_of(int(name[:2], 16)).decision(DecisionId(name)).encode() for name in page]
        sizes = await _ask(client, [("STRLEN", key) for key in keys])
        found += [name for name, size in zip(page, sizes, strict=True) if size]
    return found


async def is_empty(client: Client) -> bool:
    """Whether there is neither evidence nor a decision.

    Raises:
        Unavailable.
    """
    async for page in _pages(client):
        if any(map(_KIND.match, page)):
            return False
    return True


def _put(found: Held, keys: Sequence[bytes], answers: Sequence[Any]) -> None:
    for key, answer in zip(keys, answers, strict=False):
        _, namespace, scope = scope_of_evidence(key.decode())
        rows = found.evidence.setdefault(namespace, {})
        pairs: Mapping[bytes, bytes] = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
        rows.update(((scope, ArmId(arm.decode())), row) for arm, row in pairs.items())


def _of_kind(keys: Sequence[bytes], kind: bytes) -> list[bytes]:
    return [key for key in keys if (found := _KIND.match(key)) and found[1] == kind]


def _name(key: bytes) -> str:
    return _KIND.sub(b"", key, count=1).decode()


async def _pages(client: Client) -> AsyncIterator[list[bytes]]:
    page: list[bytes] = []
    with unavailable():
        async for key in client.scan_iter(match=KEYS, count=_STEP):
            page.append(key)
            if len(page) == _STEP:
                yield page
                page = []
    yield page


async def _ask(client: Client, commands: Sequence[tuple[str, bytes]]) -> list[Any]:
    with unavailable():
        return await _answers(client, [Command(slot_of(words[1]), words) for words in commands])


async def _answers(client: Client, commands: Sequence[Command]) -> list[Any]:
    answers = await client.ask(commands)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
