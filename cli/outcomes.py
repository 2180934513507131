"""`ooml outcomes`: what decisions came to, for training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.audit import Table, fail, progress, settings_or_fail


def outcomes(
    file: Annotated[
        Path, typer.Argument(envvar="OOML_OUTCOMES", help="Parquet file to write; the feature repository looks for it in its data folder.")
    ] = Path("data/outcomes.parquet"),
    table: Table = None,
) -> None:
    """Write what every decision came to, and when that was known, where Feast finds it.

    A training set joins it by `decision_id` (`outcomes:value`, `outcomes:answered`) as of its own moments: a reward that came later is not
    in it. Run it before training: the file is as new as its last run.
    """
    from rich.console import Console

    from events.log import Log
    from events.outcomes import write_outcomes
    from events.table import TableUnavailable

    out, err = Console(highlight=False), Console(stderr=True, highlight=False)
    settings = settings_or_fail(err, event_table=table)
    try:
        with progress(err) as stage:
            log = Log(settings.event_table)
            count = write_outcomes(log, file, stage("reading the log", log.rows))
    except TableUnavailable as error:
        fail(err, str(error))
    except OSError as error:
        fail(err, f"{file} cannot be written: {error.strerror}")
    out.print(f"{count:,} values of decisions in {file}", style="bold green", markup=False, soft_wrap=True)
