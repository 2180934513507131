"""Whole servers that ask for credentials."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path
from typing import Any

import grpc
from google.rpc.status_pb2 import Status
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc, policy_pb2, policy_pb2_grpc

from cli.embedded import EmbeddedServer, free_port
from tests.access.build import AUDIENCE, ISSUER, signer, write_jwks
from tests.serving.server import OOML, environment, health, reason, scrape, serving
from tests.serving.waiting import eventually

TAKEN_UP_S = 2.0


async def ooml_keys(store: EmbeddedServer, *arguments: str) -> str:
    """What `ooml keys` prints on stdout."""
    done = await asyncio.to_thread(
        subprocess.run,
        [*OOML, "keys", *arguments],
        env=environment(redis_url=store.url),
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout.strip()


async def make(store: EmbeddedServer, *options: str, role: str = "writer") -> str:
    return await ooml_keys(store, "make", "--name", "test", "--role", role, "--policy", "toy", *options)


def request(user: str = "u") -> pb.ScoreRequest:
    return pb.ScoreRequest(
        policy="toy", entities={"user_id": user}, context={"a": 1.0}, candidates=[pb.Candidate(id="x"), pb.Candidate(id="y")]
    )


async def outcome(channel: grpc.aio.Channel, credential: str | None) -> str:
    """OK, or the reason why a Score failed."""
    metadata = None if credential is None else (("authorization", f"Bearer {credential}"),)
    try:
        await bandit_pb2_grpc.BanditServiceStub(channel).Score(request(), metadata=metadata, timeout=5.0)
    except grpc.aio.AioRpcError as error:
        return reason(error)[0].removeprefix("ERROR_REASON_")
    return "OK"


async def test_keys_are_made_and_revoked_while_a_server_runs(store: EmbeddedServer, tmp_path: Path) -> None:
    metrics = free_port()
    settings = {"auth": "required", "workers": 2, "log_level": "debug", "access_log": "info", "metrics_port": metrics}
    first = await make(store)
    async with serving(store, tmp_path, **settings) as server, server.channel() as channel:
        assert await outcome(channel, None) == "UNAUTHENTICATED"
        assert await outcome(channel, first) == "OK"
        assert await health(channel) == "SERVING"
        stream: Any = bandit_pb2_grpc.BanditServiceStub(channel).ScoreStream(metadata=(("authorization", f"Bearer {first}"),))
        await stream.write(pb.ScoreStreamRequest(request=request()))
        assert (await stream.read()).HasField("response")

        second = await make(store)
        channels = [server.channel() for _ in range(6)]  # of both workers
        began = time.monotonic()
        for each in channels:
            await eventually(lambda each=each: _is(each, second, "OK"), TAKEN_UP_S)  # type: ignore[misc]
        assert time.monotonic() - began < TAKEN_UP_S

        await ooml_keys(store, "revoke", first.split("_")[1])
        began = time.monotonic()
        for each in channels:
            await eventually(lambda each=each: _is(each, first, "UNAUTHENTICATED"), TAKEN_UP_S)  # type: ignore[misc]
        assert time.monotonic() - began < TAKEN_UP_S
        assert await outcome(channel, second) == "OK"
        await eventually(lambda: _stream_is_refused(stream))
        stream.cancel()
        counts = scrape(metrics)
        assert counts['ooml_refused_total{why="missing"}'] == 1
        assert counts['ooml_refused_total{why="revoked"}'] >= 7
        for each in channels:
            await each.close()
        log = server.log.read_text()
    for credential in (first, second):
        _, key_id, secret = credential.split("_", 2)
        assert f'"caller": "{key_id}"' in log
        assert secret not in log


async def test_callers_of_two_workers_are_admitted_as_often_as_their_key_allows_and_no_more(store: EmbeddedServer, tmp_path: Path) -> None:
    credential = await make(store, "--rate", "40", "--burst", "120")
    admitted: list[float] = []

    async def caller(channel: grpc.aio.Channel, until: float) -> None:
        while time.monotonic() < until:
            seen = await outcome(channel, credential)
            assert seen in ("OK", "RATE_LIMITED")
            if seen == "OK":
                admitted.append(time.monotonic())

    async with serving(store, tmp_path, auth="required", workers=2) as server:
        channels = [server.channel() for _ in range(8)]
        began = time.monotonic()
        await asyncio.gather(*(caller(channel, began + 2.0) for channel in channels for _ in range(2)))
        took = time.monotonic() - began
        for channel in channels:
            await channel.close()
        assert sum(len(worker.net_connections()) > 1 for worker in server.workers) == 2
    assert 120 + 40 <= len(admitted) <= 120 + 40 * took


async def test_while_the_store_is_away_a_key_with_a_rate_is_told_so(store: EmbeddedServer, tmp_path: Path) -> None:
    limited, free = await make(store, "--rate", "1000"), await make(store)
    async with serving(store, tmp_path, auth="required") as server, server.channel() as channel:
        assert await outcome(channel, limited) == "OK"
        store.kill()
        policies = policy_pb2_grpc.PolicyServiceStub(channel)
        listed = await policies.ListPolicies(policy_pb2.ListPoliciesRequest(), metadata=(("authorization", f"Bearer {free}"),), timeout=5.0)
        assert [policy.name for policy in listed.policies] == ["toy"]
        assert await outcome(channel, limited) == "STORE_UNAVAILABLE"
        store.start()
        await eventually(lambda: _is(channel, limited, "OK"))


async def test_tokens_of_an_issuer_are_good_and_its_keys_rotate_while_a_server_runs(store: EmbeddedServer, tmp_path: Path) -> None:
    old, new = signer("ES256", "old"), signer("ES256", "new")
    jwks = write_jwks(tmp_path / "jwks.json", old)
    settings = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_jwks_file": jwks, "access_log": "info"}
    async with serving(store, tmp_path, **settings) as server, server.channel() as channel:  # auth=auto: asked for, since tokens are set up
        assert await outcome(channel, None) == "UNAUTHENTICATED"
        assert await outcome(channel, old.token()) == "OK"
        assert await outcome(channel, old.token(role="reader")) == "PERMISSION_DENIED"
        assert await outcome(channel, old.token(policies=["other"])) == "PERMISSION_DENIED"
        assert await outcome(channel, new.token()) == "UNAUTHENTICATED"
        assert await outcome(channel, await make(store)) in ("OK", "UNAUTHENTICATED")  # keys are good beside them, once taken up
        jwks.write_text("half a fi")
        await eventually(lambda: "public keys of tokens cannot be followed" in server.log.read_text())
        assert await outcome(channel, old.token(sub="bob")) == "OK"
        write_jwks(jwks, new)
        await eventually(lambda: _is(channel, new.token(), "OK"))
        assert await outcome(channel, old.token()) == "UNAUTHENTICATED"
        assert '"caller": "jwt:bob"' in server.log.read_text()


async def _is(channel: grpc.aio.Channel, credential: str, expected: str) -> bool:
    return await outcome(channel, credential) == expected


async def _stream_is_refused(stream: Any) -> bool:
    await stream.write(pb.ScoreStreamRequest(request=request()))
    reply = await stream.read()
    status: Status = reply.error
    return bool(status.code == grpc.StatusCode.UNAUTHENTICATED.value[0])
