"""The clients there are: what each needs, how it is built, how its runner is called."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD_S = 900
RUN_S = 300


class LanguageError(Exception):
    """A client did not build or its runner failed; the message ends with what it said."""


@dataclass(frozen=True, slots=True)
class Language:
    """One column.

    Args:
        folder: of the client.
        tools: programs that must be on PATH.
        build: command that tests the client by itself, and builds it and its runner; ``{out}`` is a folder for what it makes. Empty:
            nothing to build.
        run: command that takes the run file; ``{out}`` likewise.
        environment: added to the runner's.
    """

    name: str
    folder: Path
    tools: Sequence[str]
    build: str
    run: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)

    def missing(self) -> list[str]:
        """Tools that are not on PATH."""
        return [tool for tool in self.tools if shutil.which(tool) is None]

    def make(self, out: Path) -> None:
        """Build what runs.

        Raises:
            LanguageError.
        """
        if not self.folder.is_dir():
            raise LanguageError(f"{self.folder} is missing")
        if self.build:
            self._command(["sh", "-c", self.build.format(out=out)], out / "build.log", BUILD_S)

    def execute(self, run_file: Path, out: Path) -> str:
        """What the runner prints.

        Raises:
            LanguageError.
        """
        command = [word.format(out=out) for word in self.run]
        return self._command([*command, str(run_file)], out / "run.log", RUN_S)

    def _command(self, command: Sequence[str], log: Path, timeout_s: float) -> str:
        shown = command[-1] if command[0] == "sh" else " ".join(command)
        with log.open("wb") as stderr:
            try:
                ran = subprocess.run(  # noqa: S603
                    command,
                    cwd=self.folder,
                    env={**os.environ, **self.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    timeout=timeout_s,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise LanguageError(f"`{shown}` took more than {timeout_s:g} s; it said so far: {_tail(log)}") from None
        if ran.returncode != 0:
            raise LanguageError(f"`{shown}` in {self.folder} failed:\n{ran.stdout.decode(errors='replace')[-2000:]}{_tail(log)}")
        return ran.stdout.decode()


def languages(elsewhere: Mapping[str, Path]) -> list[Language]:
    """All clients.

    Args:
        elsewhere: folders of clients, by name, that are not where they belong.
    """
    folders = {name: elsewhere.get(name, ROOT / "clients" / name).absolute() for name in ("go", "typescript", "java", "python")}
    python = folders["python"]
    path = {"PYTHONPATH": os.pathsep.join([str(python / "src"), str(python)])}
    return [
        Language(
            "go",
            folders["go"],
            ["go"],
            "go vet ./... && go test ./... && go build -o {out}/conformance ./conformance",
            ["{out}/conformance"],
        ),
        Language("typescript", folders["typescript"], ["node", "npm"], "npm ci && npm test", ["node", "dist/conformance/main.js"]),
        Language("java", folders["java"], ["java", "mvn"], "mvn -q -B package", ["java", "-jar", "target/conformance.jar"]),
        Language("python", python, [], "", [sys.executable, "-m", "conformance"], path),
        Language("python-asyncio", python, [], "", [sys.executable, "-m", "conformance", "--asyncio"], path),
    ]


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]
