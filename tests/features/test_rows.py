"""Rows in one piece: packed, cut into values, decoded, remembered."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.packed import Values, columns, pack
from features.rows import MANY, MOST_BYTES, Rows, rows_of
from features.values import decode_micros, decode_number
from features.wire import DecodeError

SIZES = st.sampled_from([0, 1, 2, 9, 31, 32, 255, 256, 65_535, 65_536])
VALUES = st.none() | st.binary(max_size=12) | st.builds(bytes, SIZES)
STAMP, TWO, HALF = b"\x08\x64", b"\x20\x02", b"\x29" + np.float64(0.5).tobytes()


@pytest.mark.parametrize(
    ("values", "packed"),
    [
        ([], b"\x90"),
        ([b""], b"\x91\xa0"),
        ([None, b"ab"], b"\x92\xc2\xa2ab"),
        ([b"x" * 31], b"\x91\xbf" + b"x" * 31),
        ([b"x" * 32], b"\x91\xd9\x20" + b"x" * 32),
        ([b"x" * 256], b"\x91\xda\x01\x00" + b"x" * 256),
        ([b"x" * 65_536], b"\x91\xdb\x00\x01\x00\x00" + b"x" * 65_536),
        ([b""] * 15, b"\x9f" + b"\xa0" * 15),
        ([b""] * 16, b"\xdc\x00\x10" + b"\xa0" * 16),
    ],
)
def test_a_row_is_packed_as_messagepack_packs_an_array_of_texts(values: Values, packed: bytes) -> None:
    assert pack(values) == packed


@given(st.integers(1, 20).flatmap(lambda size: st.lists(st.lists(VALUES, min_size=size, max_size=size), min_size=1, max_size=3)))
def test_the_columns_of_packed_rows_are_their_values(rows: list[list[bytes | None]]) -> None:
    assert [list(column) for column in columns(list(map(pack, rows)))] == [list(column) for column in zip(*rows, strict=True)]


@given(st.data())
def test_the_columns_of_many_rows_are_their_values_whether_they_are_cut_alike_or_not(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.tuples(*[st.none() | st.binary(max_size=3)] * 3), min_size=1, max_size=2))
    rows = [kinds[data.draw(st.integers(0, len(kinds) - 1))] for _ in range(MANY)]
    assert [list(column) for column in columns(list(map(pack, rows)))] == [list(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("rows", [[(b"a", b"bb")] * MANY + [(b"aa", b"b")], [(b"", None)] * MANY + [(None, b"")]])
def test_rows_of_one_length_that_are_cut_otherwise_are(rows: list[Values]) -> None:
    assert [list(column) for column in columns(list(map(pack, rows)))] == [list(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize(
    "row", [b"", b"\x92\xa1a", b"\x91\xa2a", b"\x91\xa1ab", b"\x91\x01", b"\x80", b"\xdc\x00", b"\x91\xd9", b"\xa0" + b"\xa0" * 16]
)
def test_bytes_that_are_no_packed_row_are_refused(row: bytes) -> None:
    with pytest.raises(DecodeError, match=r"cut off|not a packed row"):
        columns([row])


def test_rows_with_different_numbers_of_values_are_refused() -> None:
    with pytest.raises(DecodeError, match="different numbers"):
        columns([pack([b"a"]), pack([b"a", b"b"])])


NUMBERS = st.sampled_from([None, b"", TWO, HALF, b"\x35" + np.float32(0.1).tobytes(), b"\x40\x80\xa0\xb1\xcb\x06", b"\x38\x01"])


@given(st.lists(st.tuples(st.sampled_from([None, STAMP, b"\x08\x64\x10\xe8\x07"]), NUMBERS, NUMBERS), min_size=1, max_size=2 * MANY))
def test_rows_are_the_numbers_of_their_values_however_often_they_come(values: list[tuple[bytes | None, ...]]) -> None:
    packed = list(map(pack, values))
    expected = np.array([[math.nan if s is None else decode_micros(s), *map(decode_number, numbers)] for s, *numbers in values])
    view = Rows(2, ())
    for rows in (packed[:1], packed, packed[::-1], packed):
        order = expected[::-1] if rows == packed[::-1] else expected
        np.testing.assert_array_equal(view.decoded(rows)[0], order[: len(rows)])


@pytest.mark.parametrize("count", [1, MANY])
def test_strings_are_no_numbers_and_come_as_they_are_stored(count: int) -> None:
    rows = [pack([STAMP, b"%d" % k, TWO, None if k else b"\xff"]) for k in range(count)]
    view = Rows(3, (0, 2))
    for _ in range(2):
        numbers, texts = view.decoded(rows)
        assert np.isnan(numbers).tolist() == [[False, True, False, True]] * count
        assert [list(column) for column in texts] == [[b"%d" % k for k in range(count)], [b"\xff", *[None] * (count - 1)]]


def test_what_is_decoded_belongs_to_whoever_asked() -> None:
    view, row = Rows(1, ()), pack([STAMP, TWO])
    view.decoded([row])[0][:] = math.nan
    assert view.decoded([row])[0].tolist() == [[100e6, 2.0]]


def test_a_row_that_cannot_be_decoded_is_refused_each_time_and_hides_no_other() -> None:
    view, good, bad = Rows(1, ()), pack([STAMP, TWO]), pack([STAMP, b"\x12\x01a"])
    for _ in range(2):
        with pytest.raises(DecodeError):
            view.decoded([good, bad])
    assert view.decoded([good])[0].tolist() == [[100e6, 2.0]]


@pytest.mark.parametrize("count", [1, MANY])
def test_a_row_of_another_view_is_refused(count: int) -> None:
    with pytest.raises(DecodeError, match="rows of 2 values, where their view has 3"):
        Rows(2, ()).decoded([pack([STAMP, b"\x20" + bytes([k])]) for k in range(count)])


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    view = Rows(1, (0,))
    for number in range(40):
        large = pack([STAMP, b"%d" % number + b"x" * (MOST_BYTES // 32)])
        assert view.decoded([large, pack([STAMP, b"y"])])[0][:, 0].tolist() == [100e6, 100e6]
        assert 2 * sum(map(len, view._known)) < view._bytes <= MOST_BYTES
    view.decoded([pack([STAMP, b"x" * MOST_BYTES])])
    assert 2 * sum(map(len, view._known)) < view._bytes <= MOST_BYTES


def test_views_and_plans_of_one_shape_remember_together() -> None:
    assert rows_of(3, (1,)) is rows_of(3, (1,))
    assert rows_of(3, (1,)) is not rows_of(3, (2,))
