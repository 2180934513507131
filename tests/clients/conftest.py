from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks import servers
from cli.embedded import EmbeddedServer

TIPS = """
name: tips
features: [priority]
scope: user_id
reward: {range: [-1, 1], outcomes: {done: 1}, default: 0}
"""


@pytest.fixture(scope="module")
def address(valkey: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server in development mode, as `ooml serve` starts it, with one policy."""
    folder = tmp_path_factory.mktemp("clients")
    (folder / "tips.yaml").write_text(TIPS)
    servers.apply(folder, valkey.url)
    with servers.serve([valkey], folder / "serve.log") as server:
        yield server.address
