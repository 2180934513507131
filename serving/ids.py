"""Decision ids: which shard holds the decision, which namespace's rules it follows, and what nobody can guess."""

from __future__ import annotations

import binascii
import re
from functools import lru_cache

from policies.types import DecisionId, Namespace, PolicyName, ScopeId

SHARDS = 256
"""Parts the scopes of all policies are spread over. Never changes: it is part of every decision id."""

ENTROPY_BYTES = 12

_DECISION_ID = re.compile(r"([0-9a-f]{2})([0-9a-f]{12})[0-9a-f]{24}")


@lru_cache(maxsize=8192)
def shard_of(policy: PolicyName, scope: ScopeId) -> int:
    """The shard, 0 to 255, that holds everything of one scope of one policy."""
    return binascii.crc32(f"{policy}/{scope}".encode()) % SHARDS


def new_decision_id(shard: int, namespace: Namespace, entropy: bytes) -> DecisionId:
    """An id of 38 lower-case hex digits: shard (2), namespace (12), entropy (24).

    Args:
        shard: 0 to 255.
        namespace: 12 lower-case hex digits.
        entropy: (12,) unguessable bytes; who knows an id may reward its decision.

    Raises:
        ValueError: an argument is not of that form.
    """
    text = f"{shard:02x}{namespace}{entropy.hex()}"
    if not _DECISION_ID.fullmatch(text):
        raise ValueError(f"no decision id can be made of shard {shard}, namespace {namespace!r} and {len(entropy)} bytes of entropy")
    return DecisionId(text)


def parse_decision_id(text: str) -> tuple[int, Namespace] | None:
    """Shard and namespace of a decision id; None when the text is none."""
    match = _DECISION_ID.fullmatch(text)
    return (int(match[1], 16), Namespace(match[2])) if match else None
