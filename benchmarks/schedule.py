"""When measures run: the rounds of some are spread over all the time that the others take.

A machine that is shared is slow for a quarter of an hour and fast for the next. Rounds of one row that run one after the other all meet
the same of it; spread, they meet as much of either as those of every other row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack

from benchmarks.cells import Rounds
from benchmarks.rows import Row
from benchmarks.site import Site

InRounds = Callable[[Site], Rounds[list[Row]]]
Whole = Callable[[Site], list[Row]]
LookingOn = Callable[[str], AbstractContextManager[Callable[[str], None]]]


def run(
    site: Site, chosen: Sequence[str], spread: Mapping[str, InRounds], whole: Mapping[str, Whole], looking_on: LookingOn
) -> dict[str, list[Row]]:
    """The rows of each chosen measure, in that order.

    Args:
        spread: measures that pause between rounds; each has one round before every one of the others, and what is left after the last.
        whole: measures that run from beginning to end.
        looking_on: who is told, while a measure of that name runs, how far it has come.
    """
    rows: dict[str, list[Row]] = {}
    waiting = {name: spread[name](site) for name in chosen if name in spread}

    def one_round_each() -> None:
        for name, rounds in list(waiting.items()):
            with looking_on(name) as site.progress:
                try:
                    next(rounds)
                except StopIteration as ended:
                    rows[name] = ended.value
                    del waiting[name]

    with ExitStack() as stack:
        for rounds in waiting.values():
            stack.callback(rounds.close)  # whatever happens, what they hold open is closed before the site is
        for name in chosen:
            if name in whole:
                one_round_each()
                with looking_on(name) as site.progress:
                    rows[name] = whole[name](site)
        while waiting:
            one_round_each()
    return {name: rows[name] for name in chosen}
