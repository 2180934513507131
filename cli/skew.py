"""`ooml skew`: vectors as they were served against what a training set has for the same moments now."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.audit import Redis, Table, fail, progress, settings_or_fail, unreachable

if TYPE_CHECKING:
    from rich.console import Console

    from events.audit import Stage
    from events.served import Served, Skew
    from events.settings import EventSettings
    from policies.types import Floats

_DAY_S = 86_400


class JoinFailed(Exception):
    """Feast could not join; its message says how it ended."""


def skew(
    table: Table = None,
    redis_url: Redis = None,
    feature_repo: Annotated[Path, typer.Option(help="Feast repository, applied.", exists=True, file_okay=False)] = Path("feature_repo"),
    days: Annotated[float, typer.Option(min=0.001, help="How far back to look.")] = 7.0,
    most: Annotated[int, typer.Option(min=1, help="Candidates to compare, of each feature service: the newest.")] = 20_000,
) -> None:
    """Compare logged vectors, feature by feature, with Feast's get_historical_features for the same entities and moments.

    What differs was changed since, came late, or expired in one of the two: models are then trained on what was not served. Features whose
    inputs callers sent are left out, but for the time and the offset from UTC.
    """
    from rich.console import Console

    out, err = Console(highlight=False), Console(stderr=True, highlight=False)
    settings = settings_or_fail(err, event_table=table, redis_url=redis_url)
    with progress(err) as stage:
        found = asyncio.run(_served(settings, time.time() - days * _DAY_S, most, stage, err))
        stage("joining", None)
        try:
            compared = [(one, _compared(feature_repo, one)) for one in found]
        except JoinFailed as error:
            fail(err, str(error))
    for one, skews in compared:
        _show(out, one, skews)
    if not found:
        out.print(f"no decision of the last {days:g} days was made with a feature service", markup=False)


async def _served(settings: EventSettings, since_s: float, most: int, stage: Stage, err: Console) -> list[Served]:
    from events.audit import by_namespace
    from events.log import Log
    from events.served import served
    from events.table import TableUnavailable
    from serving.ports import Unavailable
    from serving.redis.connect import connect
    from serving.redis.published import load

    client = connect(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster, timeout_s=settings.redis_timeout_s)
    try:
        policies, log = by_namespace(await load(client)), Log(settings.event_table)
        return served(log, policies, round(since_s * 1e6), most, stage("reading the log", log.rows))
    except Unavailable as error:
        fail(err, unreachable(settings, error))
    except TableUnavailable as error:
        fail(err, str(error))
    finally:
        await client.aclose()


def _compared(repo: Path, found: Served) -> list[Skew]:
    from events.served import compare

    return compare(found, join(repo, found))


def join(repo: Path, found: Served) -> dict[str, Floats]:
    """What a training set has now, by feature.

    Raises:
        JoinFailed.
    """
    import pyarrow.parquet as pq

    from cli.up import ROOT

    with tempfile.TemporaryDirectory() as folder:
        asked, result = Path(folder) / "asked.parquet", Path(folder) / "result.parquet"
        pq.write_table(found.asked, asked, coerce_timestamps="us")
        command = [sys.executable, "-m", "cli.training_join", str(repo.absolute()), found.plan.feature_service, str(asked), str(result)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603  # our own arguments
        if ended.returncode:
            tail = "\n".join(ended.stderr.splitlines()[-5:])
            raise JoinFailed(
                f"Feast could not join {found.plan.feature_service}. Is {repo} applied, and what its env.sh sets in the environment? "
                f"Feast said last:\n{tail}"
            )
        joined = pq.read_table(result)
    return {name: joined[name].to_numpy() for name in joined.column_names}


def _show(out: Console, found: Served, skews: Sequence[Skew]) -> None:
    from rich.table import Table as Shown

    shown = Shown(
        "feature", "rows", "equal", "largest difference", "only served", "only joined", "(expired)", box=None, padding=(0, 2, 0, 0)
    )
    for s in skews:
        style = None if s.equal == s.rows else "red"
        cells = (s.feature, f"{s.rows:,}", f"{s.equal:,}", f"{s.largest:.3g}", f"{s.only_served:,}", f"{s.only_joined:,}", f"{s.expired:,}")
        shown.add_row(*cells, style=style)
    out.print(f"{found.plan.feature_service}: {found.asked.num_rows:,} candidates as served, and as Feast joins them now", style="bold")
    out.print(shown)
    for name, inputs in found.unknown.items():
        out.print(f"{name} is not compared: {inputs} was not logged", style="dim", markup=False)
