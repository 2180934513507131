from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.embedded import EmbeddedServer
from tests.serving.server import publish_toy


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A Redis of the test's own, to be stopped and killed, with one published policy."""
    with EmbeddedServer(tmp_path / "redis") as server:
        publish_toy(server, tmp_path)
        yield server
