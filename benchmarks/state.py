"""A past for any number of people, written straight into a store: what as many decisions would have left behind."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import redis

from policies.evidence import MICROSECONDS, add_decision, add_reward
from policies.types import HEADER, Namespace, PolicyName, ScopeId, triangle
from serving.ids import shard_of
from serving.redis.keys import JANITOR_LOCK, keys_of

AT_ONCE = 20_000
PASTS, DECISIONS = 64, 20
"""Different rows of evidence that are dealt out, and the decisions behind each."""

_PATIENCE_S = 120.0

IDLE_MS = 187 * 86_400_000
"""Life of a scope nobody touches: `limits.idle` of the policy, and the janitor's grace."""


def person(number: int) -> ScopeId:
    """A user_id that is not of the sample."""
    return ScopeId(f"person-{number:07d}")


def seed(client: redis.Redis, policy: PolicyName, namespace: Namespace, dimension: int, scopes: Iterable[ScopeId]) -> None:
    """Give people one arm of evidence each, as the store's scripts pack it (`docs/redis-keys.md`)."""
    rows = itertools.cycle(_rows(dimension))
    left = iter(scopes)
    while some := list(itertools.islice(left, AT_ONCE)):
        with client.pipeline(transaction=False) as pipe:
            for scope in some:
                key = keys_of(shard_of(policy, scope)).evidence(namespace, scope)
                pipe.hset(key, "task", next(rows))  # type: ignore[arg-type]  # redis-py's types know values of text alone
                pipe.pexpire(key, IDLE_MS)
            pipe.execute()
    # The janitor looks at every person once an hour, for seconds; not in those that are measured.
    client.set(JANITOR_LOCK, 1, ex=3600)


def keep(client: redis.Redis) -> None:
    """Begin the append-only file of a store that was filled without one, and wait until it is whole.

    Raises:
        TimeoutError: it takes too long.
    """
    client.config_set("appendonly", "yes")
    _wait_for_none(client, "persistence", "aof_rewrite_in_progress", "aof_rewrite_scheduled")


def memory(client: redis.Redis) -> int:
    """Bytes the store uses for what it keeps.

    Left out are the log of decisions, which is bounded however many there are, and what connections and the append-only file have in
    their buffers: after a load that is megabytes, and falls as they idle.

    Raises:
        TimeoutError: the store is still freeing what was deleted after two minutes.
    """
    outboxes: Sequence[str] = [keys_of(shard).outbox for shard in range(256)]
    client.delete(*outboxes)
    _wait_for_none(client, "memory", "lazyfree_pending_objects")  # Valkey frees what was deleted beside what it does next
    told = _info(client, "memory")
    return int(told["used_memory"]) - int(told["mem_clients_normal"]) - int(told["mem_aof_buffer"])


def _wait_for_none(client: redis.Redis, section: str, *names: str) -> None:
    """Until the store says that there is none of that under way."""
    deadline = time.monotonic() + _PATIENCE_S
    while any(_info(client, section)[name] for name in names):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{', '.join(names)}: still under way after {_PATIENCE_S:g} s")
        time.sleep(0.05)


def _info(client: redis.Redis, section: str) -> dict[str, Any]:
    told: dict[str, Any] = client.info(section)  # type: ignore[assignment]  # which redis-py says may be awaitable
    return told


def _rows(dimension: int) -> list[bytes]:
    rng = np.random.default_rng(1)
    now = int(time.time() * MICROSECONDS)
    packed = []
    for _ in range(PASTS):
        row = np.zeros(HEADER + dimension + triangle(dimension))
        for x in rng.random((DECISIONS, dimension)):
            row = add_decision(row, x, now, None, 0.0)
            row = add_reward(row, x, now, None, decided_at_us=now, old=0.0, new=float(rng.integers(-1, 2)))
        packed.append(row.tobytes())
    return packed
