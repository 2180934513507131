from __future__ import annotations

from serving.ports import PublishedPolicy
from serving.versions import Change, Head, Outcome, Published, feature_changes, propose
from tests.catalog.samples import TYPES, plan, policy


def apply(published: Published, declared: PublishedPolicy, *, go_live: bool = False, at: float = 1.0) -> tuple[Published, Change]:
    """What is published after an apply, and what the apply changed."""
    change = propose(published, declared, at=at, go_live=go_live, reason="r")
    name = declared.spec.name
    versions = {**published.versions.get(name, {}), change.after.policy.version: change.after}
    heads = {**published.heads, **({name: change.head} if change.head else {})}
    return Published(heads=heads, versions={**published.versions, name: versions}), change


def test_the_first_version_goes_live() -> None:
    _, change = apply(Published(), policy(alpha=1))
    assert (change.outcome, change.is_new, change.head) == (Outcome.LIVE, True, Head(live=1, latest=1, since=1.0, reason="r"))  # type: ignore[arg-type]
    assert not change.keeps_evidence


def test_an_unchanged_policy_makes_no_version() -> None:
    published, _ = apply(Published(), policy(alpha=1))
    _, change = apply(published, policy(alpha=1), go_live=True)
    assert (change.outcome, change.is_new, change.head) == (Outcome.UNCHANGED, False, None)


def test_a_changed_live_policy_becomes_a_candidate() -> None:
    published, _ = apply(Published(), policy(alpha=1))
    published, change = apply(published, policy(alpha=2), at=2.0)
    assert (change.outcome, change.after.policy.version) == (Outcome.CANDIDATE, 2)
    assert published.heads[change.after.policy.spec.name] == Head(live=1, latest=2, since=1.0, reason="r")  # type: ignore[arg-type]
    assert change.keeps_evidence


def test_a_candidate_applied_again_waits_and_then_goes_live_as_it_is() -> None:
    published, _ = apply(Published(), policy(alpha=1))
    published, _ = apply(published, policy(alpha=2))
    _, waiting = apply(published, policy(alpha=2))
    assert (waiting.outcome, waiting.is_new, waiting.head) == (Outcome.WAITING, False, None)
    published, live = apply(published, policy(alpha=2), go_live=True, at=3.0)
    assert (live.outcome, live.is_new, live.head) == (Outcome.LIVE, False, Head(live=2, latest=2, since=3.0, reason="r"))  # type: ignore[arg-type]


def test_an_earlier_declaration_is_the_earlier_version() -> None:
    published, _ = apply(Published(), policy(alpha=1))
    published, _ = apply(published, policy(alpha=2), go_live=True)
    published, back = apply(published, policy(alpha=1), go_live=True)
    assert (back.outcome, back.is_new, back.after.policy.version) == (Outcome.LIVE, False, 1)
    _, third = apply(published, policy(alpha=3), go_live=True)
    assert third.after.policy.version == 3


def test_what_changes_the_sums_starts_without_evidence() -> None:
    published, _ = apply(Published(), policy())
    assert not apply(published, policy(intercept=True))[1].keeps_evidence
    assert apply(published, policy(ridge=7))[1].keeps_evidence


def test_a_changed_ttl_is_the_same_version() -> None:
    published, _ = apply(Published(), policy(plan(ttl_s=60)))
    assert apply(published, policy(plan(ttl_s=90)))[1].outcome is Outcome.UNCHANGED


def test_changed_features_are_named_with_their_types() -> None:
    before = policy(plan())
    assert feature_changes(before, policy(plan({**TYPES, "age": "int64"}))) == ("age was float64, is int64",)
    assert feature_changes(before, policy(plan({"age": "float64", "size": "float32"}))) == (
        "urgent is gone (was bool)",
        "kind is gone (was string)",
        "size is new (float32)",
    )
    assert feature_changes(before, policy(plan({name: TYPES[name] for name in reversed(list(TYPES))}))) == (
        "their order was age, urgent, kind, is kind, urgent, age",
    )
    assert feature_changes(before, policy(plan(transform=2))) == ("transform urgency was version 1, is 2",)
    assert feature_changes(before, policy(plan(ttl_s=5))) == ()
    assert feature_changes(before, policy()) == ()
