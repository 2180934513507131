"""`ooml up`, the README's first decision, and a data engineer's day, on a copy of the feature repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import psutil
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1.bandit_pb2_grpc import BanditServiceStub

from cli.up import ROOT, feast_environment

README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent
UP = """
import signal, sys
from pathlib import Path
from cli.up import UpSettings, up

signal.signal(signal.SIGTERM, signal.default_int_handler)
with up(UpSettings(Path(sys.argv[1]), server={"port": 0}, feature_repo=Path(sys.argv[2]))) as server:
    print(server.grpc, server.redis_url, flush=True)
    server.wait()
"""
"""`ooml up` on another feature repository: data folder, repository."""
WITHIN_S = 15.0
"""How soon a running server follows what `feast apply` changed."""
MOVED_WITHIN_S = 10.0
"""How soon an event is in the table, though what moves it has to be started."""


class Running:
    """A server brought up on a copy of the feature repository."""

    def __init__(self, pid: int, address: str, redis_url: str, repo: Path, data: Path, log: Path) -> None:
        self.pid = pid
        self.grpc = address
        self.repo, self.data, self._log = repo, data, log
        self.environment = {**os.environ, **feast_environment(data, redis_url)}

    def run(self, *command: str, program: str = "") -> str:
        """What a command prints, run in the feature repository as `. ./env.sh` would have it."""
        ran = subprocess.run(command, cwd=self.repo, env=self.environment, input=program, text=True, capture_output=True, timeout=120)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def feast(self, *arguments: str) -> None:
        self.run(str(BIN / "feast"), *arguments)

    def edit(self, old: str, new: str) -> None:
        """Change the definitions."""
        definitions = self.repo / "definitions.py"
        text = definitions.read_text()
        assert old in text
        definitions.write_text(text.replace(old, new))

    def score(self, policy: str, **features_of: str) -> pb.ScoreResponse:
        with grpc.insecure_channel(self.grpc) as channel:
            candidates = [pb.Candidate(id="it", entities=features_of)]
            request = pb.ScoreRequest(policy=policy, entities={"user_id": "user-00"}, candidates=candidates, explain=True)
            return BanditServiceStub(channel).Score(request, timeout=5)

    @property
    def log(self) -> str:
        return self._log.read_text()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("up")
    repo, log = root / "feature_repo", root / "server.log"
    shutil.copytree(ROOT / "feature_repo", repo, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "examples").symlink_to(ROOT / "examples")
    command = [sys.executable, "-c", UP, str(root / "data"), str(repo)]
    # A process of its own: what configures logging does so once, for the whole of it.
    with log.open("w") as file, subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=file, text=True) as process:
        try:
            assert process.stdout is not None
            address, redis_url = process.stdout.readline().split()
            yield Running(process.pid, address, redis_url, repo, root / "data", log)
        finally:
            process.terminate()


def block(language: str, holding: str) -> str:
    """The README's code block of a language that holds some text."""
    (found,) = [b for b in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if holding in b]
    return str(found)


def eventually(what: str, holds: Callable[[], bool], since: float) -> None:
    """Fail unless a condition holds within the time a server has to follow."""
    while not holds():
        assert time.monotonic() - since < WITHIN_S, what
        time.sleep(0.05)


def test_the_readme_s_first_decision_from_python(running: Running) -> None:
    program = block("python", "pb.ScoreRequest").replace("127.0.0.1:50051", running.grpc)
    said = running.run(sys.executable, "-", program=program).splitlines()
    assert re.fullmatch(r"user-00-task-0\d, chosen with probability 0\.\d{3}", said[0])
    assert said[1:] == ["REWARD_STATUS_APPLIED: it counts for 1"]


def test_the_readme_s_first_decision_without_code(running: Running) -> None:
    def curl(holding: str, decision: str = "") -> dict[str, object]:
        command = (
            block("sh", holding).replace("127.0.0.1:50051", running.grpc).replace(".venv/bin", str(BIN)).replace("DECISION_ID", decision)
        )
        answer: dict[str, object] = json.loads(running.run("sh", "-e", program=command))
        return answer

    decision = curl("BanditService/Score")
    assert decision["candidateId"] in ("write", "call")
    assert curl("BanditService/Reward", str(decision["decisionId"])) == {"status": "REWARD_STATUS_APPLIED", "value": 1}


