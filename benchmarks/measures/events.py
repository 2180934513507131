"""The log: how fast events get from the outbox to the broker and to the table, what that costs a Score, and how long an audit takes."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import redis

from benchmarks import history, moving, people, servers
from benchmarks.beside import Beside
from benchmarks.cells import Kind, alternate
from benchmarks.copies import copy
from benchmarks.entries import logged
from benchmarks.load import Load
from benchmarks.measures.floor import scoring
from benchmarks.rows import Row, Spread, at_least, at_most, below, calls_of, cpu_against, ratios, summary
from benchmarks.servers import Server
from benchmarks.site import Site
from cli.embedded import EmbeddedServer
from cli.embedded_nats import EmbeddedNats
from events.outbox import Entry

WITH, WITHOUT, IDLE = "with", "without", "idle"
BUSY, ALONE = 16, 1
"""Calls in flight: CPU is judged under load too, the time of a call where it does not wait for others."""
SETTINGS: Mapping[str, object] = {"event_sink": "drained"}
"""Of both servers: they write the same, and of one of them nobody takes it away."""
LONGER = 4
"""Times a measurement is longer than others: a sink that works once a second is to be in each of them."""
REWARDED = 0.5
"""Part of the sample's decisions."""
AUDITS = 3
Moved = dict[str, list[dict[str, float]]]


def measure(site: Site) -> list[Row]:
    """Rows of relay, sink and audit, and of a Score beside them."""
    site.ooml  # noqa: B018  brings up what is copied
    with ExitStack() as stack:
        stores, scoring_servers = {}, {}
        for who in (WITHOUT, WITH):
            stores[who] = stack.enter_context(servers.store(site.folder / f"events-{who}"))
            copy(site.redis, stores[who])
            log = site.folder / f"events-{who}.log"
            scoring_servers[who] = stack.enter_context(servers.serve([stores[who]], log, seed=site.seed, settings=SETTINGS))
        client = stack.enter_context(redis.Redis.from_url(stores[WITH].url))
        site.tell("making a sample")
        sample = _sample(site, scoring_servers[WITH], client)
        rows = _moved(site, stores[WITH].url)
        nats = stack.enter_context(EmbeddedNats(site.folder / "events-nats"))
        movers = stack.enter_context(servers.event_processes(stores[WITH].url, nats, site.folder / "events-log"))
        idlers = [stack.enter_context(servers.program("benchmarks.idler"))[0] for _ in movers]
        rows += _scores(site, scoring_servers, client, Beside(movers, idlers))
    return [*rows, *_audit(site, sample)]


def _sample(site: Site, server: Server, client: redis.Redis) -> list[Entry]:
    """What a server logs of decisions, some of them rewarded."""
    made = site.decisions(server, site.scores(), site.sizes.sample)
    rewards = [people.reward(decision) for decision in made[: round(REWARDED * len(made))]]
    site.send(server, Load(rewards, len(rewards), in_flight=16, distinct=True))
    return logged(client)


def _moved(site: Site, sample_url: str) -> list[Row]:
    site.tell("relay and sink in a process of their own")
    folder = site.folder / "moving"
    with servers.store(folder / "store") as store, EmbeddedNats(folder / "nats") as nats:
        where = ["--sample-url", sample_url, "--redis-url", store.url, "--nats-url", nats.url, "--folder", str(folder)]
        much = ["--events", str(site.sizes.events), "--rounds", str(site.sizes.rounds)]
        said = servers.output("benchmarks.moving", *where, *much, environment={}, log=folder / "log")
    moved: Moved = defaultdict(list)
    for line in said.splitlines():
        took = json.loads(line)
        moved[took["who"]].append(took)
    return [_relay(moved), *_sinks(moved), _bytes(moved)]


def _relay(moved: Moved) -> Row:
    ours, raw = moved[moving.RELAY], moved[moving.RAW]
    return Row(
        what="events relayed a second, against what the raw client gets of the same broker, sync_interval: always",
        figure=Spread.of([_rate(o) / _rate(r) for o, r in zip(ours, raw, strict=True)]),
        unit="×",
        generator="in one process",
        calls=_events(ours),
        must=at_least(0.9),
        beside={
            "events/s": Spread.of(list(map(_rate, ours))).median,
            "raw events/s": Spread.of(list(map(_rate, raw))).median,
            "CPU µs": _cpu_us(ours),
            "raw CPU µs": _cpu_us(raw),
        },
        note="the raw client publishes one by one, the relay in batches",
    )


