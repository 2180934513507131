from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from cli.embedded import EmbeddedServer, bundled_server
from tests.faults.record import POLICIES
from tests.serving.server import OOML, environment

NewStore = Callable[[Path, Mapping[str, str]], EmbeddedServer]


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> NewStore:
    """Makes stores to which the policies are published, not running yet: Valkey, where our dependencies bring it."""
    folder = tmp_path_factory.mktemp("published")
    for name, text in POLICIES.items():
        (folder / f"{name}.yaml").write_text(text)
    with EmbeddedServer(folder / "data", program=bundled_server()) as store:
        subprocess.run([*OOML, "apply", str(folder)], env=environment(redis_url=store.url), check=True, capture_output=True, timeout=30)

    def new(into: Path, variables: Mapping[str, str]) -> EmbeddedServer:
        return EmbeddedServer(shutil.copytree(folder / "data", into / "store"), program=bundled_server(), env=variables)

    return new
