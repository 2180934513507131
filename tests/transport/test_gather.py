"""Who asks in the same moment is answered together, and nobody pays for the company."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from time import perf_counter

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from serving.transport import gather
from serving.transport.gather import ALONE, Gatherer

MOST = 4
SOME = 20
"""Turns of the loop in which whatever needs no timer has happened."""


class Refused(Exception):
    """What one request gets."""


class Broken(Exception):
    """What a whole group gets."""


class Work:
    """What a gatherer does with a group: it hangs until the test says how it ends."""

    def __init__(self) -> None:
        self.prepared: list[int] = []
        self.groups: list[list[int]] = []
        self.given_up: list[list[int]] = []
        self.unprepared: set[int] = set()
        self.breaks = False
        self.refused: set[int] = set()
        self._end: asyncio.Future[Exception | None] | None = None
        self._begun = asyncio.Event()

    def prepare(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.prepared += numbers
        if self.breaks:
            raise Broken
        return [Refused(number) if number in self.unprepared else number for number in numbers]

    async def __call__(self, group: Sequence[int]) -> list[str | Exception]:
        assert self._end is None, "two groups at once"
        self.groups.append(list(group))
        self._end = asyncio.get_running_loop().create_future()
        self._begun.set()
        try:
            error = await self._end
        except asyncio.CancelledError:
            self.given_up.append(list(group))
            raise
        finally:
            self._end = None
        if error is not None:
            raise error
        return [Refused(number) if number in self.refused else f"answer {number}" for number in group]

    @property
    def hangs(self) -> bool:
        return self._end is not None and not self._end.done()

    def end(self, error: Exception | None = None) -> None:
        """End the group that is under way."""
        assert self._end is not None
        self._end.set_result(error)

    async def begun(self) -> list[int]:
        """The group that hangs, as soon as one does."""
        async with asyncio.timeout(5):
            while not self.hangs:
                self._begun.clear()
                await self._begun.wait()
        return self.groups[-1]


class World:
    """A gatherer, its work, and those who ask."""

    def __init__(self) -> None:
        self.work = Work()
        self.gatherer: Gatherer[int, int, str] = Gatherer(self.work.prepare, self.work, MOST)
        self.asking: dict[int, asyncio.Task[str]] = {}

    def ask(self, *numbers: int) -> None:
        for number in numbers:
            self.asking[number] = asyncio.create_task(self.gatherer.ask(number))

    def cancel(self, *numbers: int) -> None:
        for number in numbers:
            self.asking[number].cancel()

    async def answers(self, *numbers: int) -> list[str | BaseException]:
        async with asyncio.timeout(5):
            return await asyncio.gather(*(self.asking[number] for number in numbers), return_exceptions=True)

    async def served(self, *numbers: int) -> list[int]:
        """Ask, and have all answered; the group the first of them were in."""
        self.ask(*numbers)
        group = await self.work.begun()
        self.work.end()
        await self.answers(*numbers)
        return group


@pytest.fixture
def here(endless_company: None) -> World:
    """Nothing has been asked yet; no wait for company ends by itself."""
    return World()


@pytest.fixture
def endless_company() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        crowded(patch, 3600.0)
        yield


def crowded(patch: pytest.MonkeyPatch, company_s: float) -> None:
    """Groups wait so long for company, and the thread has much to do all the while."""
    patch.setattr(gather, "COMPANY_S", company_s)
    patch.setattr(gather, "thread_time", perf_counter)


async def turns() -> None:
    for _ in range(SOME):
        await asyncio.sleep(0)


async def test_who_asks_alone_waits_for_nobody(here: World) -> None:
    for number in range(3):
        here.ask(number)
        await turns()
        assert here.work.groups[number:] == [[number]]
        here.work.end()
        assert await here.answers(number) == [f"answer {number}"]


async def test_who_asks_in_the_same_moment_is_in_the_same_group(here: World) -> None:
    here.ask(0, 1)
    await asyncio.sleep(0)
    here.ask(2)
    assert await here.work.begun() == [0, 1, 2]


async def test_all_who_ask_while_a_group_is_under_way_are_in_the_next(here: World) -> None:
    here.ask(0)
    await here.work.begun()
    for number in (1, 2, 3):
        here.ask(number)
        await turns()
    here.work.end()
    assert await here.answers(0) == ["answer 0"]
    assert await here.work.begun() == [1, 2, 3]
    here.work.end()
    assert await here.answers(1, 2, 3) == ["answer 1", "answer 2", "answer 3"]


async def test_a_group_is_no_larger_than_it_may_be(here: World) -> None:
    here.ask(*range(2 * MOST + 1))
    assert await here.work.begun() == [0, 1, 2, 3]
    here.work.end()
    await here.answers(0)
    assert await here.work.begun() == [4, 5, 6, 7]


async def test_what_cannot_be_prepared_is_told_at_once_even_while_a_group_hangs(here: World) -> None:
    here.work.unprepared = {0, 2}
    here.ask(0, 1)
    (refused,) = await here.answers(0)
    assert isinstance(refused, Refused)
    assert await here.work.begun() == [1]
    here.ask(2, 3)
    (refused,) = await here.answers(2)
    assert (type(refused), str(refused)) == (Refused, "2")
    here.work.end()
    assert await here.work.begun() == [3]


async def test_when_preparing_breaks_all_who_came_together_hear_of_it_and_nobody_after(here: World) -> None:
    here.work.breaks = True
    here.ask(0, 1)
    assert [type(answer) for answer in await here.answers(0, 1)] == [Broken, Broken]
    here.work.breaks = False
    assert await here.served(2) == [2]


async def test_an_error_that_is_an_answer_is_its_asker_s_alone(here: World) -> None:
    here.work.refused = {1}
    here.ask(0, 1, 2)
    await here.work.begun()
    here.work.end()
    first, second, third = await here.answers(0, 1, 2)
    assert (first, third) == ("answer 0", "answer 2")
    assert (type(second), str(second)) == (Refused, "1")


async def test_work_that_raises_is_everybody_s_error_of_that_group_alone(here: World) -> None:
    here.ask(0)
    await here.work.begun()
    here.ask(1, 2)
    await turns()
    here.work.end(Broken())
    assert [type(answer) for answer in await here.answers(0)] == [Broken]
    assert await here.work.begun() == [1, 2]
    here.work.end()
    assert await here.answers(1, 2) == ["answer 1", "answer 2"]


async def test_who_ceases_to_wait_leaves_the_others_waiting(here: World) -> None:
    here.ask(0, 1, 2)
    await here.work.begun()
    here.cancel(1)
    await turns()
    here.work.end()
    first, cancelled, third = await here.answers(0, 1, 2)
    assert (first, type(cancelled), third) == ("answer 0", asyncio.CancelledError, "answer 2")


async def test_who_left_before_the_group_began_is_not_in_it(here: World) -> None:
    here.ask(0)
    await here.work.begun()
    here.ask(1, 2)
    await turns()
    here.cancel(1)
    here.work.end()
    assert await here.work.begun() == [2]


async def test_who_left_in_the_same_moment_is_not_even_prepared(here: World) -> None:
    here.ask(0, 1)
    await asyncio.sleep(0)
    here.cancel(0)
    assert await here.work.begun() == [1]
    assert here.work.prepared == [1]


async def test_a_group_nobody_waits_for_is_given_up_and_later_ones_are_served(here: World) -> None:
    here.ask(0, 1)
    await here.work.begun()
    here.ask(2)
    await turns()
    here.cancel(0, 1)
    assert await here.work.begun() == [0, 1]  # still: the cancellations have not been delivered
    await turns()
    assert here.work.given_up == [[0, 1]]
    assert await here.work.begun() == [2]
    here.work.end()
    assert await here.answers(2) == ["answer 2"]
    assert await here.served(3) == [3]


async def test_answers_put_and_cancelled_together_give_their_group_up(here: World) -> None:
    answers = [here.gatherer.put(number) for number in (0, 1)]
    await here.work.begun()
    for answer in answers:
        answer.cancel()
    here.gatherer.left()
    await turns()
    assert here.work.given_up == [[0, 1]]
    assert await here.served(2) == [2]


async def test_after_a_group_of_several_the_next_waits_until_as_many_are_there(here: World) -> None:
    await here.served(0, 1, 2)
    here.ask(3)
    await turns()
    here.ask(4)
    await turns()
    assert len(here.work.groups) == 1
    here.ask(5)
    await turns()
    assert here.work.groups[1:] == [[3, 4, 5]]


async def test_those_who_waited_beside_the_group_count_as_company(here: World) -> None:
    here.ask(0, 1)
    await here.work.begun()
    here.ask(2)
    await turns()
    here.work.end()
    await here.answers(0, 1)
    here.ask(3)
    await turns()
    assert len(here.work.groups) == 1
    here.ask(4)
    await turns()
    assert here.work.groups[1:] == [[2, 3, 4]]


async def test_a_group_as_large_as_may_be_waits_for_no_more(here: World) -> None:
    here.ask(*range(MOST + 2))
    await here.work.begun()
    here.ask(6, 7)
    await turns()
    here.work.end()
    await here.answers(0)
    assert await here.work.begun() == [4, 5, 6, 7]


async def test_company_is_waited_for_no_longer_than_a_moment(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    crowded(monkeypatch, 0.003)
    here.ask(0, 1)
    await here.work.begun()
    here.ask(2)
    await turns()
    clock = asyncio.get_running_loop().time
    here.work.end()
    ended = clock()
    assert await here.work.begun() == [2]
    assert clock() - ended >= 0.002  # 3 ms, to the resolution of a clock


async def test_after_a_wait_in_vain_some_groups_wait_no_more(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "COMPANY_S", 0.003)
    monkeypatch.setattr(gather, "thread_time", lambda: 0.0)  # the thread sleeps
    here.ask(0, 1)
    await here.work.begun()
    here.ask(2)
    await turns()
    here.work.end()
    assert await here.work.begun() == [2]  # the other one did not come
    here.work.end()
    crowded(monkeypatch, 3600.0)
    for n in range(3, 3 * ALONE // 2, 3):
        await here.served(n, n + 1)
        await here.served(n + 2)
    assert len(here.work.groups) == ALONE
    await here.served(1001, 1002)  # the last of them
    await here.served(1003)
    await here.served(1004, 1005)
    here.ask(1006)
    await turns()
    assert not here.work.hangs


async def test_company_that_comes_is_waited_for_again_however_little_else_there_is_to_do(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "thread_time", lambda: 0.0)
    await here.served(0, 1)
    await here.served(2, 3)
    here.ask(4)
    await turns()
    assert not here.work.hangs


async def test_a_group_is_closed_once_it_holds_as_much_as_it_may() -> None:
    groups: list[list[int]] = []
    first = asyncio.Event()

    async def work(group: Sequence[int]) -> list[int | Exception]:
        groups.append([*group])
        await first.wait()
        return [*group]

    gatherer: Gatherer[int, int, int] = Gatherer(list, work, 10, lambda size: size)
    answers = [gatherer.put(size) for size in (1, 25, 4, 4, 4, 1)]
    await turns()
    first.set()
    assert await asyncio.gather(*answers) == [1, 25, 4, 4, 4, 1]
    assert groups == [[1, 25], [4, 4, 4], [1]]


async def test_work_that_answers_too_few_fails_them_all_and_leaves_nobody_waiting() -> None:
    async def forgetful(group: Sequence[int]) -> Sequence[int | Exception]:
        return [*group][:-1]

    gatherer: Gatherer[int, int, int] = Gatherer(list, forgetful, MOST)
    answers = await asyncio.gather(gatherer.ask(1), gatherer.ask(2), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["1 answers to 2 requests"] * 2


STEP = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from(["good", "good", "unprepared", "refused"])),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("end"), st.sampled_from(["well", "well", "broken"])),
    st.tuples(st.just("turn"), st.integers(1, 8)),
)


@settings(max_examples=300)
@given(schedule=st.lists(STEP, max_size=60), company_s=st.sampled_from([0.0, 0.0005]), busy=st.booleans())
def test_whatever_happens_each_gets_its_own_answer_once(schedule: list[tuple[str, int | str]], company_s: float, busy: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        crowded(patch, company_s)
        if not busy:
            patch.setattr(gather, "thread_time", lambda: 0.0)
        asyncio.run(played(schedule))


async def played(schedule: list[tuple[str, int | str]]) -> None:
    here = World()
    work, cancelled, broken = here.work, set[int](), set[int]()

    def end(how: str | int) -> None:
        if work.hangs:
            if how == "broken":
                broken.update(work.groups[-1])
            work.end(Broken() if how == "broken" else None)

    for step, how in schedule:
        if step == "ask":
            number = len(here.asking)
            {"unprepared": work.unprepared, "refused": work.refused}.get(str(how), set()).add(number)
            here.ask(number)
        elif step == "cancel" and how in here.asking and not here.asking[int(how)].done():
            here.cancel(int(how))
            cancelled.add(int(how))
        elif step == "end":
            end(how)
        elif step == "turn":
            for _ in range(int(how)):
                await asyncio.sleep(0)
    async with asyncio.timeout(10):
        while not all(task.done() for task in here.asking.values()):
            end("well")
            await asyncio.sleep(0)
    seen = [number for group in work.groups for number in group]
    assert seen == sorted(set(seen)), "in the order in which they asked, none twice"
    assert all(1 <= len(group) <= MOST for group in work.groups)
    assert all(cancelled.issuperset(group) for group in work.given_up)
    assert set(here.asking) - work.unprepared - cancelled <= set(seen)
    for number, answer in enumerate(await here.answers(*here.asking)):
        if isinstance(answer, asyncio.CancelledError):
            assert number in cancelled
        elif number in work.unprepared:
            assert (type(answer), str(answer)) == (Refused, str(number))
        elif number in broken:
            assert isinstance(answer, Broken)
        elif number in work.refused:
            assert (type(answer), str(answer)) == (Refused, str(number))
        else:
            assert answer == f"answer {number}"
