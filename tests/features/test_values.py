"""Columns decoded together hold what each value decoded alone does; keys and slates likewise."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings

from features.keys import key_of, keys_of
from features.packed import Values, pack
from features.plan import Column, Feature, JoinKey, Plan, TransformRef, View
from features.program import NO_VIEW
from features.reader import EXPIRED, MISSING, PRESENT, FeatureTable, Slate, assemble, lookup
from features.values import MANY, decode_micros, decode_moments, decode_number, decode_numbers
from features.wire import DecodeError
from policies.types import Floats

Raw = bytes | None
MASK = (1 << 64) - 1
NULLS: list[Raw] = [None, b"", b"\x98\x01", b"\x98\x01\x00", b"\x40" + b"\x80" * 9 + b"\x01"]
"""Absent, empty, explicit, and a timestamp column's NaT."""


def varint(number: int) -> bytes:
    number &= MASK
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def double(number: float) -> bytes:
    return b"\x29" + struct.pack("<d", number)


def single(number: float) -> bytes:
    return b"\x35" + struct.pack("<f", number)


def integer(tag: int, number: int) -> bytes:
    return bytes([tag]) + varint(number)


def moment(seconds: int, nanos: int = 0) -> bytes:
    return (b"\x08" + varint(seconds) if seconds else b"") + (b"\x10" + varint(nanos) if nanos else b"")


INTEGER_TAGS = [0x18, 0x20, 0x38, 0x40]
WIDTHS = st.integers(0, 63).flatmap(lambda bits: st.integers(0, (1 << bits) - 1) | st.just(1 << bits))
"""Integers of every length: 1 to 10 bytes."""
SIGNED = WIDTHS | WIDTHS.map(lambda n: -n)
NAN_OF_ANOTHER_KIND = b"\x29" + struct.pack("<Q", 0xFFF8_0000_0000_0001)
STORED = st.one_of(
    st.floats().map(double),
    st.floats(width=32).map(single),
    st.builds(integer, st.sampled_from(INTEGER_TAGS), SIGNED),
    st.sampled_from([*NULLS, NAN_OF_ANOTHER_KIND, b"\x38\x00", b"\x38\x01", b"\x18\x80\x00", b"\x18\xff\xff\x00"]),
)
MALFORMED = st.sampled_from(
    [
        b"\x12\x01a",  # a string
        b"\x29" + b"\0" * 7,  # too short
        b"\x29" + b"\0" * 9,  # too long
        b"\x35" + b"\0" * 3,
        b"\x18",
        b"\x18\x80",  # cut off
        b"\x18\x80\x80\x80",
        b"\x18\x01\x01",  # more than one
        b"\x18\x80\x01\x01",
        b"\x18\x01\x80\x01",
        b"\x18" + b"\x80" * 10 + b"\x01",  # longer than any integer
        b"\xff\xff\xff",
    ]
)


@st.composite
def alike(draw: st.DrawFn) -> list[Raw]:
    """A column as it mostly is: of one type, its integers of one length, and long enough to be decoded together; or nearly so."""
    tag, length = draw(st.sampled_from(INTEGER_TAGS)), draw(st.integers(1, 10))
    low, high = (0 if length == 1 else 1 << 7 * (length - 1)), min((1 << 7 * length) - 1, MASK)
    one: st.SearchStrategy[bytes] = draw(
        st.sampled_from(
            [st.floats().map(double), st.floats(width=32).map(single), st.integers(low, high).map(lambda number: integer(tag, number))]
        )
    )
    few = draw(st.lists(one, min_size=1, max_size=5))
    column: list[Raw] = list(np.resize(np.array(few, object), draw(st.integers(MANY - 1, MANY + 2))))
    for place, odd in draw(st.lists(st.tuples(st.integers(0, MANY - 2), STORED | MALFORMED), max_size=2)):
        column[place] = odd
    return column


def columns(value: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Raw]]:
    """Columns of anything, short and long: the longest are a few values again and again."""
    few = st.lists(value, max_size=12)
    return few | few.filter(bool).map(lambda found: [found[i * 7 % len(found)] for i in range(MANY + 5)])


def outcome(decode: Callable[[], Floats]) -> bytes | type[DecodeError]:
    """The bits of what comes out, every NaN the same; or that it is refused."""
    try:
        numbers = decode()
    except DecodeError:
        return DecodeError
    assert numbers.dtype == np.float64
    return np.where(np.isnan(numbers), math.nan, numbers).tobytes()


