"""An audit that could not be made says so; one that was made fails when something is known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.protos import ROOT

CLEAN = {"name": "a", "version": "1", "vulns": []}
WEAK = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
UNTOLD = {"name": "c", "skip_reason": "not there"}
SKIPPED = "audit: skipped, vulnerability data cannot be had here: "


def audit(tmp_path: Path, program: str) -> tuple[int, str]:
    """Exit code and output of an audit by a program that stands in for pip-audit, whose data no test can have."""
    (tmp_path / "pip_audit.py").write_text(program)
    command = [sys.executable, str(ROOT / ".ci" / "audit.py"), "pins.txt"]
    ran = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=30)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("told", "code", "said"),
    [
        ([CLEAN, UNTOLD], 0, "audit: 1 pins, 0 known vulnerabilities; not told of: c\n"),
        ([CLEAN, WEAK], 1, "b 2: PYSEC-1; mended in 3\naudit: 2 pins, 1 known vulnerabilities; not told of: none\n"),
        ([UNTOLD], 0, f"{SKIPPED}the package index tells of none of the pins\n"),
    ],
    ids=["clean", "vulnerable", "nothing told"],
)
def test_an_audit_is_as_what_is_known(tmp_path: Path, told: list[object], code: int, said: str) -> None:
    assert audit(tmp_path, f"print({json.dumps(json.dumps({'dependencies': told}))})") == (code, said)


def test_an_audit_without_network_is_skipped_by_name(tmp_path: Path) -> None:
    assert audit(tmp_path, "raise SystemExit('\\nConnectionError: no route')") == (0, f"{SKIPPED}ConnectionError: no route\n")
