"""What ports are kept by: memory, or one of the stores, empty."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from serving.redis.connect import Client
from tests.catalog.samples import client_of
from tests.servers import Store, flush

KINDS = ("memory", "valkey", "redis_server", "redis_cluster")
"""Fixtures of `tests/conftest.py`, but for the first."""


@asynccontextmanager
async def emptied(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A client of the store that the fixture's parameter names."""
    store: Store = request.getfixturevalue(request.param)
    flush(store)
    async with client_of(store) as client:
        yield client
