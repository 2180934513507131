"""A run on CI that skipped a test fails; elsewhere it passes."""

from __future__ import annotations

import pytest

ONE_OF_EACH = """
    import pytest

    def test_runs(): ...

    @pytest.mark.skip(reason="no such server")
    def test_does_not(): ...
"""


@pytest.mark.parametrize(
    ("ci", "select", "expected"),
    [("true", "", pytest.ExitCode.TESTS_FAILED), ("true", "runs", pytest.ExitCode.OK), ("", "", pytest.ExitCode.OK)],
    ids=["on CI", "on CI, all ran", "elsewhere"],
)
def test_skipping_is_failing_on_ci(
    ci: str, select: str, expected: pytest.ExitCode, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    pytester.makepyfile(ONE_OF_EACH)
    found = pytester.runpytest_inprocess("-p", "tests.nothing_skipped", "-p", "no:asyncio", "-k", select)
    assert found.ret == expected
