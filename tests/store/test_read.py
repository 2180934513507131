"""Reading: features, evidence, clock and earlier answer in one."""

from __future__ import annotations

import numpy as np
import pytest

from features.packed import pack
from serving.ports import PublishedPolicy
from tests.store.build import Harness, S, decision, policy


async def test_arms_come_in_the_order_asked_and_unknown_ones_are_empty(at: Harness) -> None:
    p = policy(default=1.0)
    await at.open(p, "b", x=[1.0, 0.0])
    await at.open(p, "ä", x=[0.0, 1.0])
    evidence = (await at.read(p, "ä", "nobody", "b")).evidence
    assert evidence.arms == ("ä", "nobody", "b")
    assert evidence.b.tolist() == [[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
    assert evidence.count.tolist() == [1, 0, 1]
    assert not evidence.rows[1].any()


async def test_all_evidence_comes_sorted_by_arm(at: Harness) -> None:
    p = policy(default=1.0)
    for arm in ("c", "a", "ä", "b"):
        await at.open(p, arm)
    evidence = await at.store.evidence(p, S)
    assert evidence.arms == ("a", "b", "c", "ä")
    assert evidence.count.tolist() == [1, 1, 1, 1]


async def test_nothing_asked_is_nothing_read(at: Harness) -> None:
    snapshot = await at.read(policy())
    assert (snapshot.evidence.rows.shape, list(snapshot.rows), snapshot.generation, snapshot.recorded) == ((0, 11), [], 0, None)


async def test_five_hundred_arms_are_read_at_once(at: Harness) -> None:
    p = policy(default=1.0)
    await at.open(p, "arm 499")
    evidence = (await at.read(p, *(f"arm {i}" for i in range(500)))).evidence
    assert np.flatnonzero(evidence.count).tolist() == [499]


async def test_feature_rows_come_in_the_order_asked_with_none_for_what_is_not_there(at: Harness) -> None:
    await at.put_row(b"row\x00\xff1", {b"\x01": b"one", b"two": b"\x00\xfe"})
    await at.put_row(b"row2", {b"a": b""})
    rows = [(b"row2", (b"a",)), (b"no row", (b"a", b"b")), (b"row\x00\xff1", (b"two", b"gone", b"\x01"))]
    found = (await at.read(policy(), "a", rows=rows)).rows
    assert list(found) == [pack([b""]), pack([None, None]), pack([b"\x00\xfe", None, b"one"])]


async def test_scopes_and_namespaces_share_nothing(at: Harness) -> None:
    p, other = policy(default=1.0), policy(default=1.0, namespace="ba9876543210")
    await at.open(p)
    assert (await at.sums(p, scope="t"))["count"] == 0
    assert (await at.sums(other))["count"] == 0


@pytest.mark.parametrize("half_life", [1.0, 3600.0])
async def test_evidence_is_decayed_to_the_moment_it_is_read(at: Harness, half_life: float) -> None:
    p: PublishedPolicy = policy(default=1.0, half_life_s=half_life)
    await at.decide(p, decision(p))
    then = (await at.read(p, "a")).evidence.rows[0]
    now = (await at.read(p, "a")).evidence.rows[0]
    whole = (await at.store.evidence(p, S)).rows[0]
    assert then[2] < now[2] < whole[2]
    np.testing.assert_allclose(now[3:], then[3:] * 2 ** ((then[2] - now[2]) / (half_life * 1e6)), rtol=1e-12)
    assert (now[0], now[1]) == (then[0], then[1])


async def test_a_store_that_can_write_answers_a_ping(at: Harness) -> None:
    await at.store.ping()
