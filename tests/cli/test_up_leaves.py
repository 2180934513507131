"""What `ooml up` leaves behind when it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

AS_FROM_A_TERMINAL = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from cli.main import app; app()"
"""Those who run tests in the background leave Ctrl-C ignored to all they start."""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_stopped_leaves_no_temporary_files(tmp_path: Path, number: signal.Signals) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    command = [sys.executable, "-c", AS_FROM_A_TERMINAL, "up", "--port", "0", "--redis-port", "0", "--data-dir", str(tmp_path / "data")]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, start_new_session=True, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            os.killpg(process.pid, number)
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, said[:11]) == (0, "ooml ready "), (tmp_path / "log").read_text()
    assert list(temporary.iterdir()) == []
