"""Disks that are slow to sync, or full, for one process alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

SYNC_S = 0.8
"""How much longer a sync takes while the disk is slow; as in ``slow_fsync.c``."""

_SLOW = Path(__file__).with_name("slow_fsync.c")
_FULL = Path(__file__).with_name("full_disk.c")


class Disk:
    """Slow while told so; quick at first. Skips the test where it cannot be made, but not in CI."""

    def __init__(self, folder: Path) -> None:
        self._control = folder / "slow"
        self.environment: Mapping[str, str] = {"LD_PRELOAD": str(_build(folder, _SLOW)), "SLOW_FSYNC": str(self._control)}

    def slow(self) -> None:
        self._control.touch()

    def quick(self) -> None:
        self._control.unlink(missing_ok=True)


class FullDisk:
    """Full while told so: then files take their first 4096 bytes and no more. Skips the test where it cannot be made, but not in CI."""

    def __init__(self, folder: Path) -> None:
        self._control = folder / "full"
        self.environment: Mapping[str, str] = {"LD_PRELOAD": str(_build(folder, _FULL)), "FULL_DISK": str(self._control)}

    def fill(self) -> None:
        self._control.touch()

    def make_room(self) -> None:
        self._control.unlink()


class SmallDisk:
    """A real one in memory, of 8 MiB, mounted at a folder. To mount it takes permission.

    Raises:
        OSError: there is none.
    """

    environment: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        said = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, check=False)
        if said.returncode:
            raise OSError(said.stderr.decode())
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as ballast, suppress(OSError):
            while True:
                ballast.write(bytes(4096))

    def make_room(self) -> None:
        self._ballast.unlink()

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


def _build(folder: Path, source: Path) -> Path:
    """The library that makes a process's disk so."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        missing = "a bad disk takes Linux and a C compiler (cc)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    library = folder / f"{source.stem}.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(source)], check=True, timeout=60)
    return library
