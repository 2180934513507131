from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import eventually


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_stopped_leaves_no_temporary_files(tmp_path: Path, number: signal.Signals) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    command = [str(Path(sys.executable).with_name("ooml")), "up", "--port", "0", "--redis-port", "0", "--data-dir", str(tmp_path / "data")]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, env={**os.environ, "TMPDIR": str(temporary)}, start_new_session=True, text=True
        ) as process,
    ):
        assert process.stdout is not None
        said = process.stdout.readline()
        eventually(lambda: any(temporary.iterdir()), 60.0)  # the watcher has Feast at hand, whose folder this is
        os.killpg(process.pid, number)
        process.communicate(timeout=60)
    assert (process.returncode, said[:11]) == (0, "ooml ready "), (tmp_path / "log").read_text()
    assert list(temporary.iterdir()) == []
