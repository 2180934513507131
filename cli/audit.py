"""`ooml audit`: whether Redis has learned what the log says it must have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from events.audit import Report, Stage
    from events.settings import EventSettings

SHOWN = 20
"""Of each kind of finding."""

Table = Annotated[str | None, typer.Option(help="Delta table of the events: a folder, or s3://, gs://, az://. Default: OOML_EVENT_TABLE.")]
Redis = Annotated[str | None, typer.Option(help="Where evidence lies. Default: OOML_REDIS_URL, else redis://127.0.0.1:6379/0.")]


def audit(table: Table = None, redis_url: Redis = None) -> None:
    """Work out from the log what every arm must have learned, and hold it against Redis.

    Servers go on serving meanwhile. Counts must be equal, sums within 1e-9 of what their terms come to. Whatever differs is named and
    makes the exit code 1, as does a commit that the log has lost.

    **Examples**

    `ooml audit` looks at the table and the Redis that the environment names.

    `ooml audit --table s3://logs/events --redis-url redis://replica:6379/0` looks elsewhere.
    """
    from rich.console import Console

    out, err = Console(highlight=False), Console(stderr=True, highlight=False)
    settings = settings_or_fail(err, event_table=table, redis_url=redis_url)
    with progress(err) as stage:
        report = asyncio.run(look(settings, stage, err))
    show(out, report)
    raise typer.Exit(0 if report.agrees else 1)


async def look(settings: EventSettings, stage: Stage, err: Console) -> Report:
    """What an audit finds; where it cannot look, the command ends."""
    from events.audit import Auditor
    from events.table import TableUnavailable
    from serving.ports import Unavailable
    from serving.redis.connect import connect

    client = connect(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster, timeout_s=settings.redis_timeout_s)
    try:
        return await Auditor(client, settings.event_table, stage).run()
    except Unavailable as error:
        fail(err, unreachable(settings, error))
    except (TableUnavailable, ValueError) as error:
        fail(err, str(error))
    finally:
        await client.aclose()


def show(out: Console, report: Report) -> None:
    """What was found; the last line says it all."""
    for line in _findings(report):
        out.print(line, style="red", markup=False, soft_wrap=True)
    for line in _remarks(report):
        out.print(line, style="dim", markup=False, soft_wrap=True)
    numbers = f"{report.decisions:,} decisions, {report.rewards:,} rewards, {report.arms:,} arms of {report.scopes:,} scopes"
    if report.agrees:
        out.print(f"the log and Redis agree: {numbers}", style="bold green", markup=False, soft_wrap=True)
    else:
        out.print(f"the log and Redis do not agree: {numbers}", style="bold red", markup=False, soft_wrap=True)


def _findings(report: Report) -> Iterator[str]:
    found = [
        f"{d.policy} ({d.namespace}), scope {d.scope}, arm {d.arm}: {_difference(d.number, d.log, d.redis)}"
        + (f" ({d.more} more numbers differ)" if d.more else "")
        for d in report.differences
    ]
    yield from _some(found, "arms differ")
    yield from _some(
        [
            f"the log lost {gap.missing - gap.erased:,} of the commits {gap.first} to {gap.last} of shard {gap.shard}, epoch {gap.epoch}"
            for gap in report.gaps
            if gap.missing > gap.erased
        ],
        "gaps",
    )
    for namespace, count in sorted(report.unpublished.items()):
        yield f"no published policy has the namespace {namespace} ({count} terms or arms): publish its declaration with `ooml apply`"
    yield from _some([f"the outbox holds what nobody can read: {what}" for what in report.unreadable], "entries")
    if len(report.unlogged) > report.shed:
        yield from _some([f"the log knows nothing of the open decision {name}" for name in report.unlogged], "decisions")


def _remarks(report: Report) -> Iterator[str]:
    if report.waiting:
        yield f"{report.waiting:,} events are on their way to the table"
    if report.shed:
        yield f"{report.shed:,} decisions were left out of the log, which was too full; what they taught is in it"
    if erased := sum(gap.erased for gap in report.gaps):
        yield f"{erased:,} commits were erased because somebody was forgotten"
    yield f"{report.open:,} decisions are open; the log has {report.open - len(report.unlogged):,} of them"


def _difference(number: str, log: float | None, redis: float | None) -> str:
    if number == "row":
        return f"only Redis has it ({redis:g} decisions)" if log is None else f"only the log has it ({log:g} decisions)"
    if log is None or redis is None:
        return number
    return f"{number} is {redis:.12g} in Redis and {log:.12g} in the log ({redis - log:+.3g})"


def _some(lines: list[str], what: str) -> Iterator[str]:
    yield from lines[:SHOWN]
    if len(lines) > SHOWN:
        yield f"… {len(lines) - SHOWN:,} more {what}"


@contextmanager
def progress(err: Console) -> Iterator[Stage]:
    """Bars that show how far a reading is; nothing where nobody watches."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:

        def stage(what: str, total: int | None) -> Callable[[int], object]:
            task = bars.add_task(what, total=total)
            return lambda count: bars.advance(task, count)

        yield stage


def settings_or_fail(err: Console, **given: object) -> EventSettings:
    """Settings from the environment and the command line."""
    from events.settings import load
    from serving.settings import SettingsError

    try:
        return load(**given)
    except SettingsError as error:
        fail(err, str(error))


def unreachable(settings: EventSettings, error: Exception) -> str:
    """What to do about a store that is away."""
    return f"{error} at {settings.redis_address} ({error.__cause__}). Is it running? OOML_REDIS_URL or --redis-url names another."


def fail(err: Console, text: str) -> NoReturn:
    """Say what is wrong, and end."""
    err.print(text, style="bold red", markup=False, soft_wrap=True)
    raise typer.Exit(2)
