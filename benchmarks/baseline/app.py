"""Decisions without ooml: FastAPI, Feast's SDK, LinUCB with NumPy in the process, each person's state as JSON on disk.

Written as its author would want it: the SDK's asynchronous read, on-demand features in its faster mode, one linear solve a decision,
uvloop and httptools, no access log. It does less: nothing is kept before the reply, a decision lives in memory until it is answered,
there is no log, and a second process would not know what the first has learned.

Run as ``python -m benchmarks.baseline.app FOLDER``; it prints its port and ends with its stdin.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.baseline import COMPUTED
from benchmarks.baseline.features import NAMES, SERVICES, open_store
from policies.types import Floats

ALPHA, RIDGE = 1.0, 1.0
WORTH = {"done": 1.0, "snooze": 0.0, "dismiss": -1.0}


class Ask(BaseModel):
    """Which of these tasks should this person be nudged about now?"""

    user_id: str
    tasks: list[str]


class Answer(BaseModel):
    """What came of it."""

    decision_id: str
    outcome: str


class Learner:
    """Disjoint LinUCB with one arm a person, each kept in a file of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._people: dict[str, tuple[Floats, Floats]] = {}

    def score(self, user: str, x: Floats) -> tuple[Floats, Floats]:
        """(K,) mean and upper confidence bound of candidates x (K, d)."""
        a, b = self._of(user)
        solved = np.linalg.solve(a, np.column_stack([b, x.T]))  # A⁻¹b and A⁻¹xᵀ at once
        mean = x @ solved[:, 0]
        return mean, mean + ALPHA * np.sqrt(np.einsum("kd,dk->k", x, solved[:, 1:]))

    def learn(self, user: str, x: Floats, reward: float) -> None:
        """Add an answer, and write the person's file."""
        a, b = self._of(user)
        a += np.outer(x, x)
        b += reward * x
        (self._folder / f"{user}.json").write_text(json.dumps({"a": a.tolist(), "b": b.tolist()}))

    def _of(self, user: str) -> tuple[Floats, Floats]:
        if user not in self._people:
            file = self._folder / f"{user}.json"
            kept = json.loads(file.read_text()) if file.exists() else {"a": RIDGE * np.eye(len(NAMES)), "b": np.zeros(len(NAMES))}
            self._people[user] = (np.array(kept["a"], dtype=np.float64), np.array(kept["b"], dtype=np.float64))
        return self._people[user]


def build(folder: Path) -> FastAPI:
    """The application, its state in a folder."""
    store = open_store()
    service = store.get_feature_service(SERVICES[COMPUTED])
    learner = Learner(folder)
    waiting: dict[str, tuple[str, Floats]] = {}
    app = FastAPI()

    @app.post("/decide")
    async def decide(ask: Ask) -> dict[str, Any]:
        now = time.time()
        rows = [{"task_id": task, "request_time": now, "utc_offset": 0.0} for task in ask.tasks]
        found = (await store.get_online_features_async(service, rows)).to_dict()
        x = np.nan_to_num(np.array([found[name] for name in NAMES], dtype=np.float64).T)
        mean, score = learner.score(ask.user_id, x)
        best = int(np.argmax(score))
        decision_id = uuid.uuid4().hex
        waiting[decision_id] = (ask.user_id, x[best])
        order = np.argsort(-score).tolist()
        ranking = [{"task": ask.tasks[k], "score": float(score[k]), "mean": float(mean[k])} for k in order]
        return {"decision_id": decision_id, "task": ask.tasks[best], "ranking": ranking}

    @app.post("/answer")
    async def answer(given: Answer) -> dict[str, Any]:
        user, x = waiting.pop(given.decision_id)
        learner.learn(user, x, WORTH[given.outcome])
        return {"value": WORTH[given.outcome]}

    return app


async def serve(folder: Path) -> None:
    """Serve on a free loopback port until stdin ends."""
    server = uvicorn.Server(uvicorn.Config(build(folder), log_level="error", access_log=False, loop="uvloop", http="httptools"))
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.should_exit = True
    await serving


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(Path(sys.argv[1])))