def assert_decodes_as_one_by_one(column: Sequence[Raw]) -> None:
    alone = outcome(lambda: np.array([decode_number(raw) for raw in column], float))
    assert outcome(lambda: np.asarray(decode_numbers(column), float)) == alone


@settings(max_examples=500)
@given(alike())
@example([double(math.inf), double(-math.inf), double(math.nan), NAN_OF_ANOTHER_KIND, double(-0.0), double(5e-324)] * 8)
@example([integer(0x40, -(1 << 63))] * MANY)  # NaT throughout
@example([integer(0x20, -1)] * MANY)
@example([integer(0x20, (1 << 49) - 1), integer(0x20, 1 << 48)] * MANY)  # the longest that are decoded together
@example([integer(0x20, (1 << 62) + (1 << 55) + 513)] * MANY)  # would be rounded twice, byte by byte
@example([double(1.0), integer(0x20, 1 << 50)] * MANY)  # of one length, not of one type
@example([integer(0x20, 300), b"\x11\x81\x01"] * MANY)
@example([b"\x18\x80\x00", b"\x18\x81\x00"] * MANY)  # longer than they need be
@example([b"\x18\x01\x01"] * MANY)
@example([b"\x18\x80\x80"] * MANY)
@example([b"\x98\x01\x00"] * MANY)
@example([b"\x12\x01a"] * MANY)
def test_a_long_column_of_one_type_decodes_as_its_values_do(column: list[Raw]) -> None:
    assert_decodes_as_one_by_one(column)


@settings(max_examples=300)
@given(columns(STORED))
def test_a_column_of_any_types_decodes_as_its_values_do(column: list[Raw]) -> None:
    assert_decodes_as_one_by_one(column)


@settings(max_examples=200)
@given(columns(STORED | MALFORMED))
def test_what_is_malformed_alone_is_malformed_in_a_column(column: list[Raw]) -> None:
    assert_decodes_as_one_by_one(column)


@settings(max_examples=200)
@given(columns(st.binary(max_size=12)))
def test_any_bytes_at_all_decode_alike_or_are_refused_alike(column: list[Raw]) -> None:
    assert_decodes_as_one_by_one(column)


@pytest.mark.parametrize(
    ("one", "number"),
    [
        (double(2.5), 2.5),
        (double(-0.0), -0.0),
        (double(math.inf), math.nan),
        (integer(0x20, 300), 300.0),
        (integer(0x20, -300), -300.0),
        (integer(0x40, 1_700_000_000), 1.7e9),
        (integer(0x38, 1), 1.0),
        (single(0.1), float(np.float32(0.1))),
        (None, math.nan),
        (NULLS[4], math.nan),
    ],
)
@pytest.mark.parametrize("size", [1, MANY - 1, MANY, 500])
def test_a_column_of_one_value_is_that_value(one: Raw, number: float, size: int) -> None:
    assert outcome(lambda: decode_numbers([one] * size)) == np.full(size, number).tobytes()


SECONDS = st.integers(1, 2**33) | SIGNED.filter(lambda n: -(1 << 63) <= n < 1 << 63)
NANOS = st.just(0) | st.integers(0, 999_999_999)
MOMENTS = st.none() | st.builds(moment, SECONDS, NANOS)
NO_MOMENTS = st.sampled_from([b"\x08", b"\x08\x80", b"\x18\x01", b"\x08\x01\x08", b"\x08\x80\x80\x80", b"\x10\xff"])


def assert_moments_decode_as_one_by_one(column: Sequence[Raw]) -> None:
    alone = outcome(lambda: np.array([math.nan if raw is None else float(decode_micros(raw)) for raw in column], float))
    assert outcome(lambda: decode_moments(column)) == alone


@settings(max_examples=300)
@given(columns(MOMENTS))
@example([moment(1_767_614_400)] * MANY)  # of whole seconds, which are decoded together
@example([moment(1_767_614_400, 999_999_999)] * MANY)
@example([moment(1_767_614_400), moment(1_767_614_401, 1000)] * MANY)
@example([moment((1 << 49) - 1)] * MANY)
@example([moment(-1)] * MANY)
@example([moment(0)] * MANY)
def test_moments_decode_as_each_does(column: list[Raw]) -> None:
    assert_moments_decode_as_one_by_one(column)


