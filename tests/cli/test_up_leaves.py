"""What `ooml up` leaves behind when it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

AS_FROM_A_TERMINAL = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from cli.main import app; app()"
"""Those who run tests in the background leave Ctrl-C ignored to all they start."""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "events"), [(signal.SIGINT, ["--events"]), (signal.SIGTERM, ["--no-events"])])
def test_a_server_that_is_stopped_leaves_no_temporary_files_and_no_process(
    tmp_path: Path, number: signal.Signals, events: list[str]
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    command = [
        sys.executable,
        "-c",
        AS_FROM_A_TERMINAL,
        "up",
        "--port",
        "0",
        "--redis-port",
        "0",
        "--data-dir",
        str(tmp_path / "data"),
        *events,
    ]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, start_new_session=True, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            children = psutil.Process(process.pid).children(recursive=True)
            os.killpg(process.pid, number)
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, said[:11]) == (0, "ooml ready "), (tmp_path / "log").read_text()
    assert list(temporary.iterdir()) == []
    assert [child for child in children if child.is_running()] == []
    assert (f" table={tmp_path}/data/events " in said, (tmp_path / "data" / "events").exists()) == (events == ["--events"],) * 2
