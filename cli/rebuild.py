"""`ooml rebuild`: what Redis has lost, put back from the log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from cli.audit import Redis, Table, fail, progress, settings_or_fail, unreachable

if TYPE_CHECKING:
    from rich.console import Console

    from events.audit import Stage
    from events.fill import Filled
    from events.rebuild import Rebuilt
    from events.settings import EventSettings


def rebuild(
    table: Table = None,
    redis_url: Redis = None,
    namespace: Annotated[
        str | None, typer.Option(help="Fill this one alone, of a new version: NAMESPACE, POLICY@VERSION, or POLICY for its newest version.")
    ] = None,
    only_published: Annotated[
        bool, typer.Option("--only-published", help="Leave out evidence of namespaces that no published policy has.")
    ] = False,
    idempotency_window_s: Annotated[
        float, typer.Option(min=0, envvar="OOML_IDEMPOTENCY_WINDOW_S", help="For how long answers to request_ids are kept, in seconds.")
    ] = 3600.0,
) -> None:
    """Fill an empty Redis from the log: evidence, open decisions, kept replies, and who was forgotten.

    Publish the policies first (`ooml apply`), stop every server, and let `ooml sink` finish what NATS still holds.

    With `--namespace` nothing is lost or stopped: a version that is not live yet, whose features, interactions, intercept, half-life or
    reward rules differ from those that were live, gets the evidence it would have had from the same decisions.

    **Examples**

    `ooml apply policy_repo && ooml rebuild && ooml audit` after Redis was lost.

    `ooml apply policy_repo && ooml rebuild --namespace tips` before the new version of tips goes live.
    """
    from rich.console import Console

    out, err = Console(highlight=False), Console(stderr=True, highlight=False)
    settings = settings_or_fail(err, event_table=table, redis_url=redis_url)
    with progress(err) as stage:
        said = asyncio.run(_rebuild(settings, namespace, only_published, idempotency_window_s, stage, err))
    for line in said[:-1]:
        out.print(line, style="dim", markup=False, soft_wrap=True)
    out.print(said[-1], style="bold green", markup=False, soft_wrap=True)


async def _rebuild(
    settings: EventSettings, namespace: str | None, only_published: bool, window_s: float, stage: Stage, err: Console
) -> list[str]:
    from events.fill import Filler
    from events.rebuild import CannotRebuild, Rebuilder
    from events.table import TableUnavailable
    from serving.ports import Unavailable
    from serving.redis.connect import connect

    client = connect(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster, timeout_s=settings.redis_timeout_s)
    try:
        if namespace is not None:
            return _told_of_filling(await Filler(client, settings.event_table, stage).run(namespace))
        return _told(await Rebuilder(client, settings.event_table, window_s, stage).run(only_published=only_published))
    except Unavailable as error:
        fail(err, unreachable(settings, error))
    except (CannotRebuild, TableUnavailable, ValueError) as error:
        fail(err, str(error))
    finally:
        await client.aclose()


def _told(rebuilt: Rebuilt) -> list[str]:
    return [
        *(f"left out: {count:,} terms of {namespace}, which no published policy has" for namespace, count in rebuilt.unpublished.items()),
        f"{rebuilt.decisions:,} decisions are open, {rebuilt.replies:,} replies are kept, {rebuilt.forgotten:,} scopes are forgotten",
        f"rebuilt {rebuilt.arms:,} arms of {rebuilt.scopes:,} scopes; `ooml audit` says whether they agree with the log",
    ]


def _told_of_filling(filled: Filled) -> list[str]:
    left_out = {
        "decisions without a feature that the policy insists on": filled.rejected,
        "decisions whose slates were not logged": filled.shed,
        "events of versions that are not published": filled.foreign,
    }
    return [
        *(f"left out: {count:,} {what}" for what, count in left_out.items() if count),
        f"filled {filled.namespace}: {filled.decisions:,} decisions taught {filled.arms:,} arms of {filled.scopes:,} scopes",
    ]
