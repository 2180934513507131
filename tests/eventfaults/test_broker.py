"""The broker is away, or is given what is no event: nobody who asks for decisions notices, and nothing is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import nats
import numpy as np
import pytest

from events.subjects import DEAD_LETTERS
from tests.eventfaults.client import LoggedClient
from tests.eventfaults.site import logged
from tests.eventfaults.table import check_forgotten, check_table, rows_of
from tests.events.buses import fetched, jetstream
from tests.faults.conftest import NewStore
from tests.serving.waiting import eventually

AWAY_S = 60.0
LOOK_S = 5.0
UNNOTICED_S = 0.2
"""So much may come of what else the machine does; who waited for a broker would wait for seconds."""
NOT_AN_EVENT = {b"": "an event of kind None", b"\xff\xff": "not an ooml.bandit.v1.Event", b"\x08\x01": "an event of kind None"}


async def test_what_is_no_event_is_put_aside_and_stops_nobody(new_store: NewStore, tmp_path: Path) -> None:
    async with logged(new_store(tmp_path, {}), tmp_path) as here:
        assert here.nats is not None
        client = LoggedClient(here.server.address, "u", np.random.default_rng(0), 4, patience_s=(5.0,))
        async with client.load():
            await eventually(lambda: len(client.applied_after_s) >= 10, 60, "10 rewards")
            broker = await nats.connect(here.nats.url)
            for body in NOT_AN_EVENT:
                await broker.jetstream().publish("signals.shop.served", body)
            await broker.close()
            await eventually(lambda: len(client.applied_after_s) >= 60, 60, "50 rewards more")
        await client.settle()
        await here.drained()
        check_table(rows_of(here.table), client)
        async with jetstream(here.nats) as bus:
            letters = [one.message for one in await fetched(await bus.subscribe("reader", [DEAD_LETTERS]), len(NOT_AN_EVENT))]
        assert {one.body: one.why for one in letters} == {body: f"signals.shop.served: {why}" for body, why in NOT_AN_EVENT.items()}
        (sink,) = here.sinks
        assert [said["why"] for said in sink.said("what is no event was put aside")] == list(NOT_AN_EVENT.values())
        assert len(sink.said("keeping events")) == 1  # it was never started again


@pytest.mark.slow
async def test_a_broker_that_is_away_for_a_minute_is_not_noticed_by_those_who_ask(new_store: NewStore, tmp_path: Path) -> None:
    """With the settings that people have: nothing is hurried."""
    async with logged(new_store(tmp_path, {}), tmp_path, hurried=False) as here:
        assert here.nats is not None
        client = LoggedClient(here.server.address, "u", np.random.default_rng(0), 4, patience_s=(5.0,), pause_s=0.1)
        async with client.load():
            await eventually(lambda: len(client.applied_after_s) >= 300, 60, "300 rewards")
            usual = client.applied_after_s[100:]  # the first ones met a server that had just begun
            await here.do(here.nats.kill)
            lags = []
            for _ in range(round(AWAY_S / LOOK_S)):
                await asyncio.sleep(LOOK_S)
                lags.append(here.waiting())
            away = client.applied_after_s[100 + len(usual) :]
            await here.start(here.nats)
            await here.drained(to=lags[0] // 2)
        assert client.unanswered == 0
        assert lags == sorted(lags)
        assert lags[-1] > 5 * lags[0] > 0
        assert np.median(away) < max(2 * np.median(usual), UNNOTICED_S)
        assert np.quantile(away, 0.99) < 0.5
        await client.settle()
        await here.drained()
        rows = rows_of(here.table)
        check_table(rows, client)
        check_forgotten(rows, client, here.store.port)
        (relay,), (sink,) = here.relays, here.sinks
        most = max(said["waiting"] for said in relay.said("lag"))
        assert most > lags[0]
        for mover in (relay, sink):
            assert mover.said("lag")
        assert len(relay.said("relaying")) == len(sink.said("keeping events")) == 1
        assert len(relay.said("events cannot be moved")) >= 1
