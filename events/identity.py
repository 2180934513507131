"""What makes two events the same event: not where they were written, but what they say happened."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

from ooml.bandit.v1 import events_pb2 as pb

ID_BYTES = 16
_size = struct.Struct("<I").pack


def identity(event: pb.Event) -> bytes:
    """The event's id, (16,) bytes: a hash of its kind, its decision and, where there is one, its reward.

    A copy that was resent, replayed, or written anew after the store had lost it has the same id; shard, epoch, sequence and time are no
    part of it.

    Raises:
        ValueError: it is of no kind that this version knows.
    """
    kind = event.WhichOneof("kind")
    said: Any = getattr(event, kind) if kind else None
    parts: tuple[str, ...]
    match kind:
        case "decision_made" | "decision_activated":
            parts = (said.decision_id,)
        case "reward_received":
            parts = (said.decision_id, said.reward_id, str(said.status))
        case "evidence_added":
            caused = "reward" if said.HasField("reward_value") else "default"
            parts = (said.decision_id, said.reward_id, caused)
        case "scope_forgotten":
            parts = (said.policy, said.scope, str(said.generation))
        case "scope_dropped":
            parts = (said.namespace, said.scope, _time(event))
        case "decisions_shed":
            parts = (str(event.shard), event.epoch, str(event.sequence))
        case "task_synced":
            parts = (said.user_id, said.source, said.task_id, str(said.synced_at.ToNanoseconds()))
        case _:
            raise ValueError(f"an event of kind {kind!r}")
    # Each part behind its length: ("ab", "c") is not ("a", "bc").
    text = b"".join([_size(len(part)) + part for part in map(str.encode, (kind, *parts))])
    return hashlib.blake2b(text, digest_size=ID_BYTES).digest()


def _time(event: pb.Event) -> str:
    return str(event.recorded_at.ToNanoseconds())
