"""The server under attack: a real one with features and policies, and people nobody may hear of."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psutil
from google.protobuf.message import Message
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc, policy_pb2, policy_pb2_grpc

from cli.up import ROOT
from tests.fuzz import words

POLICIES = Path(__file__).parent / "policies"
CANARY = "canary-7f3e"
"""Begins every name that belongs to the people nobody may hear of; no request holds it."""
_CALLER_LEFT = "ExecuteBatchError raised in core"
"""So gRPC tells that nobody was there to take an answer."""
CANARY_POLICIES = ("tips", "sums", "vault")


_UP = """
import signal, sys
from pathlib import Path
from cli.up import ROOT, UpSettings, up

signal.signal(signal.SIGTERM, signal.default_int_handler)
data_dir, seed, policies = sys.argv[1:]
server = {"host": "127.0.0.1", "port": 0, "workers": 1, "mode": "development", "log_format": "json", "seed": int(seed)}
with up(UpSettings(Path(data_dir), server, policies=(ROOT / "policy_repo", Path(policies)))) as running:
    print(running.grpc, flush=True)
    running.wait()
"""
"""`ooml up` with policies of ours beside the usual ones."""


@dataclass
class Site:
    """A running server.

    Args:
        address: its own.
        log: what it and its workers say.
        pid: of the process above its workers.
    """

    address: str
    log: Path
    pid: int
    _secrets: tuple[bytes, ...] = ()
    _evidence: list[bytes] = field(default_factory=list)

    @property
    def worker(self) -> psutil.Process:
        """The process that answers."""
        (worker,) = (p for p in psutil.Process(self.pid).children(recursive=True) if "serving.main" in p.cmdline())
        return worker

    def complaints(self, since: int) -> tuple[list[str], int]:
        """Log lines, from a position on, that tell of a mistake of the server's; and where the log ends."""
        text = self.log.read_text(errors="replace")
        lines = text[since:].splitlines()
        return [line for line in lines if '"level": "error"' in line and _CALLER_LEFT not in line], len(text)

    def plant(self, rng: random.Random) -> None:
        """Let the people nobody may hear of teach numbers nobody else does."""
        with grpc.insecure_channel(self.address) as channel:
            bandit = bandit_pb2_grpc.BanditServiceStub(channel)
            for policy in CANARY_POLICIES:
                request = pb.ScoreRequest(policy=policy, entities={"user_id": f"{CANARY}-person"}, request_id=f"{CANARY}-request")
                for k in range(3):
                    candidate = request.candidates.add(id=f"{CANARY}-candidate-{k}", arm=f"{CANARY}-arm-{k}")
                    if policy == "tips":
                        candidate.entities["task_id"] = f"user-01-task-{k:02d}"
                    else:
                        candidate.features["price"] = rng.uniform(0.1, 1)
                decision = bandit.Score(request)
                bandit.Reward(pb.RewardRequest(decision_id=decision.decision_id, reward_id=f"{CANARY}-reward", value=rng.uniform(0.1, 1)))
        self._evidence = self._canary_evidence()
        numbers = {
            n
            for answer in self._evidence
            for arm in policy_pb2.GetEvidenceResponse.FromString(answer).arms
            for n in (arm.reward_sum, *arm.theta)
            if n not in (0.0, 1.0)
        }
        assert numbers, "the people nobody may hear of taught nothing"
        self._secrets = (CANARY.encode(), *(struct.pack("<d", n) for n in numbers))

    def leaks(self, data: bytes) -> bool:
        """Whether bytes tell anything of the people nobody may hear of."""
        return any(secret in data for secret in self._secrets)

    def canary_is_whole(self) -> bool:
        """Whether what they taught is as it was."""
        return self._canary_evidence() == self._evidence

    def _canary_evidence(self) -> list[bytes]:
        with grpc.insecure_channel(self.address) as channel:
            stub = policy_pb2_grpc.PolicyServiceStub(channel)
            ask = [policy_pb2.GetEvidenceRequest(policy=policy, scope=f"{CANARY}-person") for policy in CANARY_POLICIES]
            return [_stable(stub.GetEvidence(request)) for request in ask]

    def decide(self, seed: str) -> list[str]:
        """Decisions for a round's rewards: of every policy, one in four deferred."""
        rng = random.Random(seed)
        with grpc.insecure_channel(self.address) as channel:
            bandit = bandit_pb2_grpc.BanditServiceStub(channel)
            return [bandit.Score(_decision(rng, k), timeout=10).decision_id for k in range(words.DECISIONS)]


def _decision(rng: random.Random, k: int) -> pb.ScoreRequest:
    policy = words.POLICIES[k % len(words.POLICIES)]
    request = pb.ScoreRequest(policy=policy, entities={"user_id": rng.choice(words.PEOPLE)}, context={}, deferred=k // 4 % 4 == 3)
    candidate = request.candidates.add(id="c0")
    if policy.startswith("tips"):
        candidate.entities["task_id"] = words.ENTITIES["task_id"][0]
    else:
        candidate.arm = "one"
        candidate.features.update({"price": 0.5, "rain": rng.random()})
    return request


def _stable(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


@contextmanager
def site(data_dir: Path, seed: int) -> Iterator[Site]:
    """A server with one worker, its canaries planted."""
    log = data_dir / "server.log"
    command = [sys.executable, "-c", _UP, str(data_dir / "data"), str(seed), str(POLICIES)]
    # A process of its own: what configures logging does so once, for the whole of it.
    with log.open("w") as file, subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=file, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address, log.read_text()
            here = Site(address, log, process.pid)
            here.plant(random.Random(f"canary-{seed}"))
            yield here
        finally:
            process.terminate()
