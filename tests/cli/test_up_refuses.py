"""What `ooml up` cannot do, it says in a line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.serving.server import OOML, environment


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--data-dir", "taken"], 1, "cannot keep data in {folder}/taken: File exists\n"),
        (["--data-dir", "taken/below"], 1, "cannot keep data in {folder}/taken/below: Not a directory\n"),
        (["--redis-port", "70000"], 2, "Invalid value for '--redis-port'"),
        (["--workers", "0"], 1, "OOML_WORKERS: must be greater than or equal to 1; got 0\n"),
    ],
)
def test_what_cannot_be_brought_up_is_told_in_words(arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    command = [*OOML, "up", *arguments]
    ran = subprocess.run(command, env=environment(port=0), cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ran.returncode == code
    assert said.format(folder=tmp_path) in ran.stderr
    assert "Traceback" not in ran.stderr
