from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.yaml_marks import Mark, read


def test_every_key_and_item_has_its_place() -> None:
    document = read("a: 1\nb: {x: [1, 2e-3]}\n")
    assert document.value == {"a": 1, "b": {"x": [1, 0.002]}}
    assert document.mistakes == ()
    assert document.mark(("a",)) == Mark(1, 1)
    assert document.mark(("b", "x")) == Mark(2, 5)
    assert document.mark(("b", "x", 1)) == Mark(2, 12)


def test_what_is_not_there_is_marked_where_it_would_be() -> None:
    document = read("a: 1\nb:\n  c: 2\n")
    assert document.mark(("b", "missing", 3)) == Mark(2, 1)
    assert document.mark(("missing",)) == Mark(1, 1)


def test_keys_are_taken_as_written() -> None:
    assert read("{no: 0, on: 1, 7: 2}").value == {"no": 0, "on": 1, "7": 2}


@pytest.mark.parametrize(
    ("text", "mark", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", Mark(3, 1), "`a` stands here twice; first in line 1"),
        ("a: {b: 1, b: 2}", Mark(1, 11), "`b` stands here twice"),
        ("a: [1, 2\nb: 3", Mark(2, 2), "not YAML"),
        ("a: 1\n\tb: 2", Mark(2, 1), "not YAML"),
        ("a: 1\n---\na: 2", Mark(2, 1), "not YAML"),
        ("a: *b", Mark(1, 4), "not YAML"),
        ("a: &x [1, *x]", Mark(1, 4), "anchors"),
        ("a: &x [1]\nb: *x", Mark(1, 4), "anchors"),
        ("? [1]\n: 2", Mark(1, 3), "plain name"),
        ("a: !!python/name:os.system x", Mark(1, 4), "not a value"),
        ("a: 2020-99-99", Mark(1, 4), "not a value"),
        ("a: !!int x", Mark(1, 4), "not a value"),
        ("a: !!bool x", Mark(1, 4), "not a value"),
        ("a: !!timestamp x", Mark(1, 4), "not a value"),
        ("a: 1:30", Mark(1, 4), "`1:30` is 90 to YAML"),
        ("a: 1:30.5", Mark(1, 4), "`1:30.5` is 90.5 to YAML"),
        ("a: 010", Mark(1, 4), "`010` is 8 to YAML"),
        ("a: 0x1F", Mark(1, 4), "`0x1F` is 31 to YAML"),
        ("a: \x01", Mark(1, 1), "not YAML"),
        ("", Mark(1, 1), "empty"),
        ("# nothing\n", Mark(1, 1), "empty"),
        ("[" * 5000, Mark(1, 1), "nested too deeply"),
    ],
)
def test_what_yaml_forgives_or_forbids_is_a_mistake_with_its_place(text: str, mark: Mark, said: str) -> None:
    ((found, message),) = read(text).mistakes
    assert found == mark
    assert said in message


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_as_python_writes_it(number: float) -> None:
    value = read(f"a: {number!r}").value
    assert isinstance(value, dict)
    assert math.isclose(value["a"], number, rel_tol=0, abs_tol=0)


@given(st.text(max_size=60))
def test_no_text_makes_it_fail(text: str) -> None:
    document = read(text)
    assert document.mark(("anything",)).line >= 1
