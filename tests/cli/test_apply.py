from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from cli.embedded import EmbeddedServer
from cli.main import app
from features.plan import Dtype, Plan
from serving.redis.connect import connect
from serving.redis.published import load, publish_plans
from serving.versions import Published
from tests.catalog.samples import TYPES, plan

Ooml = Callable[..., "Ran"]
CALLERS = "name: p\nfeatures: [x, y]\n"
SERVICE = "name: p\nfeature_service: tasks_v1\nscope: user_id\narm: task\n"


@dataclass(frozen=True)
class Ran:
    """An `ooml` that ran: exit code, and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture
def ooml(clean_valkey: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ooml:
    """Runs the command in an empty folder against an empty store."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OOML_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str, url: str = clean_valkey.url) -> Ran:
        result = CliRunner().invoke(app, arguments, env={"OOML_REDIS_URL": url}, catch_exceptions=False)
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


def declare(folder: Path, text: str, name: str = "p.yaml") -> str:
    (folder / name).write_text(text)
    return str(folder)


def published(server: EmbeddedServer) -> Published:
    async def read() -> Published:
        client = connect(server.url, cluster=False, timeout_s=2.0)
        try:
            return await load(client)
        finally:
            await client.aclose()

    return asyncio.run(read())


def put_plan(server: EmbeddedServer, revision: int, compiled: Plan) -> None:
    async def put() -> None:
        client = connect(server.url, cluster=False, timeout_s=2.0)
        try:
            await publish_plans(client, revision, [compiled])
        finally:
            await client.aclose()

    asyncio.run(put())


def live(server: EmbeddedServer, name: str = "p") -> tuple[int | None, int]:
    with redis.Redis(port=server.port) as client:
        head = json.loads(client.hget("ooml:policies", name) or '{"live": null, "latest": 0}')
    return head["live"], head["latest"]


def test_the_first_version_goes_live_and_an_unchanged_policy_stays(ooml: Ooml, valkey: EmbeddedServer, tmp_path: Path) -> None:
    folder = declare(tmp_path, CALLERS)
    first = ooml("apply", folder, "--prod")
    assert (first.code, live(valkey)) == (0, (1, 1))
    assert "p version 1 goes live" in first.out
    again = ooml("apply", folder, "--prod")
    assert (again.code, live(valkey)) == (0, (1, 1))
    assert "nothing to publish" in again.out
    assert published(valkey).policies_rev == 1


def test_on_this_machine_a_change_goes_live_with_its_diff(ooml: Ooml, valkey: EmbeddedServer, tmp_path: Path) -> None:
    ooml("apply", declare(tmp_path, CALLERS + "ridge: 1\n"))
    ran = ooml("apply", declare(tmp_path, CALLERS + "ridge: 2\n"))
    assert (ran.code, live(valkey)) == (0, (2, 2))
    assert "p version 2 goes live in place of version 1" in ran.out
    assert "ridge: 1.0 → 2.0" in ran.out
    assert "evidence carries over" in ran.out


def test_in_production_a_change_is_a_candidate_until_somebody_says_why(ooml: Ooml, valkey: EmbeddedServer, tmp_path: Path) -> None:
    ooml("apply", declare(tmp_path, CALLERS))
    folder = declare(tmp_path, CALLERS + "intercept: true\n")
    ran = ooml("apply", folder, "--prod")
    assert (ran.code, live(valkey)) == (0, (1, 2))
    assert "becomes a candidate" in ran.out
    assert "evidence starts empty" in ran.out
    assert ooml("apply", folder, "--prod", "--live").code == 2
    assert live(valkey) == (1, 2)
    ran = ooml("apply", folder, "--prod", "--live", "--reason", "it won")
    assert (ran.code, live(valkey)) == (0, (2, 2))
    assert published(valkey).heads["p"].reason == "it won"  # type: ignore[index]


def test_a_dry_run_shows_and_publishes_nothing(ooml: Ooml, valkey: EmbeddedServer, tmp_path: Path) -> None:
    ran = ooml("apply", declare(tmp_path, CALLERS), "--dry-run")
    assert ran.code == 0
    assert "goes live" in ran.out
    assert published(valkey) == Published()


def test_one_bad_file_and_nothing_is_published(ooml: Ooml, valkey: EmbeddedServer, tmp_path: Path) -> None:
    declare(tmp_path, "name: q\nfeatures: [x]\nridge: -1\n", "q.yaml")
    ran = ooml("apply", declare(tmp_path, CALLERS))
    assert ran.code == 1
    assert f"{tmp_path}/q.yaml:3:1: ridge: " in ran.err
    assert published(valkey) == Published()


def test_a_feature_service_without_plan_is_told_with_what_to_run(ooml: Ooml, valkey: EmbeddedServer, tmp_path: Path) -> None:
    ran = ooml("apply", declare(tmp_path, SERVICE))
    assert ran.code == 1
    assert f"{tmp_path}/p.yaml:2:1: " in ran.err
    assert "no plan of feature service tasks_v1" in ran.err
    assert "feast apply" in ran.err


