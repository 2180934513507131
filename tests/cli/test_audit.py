"""`ooml audit`, `ooml rebuild` and `ooml outcomes` as an operator sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from cli.embedded import EmbeddedServer
from cli.main import app
from policies.types import ScopeId
from tests.events.world import World, policy, world_on
from tests.servers import flush

P = policy()
NEW = policy(intercept=True)


@pytest.fixture
def run(clean_valkey: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("OOML_REDIS_URL", clean_valkey.url)
    monkeypatch.setenv("OOML_EVENT_TABLE", str(tmp_path / "events"))
    return lambda *words: CliRunner().invoke(app, list(words))


@pytest.fixture
def does(clean_valkey: EmbeddedServer, tmp_path: Path) -> Callable[[Callable[[World], Awaitable[object]]], None]:
    """Does something with a store and a table, in an event loop of its own."""

    async def go(what: Callable[[World], Awaitable[object]]) -> None:
        async with world_on(clean_valkey, tmp_path, P) as world:
            await what(world)

    return lambda what: asyncio.run(go(what))


async def some(world: World) -> None:
    for number in range(3):
        made = await world.at.open(P, scope="u", x=(1.0, float(number)))
        await world.at.reward(P, made, 2.0)
    await world.drain()


async def spoil(world: World) -> None:
    row = np.frombuffer(await world.row(P, "u", "a") or b"", "<f8").copy()
    row[7] += 0.25
    await world.put_row(P, "u", "a", row)


Does = Callable[[Callable[[World], Awaitable[object]]], None]
Run = Callable[..., Result]


def test_it_ends_with_the_line_that_says_all(run: Run, does: Does) -> None:
    does(some)
    result = run("audit")
    assert result.stdout.splitlines() == [
        "3 decisions are open; the log has 3 of them",
        "the log and Redis agree: 3 decisions, 3 rewards, 1 arms of 1 scopes",
    ]
    assert result.exit_code == 0


def test_what_differs_is_named_and_fails(run: Run, does: Does) -> None:
    does(some)
    does(spoil)
    result = run("audit")
    assert result.stdout.splitlines()[0] == (f"p ({P.namespace}), scope u, arm a: b[y] is 6.25 in Redis and 6 in the log (+0.25)")
    assert result.stdout.splitlines()[-1] == "the log and Redis do not agree: 3 decisions, 3 rewards, 1 arms of 1 scopes"
    assert result.exit_code == 1


def test_an_empty_redis_is_refused_or_filled(run: Run, does: Does, clean_valkey: EmbeddedServer) -> None:
    does(some)
    refused = run("rebuild")
    assert "Redis holds evidence or decisions" in refused.stderr
    assert refused.exit_code == 2
    flush(clean_valkey)
    unpublished = run("rebuild")
    assert "`ooml apply`" in unpublished.stderr
    assert unpublished.exit_code == 2
    does(lambda world: world.drain())  # which publishes
    rebuilt = run("rebuild")
    assert rebuilt.stdout.splitlines() == [
        "3 decisions are open, 0 replies are kept, 0 scopes are forgotten",
        "rebuilt 1 arms of 1 scopes; `ooml audit` says whether they agree with the log",
    ]
    assert run("audit").exit_code == 0


def test_a_namespace_is_filled(run: Run, does: Does) -> None:
    async def candidate(world: World) -> None:
        from tests.catalog.samples import put

        for _ in range(2):
            await world.at.open(P, scope="u", status=bytes(4))
        await put(world.client, NEW, go_live=False)
        await world.at.store.forget(P.spec.name, [P.namespace], ScopeId("v"))

    does(candidate)
    result = run("rebuild", "--namespace", "p")
    assert result.stdout.splitlines() == [f"filled {NEW.namespace}: 2 decisions taught 1 arms of 1 scopes"]
    assert run("rebuild", "--namespace", "q").exit_code == 2
    assert run("audit").exit_code == 0


def test_what_is_away_is_told_and_what_to_do(run: Run, does: Does, tmp_path: Path) -> None:
    away = run("audit", "--redis-url", "redis://127.0.0.1:1/0")
    assert "the store cannot be reached at 127.0.0.1:1" in away.stderr
    assert "OOML_REDIS_URL" in away.stderr
    missing = run("audit", "--table", str(tmp_path / "nowhere"))
    assert f"there is no table of events at {tmp_path / 'nowhere'}. `ooml sink` makes it" in missing.stderr
    assert (away.exit_code, missing.exit_code) == (2, 2)


def test_outcomes_are_written_for_training(run: Run, does: Does, tmp_path: Path) -> None:
    does(some)
    file = tmp_path / "outcomes.parquet"
    assert run("outcomes", str(file)).stdout.splitlines() == [f"6 values of decisions in {file}"]
    assert pq.read_table(file)["value"].to_pylist().count(2.0) == 3