def test_every_decision_is_kept_in_the_event_table_though_broker_and_relay_are_killed(running: Running) -> None:
    def kept_of(decision: str) -> int:
        with suppress(TableNotFoundError):
            rows = DeltaTable(str(running.data / "events")).to_pyarrow_table(columns=["kind", "decision_id"]).to_pylist()
            return int(rows.count({"kind": "decision", "decision_id": decision}))
        return 0

    before = running.score("tips", task_id="user-00-task-00").decision_id
    eventually("it is kept", lambda: kept_of(before) == 1, time.monotonic() + MOVED_WITHIN_S)
    killed = []
    for child in psutil.Process(running.pid).children():
        words = child.cmdline() or [""]
        if words[-1] == "relay" or words[0].endswith("/nats-server"):
            child.kill()
            killed.append(child)
    assert len(killed) == 2
    psutil.wait_procs(killed)  # a relay that is still dying would be given the next entry, and another waits a minute for it
    after = running.score("tips", task_id="user-00-task-00").decision_id
    eventually("the next one is kept", lambda: kept_of(after) == 1, time.monotonic() + MOVED_WITHIN_S)
    assert kept_of(before) == 1


@pytest.mark.slow
def test_what_is_materialised_and_pushed_is_served(running: Running, tmp_path: Path) -> None:
    running.edit("digits_v1 = ", 'activity_v1 = FeatureService(name="activity_v1", features=[user_activity])\ndigits_v1 = ')
    running.feast("apply")
    (tmp_path / "active.yaml").write_text(
        "name: active\nfeature_service: activity_v1\nscope: user_id\nreward: {range: [0, 1], default: 0}\n"
    )
    running.run(str(BIN / "ooml"), "apply", str(tmp_path), "--feature-repo", str(running.repo))
    applied = time.monotonic()

    def known() -> bool:
        with suppress(grpc.RpcError):
            running.score("active")
            return True
        return False

    eventually("the new policy is served", known, applied)
    push = f"""
from datetime import UTC, datetime
import pandas as pd
from feast import FeatureStore
from feast.data_source import PushMode
now = datetime.now(UTC)
row = {{"user_id": "user-00", "tasks_done_7d": 41, "response_rate_7d": 0.25, "event_timestamp": now, "created": now}}
FeatureStore({str(running.repo)!r}).push("user_activity_push", pd.DataFrame([row]), to=PushMode.ONLINE)
"""
    running.run(sys.executable, "-", program=push)
    assert dict(running.score("active").ranking[0].features) == {"tasks_done_7d": 41.0, "response_rate_7d": 0.25}

    add = f"""
from datetime import UTC, datetime
import pyarrow as pa, pyarrow.parquet as pq
tasks = pq.read_table({str(running.data / "tasks.parquet")!r})
now = datetime.now(UTC)
row = {{"task_id": "new", "created_at": now, "priority_level": 3, "event_timestamp": now, "created": now}}
tasks = pa.concat_tables([tasks, pa.Table.from_pylist([row], schema=tasks.schema)])
pq.write_table(tasks, {str(running.data / "tasks.parquet")!r})
"""
    assert running.score("tips", task_id="new").feature_status.missing == 3
    running.run(sys.executable, "-", program=add)
    running.feast("materialize-incremental", time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 60)))
    answer = running.score("tips", task_id="new")
    assert answer.ranking[0].features["priority"] == 0.75
    assert list(answer.feature_status.missing_features) == ["is_overdue"]


@pytest.mark.slow
def test_a_server_follows_feast_apply_within_seconds_and_keeps_what_cannot_be_served(running: Running) -> None:
    assert running.score("tips", task_id="user-00-task-00").feature_status.expired == 0
    running.edit("ttl=timedelta(days=365)", "ttl=timedelta(seconds=1)")
    running.feast("apply")
    applied = time.monotonic()
    eventually("the new TTL is enforced", lambda: running.score("tips", task_id="user-00-task-00").feature_status.expired > 0, applied)

    running.edit('"task_age", "priority")]', '"task_age", "priority", "luck")]')
    running.edit('"task_age", "priority"), inputs))', '"task_age", "priority"), inputs)).assign(luck=0.5)')
    running.edit("ttl=timedelta(seconds=1)", "ttl=timedelta(days=365)")
    running.feast("apply")
    applied = time.monotonic()
    eventually("the problem is logged", lambda: "cannot be served as defined" in running.log, applied)
    assert running.score("tips", task_id="user-00-task-00").feature_status.expired > 0  # the last plan that could be served