def test_what_does_not_fit_the_features_is_told_with_its_line(ooml: Ooml, valkey: EmbeddedServer, tmp_path: Path) -> None:
    put_plan(valkey, 0, plan())
    ran = ooml("apply", declare(tmp_path, SERVICE + "interactions:\n  - [age, size]\n  - [age, kind]\n"))
    assert ran.code == 1
    assert f"{tmp_path}/p.yaml:6:11: interactions[0][1]: there is no feature size" in ran.err
    assert f"{tmp_path}/p.yaml:7:11: interactions[1][1]: kind is a text" in ran.err


def test_features_that_changed_under_a_policy_stop_it_until_accepted(ooml: Ooml, valkey: EmbeddedServer, tmp_path: Path) -> None:
    put_plan(valkey, 0, plan())
    folder = declare(tmp_path, SERVICE)
    assert ooml("apply", folder).code == 0
    changed: dict[str, Dtype] = {**TYPES, "age": "int64"}
    put_plan(valkey, 1, plan(changed))
    ran = ooml("apply", folder)
    assert ran.code == 1
    assert f"{tmp_path}/p.yaml:2:1: features of tasks_v1 changed since version 1: age was float64, is int64" in ran.err
    served = published(valkey).live("p")  # type: ignore[arg-type]
    assert served is not None
    assert (served.policy.version, served.policy.plan) == (1, plan())
    ran = ooml("apply", folder, "--accept-feature-change")
    assert (ran.code, live(valkey)) == (0, (2, 2))
    assert "evidence starts empty" in ran.out


def feature_repo(folder: Path, server: EmbeddedServer) -> Path:
    """A Feast repository nobody has applied yet."""
    repo = folder / "feature_repo"
    repo.mkdir()
    (repo / "feature_store.yaml").write_text(
        "project: small\nprovider: local\n"
        f"registry: {{registry_type: sql, path: 'sqlite:///{repo}/registry.db'}}\n"
        f"online_store: {{type: redis, connection_string: '{server.host}:{server.port}'}}\n"
        "entity_key_serialization_version: 3\n"
    )
    return repo


def test_a_repository_nobody_applied_is_told_with_what_to_run(ooml: Ooml, valkey: EmbeddedServer, tmp_path: Path) -> None:
    feature_repo(tmp_path, valkey)
    ran = ooml("apply", declare(tmp_path, SERVICE))
    assert ran.code == 1
    assert f"{tmp_path}/p.yaml:2:1: feature services of feature_repo cannot be compiled" in ran.err
    assert "`cd feature_repo && feast apply`" in ran.err
    assert published(valkey) == Published()


def test_services_are_compiled_from_the_repository_and_published_with_their_policies(
    ooml: Ooml, valkey: EmbeddedServer, tmp_path: Path
) -> None:
    from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64, UnixTimestamp

    repo = feature_repo(tmp_path, valkey)
    task = Entity(name="task", join_keys=["task_id"], value_type=ValueType.STRING)
    source = FileSource(name="tasks_file", path=str(repo / "tasks.parquet"), timestamp_field="event_timestamp")
    fields = [Field(name="age", dtype=Float64), Field(name="size", dtype=Float64), Field(name="due", dtype=UnixTimestamp)]
    tasks = FeatureView(name="tasks", entities=[task], schema=fields, source=source)
    good = FeatureService(name="tasks_v1", features=[tasks[["size", "age"]]])
    bad = FeatureService(name="due_v1", features=[tasks[["due"]]])
    FeatureStore(str(repo)).apply([task, source, tasks, good, bad])

    declare(tmp_path, "name: q\nfeature_service: due_v1\n", "q.yaml")
    ran = ooml("apply", declare(tmp_path, SERVICE))
    assert ran.code == 1
    assert f"{tmp_path}/q.yaml:2:1: " in ran.err
    assert published(valkey) == Published()

    (tmp_path / "q.yaml").unlink()
    ran = ooml("apply", str(tmp_path))
    assert (ran.code, live(valkey)) == (0, (1, 1))
    now = published(valkey)
    assert now.live("p").policy.features == now.plans["tasks_v1"].vector == ("size", "age")  # type: ignore[arg-type, union-attr]


def test_a_store_that_is_away_is_told_with_what_to_do(ooml: Ooml, tmp_path: Path) -> None:
    ran = ooml("apply", declare(tmp_path, CALLERS), url="redis://127.0.0.1:1/0")
    assert ran.code == 1
    assert "127.0.0.1:1" in ran.err
    assert "ooml up" in ran.err
    assert "Traceback" not in ran.err


def test_help_comes_without_what_only_commands_need() -> None:
    program = (
        "import sys; from cli.main import app\n"
        "heavy = {'redis', 'feast', 'pydantic', 'grpc', 'yaml', 'numpy', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
