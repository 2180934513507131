"""A disk that takes most of a second to sync, under a server with its own settings: slower, and serving."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc, policy_pb2, policy_pb2_grpc

from cli.embedded import EmbeddedServer
from tests.faults.disk import SYNC_S, Disk
from tests.serving.server import Server, becomes, publish_toy, reason, serving
from tests.serving.waiting import eventually

pytestmark = pytest.mark.slow

PATIENT_S = 30.0
"""A Score takes four or five syncs, one after another, and one or two more on a busy machine."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """On a disk that is slow once the policy is published."""
    disk = Disk(tmp_path)
    with EmbeddedServer(tmp_path / "redis", env=disk.environment) as server:
        publish_toy(server, tmp_path)
        disk.slow()
        yield server
        disk.quick()


@pytest.fixture
async def server(store: EmbeddedServer, tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(store, tmp_path, workers=2) as server:
        yield server


async def test_callers_who_wait_are_served(server: Server) -> None:
    async with server.channel() as channel:
        await becomes(channel, "SERVING")
        stub = bandit_pb2_grpc.BanditServiceStub(channel)
        for _ in range(2):
            began = time.monotonic()
            decision = await stub.Score(request(), timeout=PATIENT_S)
            assert time.monotonic() - began >= SYNC_S  # it was synced before it was acknowledged
            answer = await stub.Reward(pb.RewardRequest(decision_id=decision.decision_id, value=1.0), timeout=PATIENT_S)
            assert answer.status == pb.REWARD_STATUS_APPLIED
        await becomes(channel, "SERVING")
    assert '"not serving"' not in server.log.read_text()


async def test_a_caller_who_does_not_wait_is_told_in_time_and_may_ask_again(server: Server) -> None:
    async with server.channel() as channel:
        await becomes(channel, "SERVING")
        stub = bandit_pb2_grpc.BanditServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Score(request("r"), timeout=0.9 * SYNC_S)
        assert reason(refused.value) == ("ERROR_REASON_STORE_UNAVAILABLE", True)
        await stub.Score(request("r"), timeout=PATIENT_S)
        asked = policy_pb2.GetEvidenceRequest(policy="toy", scope="u")
        evidence = await policy_pb2_grpc.PolicyServiceStub(channel).GetEvidence(asked, timeout=PATIENT_S)
        assert sum(arm.count for arm in evidence.arms) == 1


async def test_callers_see_nothing_of_a_worker_that_is_replaced(store: EmbeddedServer, tmp_path: Path) -> None:
    async with serving(store, tmp_path, workers=2, redis_timeout_s=PATIENT_S, health_timeout_s=PATIENT_S) as server:
        await eventually(lambda: server.all_serve)
        server.workers[0].kill()
        await eventually(lambda: '"process died"' in server.log.read_text())  # until then connections reach it, and break
        while not server.all_serve:
            async with server.channel() as channel:
                await policy_pb2_grpc.PolicyServiceStub(channel).GetPolicy(policy_pb2.GetPolicyRequest(policy="toy"), timeout=PATIENT_S)


def request(request_id: str = "") -> pb.ScoreRequest:
    candidates = [pb.Candidate(id="x"), pb.Candidate(id="y")]
    return pb.ScoreRequest(policy="toy", entities={"user_id": "u"}, context={"a": 1.0}, candidates=candidates, request_id=request_id)
