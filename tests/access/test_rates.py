"""Buckets in memory and in Redis keep the same promises; meters spend what they lease and no more."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable

import pytest

from serving.access.rates import LEASE_S, LULL_S, MOST_METERS, Allowances, Grant, Meter, Meters, Rate
from serving.memory.allowances import MemoryAllowances
from serving.redis.allowances import RedisAllowances
from tests.access.stores import KINDS, emptied
from tests.catalog.samples import client_of
from tests.servers import Store

SLOW = Rate(0.001, 10)
"""Nothing to speak of comes back while a test runs."""


@pytest.fixture(params=KINDS)
async def allowances(request: pytest.FixtureRequest) -> AsyncIterator[Allowances]:
    if request.param == "memory":
        yield MemoryAllowances()
        return
    async with emptied(request) as client:
        yield RedisAllowances(client)


async def test_a_bucket_gives_what_is_wanted_while_it_lasts_then_what_is_there_then_nothing(allowances: Allowances) -> None:
    assert await allowances.lease("a", SLOW, 1, 7, 0) == Grant(7, 0.0)
    assert await allowances.lease("a", SLOW, 1, 7, 0) == Grant(3, 0.0)
    empty = await allowances.lease("a", SLOW, 1, 7, 0)
    assert empty.tokens == 0
    assert empty.wait_s == pytest.approx(1000, abs=60)
    assert await allowances.lease("b", SLOW, 10, 10, 0) == Grant(10, 0.0)


async def test_fewer_than_needed_are_left_where_they_are(allowances: Allowances) -> None:
    await allowances.lease("a", SLOW, 1, 6, 0)
    refused = await allowances.lease("a", SLOW, 5, 5, 0)
    assert refused.tokens == 0
    assert refused.wait_s == pytest.approx(1000, abs=60)
    assert await allowances.lease("a", SLOW, 4, 4, 0) == Grant(4, 0.0)


async def test_what_is_given_back_is_there_again_up_to_the_burst(allowances: Allowances) -> None:
    await allowances.lease("a", SLOW, 1, 10, 0)
    assert await allowances.lease("a", SLOW, 3, 9, 4) == Grant(4, 0.0)
    assert await allowances.lease("a", SLOW, 1, 99, 1000) == Grant(10, 0.0)


async def test_a_bucket_fills_at_its_rate_on_the_stores_clock(allowances: Allowances) -> None:
    rate, taken, began = Rate(200.0, 5), 0, time.monotonic()
    while taken < 50:
        taken += (await allowances.lease("a", rate, 1, 5, 0)).tokens
    took = time.monotonic() - began
    assert taken <= 5 + 200 * took + 1
    assert took >= (50 - 5 - 1) / 200


async def test_many_at_once_get_exactly_what_is_there(allowances: Allowances) -> None:
    grants = await asyncio.gather(*(allowances.lease("a", SLOW, 1, 3, 0) for _ in range(40)))
    assert sum(grant.tokens for grant in grants) == 10


async def test_a_bucket_that_is_full_again_takes_no_room(clean_store: Store) -> None:
    async with client_of(clean_store) as client:
        await RedisAllowances(client).lease("a", Rate(100, 10), 1, 1, 0)
        assert 0 < await client.pttl("ooml:rate:a") <= 1100


class Counted:
    """Buckets that count how often they are asked."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.inner = MemoryAllowances(clock)
        self.asked = 0
        self.error: Exception | None = None

    async def lease(self, caller: str, rate: Rate, need: int, want: int, back: int) -> Grant:
        self.asked += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return await self.inner.lease(caller, rate, need, want, back)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def spend(meter: Meter, cost: int = 1) -> float:
    return 0.0 if meter.take(cost) else await meter.pay(cost)


async def test_two_meters_of_a_caller_admit_exactly_the_allowance_together() -> None:
    clock = Clock()
    buckets = Counted(clock)
    meters = [Meter("a", Rate(100, 100), buckets, clock) for _ in range(2)]
    admitted = 0
    for step in range(2001):  # ten seconds
        clock.now = step * 0.005
        for meter in meters:
            admitted += sum(wait == 0.0 for wait in await asyncio.gather(*(spend(meter) for _ in range(3))))
        assert admitted <= 100 + 100 * clock.now
    assert admitted >= 100 + 100 * 10 - 2 * 100 * LEASE_S
    assert buckets.asked <= 10 * 2 * 2 / LULL_S


async def test_a_busy_caller_asks_the_store_ten_times_a_second() -> None:
    clock = Clock()
    buckets = Counted(clock)
    meter = Meter("a", Rate(10_000, 10_000), buckets, clock)
    for step in range(9000):  # a second
        clock.now = step / 9000
        assert await spend(meter) == 0.0
    assert buckets.asked <= 10 + math.log2(1000)


async def test_a_caller_far_over_its_rate_asks_the_store_some_hundred_times_a_second() -> None:
    clock = Clock()
    buckets = Counted(clock)
    meter = Meter("a", Rate(5000, 5000), buckets, clock)
    admitted = 0
    for step in range(20_000):  # two seconds
        clock.now = step / 10_000
        admitted += await spend(meter) == 0.0
    assert 5000 + 5000 * 2 * 0.95 <= admitted <= 5000 + 5000 * 2
    assert buckets.asked <= 250


async def test_what_a_worker_does_not_spend_the_others_may() -> None:
    clock = Clock()
    buckets = Counted(clock)
    busy, idle = (Meter("a", Rate(1000, 1000), buckets, clock) for _ in range(2))
    for _ in range(500):
        await spend(busy)
    clock.now += 2 * LEASE_S  # what it held is over, and given back when it asks again
    await spend(busy)
    assert await spend(idle, 600) == 0.0


async def test_one_who_is_refused_does_not_ask_the_store_again_before_it_is_worth_it() -> None:
    clock = Clock()
    buckets = Counted(clock)
    meter = Meter("a", Rate(1, 2), buckets, clock)
    assert await spend(meter, 2) == 0.0
    assert [await spend(meter) for _ in range(50)] == [1.0] * 50
    assert buckets.asked == 2
    clock.now = 1.0
    assert await spend(meter) == 0.0


async def test_a_large_batch_refused_leaves_single_requests_their_chance() -> None:
    clock = Clock()
    meter = Meter("a", Rate(1, 10), Counted(clock), clock)
    assert [await spend(meter, cost) for cost in (8, 5, 2, 1)] == [0.0, 3.0, 0.0, 1.0]


async def test_a_lease_that_fails_admits_nobody_and_spends_nothing_twice() -> None:
    clock = Clock()
    buckets = Counted(clock)
    meter = Meter("a", Rate(0.001, 4), buckets, clock)
    buckets.error = RuntimeError("away")
    answers = await asyncio.gather(*(spend(meter) for _ in range(3)), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["away"] * 3
    buckets.error = None
    assert sum(wait == 0.0 for wait in await asyncio.gather(*(spend(meter) for _ in range(9)))) == 4


def test_a_rate_has_a_seconds_worth_of_burst_unless_told() -> None:
    assert (Rate.of(0.5), Rate.of(2.5), Rate.of(5, 100), Rate.of(0)) == (Rate(0.5, 1), Rate(2.5, 3), Rate(5, 100), None)


def test_meters_are_bounded() -> None:
    meters = Meters(MemoryAllowances())
    first = meters.of("0", SLOW)
    assert meters.of("0", SLOW) is first
    for number in range(1, MOST_METERS + 1):
        meters.of(str(number), SLOW)
    assert len(meters._meters) == MOST_METERS
    assert meters.of("0", SLOW) is not first
    assert meters.of("x", None) is None
