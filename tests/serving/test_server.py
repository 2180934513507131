"""Whole servers: their processes, signals, store and callers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc, policy_pb2, policy_pb2_grpc

from cli.embedded import EmbeddedServer, free_port
from serving import child
from tests.serving.server import OOML, becomes, environment, health, reason, score, scrape, serving
from tests.serving.waiting import alive, eventually


async def test_a_killed_worker_is_replaced_while_the_port_goes_on_serving(store: EmbeddedServer, tmp_path: Path) -> None:
    metrics = free_port()
    async with serving(store, tmp_path, workers=2, metrics_port=metrics) as server:
        first, second = server.workers
        first.kill()
        await eventually(lambda: '"process died"' in server.log.read_text())  # until then connections reach it, and break
        while True:  # the other worker, and no one but it, answers meanwhile; then both do
            async with server.channel() as channel:
                assert (await score(channel)).candidate_id in ("x", "y")
            if len(now := server.workers) == 2 and first.pid not in {p.pid for p in now}:
                break
        assert second.pid in {p.pid for p in server.workers}
        await eventually(lambda: scrape(metrics).get('ooml_process_restarts_total{process="worker-0"}', 0.0) == 1.0)
        await eventually(lambda: server.log.read_text().count('"process started"') == 3)
        for worker in server.workers:
            worker.kill()
        async with server.channel() as channel:
            await becomes(channel, "SERVING")


async def test_a_port_that_is_served_is_refused_in_words(store: EmbeddedServer, tmp_path: Path) -> None:
    async with serving(store, tmp_path) as server:
        port = server.address.rpartition(":")[2]
        second = await asyncio.to_thread(
            subprocess.run,
            [*OOML, "serve", "--port", port],
            env=environment(redis_url=store.url),
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert second.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}" in second.stderr
        assert "Traceback" not in second.stderr
        async with server.channel() as channel:
            assert await health(channel) == "SERVING"


async def test_when_told_to_stop_calls_in_flight_finish_and_new_ones_are_sent_away(store: EmbeddedServer, tmp_path: Path) -> None:
    metrics = free_port()
    settings = {"metrics_port": metrics, "redis_timeout_s": 10, "drain_notice_s": 5, "drain_grace_s": 20}
    async with serving(store, tmp_path, **settings) as server, server.channel() as channel:
        await score(channel)
        pid = store.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        in_flight = asyncio.create_task(score(channel, timeout=20))
        await eventually(lambda: scrape(metrics)["ooml_calls_in_flight"] == 1)
        server.process.send_signal(signal.SIGTERM)
        await becomes(channel, "NOT_SERVING")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await score(channel)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert reason(refused.value) == ("ERROR_REASON_DRAINING", True)
        assert not in_flight.done()
        os.kill(pid, signal.SIGCONT)
        assert (await in_flight).candidate_id in ("x", "y")
        await eventually(lambda: scrape(metrics)["ooml_calls_in_flight"] == 0, 4, "still draining, and nothing in flight")
        assert await server.ended() == 0


async def test_a_stop_under_load_loses_no_answer_that_was_given(store: EmbeddedServer, tmp_path: Path) -> None:
    scored: list[str] = []
    rewarded: list[str] = []
    failures: list[grpc.StatusCode] = []

    async def caller(channel: grpc.aio.Channel, user: str) -> None:
        try:
            while True:
                decision = (await score(channel, user)).decision_id
                scored.append(decision)
                await bandit_pb2_grpc.BanditServiceStub(channel).Reward(pb.RewardRequest(decision_id=decision, value=1.0), timeout=5.0)
                rewarded.append(decision)
        except grpc.aio.AioRpcError as error:
            failures.append(error.code())

    # Without notice, a call still on its way when the server stops listening is reset by gRPC and its caller told CANCELLED.
    async with serving(store, tmp_path, workers=2, drain_notice_s=3) as server:
        channels = [server.channel() for _ in range(8)]
        callers = [asyncio.create_task(caller(channel, f"u{i}")) for i, channel in enumerate(channels)]
        await eventually(lambda: len(rewarded) > 100)
        assert await server.stop() == 0
        await asyncio.gather(*callers)
        for channel in channels:
            await channel.close()
    assert failures == [grpc.StatusCode.UNAVAILABLE] * 8

    async with serving(store, tmp_path) as server, server.channel() as channel:
        stub = policy_pb2_grpc.PolicyServiceStub(channel)
        evidence = [await stub.GetEvidence(policy_pb2.GetEvidenceRequest(policy="toy", scope=f"u{i}"), timeout=5.0) for i in range(8)]
    arms = [arm for answer in evidence for arm in answer.arms]
    # Each caller has at most one call nobody answered: it may have taken effect.
    assert len(scored) <= sum(arm.count for arm in arms) <= len(scored) + 8
    assert len(rewarded) <= sum(arm.reward_sum for arm in arms) <= len(rewarded) + 8


async def test_streams_end_when_the_server_stops(store: EmbeddedServer, tmp_path: Path) -> None:
    async with serving(store, tmp_path) as server, server.channel() as channel:
        stream = bandit_pb2_grpc.BanditServiceStub(channel).ScoreStream()
        request = pb.ScoreRequest(policy="toy", entities={"user_id": "u"}, context={"a": 1.0}, candidates=[pb.Candidate(id="x")])
        await stream.write(pb.ScoreStreamRequest(sequence=7, request=request))
        answer = await stream.read()
        assert isinstance(answer, pb.ScoreStreamResponse)
        assert (answer.sequence, answer.response.candidate_id) == (7, "x")
        stopped = asyncio.create_task(server.stop())
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await asyncio.wait_for(stream.read(), 5.0)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await stopped == 0


@pytest.mark.parametrize("how", ["hangs", "dies"])
async def test_without_its_store_calls_fail_in_time_and_all_recovers_by_itself(how: str, store: EmbeddedServer, tmp_path: Path) -> None:
    async with serving(store, tmp_path, workers=2) as server, server.channel() as channel:
        await score(channel)
        pid = store.pid
        assert pid is not None
        if how == "hangs":
            os.kill(pid, signal.SIGSTOP)
        else:
            store.kill()
        for deadline_s in (2.0, 4.0):
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await score(channel, timeout=deadline_s)
            assert failed.value.code() is grpc.StatusCode.UNAVAILABLE  # past the deadline it would be DEADLINE_EXCEEDED
            assert reason(failed.value) == ("ERROR_REASON_STORE_UNAVAILABLE", True)
        await becomes(channel, "NOT_SERVING")
        if how == "hangs":
            os.kill(pid, signal.SIGCONT)
        else:
            store.start()
        await becomes(channel, "SERVING")
        assert (await score(channel)).candidate_id in ("x", "y")
        assert len(server.workers) == 2
        assert server.log.read_text().count('"process started"') == 2


async def test_a_server_started_without_its_store_waits_for_it(store: EmbeddedServer, tmp_path: Path) -> None:
    store.stop()
    async with serving(store, tmp_path) as server, server.channel() as channel:
        assert await health(channel) == "NOT_SERVING"
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await score(channel)
        assert reason(failed.value) == ("ERROR_REASON_STORE_UNAVAILABLE", True)
        assert '"not serving"' in server.log.read_text()
        store.start()
        await becomes(channel, "SERVING")
        assert (await score(channel)).candidate_id in ("x", "y")


async def test_production_refuses_a_store_that_may_lose_rewards(store: EmbeddedServer, tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "lossy", settings={"appendonly": "no"}) as lossy:
        given = environment(redis_url=lossy.url, port=0, workers=2, mode="production")
        refused = await asyncio.to_thread(subprocess.run, [*OOML, "serve"], env=given, capture_output=True, text=True, timeout=30)
        assert refused.returncode == child.REFUSED
        assert "appendonly is no" in refused.stderr
        assert refused.stdout == ""
        async with serving(lossy, tmp_path, mode="development", workers=2) as server, server.channel() as channel:
            assert await health(channel) == "SERVING"
            assert server.log.read_text().count("appendonly is no") == 1
    async with serving(store, tmp_path, mode="production") as server, server.channel() as channel:
        assert await health(channel) == "SERVING"


async def test_workers_are_small_and_know_nothing_of_feast(store: EmbeddedServer, tmp_path: Path) -> None:
    async with serving(store, tmp_path, workers=2) as server, server.channel() as channel:
        await score(channel)
        for worker in server.workers:
            loaded = {Path(m.path).name for m in worker.memory_maps()}
            assert not [name for name in loaded if "arrow" in name or "duckdb" in name or "pandas" in name]
            assert worker.memory_info().rss < 120 * 2**20
    unwanted = "{'feast', 'pandas', 'pyarrow', 'typer'} & sys.modules.keys()"
    imported = [sys.executable, "-c", f"import sys, serving.main; print({unwanted})"]
    assert (await asyncio.to_thread(subprocess.run, imported, capture_output=True, text=True, check=True)).stdout == "set()\n"


async def test_nothing_survives_a_supervisor_that_was_killed(store: EmbeddedServer, tmp_path: Path) -> None:
    async with serving(store, tmp_path, workers=2) as server:
        pids = [worker.pid for worker in server.workers]
        server.process.kill()
        await eventually(lambda: not any(alive(pid) for pid in pids))
        port = int(server.address.rpartition(":")[2])
        async with serving(store, tmp_path, port=port) as again:
            assert again.address == server.address


async def test_what_happens_is_counted_by_method_policy_and_code(store: EmbeddedServer, tmp_path: Path) -> None:
    metrics = free_port()
    async with serving(store, tmp_path, workers=2, metrics_port=metrics, access_log="info") as server:
        for i in range(6):
            async with server.channel() as channel:
                decision = (await score(channel, f"user-{i}")).decision_id
                await bandit_pb2_grpc.BanditServiceStub(channel).Reward(pb.RewardRequest(decision_id=decision, value=1.0))
                with suppress(grpc.aio.AioRpcError):
                    await score(channel, policy=f"unknown-{i}")
        counts = {
            'ooml_calls_total{code="OK",method="Score",policy="toy"}': 6,
            'ooml_calls_total{code="OK",method="Reward",policy=""}': 6,
            'ooml_calls_total{code="NOT_FOUND",method="Score",policy=""}': 6,
            'ooml_decisions_total{policy="toy"}': 6,
            'ooml_call_duration_seconds_count{method="Score",policy="toy"}': 6,
            'ooml_call_duration_seconds_bucket{le="1.0",method="Score",policy="toy"}': 6,
            "ooml_calls_in_flight": 0,
        }
        await eventually(lambda: counts.items() <= scrape(metrics).items(), 10, "what calls came to")
        assert 0 < scrape(metrics)['ooml_call_duration_seconds_sum{method="Score",policy="toy"}'] < 6
        await eventually(lambda: scrape(metrics).get("ooml_outbox_depth", 0.0) > 0, 20, "events in the outbox")
        assert server.log.read_text().count('"method": "Score"') == 12
        assert "user-1" not in server.log.read_text()