@settings(max_examples=200)
@given(columns(MOMENTS | NO_MOMENTS | st.binary(max_size=8)))
@example([b"\x08\x01\x01"] * MANY)
@example([b"\x08\x80\x80"] * MANY)
def test_what_is_no_moment_alone_is_none_in_a_column(column: list[Raw]) -> None:
    assert_moments_decode_as_one_by_one(column)


def test_a_moment_is_in_microseconds_and_finer_parts_are_dropped() -> None:
    found = decode_moments([moment(1_767_614_400, 1999)] * 2 + [None])
    assert found[:2].tolist() == [1_767_614_400_000_001.0] * 2
    assert math.isnan(found[2])


HOUR_S = 3600.0
TASKS = View(
    "tasks",
    (JoinKey("task_id", "string"),),
    b"prefix\x00",
    b"suffix\xff",
    (
        Column("priority_level", b"1", "int64"),
        Column("weight", b"2", "float64"),
        Column("created_at", b"3", "timestamp"),
        Column("kind", b"4", "string"),
    ),
    b"ts",
    HOUR_S,
)
PEOPLE = View("people", (JoinKey("user_id", "string"),), b"p", b"q", (Column("streak", b"5", "int32"),), b"ts", None)
PAIRS = View(
    "pairs",
    (JoinKey("item_id", "int64"), JoinKey("user_id", "string")),
    b"x",
    b"y",
    (Column("affinity", b"6", "float64"),),
    b"ts",
    2 * HOUR_S,
)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), max_size=5))
@example(["", "x" * 256, "x" * 257, "é" * 5_000])
def test_keys_made_together_are_those_made_alone(texts: list[str]) -> None:
    assert keys_of(TASKS, texts) == [key_of(TASKS, {"task_id": text}, {}) for text in texts]


