"""Keeps processes alive: started anew when they die, drained together when the server is told to stop.

Children are fresh interpreters, never forks: gRPC's threads do not survive a fork.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import cast

import structlog

from serving.child import READY, REFUSED
from serving.settings import address

log = structlog.get_logger()

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
STEADY_S = 10.0
"""A process that lived this long is started again without delay; one that did not waits twice as long as the last time."""
EARLY_DEATHS = 5
"""So many deaths of an essential process before it was ever ready, with no other ready either, and we give up."""
KILL_MARGIN_S = 5.0
"""How long after its grace a process that was told to stop is killed."""


class PortTaken(Exception):
    """Another process listens on the port; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Role:
    """A process to keep running.

    Args:
        name: for logs and metrics.
        module: run as ``python -m module``.
        greeting: what its n-th process (0, 1, …) is told at its start; one line.
        essential: whether the server is of no use without it.
    """

    name: str
    module: str
    greeting: Callable[[int], bytes]
    essential: bool = True


@dataclass(frozen=True, slots=True)
class Events:
    """Whom to tell: a role became ready; a role's process (by its id) ended; a role is being started again."""

    ready: Callable[[str], None] = lambda role: None
    ended: Callable[[int], None] = lambda pid: None
    restarted: Callable[[str], None] = lambda role: None


@dataclass(slots=True)
class Supervisor:
    """Runs roles until told to stop or until they are beyond help.

    Args:
        roles: what to run.
        grace_s: how long a process may take to drain; it is killed `KILL_MARGIN_S` after that.
        events: whom to tell.
        environment: added to the children's own.
        stderr: file descriptor that children log to; None: our stderr.
    """

    roles: Sequence[Role]
    grace_s: float
    events: Events = field(default_factory=Events)
    environment: Mapping[str, str] = field(default_factory=dict)
    stderr: int | None = None
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _ready: set[str] = field(default_factory=set)
    _exit_code: int = 0

    def stop(self) -> None:
        """Drain every process, then let `run` return. Call it in the loop's thread; safe to repeat."""
        self._stop.set()

    async def run(self) -> int:
        """Keep every role running until `stop`; returns the exit code: 0, or not when it gave up."""
        async with asyncio.TaskGroup() as tasks:
            for role in self.roles:
                tasks.create_task(self._keep(role))
        return self._exit_code

    async def _keep(self, role: Role) -> None:
        start, early, pause_s = 0, 0, FIRST_PAUSE_S
        while True:
            began = monotonic()
            code, was_ready = await self._life(role, start)
            if self._stop.is_set():
                return
            lived_s = monotonic() - began
            start += 1
            early = 0 if was_ready else early + 1
            pause_s = FIRST_PAUSE_S if lived_s > STEADY_S or start == 1 else min(2 * pause_s, LONGEST_PAUSE_S)
            log.error("process died", role=role.name, exit_code=code, lived_s=round(lived_s, 1), restart_in_s=pause_s)
            if role.essential and (code == REFUSED or (early >= EARLY_DEATHS and not self._ready)):
                log.critical("giving up", role=role.name, reason="it refused to start" if code == REFUSED else "it dies at every start")
                self._exit_code = code if code > 0 else 1
                self.stop()
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause_s)
                return
            self.events.restarted(role.name)

    async def _life(self, role: Role, start: int) -> tuple[int, bool]:
        """One process from birth to death: its exit code (negative: the signal), and whether it became ready."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", role.module, stdin=PIPE, stdout=PIPE, stderr=self.stderr, env={**os.environ, **self.environment}
        )
        log.info("process started", role=role.name, child=process.pid)
        stdin = cast(asyncio.StreamWriter, process.stdin)
        stdin.write(role.greeting(start) + b"\n")
        stopped = asyncio.create_task(self._stop.wait())
        lived = asyncio.create_task(self._follow(role, process))
        try:
            await asyncio.wait([stopped, lived], return_when=asyncio.FIRST_COMPLETED)
            if not lived.done():
                await _terminate(process, self.grace_s + KILL_MARGIN_S)
            was_ready = await lived
            return await process.wait(), was_ready
        finally:
            stopped.cancel()
            stdin.close()
            self._ready.discard(role.name)
            self.events.ended(process.pid)

    async def _follow(self, role: Role, process: Process) -> bool:
        """Wait for a process to end; whether it said that it is ready."""
        was_ready = False
        async for line in cast(asyncio.StreamReader, process.stdout):
            if line == READY:
                was_ready = True
                self._ready.add(role.name)
                self.events.ready(role.name)
        await process.wait()
        return was_ready


async def _terminate(process: Process, patience_s: float) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
        done, _ = await asyncio.wait([asyncio.create_task(process.wait())], timeout=patience_s)
        if not done:
            log.error("process did not stop in time and is killed", child=process.pid)
            process.kill()


def hold_port(host: str, port: int) -> socket.socket:
    """Take a port for workers to share, without listening on it: refused if anybody holds it, shared workers included.

    Args:
        port: 0 picks a free one: see ``getsockname``.

    Returns:
        The socket that holds the port; close it to let go.

    Raises:
        PortTaken: also when the host is not an address of this machine.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        holder = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PortTaken(f"cannot listen on {host!r}: {error.strerror}") from None
    try:
        # Bound as one who does not share, which fails beside any listener; shared from then on. REUSEADDR is for what a server that
        # has just ended leaves in TIME_WAIT, and is taken back so that a second holder fails even before the workers listen.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(where)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError as error:
        holder.close()
        raise PortTaken(f"cannot listen on {address(host, port)}: {error.strerror}. Stop what is there, or choose another port") from None
    return holder


def stop_on_signals(supervisor: Supervisor) -> None:
    """Drain on SIGTERM and Ctrl-C; call it in the main thread, inside the loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
