"""Generates the stubs in bandit/v1 from the contract, with the plugins that go.mod pins.

``--check`` writes nothing and fails, naming the files, when the stubs are out of date. Needs `go`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
STUBS = Path("bandit")
BUF = Path(sys.executable).parent / "buf"


def generate(target: Path) -> None:
    """Write the stubs into a folder's bandit/, with nothing there that the contract does not give.

    Raises:
        subprocess.CalledProcessError: buf or a plugin refused; it has said why.
    """
    subprocess.run([BUF, "generate", "--output", target], cwd=HERE, check=True)  # noqa: S603  # our own arguments


def drift(expected: Path, actual: Path) -> list[str]:
    """Names of the files that two folders do not have alike."""
    want, have = _files(expected), _files(actual)
    return sorted(name for name in want.keys() | have.keys() if want.get(name) != have.get(name))


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def main() -> int:
    """Generate, or with ``--check`` compare."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="write nothing; fail when the stubs differ")
    if not arguments.parse_args().check:
        generate(HERE)
        return 0
    with tempfile.TemporaryDirectory() as fresh:
        generate(Path(fresh))
        different = drift(Path(fresh) / STUBS, HERE / STUBS)
    for name in different:
        print(f"clients/go/{STUBS}/{name} is not what protos/ give: run `.venv/bin/python clients/go/generate.py`", file=sys.stderr)
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
