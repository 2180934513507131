"""A disk that takes its time to sync, for the store alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

SYNC_S = 0.8
"""How much longer a sync takes while the disk is slow; as in ``slow_fsync.c``."""

_SOURCE = Path(__file__).with_name("slow_fsync.c")


class Disk:
    """Slow while told so; quick at first. Skips the test where it cannot be made, but not in CI."""

    def __init__(self, folder: Path) -> None:
        self._control = folder / "slow"
        self.environment: Mapping[str, str] = {"LD_PRELOAD": str(_build(folder)), "SLOW_FSYNC": str(self._control)}

    def slow(self) -> None:
        self._control.touch()

    def quick(self) -> None:
        self._control.unlink(missing_ok=True)


def _build(folder: Path) -> Path:
    """The library that slows a process's syncs."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        missing = "slowing fsync takes Linux and a C compiler (cc)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    library = folder / "slow_fsync.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(_SOURCE)], check=True, timeout=60)
    return library
