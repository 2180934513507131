"""`ooml demo`: bring up a real server on this machine, and watch it learn over gRPC."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.demo_interrupt import Interrupt

if TYPE_CHECKING:
    from rich.console import Console

    from cli.demo_stats import Claim
    from cli.demo_world import World
    from cli.up import Up
    from events.audit import Report
    from policies.types import Floats

PATIENCE_S = 5.0
"""How long Redis may take for a write to be on disk: on a busy laptop that says nothing about the server."""
INTERRUPTED = 130
"""Exit code of a command that was interrupted, as shells have it."""


@dataclass(frozen=True, slots=True)
class Results:
    """What was played.

    Args:
        right: (images,) 1 where a digit was read right, in order.
        rewards: (n, R) by policy.
        durations_s: of every call, by game and method.
    """

    right: Floats
    rewards: dict[str, Floats]
    durations_s: Mapping[str, Mapping[str, Sequence[float]]]


def demo(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer images and people: half a minute, wider intervals.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Draws other people, other luck, other images first.")] = 0,
    plot: Annotated[Path, typer.Option(dir_okay=False, writable=True, help="Where the picture (PNG) goes.")] = Path("out/demo.png"),
) -> None:
    """Bring up everything on this machine and watch it learn, over gRPC alone, as any caller would. Takes a minute or two.

    **Digits**: 1,797 handwritten digits, their pixels served by Feast. The server is shown one image after another and picks one of ten
    arms; it hears only whether that pick was right. Guessing gets one in ten.

    **Tips**: 200 simulated people, each with a list of tasks and habits that depend on the hour. Four policies give the same people tips
    at the same moments. `tips` cannot see that the hour matters, `tips_hours` can, `tips_greedy` can too but explores by chance, and
    `tips_uniform` learns nothing.

    Every event of it goes through NATS into a Delta Lake table; in the end what Redis has learned is worked out again from that log.

    Redis, NATS, the features and the server are the demo's own, on free ports and in a temporary folder; whatever OOML_* variables say is
    for other servers. Ctrl-C ends it all. Only the picture stays.

    Exit code: 0 if `tips_hours` beats `tips` and both beat `tips_uniform`, each by a 95 % interval above zero, and the log and Redis agree;
    else 1.

    **Examples**

    `ooml demo --quick` is the short one.

    `ooml demo --seed 7 --plot seven.png` is another world, and another picture.

    Then `ooml up` serves the same policies until you stop it, and `policy_repo/tips_hours.yaml` shows how one is declared.
    """
    from rich.console import Console

    from cli.embedded import ServerError
    from cli.policy_files import PolicyFilesError
    from cli.up import UpError
    from serving.settings import SettingsError
    from serving.supervisor import PortTaken

    console = Console(highlight=False)
    try:
        holds = run(seed, quick, plot, console, Interrupt())
    except KeyboardInterrupt:
        console.print("Interrupted: all is stopped, nothing is left behind.")
        raise typer.Exit(INTERRUPTED) from None
    except (UpError, SettingsError, ServerError, PortTaken, PolicyFilesError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(0 if holds else 1)


def run(seed: int, quick: bool, plot: Path, console: Console, interrupt: Interrupt) -> bool:
    """Play, report, draw and audit; whether every claim holds."""
    from cli.audit import show
    from cli.demo_people import best_rewards
    from cli.demo_plot import save
    from cli.demo_stats import claims
    from cli.demo_world import FULL, QUICK, draw_world

    began = time.monotonic()
    plot.parent.mkdir(parents=True, exist_ok=True)  # better to fail now than when all is played
    world = draw_world(seed, QUICK if quick else FULL)
    with brought_up(world, seed, console) as server:
        results = interrupt.run(lambda: play(server.grpc, world, console))
        audited = interrupt.run(lambda: audit(server, console))
    best, shown = best_rewards(world.probabilities), claims(results.rewards)
    save(plot, results.rewards, best, results.right)
    report(console, results, float(best.mean()), shown)
    console.print(f"Picture: {plot}. All in {time.monotonic() - began:.0f} s.")
    show(console, audited)
    return audited.agrees and all(claim.holds for claim in shown)


@contextmanager
def brought_up(world: World, seed: int, console: Console) -> Iterator[Up]:
    """A server with the world's people in its feature store, as `ooml up` brings it up; its complaints are shown only if it fails."""
    from cli.demo_data import write_people
    from cli.demo_world import START
    from cli.up import ROOT, UpSettings, up
    from serving.settings import PREFIX

    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]  # set for other servers, which must not meet what is published and learned here
    with tempfile.TemporaryDirectory(prefix="ooml-demo-") as folder, (Path(folder) / "server.log").open("w+") as log:
        os.environ["TMPDIR"] = folder  # Feast leaves a folder behind wherever it is killed: let it be in this one
        settings = UpSettings(
            Path(folder) / "data",
            server={"port": 0, "seed": seed, "log_level": "warning", "redis_timeout_s": PATIENCE_S},
            write_data=lambda data: write_people(data, world.people, START),
            policies=(ROOT / "policy_repo", ROOT / "examples" / "people", ROOT / "examples" / "digits"),
            log=log,
        )
        try:
            with ExitStack() as stack:
                with console.status("Bringing up Redis, features, policies and the server ..."):
                    server = stack.enter_context(up(settings))
                console.print(
                    f"Serving on {server.grpc}, evidence in Redis on {server.redis}, events on NATS; up in {server.took_s:.0f} s."
                )
                yield server
        except Exception:
            log.seek(0)
            console.print("".join(log.readlines()[-8:]), style="dim", markup=False, soft_wrap=True, end="")
            raise
        finally:
            logging.basicConfig(force=True)  # what is said from here on goes to stderr: the log is about to be closed


async def play(address: str, world: World, console: Console) -> Results:
    """Play both games over one channel."""
    import grpc
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from cli.demo_client import Client
    from cli.demo_play import TIP_POLICIES, read_digits, serve_people

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with grpc.aio.insecure_channel(address) as channel:
        reader, tipster = Client(channel), Client(channel)
        with Progress(*columns, console=console) as progress:
            images = progress.add_task("Digits: images read", total=len(world.order))
            tips = progress.add_task("Tips: given to people", total=world.moments.luck.size * len(TIP_POLICIES), start=False)
            right = await read_digits(reader, world.labels, world.order, lambda: progress.advance(images))
            progress.start_task(tips)
            rewards = await serve_people(tipster, world.people, world.moments, world.probabilities, lambda: progress.advance(tips))
    return Results(right, rewards, {"digits": reader.durations_s, "tips": tipster.durations_s})


async def audit(server: Up, console: Console) -> Report:
    """Hold what was learned against the log, as `ooml audit` does."""
    from cli.audit import look, progress, settings_or_fail

    assert server.events is not None  # noqa: S101  the demo brings up what keeps events
    settings = settings_or_fail(console, event_table=server.events.table, redis_url=server.redis_url)
    with progress(console) as stage:
        return await look(settings, stage, console)


def report(console: Console, results: Results, best: float, shown: tuple[Claim, ...]) -> None:
    """Print every table, and what they come to."""
    from cli import demo_report
    from cli.demo_play import READERS, SERVED

    console.print()
    console.print(demo_report.digits_table(results.right))
    console.print(demo_report.rewards_table(results.rewards, best))
    console.print(demo_report.claims_table(shown))
    console.print(demo_report.latency_table(results.durations_s, {"digits": READERS, "tips": SERVED}))
    console.print(demo_report.verdict(shown))