PLAN = Plan(
    "service",
    "fingerprint",
    (TASKS, PEOPLE, PAIRS),
    (TransformRef("hour_sin", 1), TransformRef("task_age", 1), TransformRef("priority", 1)),
    ("rain",),
    (
        Feature("weight", "float64", 0, "weight", None),
        Feature("hour_sin", "float64", None, "hour_sin", 0),
        Feature("affinity", "float64", 2, "affinity", None),
        Feature("task_age", "float64", None, "task_age", 1),
        Feature("kind", "string", 0, "kind", None),
        Feature("priority", "float64", None, "priority", 2),
        Feature("streak", "int32", 1, "streak", None),
    ),
)
NOON_US = 1_767_614_400_000_000
HOUR_US = int(HOUR_S * 1e6)
AGES_US = st.sampled_from([None, -1, 0, 1, HOUR_US, HOUR_US + 1, 3 * HOUR_US])
LEVELS = st.integers(1, 4).map(lambda n: integer(0x20, n)) | st.sampled_from(NULLS[:3])
WEIGHTS = st.floats().map(double) | st.sampled_from(NULLS[:3])
CREATED = st.integers(1, 3000).map(lambda hours: integer(0x40, NOON_US // 1_000_000 - 3600 * hours)) | st.sampled_from(NULLS)
KINDS = st.sampled_from([None, b"", b"\x98\x01", b"\x12\x01a", b"\x12\x02\xc3\xa9"])
ROWS: tuple[st.SearchStrategy[Any], ...] = (
    st.tuples(AGES_US, LEVELS, WEIGHTS, CREATED, KINDS),
    st.tuples(AGES_US, SIGNED.map(lambda n: integer(0x18, n)) | st.none()),
    st.tuples(AGES_US, WEIGHTS),
)


@st.composite
def slates(draw: st.DrawFn) -> Slate:
    """A request of one to a few candidates, or of as many as are decoded together."""
    count = draw(st.integers(1, 4) | st.just(MANY))
    each = draw(st.sampled_from(["own", "few", "shared"]))
    own: list[Mapping[str, str]] = [{"task_id": str(k % (count if each == "own" else 2))} for k in range(count)]
    if each == "shared":
        own = [{}] * count
    found = lookup(PLAN, {"user_id": "u", "task_id": "t", "item_id": "7"}, own)
    at_us = NOON_US + draw(st.integers(0, 24 * HOUR_US))
    rows: list[bytes] = []
    for v, one in enumerate(ROWS):
        few = draw(st.lists(one, min_size=1, max_size=4))
        for i in range(found.first[v + 1] - found.first[v]):
            age_us, *values = few[i % len(few)]
            seconds, micros = divmod(at_us - (age_us or 0), 1_000_000)
            rows.append(pack([None if age_us is None else moment(seconds, micros * 1000), *values]))
    fields = draw(st.fixed_dictionaries({}, optional={"rain": st.floats(-5, 5)}))
    return Slate(found, rows, at_us / 1e6, draw(st.sampled_from([0.0, 3600.0, -12_600.0])), fields, [fields, *[{}] * (count - 1)])


def bits(table: FeatureTable) -> tuple[Any, ...]:
    return (
        table.names,
        table.x.shape,
        table.x.tobytes(),
        table.status.tobytes(),
        table.moments.tobytes(),
        table.sources,
        {name: list(texts) for name, texts in table.labels.items()},
    )


@settings(max_examples=200)
@given(st.lists(slates(), min_size=2, max_size=4))
def test_slates_assembled_together_equal_each_alone_bit_for_bit(several: list[Slate]) -> None:
    alone = [assemble(PLAN, [slate]) for slate in several]
    end_to_end = FeatureTable(
        PLAN.vector,
        np.concatenate([table.x for table in alone]),
        np.concatenate([table.status for table in alone]),
        np.concatenate([table.moments for table in alone]),
        alone[0].sources,
        {"kind": [text for table in alone for text in table.labels["kind"]]},
    )
    assert bits(assemble(PLAN, several)) == bits(end_to_end)


def test_each_slate_of_several_is_judged_at_its_own_moment() -> None:
    found = lookup(PLAN, {"user_id": "u", "task_id": "t", "item_id": "7"}, [{}])
    written = moment(NOON_US // 1_000_000)
    rows: list[Values] = [
        [written, integer(0x20, 2), double(0.5), None, b"\x12\x01a"],
        [written, integer(0x18, 3)],
        [written, double(4.0)],
    ]
    late_by_us = [-1, 0, HOUR_US, HOUR_US + 1]
    table = assemble(PLAN, [Slate(found, list(map(pack, rows)), (NOON_US + late) / 1e6, 0.0, {}, [{}]) for late in late_by_us])
    weight, priority, streak = (table.names.index(name) for name in ("weight", "priority", "streak"))
    assert table.status[:, weight].tolist() == [MISSING, PRESENT, PRESENT, EXPIRED]
    assert table.status[:, priority].tolist() == [MISSING, PRESENT, PRESENT, EXPIRED]
    assert table.status[:, streak].tolist() == [MISSING, PRESENT, PRESENT, PRESENT]
    assert table.x[1:3, [weight, priority, streak]].tolist() == [[0.5, 0.5, 3.0]] * 2
    assert list(table.labels["kind"]) == [None, "a", "a", None]


def test_a_table_says_when_the_rows_it_was_made_of_were_written() -> None:
    found = lookup(PLAN, {"user_id": "u", "item_id": "7"}, [{"task_id": "s"}, {"task_id": "t"}, {"task_id": "s"}])
    rows: list[Values] = [
        [moment(1_000, 500_000_000), None, None, None, None],
        [None, None, None, None, None],
        [moment(2_000), None],
        [moment(3_000), None],
    ]
    table = assemble(PLAN, [Slate(found, list(map(pack, rows)), NOON_US / 1e6, 0.0, {}, [{}] * 3)])
    assert table.moments[[0, 2]].tolist() == [[1000.5, 2000.0, 3000.0]] * 2
    assert np.isnan(table.moments[1]).tolist() == [True, False, False]
    assert table.names == ("weight", "hour_sin", "affinity", "task_age", "priority", "streak")
    assert list(table.sources) == [0, NO_VIEW, 2, 0, 0, 1]


def test_bytes_that_no_feature_is_stored_as_are_refused_in_whichever_slate_they_are() -> None:
    found = lookup(PLAN, {"user_id": "u", "task_id": "t", "item_id": "7"}, [{}])
    good: list[Values] = [[None, None, None, None, None], [None, None], [None, None]]
    bad: list[Values] = [good[0], [None, b"\x12\x01a"], good[2]]
    several = [Slate(found, list(map(pack, rows)), NOON_US / 1e6, 0.0, {}, [{}]) for rows in (good, bad)]
    with pytest.raises(DecodeError):
        assemble(PLAN, several)
