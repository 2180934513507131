"""What of the Python client no conformance case can see."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc
from ooml.client import AsyncClient, Client, Failure, Options, Tls, Violation, failure_of, request_ids
from ooml.client.options import SERVICE_CONFIG, is_loopback

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "python"


def test_the_readmes_example_runs(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    example = re.findall(r"```python\n(.*?)```", (PACKAGE / "README.md").read_text(), re.DOTALL)[0]
    exec(example.replace("127.0.0.1:50051", address), {})  # noqa: S102
    assert re.fullmatch(r"user-00-task-\d\d [\d.]+\nREWARD_STATUS_APPLIED\n", capsys.readouterr().out)


async def test_asyncio_calls_alike(address: str) -> None:
    async with AsyncClient(address, Options(channels=2)) as client:
        decision = await client.score(pb.ScoreRequest(policy="tips", entities={"user_id": "u"}, candidates=[pb.Candidate(id="a")]))
        answer = await client.reward(pb.RewardRequest(decision_id=decision.decision_id, outcome="done"))
    assert answer == pb.RewardResponse(status=pb.REWARD_STATUS_APPLIED, value=1)


def test_the_callers_requests_stay_as_they_are() -> None:
    request = pb.ScoreRequest(policy="tips")
    batch, streamed = pb.BatchScoreRequest(requests=[request]), pb.ScoreStreamRequest(sequence=3, request=request)
    named = request_ids.score(request), request_ids.batch(batch).requests[0], request_ids.streamed(streamed).request
    assert len({each.request_id for each in named}) == 3
    assert {each.policy for each in named} == {"tips"}
    assert not any(each.request_id for each in (request, batch.requests[0], streamed.request))


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize(
    "target", ["10.0.0.1:50051", "dns:///ooml.example:443", "ipv4:127.0.0.1:1,10.0.0.1:1", "localhost.example:1", "[::2]:1"]
)
async def test_a_key_is_refused_in_clear_beyond_this_machine(client: type[Client] | type[AsyncClient], target: str) -> None:
    with pytest.raises(ValueError, match=r"an API key is not sent in clear to .*: set tls=Tls"):
        client(target, Options(api_key="k"))


@pytest.mark.parametrize(
    "target", ["127.0.0.1:1", "localhost:1", "[::1]:1", "dns:///localhost:1", "ipv4:127.0.0.1:1,127.0.0.2:1", "unix:/run/ooml"]
)
def test_this_machine_is_known(target: str) -> None:
    assert is_loopback(target)


def test_a_key_is_not_shown() -> None:
    assert "hunter2" not in repr(Options(api_key="hunter2"))


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        Client("localhost:1", Options(channels=0))
    with pytest.raises(ValueError, match="both cert_file and key_file"):
        Client("localhost:1", Options(tls=Tls(cert_file="c.pem")))


def test_an_error_of_a_batch_is_read_like_that_of_a_call() -> None:
    status = Status(code=3, message="mend it")
    status.details.add().Pack(ErrorInfo(reason="ERROR_REASON_INVALID_REQUEST", domain="ooml.bandit.v1"))
    status.details.add().Pack(RetryInfo(retry_delay=Duration(nanos=250_000_000)))
    status.details.add().Pack(BadRequest(field_violations=[BadRequest.FieldViolation(field="f", description="d")]))
    assert failure_of(status) == Failure(
        grpc.StatusCode.INVALID_ARGUMENT, "mend it", "ERROR_REASON_INVALID_REQUEST", "ooml.bandit.v1", (Violation("f", "d"),), 0.25
    )


def test_the_retry_policy_is_that_of_all_clients() -> None:
    assert json.loads((ROOT / "clients/conformance/service_config.json").read_text()) == SERVICE_CONFIG


def test_the_package_asks_for_libraries_that_its_generated_code_takes() -> None:
    asked = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["dependencies"]
    generated = (PACKAGE / "src/ooml/bandit/v1/bandit_pb2.py").read_text()
    protobuf = ".".join(re.findall(r"Domain\.PUBLIC,\s+(\d+),\s+(\d+),\s+(\d+)", generated)[0])
    assert f"grpcio>={bandit_pb2_grpc.GRPC_GENERATED_VERSION}" in asked
    assert any(each.startswith(f"protobuf>={protobuf},") for each in asked)
