"""On CI, a run that skipped a test has failed: `.ci/run` installs whatever tests ask for."""

from __future__ import annotations

import os

import pytest


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn a run that would have passed into one that failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and exitstatus == pytest.ExitCode.OK and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("on CI no test may be skipped: see the reasons below", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
