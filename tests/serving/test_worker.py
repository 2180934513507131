"""A worker on its own, in this process."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import grpc
import pytest

from cli.embedded import EmbeddedServer, free_port
from serving import child, main
from serving.child import Orders
from serving.settings import Settings
from tests.serving.server import score


async def test_a_worker_whose_background_fails_stops_taking_in_calls_before_it_ends(
    store: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, fail = asyncio.Event(), asyncio.Event()

    async def failing() -> None:
        await fail.wait()
        raise OSError("no space left on device")

    def build(orders: Orders) -> main.Worker:
        worker = whole(orders)
        for job in worker.background:
            job.close()
        return replace(worker, background=(failing(),))

    whole = main.build
    monkeypatch.setattr(main, "build", build)
    monkeypatch.setattr(child, "say_ready", ready.set)  # else it writes to our stdout
    monkeypatch.setattr(main, "_collect_less", lambda: None)
    address = f"127.0.0.1:{free_port()}"
    orders = Orders(Settings.model_validate({"redis_url": store.url}), address)
    async with asyncio.timeout(20), grpc.aio.insecure_channel(address) as channel:
        serving = asyncio.create_task(main.serve(orders))
        await ready.wait()
        assert (await score(channel)).decision_id
        fail.set()
        with pytest.raises(OSError, match="no space left"):
            await serving
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            await score(channel)
    assert asyncio.all_tasks() == {asyncio.current_task()}
