"""`ooml demo`: bring up a real server on this machine, and watch it learn over gRPC."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from cli.demo_stats import Claim
    from cli.demo_world import World
    from cli.up import Up
    from policies.types import Floats


@dataclass(frozen=True, slots=True)
class Results:
    """What was played.

    Args:
        right: (images,) 1 where a digit was read right, in order.
        rewards: (n, R) by policy.
        durations_s: of every call, by method.
    """

    right: Floats
    rewards: dict[str, Floats]
    durations_s: dict[str, list[float]]


def demo(
    seed: Annotated[int, typer.Option(min=0, help="Of the people, their luck, and the server's draws.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer people and images.")] = False,
    plot: Annotated[Path, typer.Option(help="Where the picture goes.")] = Path("out/demo.png"),
) -> None:
    """Bring up everything on this machine and watch it learn: digits from real images, tips for simulated people.

    Uses a Redis and a folder of its own and leaves nothing but the picture. Ends with 1 unless `tips_hours` beats `tips` and both beat
    `tips_uniform`, each by an interval that lies above zero.
    """
    import uvloop
    from rich.console import Console

    from cli.demo_people import best_reward
    from cli.demo_plot import save
    from cli.demo_stats import claims
    from cli.demo_world import FULL, QUICK, draw_world

    began = time.monotonic()
    console = Console(highlight=False)
    world = draw_world(seed, QUICK if quick else FULL)
    with brought_up(world, seed, console) as server:
        results = uvloop.run(play(server.grpc, world, console))
    best, shown = best_reward(world.probabilities), claims(results.rewards)
    report(console, results, best, shown)
    save(plot, results.rewards, best, results.right)
    console.print(f"Picture: {plot}. All in {time.monotonic() - began:.0f} s.", style="bold")
    raise typer.Exit(0 if all(claim.holds for claim in shown) else 1)


@contextmanager
def brought_up(world: World, seed: int, console: Console) -> Iterator[Up]:
    """A server with the world's people in its feature store, as `ooml up` brings it up; what it logs is shown only if it fails."""
    from cli.demo_data import write_people
    from cli.demo_world import START
    from cli.up import ROOT, UpSettings, up

    os.environ.pop("OOML_REDIS_URL", None)  # what the demo publishes and learns is nothing for a Redis that others use
    with tempfile.TemporaryDirectory(prefix="ooml-demo-") as folder, (Path(folder) / "server.log").open("w+") as log:
        settings = UpSettings(
            Path(folder) / "data",
            server={"host": "127.0.0.1", "port": 0, "workers": 1, "seed": seed},
            write_data=lambda data: write_people(data, world.people, START),
            policies=(ROOT / "policy_repo", ROOT / "examples" / "people", ROOT / "examples" / "digits"),
            log=log,
        )
        try:
            status = console.status("Bringing up Valkey, features, policies and the server ...")
            status.start()
            with up(settings) as server:
                status.stop()
                console.print(f"Serving on {server.grpc}, evidence in Redis on {server.redis}, up in {server.took_s:.0f} s.")
                yield server
        except BaseException:
            log.seek(0)
            console.print("".join(log.readlines()[-8:]), style="dim", markup=False)
            raise
        finally:
            status.stop()


async def play(address: str, world: World, console: Console) -> Results:
    """Play both games over one channel."""
    import grpc
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from cli.demo_client import Client
    from cli.demo_play import TIP_POLICIES, read_digits, serve_people

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with grpc.aio.insecure_channel(address) as channel:
        client = Client(channel)
        with Progress(*columns, console=console) as progress:
            images = progress.add_task("Digits: images read", total=len(world.order))
            tips = progress.add_task("People: tips given", total=world.moments.luck.size * len(TIP_POLICIES))
            right = await read_digits(client, world.labels, world.order, lambda: progress.advance(images))
            rewards = await serve_people(client, world.people, world.moments, world.probabilities, lambda: progress.advance(tips))
    return Results(right, rewards, client.durations_s)


def report(console: Console, results: Results, best: float, shown: tuple[Claim, ...]) -> None:
    """Print every table."""
    from cli import demo_report

    for table in (
        demo_report.digits_table(results.right),
        demo_report.rewards_table(results.rewards, best),
        demo_report.claims_table(shown),
        demo_report.latency_table(results.durations_s),
    ):
        console.print()
        console.print(table)
    console.print()
