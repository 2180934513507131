"""Names of all keys of a scope. One shard's keys share a hash tag, so that one script may touch any of them, on a cluster too.

``docs/redis-keys.md`` lists what each key holds.
"""

from __future__ import annotations

import binascii
from functools import cache

from policies.types import DecisionId, Namespace, PolicyName, ScopeId
from serving.ids import SHARDS

SLOTS = 16_384
EVIDENCE_PATTERN = "ooml:{*}:ev:*"
JANITOR_LOCK = "ooml:janitor"


@cache
def tags() -> tuple[str, ...]:
    """(256,) hash tag of each shard: the smallest natural number whose slot lies in the shard's 64 of the 16,384 slots.

    Any cluster that splits the slots into contiguous ranges therefore splits the shards evenly.
    """
    width = SLOTS // SHARDS
    found: dict[int, str] = {}
    number = 0
    while len(found) < SHARDS:
        found.setdefault(slot(str(number)) // width, str(number))
        number += 1
    return tuple(found[shard] for shard in range(SHARDS))


def slot(tag: str) -> int:
    """The cluster's slot of a hash tag: CRC-16/XMODEM mod 16,384."""
    return binascii.crc_hqx(tag.encode(), 0) % SLOTS


class Keys:
    """Names of one shard's keys.

    A scope is any text: where something follows it in a name, its length in bytes stands before it, so that no two scopes share a key.
    """

    def __init__(self, shard: int) -> None:
        self.slot = slot(tags()[shard])
        self.prefix = f"ooml:{{{tags()[shard]}}}:"
        self.sequence = f"{self.prefix}seq"
        self.outbox = f"{self.prefix}out"
        self.health = f"{self.prefix}ok"

    def evidence(self, namespace: Namespace, scope: ScopeId) -> str:
        """Hash of arm → packed row."""
        return f"{self.prefix}ev:{namespace}:{scope}"

    def decision(self, decision_id: DecisionId) -> str:
        """Packed record of an open decision."""
        return f"{self.prefix}dec:{decision_id}"

    def reply(self, policy: PolicyName, scope: ScopeId, request_id: str) -> str:
        """Packed answer to a request_id."""
        return f"{self.prefix}req:{policy}:{len(scope.encode())}:{scope}:{request_id}"

    def generation(self, policy: PolicyName, scope: ScopeId) -> str:
        """How often the scope was forgotten."""
        return f"{self.prefix}gone:{policy}:{scope}"

    def open(self, policy: PolicyName, scope: ScopeId) -> str:
        """Sorted set of the scope's decisions and kept replies, by expiry."""
        return f"{self.prefix}open:{policy}:{scope}"


@cache
def keys_of(shard: int) -> Keys:
    """The keys of one shard, 0 to 255."""
    return Keys(shard)


def scope_of_evidence(key: str) -> tuple[int, Namespace, ScopeId]:
    """Shard, namespace and scope whose evidence a key holds."""
    tag, namespace, scope = key.removeprefix("ooml:{").replace("}:ev:", ":", 1).split(":", 2)
    return tags().index(tag), Namespace(namespace), ScopeId(scope)