def _sinks(moved: Moved) -> Iterator[Row]:
    for who, must in ((moving.FROM_MEMORY, at_least(50_000)), (moving.FROM_BUS, None), (moving.FROM_OUTBOX, None)):
        kept = moved[who]
        yield Row(
            what=f"events kept for a CPU second of the sink, {who}",
            figure=Spread.of([took["events"] / took["cpu_s"] for took in kept]),
            unit="/s",
            generator="in one process",
            calls=_events(kept),
            must=must,
            beside={"CPU µs": _cpu_us(kept), "events/s by the clock": Spread.of(list(map(_rate, kept))).median},
        )


def _bytes(moved: Moved) -> Row:
    (size,) = moved[moving.SIZE]
    note = f"of {size['decisions']:,} decisions, half of them rewarded, {people.CANDIDATES} candidates each"
    return Row("the table, an event", Spread.of([size["bytes_each"]]), "B", "", 0, note=note)


def _scores(site: Site, scoring_servers: Mapping[str, Server], outbox: redis.Redis, beside: Beside) -> list[Row]:
    """CPU under load and of a call alone, the time of a call alone: with those who move events at work, and without. Under load also with
    others at work who share nothing with the server but the machine."""
    scores = site.scores()
    kinds = {}
    for in_flight in (BUSY, ALONE):
        without, moved = (scoring(site, scoring_servers[who], scores, in_flight) for who in (WITHOUT, WITH))
        kinds[WITHOUT, in_flight] = Kind(without)
        kinds[WITH, in_flight] = Kind(beside.moving(moved, outbox))
        if in_flight == BUSY:
            kinds[IDLE, in_flight] = Kind(beside.idle(without))
    cells = alternate(kinds, site.sizes.rounds, LONGER * site.sizes.cell_s, site.tell)
    busy, alone = (f"server CPU of Score, {in_flight} in flight" for in_flight in (BUSY, ALONE))
    moving, idle, nothing = "with relay and sink at work", "with as much CPU spent beside it on nothing", "as much CPU spent on nothing"
    return [
        cpu_against(f"{busy}, {moving}, against without", cells[WITH, BUSY], cells[WITHOUT, BUSY], WITHOUT, at_most(1.1)),
        cpu_against(f"{busy}, {idle}, against without", cells[IDLE, BUSY], cells[WITHOUT, BUSY], WITHOUT, None),
        cpu_against(f"{busy}, {moving}, against {nothing}", cells[WITH, BUSY], cells[IDLE, BUSY], IDLE, None),
        cpu_against(f"{alone}, {moving}, against without", cells[WITH, ALONE], cells[WITHOUT, ALONE], WITHOUT, at_most(1.1)),
        Row(
            what=f"p50 of Score, {ALONE} in flight, {moving}, against without",
            figure=ratios(cells[WITH, ALONE], cells[WITHOUT, ALONE], lambda cell: cell.ms(50)),
            unit="×",
            generator=cells[WITH, ALONE][0].generator,
            calls=calls_of(cells[WITH, ALONE]),
            must=at_most(1.1),
            beside=summary(cells[WITH, ALONE]) | summary(cells[WITHOUT, ALONE], "without "),
        ),
    ]


def _audit(site: Site, sample: Sequence[Entry]) -> list[Row]:
    """Everything recomputed from a log that was never served, and held against a Redis that was filled from it."""
    folder = site.folder / "audit"
    decisions = site.sizes.audited
    with servers.store(folder / "store", {"appendonly": "no"}) as store:
        copy(site.redis, store)
        site.tell(f"making a log of {decisions:,} decisions")
        rows = history.write(folder / "events", sample, decisions)
        site.tell("rebuilding from it")
        rebuilt = _timed("rebuild", folder, store)
        site.tell("auditing")
        audited = [_timed("audit", folder, store) for _ in range(min(AUDITS, site.sizes.rounds))]
    return [
        Row(
            f"`ooml audit` of {decisions:,} decisions",
            Spread.of(audited),
            "s",
            "",
            len(audited),
            below(30),
            beside={"rows": rows},
            note="a hundred days; rewards of half of them",
        ),
        Row("`ooml rebuild` from the same log", Spread.of([rebuilt]), "s", "", 1),
    ]


def _timed(command: str, folder: Path, store: EmbeddedServer) -> float:
    began = time.monotonic()
    servers.command(command, str(folder / "events"), store.url)
    return time.monotonic() - began


def _rate(took: Mapping[str, float]) -> float:
    return took["events"] / took["wall_s"]


def _events(moved: Sequence[Mapping[str, float]]) -> int:
    return round(sum(took["events"] for took in moved))


def _cpu_us(moved: Sequence[Mapping[str, float]]) -> float:
    return 1e6 * sum(took["cpu_s"] for took in moved) / _events(moved)
