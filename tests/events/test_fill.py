"""The namespace of a new version is filled with what it would have learned from the same decisions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from events.fill import Filler
from events.rebuild import CannotRebuild, Rebuilder
from events.relearn import Reward, terms
from policies.types import ScopeId
from policies.vector import design_matrix
from serving.ports import PublishedPolicy
from serving.redis.store import StoreSettings
from tests.catalog.samples import policy as declared
from tests.catalog.samples import put
from tests.events.world import World, world_on
from tests.servers import Store, flush
from tests.store.build import Harness, decision
from tests.store.conftest import in_memory, on_redis

REWARD = {"range": [-10, 10], "window": "1h", "late_grace": "1h", "default": 0.5, "aggregate": "sum", "outcomes": {"done": 1}}
SCOPES, ARMS = ("u", "v:w", "ü"), ("a", "b")
PRESENT, SOME_MISSING = bytes(6), b"\0\0\0\1\0\2"


def policy(features: tuple[str, ...] = ("x", "y", "z"), reward: dict[str, Any] | None = None, **how: Any) -> PublishedPolicy:
    return declared(features=list(features), reward={**REWARD, **(reward or {})}, **how)


OLD = policy(interactions=[["x", "y"]], on_missing={"impute": 0.0})


@pytest.fixture
async def world(clean_store: Store, tmp_path: Path) -> AsyncIterator[World]:
    async with world_on(clean_store, tmp_path, OLD) as made:
        yield made


async def history(at: Harness, p: PublishedPolicy, *, rejects: bool = False) -> None:
    """The same decisions and rewards, whatever the policy makes of them. In some of them x and z are missing."""
    for number in range(18):
        status = SOME_MISSING if number % 5 == 0 else PRESENT
        raw = np.array([0.5 * number, 1.0 - number, 2.0])
        raw[np.frombuffer(status, np.uint8)[3:] != 0] = np.nan
        mine = raw[[("x", "y", "z").index(name) for name in p.features]][None]
        if rejects and np.isnan(mine).any():
            continue
        x = np.vstack([np.zeros(p.dimension), design_matrix(mine, p.features, p.spec)[0]])
        new = decision(p, ARMS[number % 2], scope=SCOPES[number % 3], deferred=number % 4 == 3)._replace(x=x, status=status)
        await at.decide(p, new)
        if number % 4 == 3 and number < 12:
            await at.store.activate(p, new.decision_id)
        if number % 4 != 3 or number < 12:
            for reward in range(number % 3):
                await at.reward(p, new.decision_id, 0.25 * number - reward, str(reward))


async def learned(at: Harness, p: PublishedPolicy) -> dict[tuple[str, str], list[float]]:
    """Rows by scope and arm, without version and time."""
    found: dict[tuple[str, str], list[float]] = {}
    for scope in SCOPES:
        evidence = await at.store.evidence(p, ScopeId(scope))
        found.update({(scope, arm): row[[1, *range(3, len(row))]].tolist() for arm, row in zip(evidence.arms, evidence.rows, strict=True)})
    return found


NEW = {
    "fewer features in another order": policy(("z", "x")),
    "products and a constant": policy(interactions=[["y", "z"], ["x", "x"]], intercept=True),
    "another default": policy(reward={"default": -1}),
    "no default": policy(reward={"default": None}),
    "the first reward only": policy(reward={"aggregate": "first"}),
    "the mean reward": policy(reward={"aggregate": "mean"}),
    "missing counts as something else": policy(on_missing={"impute": 3.5}),
}


@pytest.mark.parametrize("new", NEW.values(), ids=list(NEW))
async def test_it_is_what_the_new_version_learns_by_itself(world: World, new: PublishedPolicy) -> None:
    await history(world.at, OLD)
    by_itself = in_memory()
    await history(by_itself, new)
    await put(world.client, new, go_live=False)
    filled = await Filler(world.client, world.url).run(new.namespace)
    expected = await learned(by_itself, new)
    found = await learned(world.at, new)
    assert found.keys() == expected.keys()
    for arm, row in found.items():
        assert row == pytest.approx(expected[arm], rel=1e-12, abs=1e-12)
    assert (filled.arms, filled.scopes) == (len(expected), len({scope for scope, _ in expected}))
    assert (await world.audit()).agrees


async def test_decisions_it_would_have_refused_are_left_out(world: World) -> None:
    new = policy(on_missing="reject")
    await history(world.at, OLD)
    by_itself = in_memory()
    await history(by_itself, new, rejects=True)
    await put(world.client, new, go_live=False)
    filled = await Filler(world.client, world.url).run(new.namespace)
    assert filled.rejected == 4
    found = await learned(world.at, new)
    assert found == {arm: pytest.approx(row) for arm, row in (await learned(by_itself, new)).items()}


async def test_evidence_that_fades_stands_for_the_time_of_its_last_term(world: World) -> None:
    new = policy(half_life="1m")
    await history(world.at, OLD)
    await world.drain()
    await put(world.client, new, go_live=False)
    filled = await Filler(world.client, world.url).run("p")
    assert filled.namespace == new.namespace
    assert (await world.audit()).agrees
    old, fading = await world.row(OLD, "u", "a"), await world.row(new, "u", "a")
    assert old is not None
    assert fading is not None
    assert old[16:24] == fading[16:24]
    assert np.frombuffer(fading, "<f8")[3] < np.frombuffer(old, "<f8")[3]


async def test_it_may_be_filled_again_until_it_goes_live(world: World) -> None:
    new = policy(("x",))
    await put(world.client, new, go_live=False)
    await world.at.open(OLD, x=(1.0, 2.0, 3.0, 2.0), status=PRESENT)
    assert (await Filler(world.client, world.url).run("p@2")).decisions == 1
    late = await world.at.open(OLD, x=(1.0, 2.0, 3.0, 2.0), status=PRESENT)
    await world.at.reward(OLD, late, 2.0, "r")
    await world.drain()
    assert (await Filler(world.client, world.url).run("p@2")).decisions == 2
    assert (await world.at.sums(new))["r"] == 0.5 + 2.0
    assert (await world.audit()).agrees
    await world.at.open(new, x=(1.0,), status=bytes(2))
    with pytest.raises(CannotRebuild, match="decisions of its own already"):
        await Filler(world.client, world.url).run("p@2")
    assert (await world.at.sums(new))["count"] == 3
    assert (await world.audit()).agrees


async def test_an_empty_redis_gets_back_what_was_filled(world: World, clean_store: Store) -> None:
    new = policy(("z", "x"), half_life="1m")
    await history(world.at, OLD)
    await put(world.client, new, go_live=False)
    await Filler(world.client, world.url).run(new.namespace)
    row = await world.row(new, "u", "a")
    await world.drain()
    flush(clean_store)
    await put(world.client, OLD)
    await put(world.client, new, go_live=False)
    await Rebuilder(world.client, world.url, 3600.0).run()
    assert row is not None
    again = await world.row(new, "u", "a")
    assert again is not None
    assert np.frombuffer(again, "<f8")[1:].tolist() == pytest.approx(np.frombuffer(row, "<f8")[1:].tolist(), rel=1e-12)
    assert (await world.audit()).agrees


async def test_who_was_forgotten_or_dropped_is_left_out(world: World) -> None:
    new = policy(("x",))
    await history(world.at, OLD)
    await world.drain()
    await world.at.store.forget(OLD.spec.name, [OLD.namespace], ScopeId("u"))
    await world.drop(OLD, "v:w")
    await put(world.client, new, go_live=False)
    await Filler(world.client, world.url).run(new.namespace)
    assert {scope for scope, _ in await learned(world.at, new)} == {"ü"}
    assert (await world.audit()).agrees


async def test_who_is_forgotten_later_is_gone_from_what_was_filled(world: World) -> None:
    new = policy(("x",))
    await history(world.at, OLD)
    await put(world.client, new, go_live=False)
    await Filler(world.client, world.url).run(new.namespace)
    await world.at.store.forget(OLD.spec.name, [OLD.namespace, new.namespace], ScopeId("u"))
    await world.drain()
    assert "filled" not in {kind for kind, scope in _told(world) if scope == "u"}
    assert (await world.audit()).agrees


def _told(world: World) -> list[tuple[str, str]]:
    table = world.table()
    return list(zip(table["kind"].to_pylist(), table["scope"].to_pylist(), strict=True))


async def test_decisions_whose_slates_were_shed_are_counted(world: World) -> None:
    new = policy(("x",))
    crowded = on_redis(world.client, StoreSettings(sink="drained", outbox_limit=16))
    for _ in range(12):
        await crowded.open(OLD, x=(1.0, 2.0, 3.0, 2.0), status=PRESENT)
    await put(world.client, new, go_live=False)
    filled = await Filler(world.client, world.url).run(new.namespace)
    assert (filled.decisions, filled.shed) == (8, 4)


LACKING = {
    "a feature": (policy(("x", "weather")), "feature weather was never logged"),
    "the scope": (policy(scope="global"), "scope is global; decisions were logged by user_id"),
    "arms": (policy(arm="all"), "arms follow another rule"),
    "the window": (policy(reward={"window": "3h", "late_grace": "1h"}), "reward.window is 10800 s; later than 7200 s no reward was logged"),
    "the outcomes": (policy(reward={"outcomes": {"done": 2}}), "outcome done is worth 2; it was logged as 1"),
    "the range": (policy(reward={"range": [0, 10]}), "reward.range is [0, 10]; 1 rewards that were logged lie outside"),
}


@pytest.mark.parametrize(("new", "why"), LACKING.values(), ids=list(LACKING))
async def test_what_cannot_be_had_from_the_log_is_refused_by_name(world: World, new: PublishedPolicy, why: str) -> None:
    made = await world.at.open(OLD, x=(1.0, 2.0, 3.0, 2.0), status=PRESENT)
    await world.at.reward(OLD, made, -1.0)
    await put(world.client, new, go_live=False)
    with pytest.raises(CannotRebuild) as refused:
        await Filler(world.client, world.url).run(new.namespace)
    assert f"{new.namespace} cannot be filled from the log: " in str(refused.value)
    assert why in str(refused.value)
    assert (await world.at.sums(new))["count"] == 0


async def test_more_rewards_than_the_first_were_not_logged(world: World) -> None:
    first = policy(reward={"aggregate": "first"})
    await put(world.client, first)
    await world.at.open(first, x=(1.0, 2.0, 3.0), status=PRESENT)
    new = policy(reward={"aggregate": "sum"})
    await put(world.client, new, go_live=False)
    with pytest.raises(CannotRebuild, match="under first, no more than one reward"):
        await Filler(world.client, world.url).run(new.namespace)


async def test_who_names_no_version_is_told_which_there_are(world: World) -> None:
    for which in ("nobody", "p@9", "p@x", "0123456789ab"):
        with pytest.raises(CannotRebuild, match=f"no published version is {which}; the newest are p@1"):
            await Filler(world.client, world.url).run(which)


def test_a_reward_that_came_late_may_be_in_time_for_a_longer_window() -> None:
    """Told by the rules alone: waiting for a window to close would take an hour."""
    reward = Reward(7_000_000_000, 1, "r", 2.0)
    short, longer = OLD.spec.reward, replace(OLD.spec.reward, window_s=7000.0)
    assert [term.after for term in terms(short, 0, [reward])] == [0.5]
    assert [term.after for term in terms(longer, 0, [reward])] == [0.5, 2.0]


def test_under_first_no_reward_but_the_first_is_a_term() -> None:
    rewards = [Reward(at, at, str(at), 2.0) for at in (1, 2)]
    assert [term.at_us for term in terms(replace(OLD.spec.reward, aggregate="first"), 0, rewards)] == [0, 1]
    assert [term.at_us for term in terms(OLD.spec.reward, 0, rewards)] == [0, 1, 2]
