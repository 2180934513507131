"""Every measure, at sizes at which its figures mean nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.bench import MEASURES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent


def bench(*arguments: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.bench", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=900, check=False)


def test_every_measure_yields_rows_that_are_judged(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    ended = bench("--tiny", "--out", str(out))
    assert (ended.returncode, ended.stderr) == (0, "")
    result = json.loads(out.read_text())
    assert {row["measure"] for row in result["rows"]} == set(MEASURES)
    for row in result["rows"]:
        figure = row["figure"]
        assert figure["least"] <= figure["median"] <= figure["greatest"]
        assert row["verdict"] in (("met", "missed") if row["must"] else ("",))
    assert {"machine", "versions", "settings", "command", "seed", "took_s", "sizes"} <= result.keys()
    assert re.fullmatch(r"(valkey|redis) [0-9.]+, memory from \S+", result["versions"]["store"])


def test_the_quick_benchmark_runs_without_a_compiled_generator(tmp_path: Path) -> None:
    out = tmp_path / "quick.json"
    ended = bench("--quick", "--rounds", "2", "--cell-s", "0.05", "--out", str(out), path=str(tmp_path))
    assert (ended.returncode, ended.stderr) == (0, "")
    rows = json.loads(out.read_text())["rows"]
    assert {row["generator"] for row in rows} == {"python"}
    judged = [row for row in rows if row["must"]]
    assert len(judged) == 5
    for row in judged:
        assert f"{row['must']['sign']} {row['must']['value']:g}×: {row['verdict']}" in ended.stdout


def test_nothing_is_reported_of_a_server_that_does_not_come_up(tmp_path: Path) -> None:
    ended = bench("--quick", "--seed", "-1", "--out", str(tmp_path / "quick.json"))
    assert ended.returncode == 1
    assert "OOML_SEED" in ended.stderr
    assert not (tmp_path / "quick.json").exists()
