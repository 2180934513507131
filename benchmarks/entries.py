"""Entries of the outbox as a server wrote them, and as many like them as are wanted: each copy of a decision has an id of its own."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator, Mapping, Sequence

import redis

from events.bus import Message
from events.outbox import Entry
from events.translate import messages_of
from policies.types import PolicyName
from serving.events import DecisionMade
from serving.ids import ENTROPY_BYTES, SHARDS
from serving.redis.codec import unpack_entry
from serving.redis.keys import keys_of

AT_ONCE = 1_000


def logged(client: redis.Redis) -> list[Entry]:
    """What one Redis holds of decisions and their rewards, shard by shard in order."""
    return [
        Entry(shard, name.decode(), fields)
        for shard in range(SHARDS)
        for name, fields in client.xrange(keys_of(shard).outbox)  # type: ignore[union-attr]  # it is the client that waits
        if {b"decision", b"reward"} & fields.keys()
    ]


def waiting(client: redis.Redis) -> bool:
    """Whether one Redis holds any."""
    with client.pipeline(transaction=False) as asking:
        for shard in range(SHARDS):
            asking.xlen(keys_of(shard).outbox)
        return any(asking.execute())


def copies(entries: Sequence[Entry], events: int) -> Iterator[Entry]:
    """Entries with at least so many events."""
    told = itertools.count()
    for turn in itertools.count(1):
        fresh: dict[bytes, bytes] = {}
        for shard, name, fields in entries:
            decision_id = decision_of(fields)
            fresh.setdefault(decision_id, decision_id[: -2 * ENTROPY_BYTES] + secrets.token_hex(ENTROPY_BYTES).encode())
            copied = {key: value.replace(decision_id, fresh[decision_id]) for key, value in fields.items()}
            yield Entry(shard, f"{turn}{name}", copied)
            for _ in fields.keys() & {b"decision", b"reward", b"evidence"}:
                if next(told) + 1 >= events:
                    return


def messages(entries: Iterator[Entry], policy: PolicyName) -> list[Message]:
    """What is published of them."""
    return [message for entry in entries for message in messages_of(unpack_entry(entry.fields), policy, entry.shard, entry.id)]


def write(client: redis.Redis, entries: Iterator[Entry]) -> int:
    """Put them into a Redis, as scripts do; how many events that are."""
    events = 0
    while some := list(itertools.islice(entries, AT_ONCE)):
        with client.pipeline(transaction=False) as writing:
            for entry in some:
                writing.xadd(keys_of(entry.shard).outbox, entry.fields)  # type: ignore[arg-type]  # invariant
                events += len(entry.fields.keys() & {b"decision", b"reward", b"evidence"})
            writing.execute()
    return events


def decision_of(fields: Mapping[bytes, bytes]) -> bytes:
    """The decision an entry is about."""
    first = unpack_entry(fields).events[0]
    name = first.decision.decision_id if isinstance(first, DecisionMade) else first.decision_id  # type: ignore[union-attr]
    return str(name).encode()
