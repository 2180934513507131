"""An S3 server of our own on this machine: https://github.com/versity/versitygw."""

from __future__ import annotations

import secrets
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from cli.own_server import OwnServer
from tests.go_programs import go_program

VERSITYGW, VERSION = "github.com/versity/versitygw/cmd/versitygw", "v1.8.0"
BUCKET = "logs"
_KEY = "tester"


class OwnObjectStore(OwnServer):
    """One server with a bucket, whose objects are files in ``bucket``."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir, 0, go_program(VERSITYGW, VERSION), {"ROOT_ACCESS_KEY": _KEY, "ROOT_SECRET_KEY": _KEY})
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
