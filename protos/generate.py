"""Generates Python from the contract, for the server and for its Python client: messages, services, and their type stubs.

``--check`` writes nothing and fails, with a diff, when a folder is out of date.
"""

from __future__ import annotations

import argparse
import difflib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
ROOT = PROTOS.parent
OUTPUTS = (ROOT / "gen", ROOT / "clients" / "python" / "src")
"""Folders that the package is generated under."""
PACKAGE = Path("ooml/bandit/v1")


def generate(target: Path) -> None:
    """Write the generated package under a folder, with nothing there that the contract does not give.

    Raises:
        subprocess.CalledProcessError: protoc refused; it has said why.
    """
    package = target / PACKAGE
    package.mkdir(parents=True, exist_ok=True)
    for old in package.glob("*.py*"):
        old.unlink()
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"--proto_path={PROTOS}",
        f"--proto_path={PROTOS / 'third_party'}",
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out=quiet:{target}",
        f"--mypy_grpc_out=quiet:{target}",
        *(str(proto) for proto in sorted((PROTOS / PACKAGE).glob("*.proto"))),
    ]
    # protoc looks for its plugins on PATH; they are beside this interpreter whether or not its environment is activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    subprocess.run(command, check=True, env={**os.environ, "PATH": path})  # noqa: S603  # our own arguments
    (package / "__init__.py").write_text('"""Generated from protos/ooml/bandit/v1; `make gen` writes it anew."""\n')
    for proto in (PROTOS / PACKAGE).glob("*.proto"):
        if "\nservice " not in proto.read_text():
            for empty in package.glob(f"{proto.stem}_pb2_grpc.py*"):
                empty.unlink()


def drift(expected: Path, actual: Path) -> Iterator[str]:
    """Lines of a diff that would make the package under the second folder equal to that under the first; none when it is."""
    want, have = _texts(expected / PACKAGE), _texts(actual / PACKAGE)
    folder = (actual / PACKAGE).relative_to(ROOT)
    for name in sorted(want.keys() | have.keys()):
        before, after = have.get(name, "").splitlines(keepends=True), want.get(name, "").splitlines(keepends=True)
        yield from difflib.unified_diff(before, after, f"{folder}/{name}", f"{folder}/{name} as generated")


def _texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.py*") if path.suffix in (".py", ".pyi")}


def main() -> int:
    """Generate, or with ``--check`` compare."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="write nothing; fail with a diff when a folder differs")
    if not arguments.parse_args().check:
        for output in OUTPUTS:
            generate(output)
        return 0
    with tempfile.TemporaryDirectory() as fresh:
        generate(Path(fresh))
        difference = [line for output in OUTPUTS for line in drift(Path(fresh), output)]
    sys.stdout.writelines(difference)
    if difference:
        print("generated code is not what protos/ give: run `make gen`", file=sys.stderr)
    return int(bool(difference))


if __name__ == "__main__":
    sys.exit(main())
