"""A copy of the contract, to be changed and judged by the commands that judge the contract itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "protos"
PACKAGE = "ooml/bandit/v1"


@dataclass(frozen=True)
class Contract:
    """A copy of the contract, its released images and its version."""

    folder: Path

    @property
    def released(self) -> list[str]:
        """Names of its images."""
        return sorted(path.name for path in (self.folder / "released").iterdir())

    def change(self, file: str, old: str, new: str) -> None:
        """Put a text, which must be there once, in the place of another."""
        path = self.folder / PACKAGE / file
        before = path.read_text()
        assert before.count(old) == 1, f"{file} has {old!r} {before.count(old)} times"
        path.write_text(before.replace(old, new))

    def set_version(self, version: str) -> None:
        """Say which version the project has."""
        (self.folder.parent / "pyproject.toml").write_text(f'[project]\nversion = "{version}"\n')

    def check(self) -> tuple[int, str]:
        """Exit code and output of `make proto-check`, without what is generated."""
        return self._run("check.py", "--only", str(self.folder))

    def release(self) -> tuple[int, str]:
        """Exit code and output of `make proto-release`."""
        return self._run("release.py", str(self.folder))

    @staticmethod
    def _run(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, str(PROTOS / arguments[0]), *arguments[1:]]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return ran.returncode, ran.stdout + ran.stderr


def copy(folder: Path) -> Contract:
    """A copy of this repository's contract under a folder."""
    shutil.copytree(PROTOS, folder / "protos", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return Contract(folder / "protos")
