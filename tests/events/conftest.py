from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from cli.embedded_nats import EmbeddedNats
from events.memory import MemoryBus
from tests.events.buses import AGAIN_S, AnyBus, jetstream


@pytest.fixture
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNats]:
    """A broker that has kept nothing yet."""
    with EmbeddedNats(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(params=["memory", "jetstream"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[AnyBus]:
    """Each kind of bus in turn, empty: a test that takes this runs on all of them."""
    if request.param == "memory":
        yield MemoryBus(again_after_s=AGAIN_S)
        return
    async with jetstream(request.getfixturevalue("nats")) as bus:
        yield bus
