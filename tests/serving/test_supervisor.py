from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from serving import child
from serving.supervisor import Events, PortTaken, Role, Supervisor, hold_port
from tests import servers
from tests.serving.waiting import alive, eventually

CHILD = "tests.serving.child_program"


def role(record: Path, behaviour: Callable[[int], str] | str, *, name: str = "worker-0", essential: bool = True) -> Role:
    how = (lambda start: behaviour) if isinstance(behaviour, str) else behaviour
    return Role(name, CHILD, lambda start: f"{how(start)} {record}".encode(), essential)


def pids(record: Path) -> list[int]:
    """Of all processes of a role, oldest first."""
    return [int(line) for line in record.read_text().split()] if record.exists() else []


@asynccontextmanager
async def running(supervisor: Supervisor) -> AsyncIterator[asyncio.Task[int]]:
    task = asyncio.create_task(supervisor.run())
    try:
        yield task
    finally:
        supervisor.stop()
        await task


async def test_a_killed_process_is_started_again_and_its_restart_is_told(tmp_path: Path) -> None:
    ready: list[str] = []
    ended: list[int] = []
    restarted: list[str] = []
    record = tmp_path / "a"
    supervisor = Supervisor([role(record, "idle")], 1.0, Events(ready.append, ended.append, restarted.append))
    async with running(supervisor):
        await eventually(lambda: ready == ["worker-0"])
        os.kill(pids(record)[0], signal.SIGKILL)
        await eventually(lambda: ready == ["worker-0", "worker-0"])
        assert restarted == ["worker-0"]
        assert ended == pids(record)[:1]


async def test_stop_ends_every_process_and_exits_with_0(tmp_path: Path) -> None:
    ready: list[str] = []
    roles = [role(tmp_path / name, "idle", name=name) for name in ("worker-0", "worker-1")]
    async with running(Supervisor(roles, 1.0, Events(ready.append))) as task:
        await eventually(lambda: len(ready) == 2)
    assert task.result() == 0
    assert not any(alive(pid) for name in ("worker-0", "worker-1") for pid in pids(tmp_path / name))


async def test_a_process_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.supervisor.KILL_MARGIN_S", 0.2)
    ready: list[str] = []
    record = tmp_path / "a"
    async with running(Supervisor([role(record, "stubborn")], 0.1, Events(ready.append))) as task:
        await eventually(lambda: bool(ready))
    assert task.result() == 0
    assert not alive(pids(record)[0])


async def test_processes_that_die_at_every_start_are_given_up_with_an_error(tmp_path: Path) -> None:
    record = tmp_path / "a"
    assert await asyncio.wait_for(Supervisor([role(record, "die")], 1.0).run(), 60) == 3
    assert len(pids(record)) == 5


async def test_a_process_that_refuses_is_not_started_again_and_takes_the_others_down(tmp_path: Path) -> None:
    refuses, idle = tmp_path / "a", tmp_path / "b"
    supervisor = Supervisor([role(refuses, "refuse"), role(idle, "idle", name="worker-1")], 1.0)
    assert await asyncio.wait_for(supervisor.run(), 60) == child.REFUSED
    assert len(pids(refuses)) == 1
    assert not any(alive(pid) for pid in pids(idle))


async def test_a_process_that_has_served_is_never_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.supervisor.LONGEST_PAUSE_S", 0.1)
    record = tmp_path / "a"
    async with running(Supervisor([role(record, "die_ready")], 1.0)):
        await eventually(lambda: len(pids(record)) > 6)


async def test_a_companion_that_keeps_dying_does_not_end_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.supervisor.LONGEST_PAUSE_S", 0.1)
    companion = tmp_path / "a"
    supervisor = Supervisor([role(companion, "die", name="watcher", essential=False), role(tmp_path / "b", "idle")], 1.0)
    async with running(supervisor) as task:
        await eventually(lambda: len(pids(companion)) > 6)
        assert not task.done()


def test_children_die_with_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys, serving.supervisor as s\n"
        "roles = [s.Role(n, 'tests.serving.child_program', lambda _, b=b: f'{b} {sys.argv[1]}'.encode())"
        " for n, b in (('worker-0', 'idle'), ('worker-1', 'stubborn'))]\n"
        "asyncio.run(s.Supervisor(roles, 1.0).run())"
    )
    record = tmp_path / "a"
    parent = subprocess.Popen([sys.executable, "-c", program, str(record)], stdout=subprocess.DEVNULL)
    try:
        servers.eventually(lambda: len(pids(record)) == 2)
    finally:
        parent.kill()
        parent.wait()
    servers.eventually(lambda: not any(alive(pid) for pid in pids(record)))


def listen(port: int = 0, *, share: bool = False) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if share:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    return listener


@pytest.mark.parametrize("share", [False, True], ids=["exclusive", "shared"])
def test_a_port_with_a_listener_is_refused_even_if_it_would_share(share: bool) -> None:
    with listen(share=share) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortTaken, match=f"127.0.0.1:{port}: Address already in use"):
            hold_port("127.0.0.1", port)


def test_a_port_that_is_held_is_refused_before_anybody_listens_on_it() -> None:
    with hold_port("127.0.0.1", 0) as holder, pytest.raises(PortTaken):
        hold_port("127.0.0.1", holder.getsockname()[1])


def test_workers_can_listen_together_on_a_held_port() -> None:
    with hold_port("127.0.0.1", 0) as holder:
        port = holder.getsockname()[1]
        with listen(port, share=True), listen(port, share=True):
            pass


def test_a_host_that_is_not_ours_is_refused_in_words() -> None:
    with pytest.raises(PortTaken, match=r"192\.0\.2\.1:0"):
        hold_port("192.0.2.1", 0)
