from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.embedded import free_port
from serving.metrics import Exposition

WORKER = """
import sys
from serving.metrics import Metrics
metrics = Metrics()
for _ in range(int(sys.argv[1])):
    metrics.began()
    metrics.ended("Score", "tips", "OK", 0.004)
    metrics.decided("tips")
metrics.began()
metrics.outbox_depth(float(sys.argv[1]))
metrics.write()
metrics.write()
print("counted", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def exposition() -> Iterator[Exposition]:
    exposition = Exposition("127.0.0.1", free_port())
    yield exposition
    exposition.close()


def worker(exposition: Exposition, calls: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(calls)],
        env={**os.environ, **exposition.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "counted\n"
    return process


def scrape(exposition: Exposition) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{exposition.port}/metrics") as reply:
        lines = reply.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_one_scrape_sums_all_workers_and_a_dead_one_keeps_its_counts_but_not_its_calls_in_flight(exposition: Exposition) -> None:
    with worker(exposition, 3) as first, worker(exposition, 4) as second:
        both = scrape(exposition)
        assert both['ooml_calls_total{code="OK",method="Score",policy="tips"}'] == 7
        assert both['ooml_decisions_total{policy="tips"}'] == 7
        assert both['ooml_call_duration_seconds_bucket{le="0.003",method="Score",policy="tips"}'] == 0
        assert both['ooml_call_duration_seconds_bucket{le="0.005",method="Score",policy="tips"}'] == 7
        assert both["ooml_calls_in_flight"] == 2
        first.kill()
        first.wait()
        exposition.ended(first.pid)
        exposition.restarted("worker-0")
        one = scrape(exposition)
        assert one['ooml_calls_total{code="OK",method="Score",policy="tips"}'] == 7
        assert one["ooml_calls_in_flight"] == 1
        assert one["ooml_outbox_depth"] == 4
        assert one['ooml_process_restarts_total{process="worker-0"}'] == 1
        second.kill()


def test_nothing_is_left_when_it_closes(exposition: Exposition) -> None:
    (folder,) = exposition.environment.values()
    exposition.close()
    assert not Path(folder).exists()
    with pytest.raises(OSError, match="refused"):
        scrape(exposition)


def test_a_taken_port_is_an_error_and_leaves_nothing(exposition: Exposition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(OSError, match="in use"):
        Exposition("127.0.0.1", exposition.port)
    assert list(tmp_path.iterdir()) == []
