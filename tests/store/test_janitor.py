"""Scopes nobody touches are dropped, and the log says so; all others stay."""

from __future__ import annotations

import asyncio

import pytest

from serving.events import ScopeDropped
from serving.ids import shard_of
from serving.redis.connect import Client
from serving.redis.janitor import Janitor
from serving.redis.keys import JANITOR_LOCK, keys_of
from serving.redis.store import IDLE_GRACE_S, StoreSettings
from tests.store.build import LONG, Harness, decision, policy
from tests.store.conftest import log_of, on_redis, until

IDLE_AT_ONCE = policy(default=1.0, idle_s=0.0, window_s=0.0)


async def life_s(client: Client, scope: str) -> float:
    key = keys_of(shard_of(IDLE_AT_ONCE.spec.name, decision(IDLE_AT_ONCE, scope=scope).scope)).evidence(
        IDLE_AT_ONCE.namespace, decision(IDLE_AT_ONCE, scope=scope).scope
    )
    return float(await client.pttl(key)) / 1000


async def counts(at: Harness, *scopes: str) -> list[int]:
    return [(await at.sums(IDLE_AT_ONCE, scope=scope))["count"] for scope in scopes]


async def test_idle_scopes_are_dropped_and_logged_wherever_they_lie(client: Client) -> None:
    at = on_redis(client)
    scopes = [f"s:{i}" for i in range(30)]
    for scope in scopes:
        await at.open(IDLE_AT_ONCE, scope=scope)
    await at.open(policy(default=1.0), scope="busy")
    assert await Janitor(client).walk() == 30
    assert await counts(at, *scopes, "busy") == [0] * 30 + [1]
    dropped = [(e.scope, e.namespace, event.arms) for e in await log_of(client) for event in e.events if isinstance(event, ScopeDropped)]
    assert sorted(dropped) == sorted((scope, IDLE_AT_ONCE.namespace, 1) for scope in scopes)
    assert await Janitor(client).walk() == 0


async def test_a_scope_that_never_goes_idle_never_expires(client: Client) -> None:
    at = on_redis(client)
    await at.open(policy(default=1.0, idle_s=None), scope="s")
    assert await life_s(client, "s") < 0
    assert await Janitor(client).walk() == 0


@pytest.mark.parametrize("default", [None, 1.0])
async def test_every_decision_and_reward_puts_it_off(client: Client, default: float | None) -> None:
    at = on_redis(client)
    idle, busy = (policy(default=default, idle_s=idle_s, window_s=60.0, aggregate="sum") for idle_s in (60.0, LONG))
    of = await at.open(idle, scope="s")
    await at.reward(idle, of, 1.0, "1")
    assert 0 < await life_s(client, "s") - IDLE_GRACE_S <= 60
    await at.open(busy, scope="s")
    assert LONG - 10 < await life_s(client, "s") - IDLE_GRACE_S <= LONG
    await at.reward(idle, of, 1.0, "2")
    assert 0 < await life_s(client, "s") - IDLE_GRACE_S <= 60
    await at.open(policy(default=default, idle_s=None), scope="s")
    assert await life_s(client, "s") < 0


async def test_evidence_outlives_the_windows_of_its_decisions(client: Client) -> None:
    at = on_redis(client)
    await at.open(policy(default=1.0, idle_s=0.0, window_s=LONG), scope="s")
    assert LONG - 10 < await life_s(client, "s") - IDLE_GRACE_S <= LONG


async def test_nothing_is_dropped_that_could_not_be_logged(client: Client) -> None:
    settings = StoreSettings(sink="drained", outbox_limit=2)
    at = on_redis(client, settings)
    await at.open(IDLE_AT_ONCE, scope="s")
    await at.open(IDLE_AT_ONCE, scope="s")
    assert await Janitor(client, settings).walk() == 0
    assert await counts(at, "s") == [2]


async def test_of_several_janitors_one_walks_an_interval(client: Client) -> None:
    at = on_redis(client)
    walked = asyncio.Event()

    class Watched(Janitor):
        async def walk(self) -> int:
            dropped = await super().walk()
            walked.set()
            return dropped

    janitors = [asyncio.create_task(Watched(client, interval_s=LONG).run()) for _ in range(4)]
    await walked.wait()
    await at.open(IDLE_AT_ONCE, scope="s")
    late = asyncio.create_task(Janitor(client, interval_s=0.01).run())
    assert await counts(at, "s") == [1]
    await client.delete(JANITOR_LOCK)

    async def dropped() -> bool:
        return await counts(at, "s") == [0]

    await until(dropped)
    for task in (*janitors, late):
        task.cancel()
    await asyncio.gather(*janitors, late, return_exceptions=True)
