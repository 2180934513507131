"""Checks the contract: format, lint, nothing broken since the last release, generated code without drift. Writes nothing.

Generated code of a language whose toolchain is missing is skipped by name, except in CI (``CI=true``), where that is an error.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import promised
from promised import BUF, PROTOS

ROOT = PROTOS.parent


@dataclass(frozen=True)
class Generated:
    """A language's generated code, and how it is compared with what the contract gives.

    Args:
        language: its name.
        toolchain: program without which it cannot be compared.
        compare: fails, and says what to run, when the committed code is not what the contract gives.
    """

    language: str
    toolchain: str
    compare: tuple[str, ...]


_NPM = "cd clients/typescript && { [ -d node_modules ] || npm ci --silent; } && npm run --silent gen:check"
GENERATED = (
    Generated("Python", sys.executable, (sys.executable, "protos/generate.py", "--check")),
    Generated("Go", "go", (sys.executable, "clients/go/generate.py", "--check")),
    Generated("TypeScript", "npm", ("sh", "-c", _NPM)),
)
"""Java's stubs are generated when its client is built, and none are kept."""


def contract(protos: Path) -> bool:
    """Whether a contract is well formed and breaks nothing of the last released one; what is wrong is printed."""
    commands: tuple[tuple[str | Path, ...], ...] = (("format", "--diff", "--exit-code", protos), ("lint", protos))
    formed = [subprocess.run([BUF, *command]).returncode == 0 for command in commands]  # noqa: S603  # our own arguments
    *_, (version, last) = promised.images(protos).items()
    try:
        found = promised.broken(protos, last)
    except subprocess.CalledProcessError:
        return False
    for line in found:
        print(line)
    if found:
        name = ".".join(map(str, version))
        print(f"clients of v{name} would break: docs/compatibility.md says what may change and how", file=sys.stderr)
    return all(formed) and not found


def drift(generated: Generated) -> bool:
    """Whether a language's generated code is what the contract gives, as far as that can be told here."""
    if shutil.which(generated.toolchain) is None:
        in_ci = os.environ.get("CI") == "true"
        what = "and CI compares every language" if in_ci else "not compared"
        print(f"generated {generated.language}: no {generated.toolchain} on PATH, {what}", file=sys.stderr)
        return not in_ci
    return subprocess.run(generated.compare, cwd=ROOT).returncode == 0  # noqa: S603  # from the table above


def main() -> int:
    """Check everything, or with ``--only`` the contract in a folder."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", type=Path, metavar="FOLDER", help="a contract elsewhere, without what is generated from it")
    arguments.add_argument("--language", choices=[g.language for g in GENERATED], help="generated code of this language alone")
    given = arguments.parse_args()
    if given.only:
        return int(not contract(given.only))
    languages = [g for g in GENERATED if given.language in (None, g.language)]
    return int(not all([contract(PROTOS), *map(drift, languages)]))


if __name__ == "__main__":
    sys.exit(main())
