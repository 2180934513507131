"""A Redis with users, passwords and TLS, from features to forgetting."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import pytest
import redis
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc, policy_pb2, policy_pb2_grpc

from cli.embedded import EmbeddedServer, ServerError, server_on_path
from cli.up import ROOT, feast_environment, sample_data
from serving.redis.permissions import NEEDED
from tests.certificates import Authority
from tests.redis_users import DOCUMENTED, PASSWORD, granted, make_users, with_tls
from tests.serving.server import OOML, becomes, environment, health, publish_toy, score, serving
from tests.serving.waiting import eventually

TAKE_DOWN = """
import sys
from feast import FeatureStore

store = FeatureStore(sys.argv[1])
store.apply([], objects_to_delete=[store.get_feature_view("tasks")], partial=False)
store.teardown()
"""


@dataclass(frozen=True)
class Guarded:
    """A Redis whose users come over TLS."""

    server: EmbeddedServer
    port: int
    authority: Authority

    def url(self, user: str = "ooml", password: str = PASSWORD, options: str | None = None) -> str:
        trusted = f"ssl_ca_certs={self.authority.certificate}" if options is None else options
        return f"rediss://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/0?{trusted}"

    def admin(self) -> redis.Redis:
        return redis.Redis(port=self.server.port, decode_responses=True)

    def user(self, name: str) -> redis.Redis:
        return redis.Redis.from_url(self.url(name))


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    program = server_on_path("redis-server")
    if program is None:
        pytest.skip("redis-server 7 or newer is not on PATH")
    try:
        with with_tls(tmp_path, program) as (server, port, authority):
            make_users(server)
            yield Guarded(server, port, authority)
    except ServerError as error:
        if "tls-port" not in str(error):
            raise
        pytest.skip("redis-server was built without TLS")


def test_the_documented_user_may_run_what_is_needed_and_nothing_else() -> None:
    assert granted("ooml") == NEEDED
    assert "-@all" in DOCUMENTED["ooml"].split()


@pytest.mark.slow
async def test_over_tls_as_the_documented_users_all_works_from_features_to_forgetting(guarded: Guarded, tmp_path: Path) -> None:
    sample_data().write(tmp_path, datetime.now(UTC), users=2)
    given = {
        **feast_environment(tmp_path, guarded.url("ooml")),
        "OOML_FEAST_REDIS": feast_environment(tmp_path, guarded.url("feast"))["OOML_FEAST_REDIS"],
    }
    repo = str(ROOT / "feature_repo")
    await _run([sys.executable, "-m", "cli.feast_repo", repo], given)
    await _run([*OOML, "apply", str(ROOT / "policy_repo")], given)
    settings = {name.removeprefix("OOML_").lower(): value for name, value in given.items()}
    async with serving(guarded.server, tmp_path, **settings, feature_repo=repo, mode="production") as server, server.channel() as channel:
        await becomes(channel, "SERVING")
        bandit, policies = bandit_pb2_grpc.BanditServiceStub(channel), policy_pb2_grpc.PolicyServiceStub(channel)
        tasks = [pb.Candidate(id=f"t{i}", entities={"task_id": f"user-00-task-{i:02d}"}) for i in range(3)]
        asked = pb.ScoreRequest(policy="tips", entities={"user_id": "user-00"}, candidates=tasks, request_id="1")
        decision = await bandit.Score(asked, timeout=5)
        assert list(decision.feature_status.missing_features) == ["is_overdue"]  # two of the three tasks have no due date
        assert decision.feature_status.present == 13
        assert await bandit.Score(asked, timeout=5) == decision
        answer = await bandit.Reward(pb.RewardRequest(decision_id=decision.decision_id, outcome="done"), timeout=5)
        assert answer.status == pb.REWARD_STATUS_APPLIED
        deferred = await bandit.Score(
            pb.ScoreRequest(policy="tips", entities={"user_id": "user-00"}, candidates=tasks, deferred=True), timeout=5
        )
        await bandit.Activate(pb.ActivateRequest(decision_id=deferred.decision_id), timeout=5)
        of = {"policy": "tips", "scope": "user-00"}
        (arm,) = (await policies.GetEvidence(policy_pb2.GetEvidenceRequest(**of), timeout=5)).arms
        assert (arm.count, arm.reward_sum) == (2, 1)
        await policies.ForgetScope(policy_pb2.ForgetScopeRequest(**of), timeout=5)
        assert not (await policies.GetEvidence(policy_pb2.GetEvidenceRequest(**of), timeout=5)).arms
        assert "CONFIG GET is forbidden here, so nobody checked" in server.log.read_text()
        assert await server.stop() == 0
    with guarded.admin() as admin:
        row = next(admin.scan_iter("*task_id*ooml"))
        admin.hset(row, "_ts:another_view", "")  # a row that two views share loses the fields of the one that goes
        await _run([sys.executable, "-c", TAKE_DOWN, repo], given)
        assert _denied(admin) == {("ooml", "config|get")}
        assert {name.upper() for name in granted("feast")} <= {name.removeprefix("cmdstat_").upper() for name in admin.info("commandstats")}


async def test_events_are_moved_by_a_user_who_knows_the_outbox_alone(guarded: Guarded, tmp_path: Path) -> None:
    publish_toy(guarded.server, tmp_path)
    settings = {"redis_url": guarded.url("ooml"), "event_sink": "drained"}
    async with serving(guarded.server, tmp_path, **settings) as server, server.channel() as channel:
        for _ in range(3):
            await score(channel)
    with guarded.admin() as admin, (tmp_path / "sink.log").open("w") as log:
        (outbox,) = admin.scan_iter("ooml:{*}:out")
        assert admin.xlen(outbox) == 3
        given = environment(redis_url=guarded.url("events"), event_table=tmp_path / "events")
        sink = subprocess.Popen([*OOML, "sink"], env=given, stderr=log)  # noqa: ASYNC220  starting takes no time
        try:
            await eventually(lambda: admin.xlen(outbox) == 0, 30, "events kept")
        finally:
            sink.terminate()
            sink.wait(20)
        assert _denied(admin) == {("ooml", "config|get")}


async def test_each_user_is_refused_all_that_is_not_its_business(guarded: Guarded) -> None:
    row = b"\x01\0\0\0\x02\0\0\0\x07\0\0\0user_id\x02\0\0\0\x01\0\0\0uooml"
    outbox, evidence, stranger = "ooml:{3}:out", "ooml:{3}:ev:n:s", "session:1:ooml"
    everybody = [
        *(["FLUSHALL"], ["FLUSHDB"], ["KEYS", "*"], ["CONFIG", "GET", "*"], ["CONFIG", "SET", "appendonly", "no"], ["ACL", "LIST"]),
        *(["SHUTDOWN"], ["MONITOR"], ["SCRIPT", "FLUSH"], ["REPLICAOF", "NO", "ONE"], ["CLIENT", "LIST"]),
        *(["PUBLISH", "c", "m"], ["SUBSCRIBE", "c"], ["RENAME", evidence, stranger], ["HGETALL", stranger], ["HSET", stranger, "f", "v"]),
    ]
    refused: dict[str, list[list[Any]]] = {
        "ooml": [
            *everybody,
            ["HSET", row, "f", "v"],
            ["UNLINK", row],
            ["DEL", evidence],
            ["EVAL", f"return redis.call('GET', '{stranger}')", 0],
        ],
        "feast": [
            *everybody,
            ["HGETALL", evidence],
            ["HMGET", evidence, "a"],
            ["HSET", evidence, "a", "1"],
            ["DEL", evidence],
            ["EVAL", "return 1", 0],
        ],
    }
    refused["events"] = [
        *everybody,
        ["HGETALL", evidence],
        ["HGETALL", row],
        ["HSET", "ooml:policies", "toy", "{}"],
        ["XADD", outbox, "*", "f", "v"],
    ]
    allowed: dict[str, list[list[Any]]] = {
        "ooml": [["HMGET", row, "f"], ["HSET", evidence, "a", "1"]],
        "feast": [["HMGET", row, "f"], ["HSET", row, "f", "v"]],
        "events": [["XLEN", outbox], ["HGETALL", "ooml:policies"]],
    }
    for name, commands in refused.items():
        with guarded.user(name) as client:
            for command in commands:
                with pytest.raises(redis.ResponseError, match=r"has no permissions to|can't access at least one of the keys"):
                    client.execute_command(*command)
            for words in allowed[name]:
                client.execute_command(*words)


async def test_a_server_whose_user_lacks_a_command_says_which_and_serves_once_it_is_granted(guarded: Guarded, tmp_path: Path) -> None:
    with guarded.admin() as admin:
        admin.execute_command("ACL SETUSER", "ooml", "-zadd", "-xadd")
        async with serving(guarded.server, tmp_path, redis_url=guarded.url()) as server, server.channel() as channel:
            assert await health(channel) == "NOT_SERVING"
            await eventually(lambda: "the user of Redis may not run XADD, ZADD on keys of ooml:*" in server.log.read_text())
            admin.execute_command("ACL SETUSER", "ooml", "+zadd", "+xadd")
            await becomes(channel, "SERVING")


async def test_a_redis_whose_certificate_nobody_vouches_for_is_not_spoken_to(guarded: Guarded, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    url = guarded.url(options=f"ssl_ca_certs={stranger.certificate}")
    async with serving(guarded.server, tmp_path, redis_url=url) as server, server.channel() as channel:
        await eventually(lambda: "certificate verify failed" in server.log.read_text())
        assert await health(channel) == "NOT_SERVING"
    with guarded.admin() as admin:
        assert "cmdstat_auth" not in admin.info("commandstats")


async def _run(command: list[str], given: dict[str, str]) -> None:
    ran = await asyncio.to_thread(
        subprocess.run, command, env={**environment(), **given}, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _denied(admin: redis.Redis) -> set[tuple[str, str]]:
    """Who was refused what. A client that tells its name and is refused does not mind."""
    return {(entry["username"], entry["object"]) for entry in cast(list[dict[str, str]], admin.acl_log())} - {("feast", "client|setinfo")}
