"""A server learns handwritten digits as the textbook does: choice for choice."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pyarrow.parquet as pq
import pytest
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc

from cli.embedded import EmbeddedServer
from policies.types import Floats, Ints
from tests.servers import flush
from tests.serving.server import OOML, environment, serving

DIGITS = Path(__file__).parent.parent / "examples" / "digits" / "digits.parquet"
PIXELS = tuple(f"p{i:02d}" for i in range(64))
ARMS = 10
ALPHA = 0.1
POLICY = f"""
name: digits
features: [{", ".join(PIXELS)}]
scope: global
arm: candidate
intercept: true
algorithm: {{linucb: {{alpha: {ALPHA}}}}}
ridge: 1.0
exploration: 0.0
reward: {{range: [0, 1], default: null}}
on_missing: reject
"""
ROUNDING, TELLING = 1e-12, 1e-6
"""Scores nearer than the one are equal; no two of these runs lie between it and the other, so no choice hangs on how sums round."""


@dataclass(frozen=True)
class Images:
    """Images in the order of one seed: (n, 64) pixels and (n,) labels."""

    pixels: Floats
    labels: Ints

    @classmethod
    def in_order_of(cls, seed: int, count: int | None = None) -> Images:
        table = pq.read_table(DIGITS)
        pixels = np.column_stack([table[name].to_numpy() for name in PIXELS]).astype(np.float64)
        order = np.random.default_rng(seed).permutation(len(pixels))[:count]
        return cls(pixels[order], table["label"].to_numpy()[order])


@dataclass(frozen=True)
class Run:
    """Image by image: what was chosen, out of how many equally good arms, and the (n, arms) scores they had."""

    choices: list[int]
    tied: list[int]
    scores: list[Floats]


def textbook(images: Images, uniform: Callable[[], float]) -> Run:
    """Li, Chu, Langford, Schapire (2010), Algorithm 1, line by line with explicit inverses; ties are broken evenly (line 11).

    Args:
        uniform: draws in [0, 1), once an image; arms that tie share the interval evenly, in order.
    """
    X = np.column_stack([images.pixels, np.ones(len(images.pixels))])
    d = X.shape[1]
    A: list[Floats] = [np.eye(d) for _ in range(ARMS)]
    A_inverse: list[Floats] = [np.eye(d) for _ in range(ARMS)]
    b: list[Floats] = [np.zeros(d) for _ in range(ARMS)]
    run = Run([], [], [])
    for x, label in zip(X, images.labels, strict=True):
        p = np.array([(A_inverse[a] @ b[a]) @ x + ALPHA * np.sqrt(x @ A_inverse[a] @ x) for a in range(ARMS)])
        behind = (p.max() - p) / np.abs(p).max()
        assert not ((behind > ROUNDING) & (behind < TELLING)).any()
        best = np.flatnonzero(behind <= ROUNDING)
        a = int(best[int(uniform() * len(best))])
        A[a] += np.outer(x, x)
        b[a] += float(a == label) * x
        A_inverse[a][:] = np.linalg.inv(A[a])
        run.choices.append(a)
        run.tied.append(len(best))
        run.scores.append(p)
    return run


async def served(images: Images, channel: grpc.aio.Channel) -> Run:
    """The same images through a server: each choice is answered before the next is asked for."""
    stub = bandit_pb2_grpc.BanditServiceStub(channel)
    candidates = [pb.Candidate(id=str(a)) for a in range(ARMS)]
    run = Run([], [], [])
    for pixels, label in zip(images.pixels.tolist(), images.labels.tolist(), strict=True):
        context = dict(zip(PIXELS, pixels, strict=True))
        decision = await stub.Score(pb.ScoreRequest(policy="digits", context=context, candidates=candidates), timeout=5.0)
        a = int(decision.candidate_id)
        rewarded = await stub.Reward(pb.RewardRequest(decision_id=decision.decision_id, value=float(a == label)), timeout=5.0)
        assert rewarded.status == pb.REWARD_STATUS_APPLIED
        run.choices.append(a)
        run.tied.append(round(1 / decision.propensity))
        assert decision.propensity == 1 / run.tied[-1]
        by_arm = {int(scored.arm): scored.score for scored in decision.ranking}
        run.scores.append(np.array([by_arm[a] for a in range(ARMS)]))
    return run


async def right_choices(seed: int, images: Images, store: EmbeddedServer, folder: Path) -> float:
    """Serve images to a server that knows nothing yet, hold its every choice against the textbook's; returns the share of right ones."""
    flush(store)
    (folder / "digits.yaml").write_text(POLICY)
    apply = [*OOML, "apply", str(folder)]
    await asyncio.to_thread(subprocess.run, apply, env=environment(redis_url=store.url), check=True, capture_output=True, timeout=30)
    async with serving(store, folder, workers=1, seed=seed) as server, server.channel() as channel:
        run = await served(images, channel)
    # All chance there is: one draw a Score, from the stream that the seed names for the server's first worker.
    chance = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    expected = textbook(images, chance.random)
    assert (run.choices, run.tied) == (expected.choices, expected.tied)
    np.testing.assert_allclose(run.scores, expected.scores, rtol=0, atol=1e-9)
    return float(np.mean(np.array(run.choices) == images.labels))


@pytest.mark.parametrize("seed", [0, 1])
async def test_a_server_chooses_exactly_as_the_textbook(seed: int, valkey: EmbeddedServer, tmp_path: Path) -> None:
    await right_choices(seed, Images.in_order_of(seed, 300), valkey, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_over_all_images_a_server_is_right_as_often_as_the_textbook(valkey: EmbeddedServer, tmp_path: Path) -> None:
    means = [await right_choices(seed, Images.in_order_of(seed), valkey, tmp_path) for seed in range(10)]
    assert np.mean(means) >= 0.82
