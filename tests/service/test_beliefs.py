"""What is held of wide arms is what would be worked out anew, and no more is held than may be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from policies.evidence import add_reward
from policies.posterior import WIDE, posterior, ridge_prior
from policies.types import ArmId, Evidence, Floats, Namespace, ScopeId, no_evidence
from serving.ports import PublishedPolicy
from serving.service import beliefs
from serving.service.beliefs import Beliefs, Held
from tests.store.build import policy

D = WIDE
RIDGE = 2.0
P = policy(dimension=D)
ARM_BYTES = 8 * (D * D + D)


def arms(*names: str) -> tuple[ArmId, ...]:
    return tuple(map(ArmId, names))


def evidence(seed: int, *names: str) -> Evidence:
    """Of arms that have each shown three rewards; another seed, another version."""
    rng = np.random.default_rng(seed)
    shown = no_evidence(arms(*names), D)
    for row in range(len(names)):
        for n in range(3):
            at = 1000 * seed + n
            shown.rows[row] = add_reward(shown.rows[row], rng.normal(size=D), at, None, decided_at_us=at, old=None, new=rng.normal())
    return shown


def anew(shown: Evidence, ridge: float = RIDGE) -> tuple[Floats, Floats]:
    """θ and root worked out from the evidence alone."""
    found = posterior(ridge_prior(len(shown.arms), D, ridge), shown)
    return found.theta, found.root


def assert_believes(held: Held, shown: Evidence) -> None:
    rows = held.rows_of(shown.arms)
    theta, root = anew(shown)
    np.testing.assert_allclose(held.belief.theta[rows], theta, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(held.belief.root[rows], root, rtol=1e-12, atol=1e-14)
    assert [held.versions[arm] for arm in shown.arms] == shown.version.tolist()


def holding(shown: Evidence) -> Held:
    held = Held(D, RIDGE)
    held.take_up(shown)
    return held


def test_what_is_held_is_the_posterior_of_the_evidence() -> None:
    shown = evidence(1, "b", "a")
    held = holding(shown)
    assert_believes(held, shown)
    assert held.rows_of(arms("a", "b", "a")).tolist() == [1, 0, 1]


def test_a_changed_arm_is_worked_out_and_the_others_stay_to_the_last_bit() -> None:
    held = holding(evidence(1, "a", "b", "c"))
    before = held.belief.root.copy()
    changed = evidence(2, "b")
    held.take_up(changed)
    assert_believes(held, changed)
    assert held.belief.root[[0, 2]].tobytes() == before[[0, 2]].tobytes()
    assert not np.allclose(held.belief.root[1], before[1])


def test_new_arms_come_after_those_that_are_there() -> None:
    first, second = evidence(1, "b", "a"), evidence(2, "c", "a", "d")
    held = holding(first)
    held.take_up(second)
    assert held.rows_of(arms("b", "a", "c", "d")).tolist() == [0, 1, 2, 3]
    assert_believes(held, second)
    assert_believes(held, Evidence(first.arms[:1], first.rows[:1], D))


def test_an_arm_that_vanished_is_believed_to_be_like_any_unknown_one() -> None:
    held = holding(evidence(1, "a", "b"))
    held.take_up(no_evidence(arms("a"), D))
    assert held.versions == {"a": 0, "b": 1002}
    assert held.belief.theta[0].tolist() == [0.0] * D
    np.testing.assert_allclose(held.belief.root[0], np.eye(D) / RIDGE**0.5, rtol=1e-15)


def test_nothing_new_works_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    held = holding(evidence(1, "a"))
    monkeypatch.setattr(beliefs, "posterior", None)  # whoever calls it fails
    held.take_up(no_evidence((), D))
    assert held.rows_of(arms("a")).tolist() == [0]


def test_a_scope_is_found_again_and_no_other_with_it() -> None:
    kept = Beliefs()
    held = kept.of(P, ScopeId("s"))
    held.take_up(evidence(1, "a"))
    assert kept.of(P, ScopeId("s")) is held
    assert kept.of(P, ScopeId("t")).versions == {}
    assert kept.of(replace(P, namespace=Namespace("ba9876543210")), ScopeId("s")).versions == {}


def test_versions_of_a_policy_that_differ_in_ridge_alone_believe_different_things() -> None:
    kept, shown = Beliefs(), evidence(1, "a")
    other = replace(P, spec=replace(P.spec, ridge=50.0))
    for one in (P, other):
        kept.of(one, ScopeId("s")).take_up(shown)
    for one in (P, other):
        np.testing.assert_allclose(kept.of(one, ScopeId("s")).belief.theta, anew(shown, one.spec.ridge)[0], rtol=1e-12)


def scopes_held(kept: Beliefs) -> list[str]:
    """Scopes of which anything is held; asking for one counts as asking for it, so this ends a test."""
    return [scope for scope in ("s0", "s1", "s2", "s3") if kept.of(P, ScopeId(scope)).versions]


def test_the_scopes_not_asked_for_longest_are_shed_until_the_rest_fits() -> None:
    kept = Beliefs(most_bytes=4 * ARM_BYTES)
    for n in range(4):
        kept.of(P, ScopeId(f"s{n}")).take_up(evidence(1, "a", "b"))
    kept.of(P, ScopeId("s0"))
    kept.shed()
    assert scopes_held(kept) == ["s0", "s3"]


def test_what_fits_to_the_byte_is_kept() -> None:
    kept = Beliefs(most_bytes=4 * ARM_BYTES)
    for n in range(2):
        kept.of(P, ScopeId(f"s{n}")).take_up(evidence(1, "a", "b"))
    kept.shed()
    assert scopes_held(kept) == ["s0", "s1"]


def test_a_scope_that_alone_is_too_much_is_not_kept() -> None:
    kept = Beliefs(most_bytes=ARM_BYTES)
    kept.of(P, ScopeId("s0")).take_up(evidence(1, "a", "b"))
    kept.shed()
    assert scopes_held(kept) == []


@pytest.mark.parametrize(
    ("one", "worth"),
    [(policy(dimension=D), True), (policy(dimension=D - 1), False), (policy(dimension=D, half_life_s=3600.0), False)],
    ids=["wide", "narrow", "with a half-life"],
)
def test_wide_vectors_without_a_half_life_are_worth_holding(one: PublishedPolicy, worth: bool) -> None:
    assert Beliefs.worth_holding(one) is worth
