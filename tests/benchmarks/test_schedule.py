"""When measures run, with measures that only say that they did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import schedule
from benchmarks.cells import Rounds
from benchmarks.rows import Row, Spread
from benchmarks.schedule import Whole
from benchmarks.site import Site
from benchmarks.sizes import TINY


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, TINY, 1, ())


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def looking_on(said: list[str]) -> schedule.LookingOn:
    @contextmanager
    def look(name: str) -> Iterator[Callable[[str], None]]:
        yield lambda text: said.append(f"{name}: {text}")

    return look


def rows(name: str) -> list[Row]:
    return [Row(name, Spread.of([1.0]), "×", "nobody", 1)]


def whole(name: str) -> Whole:
    def measure(site: Site) -> list[Row]:
        site.tell("all")
        return rows(name)

    return measure


def in_rounds(name: str, count: int, ended: list[str]) -> schedule.InRounds:
    def measure(site: Site) -> Rounds[list[Row]]:
        try:
            for r in range(count):
                site.tell(str(r + 1))
                if r + 1 < count:
                    yield
            return rows(name)
        finally:
            ended.append(name)

    return measure


def test_rounds_are_spread_over_the_others_and_rows_come_as_they_were_asked_for(
    site: Site, said: list[str], looking_on: schedule.LookingOn
) -> None:
    spread = {"a": in_rounds("a", 3, []), "b": in_rounds("b", 4, [])}
    found = schedule.run(site, ["x", "a", "y", "b"], spread, {"x": whole("x"), "y": whole("y")}, looking_on)
    assert said == ["a: 1", "b: 1", "x: all", "a: 2", "b: 2", "y: all", "a: 3", "b: 3", "b: 4"]
    assert [(name, row.what) for name, (row,) in found.items()] == [("x", "x"), ("a", "a"), ("y", "y"), ("b", "b")]


def test_what_is_not_asked_for_does_not_run(site: Site, said: list[str], looking_on: schedule.LookingOn) -> None:
    found = schedule.run(site, ["a"], {"a": in_rounds("a", 2, []), "b": in_rounds("b", 2, [])}, {"x": whole("x")}, looking_on)
    assert (said, list(found)) == (["a: 1", "a: 2"], ["a"])


def test_a_measure_that_fails_leaves_none_of_the_others_open(site: Site, looking_on: schedule.LookingOn) -> None:
    ended: list[str] = []

    def fails(site: Site) -> list[Row]:
        raise OSError

    with pytest.raises(OSError) as caught:  # noqa: PT011  it says nothing
        schedule.run(site, ["a", "x"], {"a": in_rounds("a", 3, ended)}, {"x": fails}, looking_on)
    assert ended == ["a"]
    assert caught.tb is not None  # held until here: else what was left open would be closed with the frames that hold it
