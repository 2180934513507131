"""Sets of ids in little memory."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from events.known import IdSet, Known, Words, words_of

# Few different halves, so that many ids begin alike.
IDS = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda pair: pair[0].to_bytes(8, "big") + pair[1].to_bytes(8, "big"))


@given(st.lists(st.lists(IDS, max_size=8), max_size=8), st.lists(IDS, max_size=16))
def test_it_holds_what_was_added_and_nothing_else(batches: list[list[bytes]], asked: list[bytes]) -> None:
    ids, held = IdSet(), set()
    for batch in batches:
        ids.add(words_of(batch))
        held.update(batch)
    assert ids.holds(words_of(asked)).tolist() == [one in held for one in asked]


def test_many_small_batches_leave_few_runs() -> None:
    ids, rng = IdSet(), np.random.default_rng(1)
    batches = [rng.integers(0, 2**64, (100, 2), dtype=np.uint64) for _ in range(300)]
    for batch in batches:
        ids.add(batch)
    assert len(ids) == 30_000
    assert len(ids._runs) < 10
    assert ids.holds(np.concatenate(batches)).all()
    assert not ids.holds(rng.integers(0, 2**64, (1000, 2), dtype=np.uint64)).any()


def test_partitions_are_loaded_when_asked_about_and_make_room_for_others() -> None:
    loaded: list[str] = []

    def load(partition: str) -> Words:
        loaded.append(partition)
        return words_of([partition.encode() * 16])

    known = Known(load, most=2)
    assert known.of("a").holds(words_of([b"a" * 16, b"b" * 16])).tolist() == [True, False]
    known.of("b")
    known.of("a")
    known.of("c")  # "b" makes room: it was asked about longest ago
    known.of("a")
    assert loaded == ["a", "b", "c"]
    known.of("b")
    known.forget()
    known.of("b")
    assert loaded == ["a", "b", "c", "b", "b"]
