from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from cli.embedded_nats import EmbeddedNats
from events.memory import MemoryBus
from tests.events.buses import AGAIN_S, LONG_S, AnyBus, jetstream


@pytest.fixture
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNats]:
    """A broker that has kept nothing yet."""
    with EmbeddedNats(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(params=["memory", "jetstream"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[AnyBus]:
    """Each kind of bus in turn, empty: a test that takes this runs on all of them."""
    async with bus_of(request, LONG_S) as bus:
        yield bus


@pytest.fixture(params=["memory", "jetstream"])
async def hasty_bus(request: pytest.FixtureRequest) -> AsyncIterator[AnyBus]:
    """As `bus`, but what was not done comes again after `AGAIN_S`."""
    async with bus_of(request, AGAIN_S) as bus:
        yield bus


@asynccontextmanager
async def bus_of(request: pytest.FixtureRequest, again_after_s: float) -> AsyncIterator[AnyBus]:
    if request.param == "memory":
        yield MemoryBus(again_after_s=again_after_s)
        return
    async with jetstream(request.getfixturevalue("nats"), again_after_s=again_after_s) as bus:
        yield bus
