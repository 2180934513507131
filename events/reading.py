"""What entries of the outbox tell, whoever's they are."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Mapping

from google.protobuf.message import DecodeError

from events.bus import Message
from events.outbox import Entry
from events.translate import messages_of
from policies.types import Namespace, PolicyName
from serving.events import DecisionMade, LogEntry, ScopeForgotten
from serving.following import Report
from serving.ports import PublishedPolicy
from serving.redis.catalog import RedisCatalog
from serving.redis.codec import unpack_entry

PolicyOf = Callable[[Namespace], Awaitable[PolicyName | None]]
"""Whose namespace it is; None: nobody's that is published."""


class EntryReader:
    """Reads entries.

    Args:
        policy_of: most entries name a namespace alone.
        report: told of what cannot be read.
    """

    def __init__(self, policy_of: PolicyOf, report: Report) -> None:
        self._policy_of = policy_of
        self._report = report

    async def messages(self, entry: Entry) -> list[Message]:
        """What is published of an entry. None of one that cannot be read: it stays where it is, and does not stop the others.

        Raises:
            Unavailable.
        """
        try:
            logged = unpack_entry(entry.fields)
            policy = _policy(logged) or await self._policy_of(logged.namespace)
            if policy is None:
                raise ValueError(f"no policy has the namespace {logged.namespace}")
            return messages_of(logged, policy, entry.shard, entry.id)
        except (ValueError, KeyError, struct.error, DecodeError) as error:  # never what a script of this version wrote
            self._report("an entry of the outbox cannot be read", shard=entry.shard, entry=entry.id, error=repr(error))
            return []


def published_in(catalog: RedisCatalog) -> PolicyOf:
    """Looks namespaces up among all that were ever published."""
    seen: dict[Namespace, PolicyName] = {}

    async def policy_of(namespace: Namespace) -> PolicyName | None:
        if namespace not in seen:
            found = await catalog.by_namespace(namespace)
            if found is None:
                return None
            seen[namespace] = found.spec.name
        return seen[namespace]

    return policy_of


def among(policies: Mapping[Namespace, PublishedPolicy]) -> PolicyOf:
    """Looks namespaces up among these."""

    async def policy_of(namespace: Namespace) -> PolicyName | None:
        policy = policies.get(namespace)
        return None if policy is None else policy.spec.name

    return policy_of


def _policy(logged: LogEntry) -> PolicyName | None:
    """As the entry itself tells."""
    for event in logged.events:
        if isinstance(event, DecisionMade):
            return event.decision.policy
        if isinstance(event, ScopeForgotten):
            return event.policy
    return None
