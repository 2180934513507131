"""Which threads of a worker wait for the CPU: read from the system itself."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from cli.embedded import EmbeddedServer
from serving.scheduling import threads_give_way
from tests.serving.server import score, serving


def _may_choose() -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    except (AttributeError, OSError):
        return False
    return True


where_allowed = pytest.mark.skipif(not _may_choose(), reason="this system does not let a process choose how it is scheduled")


def _name(process: psutil.Process, thread: int) -> str:
    return Path(f"/proc/{process.pid}/task/{thread}/comm").read_text().strip()


@where_allowed
async def test_gRPCs_threads_do_not_interrupt_the_event_loop(store: EmbeddedServer, tmp_path: Path) -> None:  # noqa: N802
    async with serving(store, tmp_path) as server:
        async with server.channel() as channel:
            await score(channel)
        (worker,) = server.workers
        engine = [one.id for one in worker.threads() if _name(worker, one.id) == "event_engine"]
        assert len(engine) >= 2
        assert {os.sched_getscheduler(thread) for thread in engine} == {os.SCHED_BATCH}
        assert os.sched_getscheduler(worker.pid) == os.SCHED_OTHER
        others = [one.id for one in worker.threads() if one.id != worker.pid and _name(worker, one.id).startswith("python")]
        assert os.SCHED_BATCH in map(os.sched_getscheduler, others)  # the one that hands calls to the event loop


@where_allowed
def test_a_policy_that_somebody_chose_is_left_as_it_is() -> None:
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        with threads_give_way():
            pass
        assert os.sched_getscheduler(0) == os.SCHED_BATCH
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@where_allowed
def test_where_it_is_forbidden_all_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with threads_give_way():
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
