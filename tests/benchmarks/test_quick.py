from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
ROWS = [
    ("Score", 1, "always"),
    ("Score", 1, "everysec"),
    ("Score", 16, "always"),
    ("Score", 16, "everysec"),
    ("Reward", 1, "always"),
    ("Reward", 16, "always"),
]


@pytest.mark.parametrize("generator", ["h2load", "python"])
def test_a_quick_benchmark_measures_every_row_and_judges_it(generator: str, tmp_path: Path) -> None:
    path = os.environ["PATH"]
    if generator == "python":
        path = str(tmp_path)
    elif shutil.which(generator) is None:
        pytest.skip("h2load (nghttp2-client) is not on PATH")
    out = tmp_path / "quick.json"
    command = [sys.executable, "-m", "benchmarks.quick", "--rounds", "2", "--cell-s", "0.05", "--out", str(out)]
    ended = subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=240, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")

    result = json.loads(out.read_text())
    assert sorted((row["call"], row["width"], row["fsync"]) for row in result["rows"]) == sorted(ROWS)
    for row in result["rows"]:
        assert row["generator"] == (generator if row["call"] == "Score" else "python")
        assert row["ours"]["calls"] >= 2 * 32
        assert 0 < row["ours"]["p50_ms"] <= row["ours"]["p99_ms"]
        assert row["p50_ratio"]["least"] <= row["p50_ratio"]["median"] <= row["p50_ratio"]["greatest"]
        assert row["targets"][0]["what"] == "p99 < 50 ms"
        for target in row["targets"]:
            assert f"{target['what']}: {'met' if target['met'] else 'missed'}" in ended.stdout
    assert {"machine", "versions", "settings", "command", "seed", "took_s"} <= result.keys()
    assert result["settings"]["store"]["appendfsync"] == "always"


def test_nothing_is_reported_of_a_server_that_does_not_come_up(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.quick", "--rounds", "1", "--seed", "-1", "--out", str(tmp_path / "quick.json")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert "OOML_SEED" in ended.stderr
    assert not (tmp_path / "quick.json").exists()
