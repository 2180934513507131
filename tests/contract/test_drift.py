"""Generated code is compared in every language whose toolchain is there; in CI all of them are."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest

from tests.contract.protos import PROTOS


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(PROTOS))
    return importlib.import_module("check")


@pytest.mark.parametrize(
    ("in_ci", "passes", "said"),
    [
        ("", True, "generated Klingon: no qo on PATH, not compared\n"),
        ("true", False, "generated Klingon: no qo on PATH, and CI compares every language\n"),
    ],
)
def test_a_language_without_its_toolchain_is_named(
    check: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], in_ci: str, passes: bool, said: str
) -> None:
    monkeypatch.setenv("CI", in_ci)
    assert check.drift(check.Generated("Klingon", "qo", ("qo", "gen"))) is passes
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("code", [0, 1])
def test_a_language_is_as_its_own_comparison_says(check: Any, code: int) -> None:
    compare = (sys.executable, "-c", f"raise SystemExit({code})")
    assert check.drift(check.Generated("Klingon", sys.executable, compare)) is (code == 0)


def test_python_is_compared(check: Any) -> None:
    assert [g.compare[1:] for g in check.GENERATED if g.language == "Python"] == [("protos/generate.py", "--check")]
