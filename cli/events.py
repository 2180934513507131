"""`ooml relay` and `ooml sink`: what moves events from the outbox to the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from events.settings import EventSettings

Nats = Annotated[str | None, typer.Option(help="Broker: nats://[user:password@]host[:port]. Default: OOML_NATS_URL.")]


def relay(nats_url: Nats = None) -> None:
    """Move events from the outbox in Redis to NATS JetStream, one message an event, until stopped.

    Any number of relays may run; each event goes through one of them, and what one did not live to tell goes through another. How many
    entries wait is logged every ten seconds. Needs OOML_REDIS_URL and OOML_NATS_URL; the servers need OOML_EVENT_SINK=drained.
    """
    from events import main

    _run("relay", main.relay, nats_url=nats_url)


def sink(
    nats_url: Nats = None,
    table: Annotated[str | None, typer.Option(help="Delta table: a folder, or s3://, gs://, az://. Default: OOML_EVENT_TABLE.")] = None,
) -> None:
    """Keep events in a Delta Lake table, each exactly once, until stopped.

    They come from NATS, or, where OOML_NATS_URL is not set, from the outbox in Redis. An event is dropped from the outbox once it is on
    disk. One sink is at work at a time; another waits to take over. What is in the table: docs/event-log.md.
    """
    from events import main

    _run("sink", main.sink, nats_url=nats_url, event_table=table)


def _run(process: str, work: Callable[[EventSettings], Coroutine[Any, Any, None]], **given: object) -> None:
    from events.main import collect_seldom
    from events.settings import load
    from serving import logs
    from serving.settings import SettingsError

    try:
        settings = load(**given)
        logs.configure(settings, process)
        collect_seldom()
        asyncio.run(work(settings))
    except (SettingsError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
