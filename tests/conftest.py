"""Real servers, started once a session on free ports; every area of the tests uses them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from cli.embedded import EmbeddedServer, bundled_server, find_server, server_on_path
from tests.servers import Cluster, Store, cluster, flush

# The same examples in every run, and no judging of how long they take: what a run finds hangs on the code alone.
settings.register_profile("ooml", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", settings.get_profile("ooml"), derandomize=False)  # others in every run: --hypothesis-profile search
settings.load_profile("ooml")
pytest_plugins = ("tests.nothing_skipped", "pytester")


def pytest_collection_finish() -> None:
    """Look for garbage among what tests make alone: with all that is imported, a look takes a tenth of a second amid any test."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Let all be looked at again: libraries tell of what is left at the end."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """The Valkey that comes with our dependencies."""
    program = bundled_server()
    if program is None:
        pytest.skip("no bundled Valkey for this platform")
    with EmbeddedServer(tmp_path_factory.mktemp("valkey"), program=program) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """The Redis of this machine."""
    program = server_on_path("redis-server")
    if program is None:
        pytest.skip("redis-server 7 or newer is not on PATH")
    with EmbeddedServer(tmp_path_factory.mktemp("redis"), program=program) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three masters, of Redis where this machine has it and of the bundled Valkey elsewhere."""
    program: Path = server_on_path("redis-server") or find_server()
    with cluster(tmp_path_factory.mktemp("cluster"), program) as masters:
        yield masters


@pytest.fixture
def clean_valkey(valkey: EmbeddedServer) -> EmbeddedServer:
    """`valkey`, empty."""
    flush(valkey)
    return valkey


@pytest.fixture(params=["valkey", "redis_server", "redis_cluster"])
def clean_store(request: pytest.FixtureRequest) -> Store:
    """Each kind of store in turn, empty: a test that takes this runs on all of them."""
    store: Store = request.getfixturevalue(request.param)
    flush(store)
    return store
