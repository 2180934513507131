"""A server program of our own: on a loopback port, over a data directory that one server at a time uses."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import subprocess
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from cli.own_process import OwnProcess

HOST = "127.0.0.1"
_POLL_S = 0.01
_PORT_ATTEMPTS = 5


class ServerError(Exception):
    """The embedded server did not start, or no server program was found; the message says what to do."""


class OwnServer(OwnProcess):
    """One server process.

    It can be stopped or killed and started again on the same port and data. Start it from a thread that lives as long as it should:
    the kernel ends it with that thread.

    Args:
        data_dir: made if missing; holds its data and its log. One server at a time.
        port: 0 picks a free one at the first start.
        program: the server to run.
        env: variables added to the server's environment.
    """

    host = HOST

    def __init__(self, data_dir: Path, port: int, program: Path, env: Mapping[str, str] | None = None) -> None:
        super().__init__(data_dir / "server.log", env)
        self.data_dir = data_dir.absolute()
        self.port = port
        self.program = program

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect."""

    @abstractmethod
    def _arguments(self) -> Sequence[str]:
        """What the program is told, once the port is known."""

    @abstractmethod
    def _served_by(self, pid: int) -> bool:
        """Whether that very process answers on the port: another server may have taken it first."""

    def _reads_its_data(self, pid: int) -> bool:
        """Whether that very process says that it still reads what it has kept, which takes as long as there is much."""
        return False

    def start(self, timeout_s: float = 20.0) -> Self:
        """Start and return once the server answers; does nothing when it already runs.

        One that still reads what it has kept is waited for beyond the time.

        Raises:
            ServerError: it exited, did not answer in time, or another server uses the data directory; with the end of its log.
        """
        if self.pid is not None:
            return self
        deadline = time.monotonic() + timeout_s
        self.data_dir.mkdir(parents=True, exist_ok=True)
        chosen = self.port
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self.port = chosen or free_port()
            with self._lock(deadline) as lock:
                self._process = self._spawn([str(self.program), *self._arguments()], pass_fds=[lock])
            try:
                if self._answers(deadline):
                    return self
            except BaseException:  # Ctrl-C while it comes up: nobody else would wait until it is gone
                self.kill()
                raise
            taken = "in use" in self.log_tail()
            self.stop(0)
            if chosen or not taken or attempt == _PORT_ATTEMPTS:  # only a port we picked ourselves is ours to change
                break
        raise ServerError(
            f"{self.program.name} did not start on {self.host}:{self.port} within {timeout_s:g} s. Its log ends:\n{self.log_tail()}"
        )

    @contextmanager
    def _lock(self, deadline: float) -> Iterator[int]:
        """The directory's lock; the server inherits it, so that it is held exactly as long as the server lives."""
        lock = os.open(self.data_dir / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise ServerError(f"another server uses {self.data_dir}: stop it, or choose another data directory") from None
                    time.sleep(_POLL_S)
            yield lock
        finally:
            os.close(lock)

    def _answers(self, deadline: float) -> bool:
        while (pid := self.pid) is not None:
            late = time.monotonic() >= deadline and not self._reads_its_data(pid)
            if self._served_by(pid):
                return True
            if late:
                break
            time.sleep(_POLL_S)
        return False


def free_port() -> int:
    """A loopback port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def program_on_path(names: Sequence[str], version: re.Pattern[str], oldest: tuple[int, int]) -> Path | None:
    """The first of the named programs that is on PATH and new enough, or None.

    Args:
        version: how they tell it when asked with ``--version``; two groups.
    """
    for name in names:
        if (found := shutil.which(name)) is not None:
            said = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout  # noqa: S603
            match = version.search(said)
            if match and (int(match[1]), int(match[2])) >= oldest:
                return Path(found)
    return None
