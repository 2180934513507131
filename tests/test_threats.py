"""The table of threats names tests that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TABLE = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "security.md").read_text().splitlines()
    if re.match(r"\| \*\*[STRIDE]\*\* ", line)
]


def test_every_row_has_a_threat_a_defence_and_a_test() -> None:
    assert {row[0][2] for row in TABLE} == set("STRIDE")
    assert [row for row in TABLE if len(row) != 3 or not row[1] or not re.fullmatch(r"(`[\w/]+\.py::test_\w+` ?)+", row[2])] == []


def test_every_test_that_is_named_exists() -> None:
    named = {name for row in TABLE for name in re.findall(r"`([^`]+)`", row[2])}
    files = sorted({name.partition("::")[0] for name in named})
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", *files], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert collected.returncode == 0, collected.stdout + collected.stderr
    assert named - {line.partition("[")[0] for line in collected.stdout.splitlines()} == set()
