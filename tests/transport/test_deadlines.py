"""Work is cut off where it waits when its time is over, and not before; what cuts it off otherwise is told apart."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from serving.transport.deadlines import TICK_S, Bound, Deadlines, Limit

LONG = 3600.0
SHORT = 0.02
CLOCK_S = 0.001
"""How far two readings of a clock, and the loop's timers, may be apart."""


@pytest.fixture
def deadlines() -> Deadlines:
    return Deadlines()


async def for_ever(cancelled: list[str] | None = None) -> None:
    """Wait; a cancellation is noted and goes on."""
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        if cancelled is not None:
            cancelled.append("cancelled")
        raise


def cancellations() -> int:
    """How many the running task still has to answer to."""
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


def watched(deadlines: Deadlines) -> list[Bound | Limit]:
    return [bound for due in deadlines._due.values() for bound in due]


async def bounded(deadlines: Deadlines, seconds: float, cancelled: list[str] | None = None) -> None:
    with deadlines.within(seconds):
        await for_ever(cancelled)


async def nothing_left(deadlines: Deadlines) -> bool:
    """Whether no timer is set and no work watched, once the last tick is over."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_at((max(deadlines._due, default=0) + 1) * TICK_S, ended.set_result, None)
    await ended
    return deadlines._due == {}


async def test_work_within_its_time_is_not_cut_off(deadlines: Deadlines) -> None:
    with deadlines.within(SHORT):
        await asyncio.sleep(0)
    assert await nothing_left(deadlines)  # its time is over by then


async def test_longer_work_is_cancelled_where_it_waits_and_raises_a_timeout(deadlines: Deadlines) -> None:
    where_it_waits: list[str] = []
    with pytest.raises(TimeoutError) as raised, deadlines.within(SHORT):
        await for_ever(where_it_waits)
    assert where_it_waits == ["cancelled"]
    assert isinstance(raised.value.__cause__, asyncio.CancelledError)


@pytest.mark.parametrize("seconds", [0.0, 0.001, TICK_S, SHORT, 0.0213])
async def test_work_is_cut_off_at_the_tick_after_its_time_and_never_before(deadlines: Deadlines, seconds: float) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    work = asyncio.create_task(bounded(deadlines, seconds))
    await asyncio.sleep(0)
    (tick,) = deadlines._due
    entered = clock()
    with pytest.raises(TimeoutError):
        await work
    assert clock() - began >= seconds - CLOCK_S
    assert began + seconds - CLOCK_S <= tick * TICK_S <= entered + seconds + TICK_S


@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_work_without_time_is_cut_off_when_it_first_waits(deadlines: Deadlines, seconds: float) -> None:
    where_it_waits: list[str] = []
    with pytest.raises(TimeoutError), deadlines.within(seconds):
        await for_ever(where_it_waits)
    assert where_it_waits == ["cancelled"]


async def test_work_that_ends_without_waiting_is_never_cut_off(deadlines: Deadlines) -> None:
    with deadlines.within(-1.0):
        pass
    assert await nothing_left(deadlines)


async def test_a_task_goes_on_after_its_work_was_cut_off(deadlines: Deadlines) -> None:
    for _ in range(3):
        with pytest.raises(TimeoutError), deadlines.within(0.001):
            await for_ever()
    assert cancellations() == 0
    assert await asyncio.sleep(0, "goes on") == "goes on"


async def test_an_error_of_the_work_s_own_is_left_as_it_is(deadlines: Deadlines) -> None:
    with pytest.raises(ValueError, match="its own"), deadlines.within(LONG):
        raise ValueError("its own")


async def test_an_error_in_answer_to_being_cut_off_is_left_as_it_is(deadlines: Deadlines) -> None:
    async def stubborn() -> None:
        try:
            await for_ever()
        except asyncio.CancelledError:
            raise ValueError("its own") from None

    with pytest.raises(ValueError, match="its own"), deadlines.within(0.001):
        await stubborn()
    assert cancellations() == 0


async def test_a_cancellation_from_outside_stays_one(deadlines: Deadlines) -> None:
    task = asyncio.create_task(bounded(deadlines, LONG))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


@pytest.mark.parametrize("first", ["cut", "cancel"])
async def test_a_cancellation_from_outside_stays_one_when_time_is_over_as_well(deadlines: Deadlines, first: str) -> None:
    task = asyncio.create_task(bounded(deadlines, LONG))
    await asyncio.sleep(0)
    (bound,) = watched(deadlines)
    both: list[Callable[[], object]] = [bound.cut, task.cancel]
    for happens in both if first == "cut" else reversed(both):
        happens()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_cancellation_asked_for_before_is_not_taken_for_the_deadline_s(deadlines: Deadlines) -> None:
    """Work that tidies up after a cancellation may have a time of its own."""
    seen: list[str] = []

    async def work() -> None:
        try:
            await for_ever()
        finally:
            try:
                with deadlines.within(0.001):
                    await for_ever()
            except TimeoutError:
                seen.append("cut off")

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cut off"]


async def test_the_inner_of_two_may_end_first(deadlines: Deadlines) -> None:
    with deadlines.within(LONG):
        with pytest.raises(TimeoutError), deadlines.within(0.001):
            await for_ever()
        await asyncio.sleep(0)


async def test_the_outer_of_two_may_end_first(deadlines: Deadlines) -> None:
    inner: list[str] = []
    with pytest.raises(TimeoutError), deadlines.within(0.001):
        await bounded(deadlines, LONG, inner)
    assert inner == ["cancelled"]


async def test_two_that_end_at_once_are_a_timeout_of_the_outer_alone(deadlines: Deadlines) -> None:
    seen: list[str] = []

    async def inner() -> None:
        try:
            await bounded(deadlines, LONG)
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    async def outer() -> int:
        with pytest.raises(TimeoutError), deadlines.within(LONG):
            await inner()
        return cancellations()

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    one, other = watched(deadlines)
    one.cut()
    other.cut()
    assert await task == 0
    assert seen == ["CancelledError"]


async def test_a_hundred_that_end_within_a_tick_share_one_timer_and_are_all_cut_off(
    deadlines: Deadlines, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    began, call_at = loop.time(), loop.call_at
    timers: list[float] = []

    def counted(when: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *args, **kwargs)

    monkeypatch.setattr(loop, "time", lambda: began)
    monkeypatch.setattr(loop, "call_at", counted)
    tasks = [asyncio.create_task(bounded(deadlines, SHORT)) for _ in range(100)]
    await asyncio.sleep(0)
    assert len(timers) == 1
    monkeypatch.undo()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(answer) for answer in answers} == {TimeoutError}


async def test_one_that_ends_leaves_those_of_the_same_timer_watched(deadlines: Deadlines) -> None:
    async def work(waits: asyncio.Event) -> None:
        with deadlines.within(10 * SHORT):
            await waits.wait()

    done, never = asyncio.Event(), asyncio.Event()
    tasks = [asyncio.create_task(work(event)) for event in (done, never, done)]
    await asyncio.sleep(0)
    done.set()
    assert [type(answer) for answer in await asyncio.gather(*tasks, return_exceptions=True)] == [type(None), TimeoutError, type(None)]


async def test_nothing_is_left_of_work_that_is_over(deadlines: Deadlines) -> None:
    async def work(n: int) -> None:
        with deadlines.within(0.003 * (n % 5)):
            await (asyncio.sleep(0) if n % 2 else for_ever())

    tasks = [asyncio.create_task(work(n)) for n in range(200)]
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not any(deadlines._due.values())
    assert await nothing_left(deadlines)
    tasks[0].cancel()
    ended = [weakref.ref(task) for task in tasks]
    del tasks
    gc.collect()
    assert [task for task in ended if task() is not None] == []


async def test_a_future_is_cancelled_when_its_time_is_over_and_says_that_it_was_that(deadlines: Deadlines) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    limit = deadlines.limit(future, SHORT)
    with pytest.raises(asyncio.CancelledError):
        await future
    assert limit.reached


async def test_a_future_that_is_done_in_time_or_cancelled_by_others_did_not_reach_its_limit(deadlines: Deadlines) -> None:
    done, cancelled = (asyncio.get_running_loop().create_future() for _ in range(2))
    limits = [deadlines.limit(future, SHORT) for future in (done, cancelled)]
    done.set_result(None)
    cancelled.cancel()
    for limit in limits:
        limit.lift()
    assert watched(deadlines) == []
    assert await nothing_left(deadlines)
    assert [limit.reached for limit in limits] == [False, False]
