from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.servers import eventually

OOML = Path(sys.executable).with_name("ooml")
AWAY = "redis://127.0.0.1:1/0"  # nobody listens there


class Demo:
    """`ooml demo --quick` as somebody starts it in a terminal, with a folder for temporary files of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.plot = folder / "picture" / "demo.png"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.process = subprocess.Popen(
            [OOML, "demo", "--quick", "--plot", str(self.plot), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(self.temporary), "OOML_REDIS_URL": AWAY, "OOML_REDIS_CLUSTER": "true"},
            start_new_session=True,
            text=True,
        )

    def read_until(self, text: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if text in line:
                return
        pytest.fail(f"it never said {text!r}")

    def end(self, timeout_s: float = 240.0) -> tuple[int, str]:
        """Exit code, and what it said that was not read yet."""
        said, _ = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, said

    def processes(self) -> list[psutil.Process]:
        """All that came of it, however they were started: they work in its temporary folder, or know it."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            places = (process.cwd(), process.environ().get("TMPDIR", "/"))
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            return False
        return any(Path(place).is_relative_to(self.temporary) for place in places)

    def has_embedded_redis(self) -> bool:
        return any((folder / "data" / "redis" / "appendonlydir").exists() for folder in self.temporary.iterdir())


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    started = Demo(tmp_path)
    yield started
    for process in started.processes():
        process.kill()
    started.process.communicate()


@pytest.mark.slow
def test_demo_shows_what_it_claims_and_leaves_nothing_but_the_picture(demo: Demo) -> None:
    code, said = demo.end()
    assert code == 0, said
    for wanted in (
        r"Serving on 127\.0\.0\.1:\d+",
        r"300/300",
        r"5760/5760",
        r"best possible",
        r"tips_greedy",
        "every interval lies above zero",
    ):
        assert re.search(wanted, said), said
    assert re.findall(r"^ (\w+) beat (\w+)\? .* yes *$", said, re.MULTILINE) == [
        ("tips_hours", "tips"),
        ("tips_hours", "tips_uniform"),
        ("tips", "tips_uniform"),
    ]
    assert re.findall(r"^ (?:digits|tips) +(?:Score|Reward) +([\d,]+) ", said, re.MULTILINE) == ["300", "300", "5,760", "5,760"]
    assert demo.plot.read_bytes().startswith(b"\x89PNG")
    assert demo.processes() == []
    assert list(demo.temporary.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_interrupted_while_it_plays_leaves_nothing(demo: Demo, number: signal.Signals) -> None:
    demo.read_until("Serving on")
    assert len(demo.processes()) >= 4  # the demo, its Redis, a worker, the watcher
    os.killpg(demo.process.pid, number)  # as a terminal does: to all that were not put into sessions of their own
    os.killpg(demo.process.pid, number)  # and again, as impatient people do
    code, said = demo.end(30.0)
    assert (code, "Interrupted" in said, "Traceback" in said) == (130, True, False), said
    assert demo.processes() == []
    assert list(demo.temporary.iterdir()) == []
    assert not demo.plot.exists()


def test_a_demo_interrupted_while_it_is_brought_up_leaves_nothing(demo: Demo) -> None:
    eventually(demo.has_embedded_redis, 60.0)
    os.killpg(demo.process.pid, signal.SIGINT)
    code, said = demo.end(60.0)
    assert (code, "Interrupted" in said, "Traceback" in said) == (130, True, False), said
    assert demo.processes() == []
    assert list(demo.temporary.iterdir()) == []


def test_a_picture_that_cannot_be_saved_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [OOML, "demo", "--plot", str(tmp_path / "file" / "demo.png")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "Not a directory" in done.stderr or "File exists" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_help_says_what_is_played_and_what_the_exit_code_means() -> None:
    said = subprocess.run([OOML, "demo", "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    for wanted in ("Digits", "Tips", "Exit code", "--quick", "--seed", "--plot", "Ctrl-C"):
        assert wanted in said
