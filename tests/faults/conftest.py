from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cli.embedded import EmbeddedServer, bundled_server
from tests.faults.disk import Disk, build
from tests.faults.record import POLICIES
from tests.serving.server import OOML, environment


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of a store that was stopped after the policies were published to it."""
    folder = tmp_path_factory.mktemp("published")
    for name, text in POLICIES.items():
        (folder / f"{name}.yaml").write_text(text)
    with EmbeddedServer(folder / "data", program=bundled_server()) as store:
        subprocess.run([*OOML, "apply", str(folder)], env=environment(redis_url=store.url), check=True, capture_output=True, timeout=30)
    return folder / "data"


@pytest.fixture
def store(published: Path, tmp_path: Path) -> EmbeddedServer:
    """A store of the test's own, not running yet: Valkey, where our dependencies bring it."""
    return EmbeddedServer(shutil.copytree(published, tmp_path / "store"), program=bundled_server())


@pytest.fixture(scope="session")
def slow_fsync(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that slows syncs."""
    return build(tmp_path_factory.mktemp("slow_fsync"))


@pytest.fixture
def disk(slow_fsync: Path, tmp_path: Path) -> Disk:
    """A disk that can be slowed, quick at first."""
    return Disk(slow_fsync, tmp_path / "slow")


@pytest.fixture
def store_on_disk(published: Path, tmp_path: Path, disk: Disk) -> EmbeddedServer:
    """A store of the test's own on that disk, not running yet."""
    return EmbeddedServer(shutil.copytree(published, tmp_path / "store"), program=bundled_server(), env=disk.environment)
