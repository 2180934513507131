"""Programs written in Go that tests use, built once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_BUILD = Path(__file__).parents[1] / "build"
_BUILD_S = 900.0


def go_program(module: str, version: str) -> Path:
    """The program of a module, built if it is not in ``build/`` yet.

    Args:
        module: path of its ``main`` package, which names the program.
        version: ``v1.2.3``.
    """
    name = module.rpartition("/")[2]
    folder = _BUILD / f"{name}-{version}"
    program = folder / name
    if not program.exists():
        go = shutil.which("go")
        if go is None:
            pytest.skip(f"go is not on PATH, and {name} is built with it")
        subprocess.run([go, "install", f"{module}@{version}"], env={**os.environ, "GOBIN": str(folder)}, check=True, timeout=_BUILD_S)
    return program
