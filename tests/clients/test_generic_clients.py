"""The clients people reach for first: they know nothing of ooml and read its contract from the server."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from tests.go_programs import go_program

SCORE = {"policy": "tips", "entities": {"user_id": "u"}, "candidates": [{"id": "é🜁", "features": {"priority": 1}}]}

pytestmark = pytest.mark.slow


def ran(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def grpcurl() -> Path:
    return go_program("github.com/fullstorydev/grpcurl/cmd/grpcurl", "v1.9.3")


def buf_curl(address: str, method: str, request: object) -> subprocess.CompletedProcess[str]:
    buf = Path(sys.executable).parent / "buf"
    url = f"http://{address}/ooml.bandit.v1.{method}"
    return ran(buf, "curl", "--protocol", "grpc", "--http2-prior-knowledge", "-d", json.dumps(request), url)


def test_buf_curl_scores_and_rewards(address: str) -> None:
    scored = buf_curl(address, "BanditService/Score", SCORE)
    assert scored.returncode == 0, scored.stderr
    decision = json.loads(scored.stdout)
    assert (decision["candidateId"], decision["propensity"]) == ("é🜁", 1)
    rewarded = buf_curl(address, "BanditService/Reward", {"decision_id": decision["decisionId"], "outcome": "done"})
    assert json.loads(rewarded.stdout) == {"status": "REWARD_STATUS_APPLIED", "value": 1}


def test_buf_curl_shows_why_a_call_failed(address: str) -> None:
    failed = buf_curl(address, "PolicyService/GetPolicy", {"policy": "nowhere"})
    assert failed.returncode != 0
    said = json.loads(failed.stderr)
    assert (said["code"], said["message"]) == (
        "not_found",
        "no policy 'nowhere' is served; ListPolicies names those that are, `ooml apply` publishes more",
    )
    (detail,) = said["details"]
    info = ErrorInfo.FromString(base64.b64decode(detail["value"]))
    assert (detail["type"], info.reason, info.domain) == ("google.rpc.ErrorInfo", "ERROR_REASON_UNKNOWN_POLICY", "ooml.bandit.v1")


def test_buf_curl_streams(address: str) -> None:
    one, two = ({"sequence": n, "request": SCORE} for n in (1, 2))
    buf = Path(sys.executable).parent / "buf"
    url = f"http://{address}/ooml.bandit.v1.BanditService/ScoreStream"
    streamed = ran(buf, "curl", "--protocol", "grpc", "--http2-prior-knowledge", "-d", json.dumps(one) + json.dumps(two), url)
    assert streamed.returncode == 0, streamed.stderr
    assert streamed.stdout.count("decisionId") == 2


def test_grpcurl_finds_the_services_and_their_comments(grpcurl: Path, address: str) -> None:
    listed = ran(grpcurl, "-plaintext", address, "list")
    assert {"ooml.bandit.v1.BanditService", "ooml.bandit.v1.PolicyService", "grpc.health.v1.Health"} <= set(listed.stdout.split())
    described = ran(grpcurl, "-plaintext", address, "describe", "ooml.bandit.v1.ScoreRequest")
    assert "repeated .ooml.bandit.v1.Candidate candidates = 4;" in described.stdout


def test_grpcurl_scores_and_rewards(grpcurl: Path, address: str) -> None:
    scored = ran(grpcurl, "-plaintext", "-d", json.dumps(SCORE), address, "ooml.bandit.v1.BanditService/Score")
    assert scored.returncode == 0, scored.stderr
    request = {"decision_id": json.loads(scored.stdout)["decision_id"], "value": -1}
    rewarded = ran(grpcurl, "-plaintext", "-d", json.dumps(request), address, "ooml.bandit.v1.BanditService/Reward")
    assert json.loads(rewarded.stdout) == {"status": "REWARD_STATUS_APPLIED", "value": -1}


def test_grpcurl_shows_why_a_call_failed(grpcurl: Path, address: str) -> None:
    failed = ran(grpcurl, "-plaintext", "-format-error", "-d", "{}", address, "ooml.bandit.v1.BanditService/Reward")
    assert failed.returncode == 64 + 3  # INVALID_ARGUMENT
    said = json.loads(failed.stderr)
    info, bad = said["details"]
    assert info["reason"] == "ERROR_REASON_INVALID_REQUEST"
    assert [violation["field"] for violation in bad["field_violations"]] == ["decision_id", "result"]


def test_grpcurl_asks_after_health(grpcurl: Path, address: str) -> None:
    asked = ran(grpcurl, "-plaintext", address, "grpc.health.v1.Health/Check")
    assert json.loads(asked.stdout) == {"status": "SERVING"}
