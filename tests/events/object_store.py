"""An S3 server of our own on this machine, built once: https://github.com/versity/versitygw."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest

from cli.own_server import OwnServer

VERSITYGW = "v1.8.0"
BUCKET = "logs"
_ROOT = Path(__file__).parents[2]
_KEY = "tester"


def versitygw() -> Path:
    """The program, built once and kept in build/."""
    folder = _ROOT / "build" / f"versitygw-{VERSITYGW}"
    program = folder / "versitygw"
    if not program.exists():
        go = shutil.which("go")
        if go is None:
            pytest.skip("go is not on PATH, and versitygw is built with it")
        command = [go, "install", f"github.com/versity/versitygw/cmd/versitygw@{VERSITYGW}"]
        subprocess.run(command, env={**os.environ, "GOBIN": str(folder)}, check=True, timeout=900)
    return program


class OwnObjectStore(OwnServer):
    """One server with a bucket, whose objects are files in ``bucket``."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir, 0, versitygw(), {"ROOT_ACCESS_KEY": _KEY, "ROOT_SECRET_KEY": _KEY})
        self._health = f"/{secrets.token_hex(8)}"  # nobody else answers there
        self.bucket = self.data_dir / "buckets" / BUCKET
        self.bucket.mkdir(parents=True)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://{self.host}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What whoever uses it must have in the environment: docs/event-log.md tells people the same."""
        return {"AWS_ENDPOINT_URL": self.url, "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": _KEY, "AWS_SECRET_ACCESS_KEY": _KEY}

    def _arguments(self) -> Sequence[str]:
        return ["--quiet", "--health", self._health, "--port", f"{self.host}:{self.port}", "posix", str(self.bucket.parent)]

    def _served_by(self, pid: int) -> bool:
        try:
            with urllib.request.urlopen(self.url + self._health, timeout=5) as answer:  # noqa: S310  ours: http, on loopback
                return bool(answer.status == 200)
        except OSError:
            return False
