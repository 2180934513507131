"""Versions of a policy: what is published, what an apply would change, and when a version goes live. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from features.plan import Plan, signature
from policies.types import Namespace, PolicyName, PolicyVersion
from serving.ports import PublishedPolicy


@dataclass(frozen=True, slots=True)
class Version:
    """One published version: immutable once it is stored, but for its plan, which is the newest of its signature.

    Args:
        policy: as replicas serve it.
        published_at: seconds since the epoch.
        reason: what its publisher gave as one; may be empty.
    """

    policy: PublishedPolicy
    published_at: float
    reason: str


@dataclass(frozen=True, slots=True)
class Head:
    """Where a policy's name points.

    Args:
        live: the version served; None while there are only candidates.
        latest: the newest version; its successor is one more.
        since: when ``live`` last changed, seconds since the epoch.
        reason: why it did.
    """

    live: PolicyVersion | None
    latest: PolicyVersion
    since: float
    reason: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A stored record that cannot be read: the hash and field it lies in, and why."""

    record: str
    error: str


@dataclass(frozen=True, slots=True)
class Published:
    """All that is published, as of one reading.

    Args:
        policies_rev, plans_rev: revisions of the two; 0 when nothing was ever published.
        heads: by policy.
        versions: by policy and version, ascending.
        plans: newest plan by feature service.
        problems: what could not be read.
    """

    policies_rev: int = 0
    plans_rev: int = 0
    heads: Mapping[PolicyName, Head] = field(default_factory=dict)
    versions: Mapping[PolicyName, Mapping[PolicyVersion, Version]] = field(default_factory=dict)
    plans: Mapping[str, Plan] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def live(self, name: PolicyName) -> Version | None:
        """The version served under a name, or None."""
        head = self.heads.get(name)
        return None if head is None or head.live is None else self.versions.get(name, {}).get(head.live)

    def namespaces(self, name: PolicyName) -> tuple[Namespace, ...]:
        """Every namespace a version of the policy has used, oldest first."""
        return tuple(dict.fromkeys(v.policy.namespace for v in self.versions.get(name, {}).values()))


class Outcome(Enum):
    """What an apply does to one policy."""

    UNCHANGED = "unchanged"
    LIVE = "goes live"
    CANDIDATE = "candidate"
    WAITING = "still a candidate"


@dataclass(frozen=True, slots=True)
class Change:
    """What an apply does to one policy.

    Args:
        before: the version now live, None without one.
        after: the version the declaration amounts to: an earlier one when it is the same, else a new one.
        is_new: whether ``after`` is new.
        head: where the name will point; None when it stays.
        outcome: in one word.
        keeps_evidence: whether a version has already learned in ``after``'s namespace.
    """

    before: Version | None
    after: Version
    is_new: bool
    head: Head | None
    outcome: Outcome
    keeps_evidence: bool


def same(a: PublishedPolicy, b: PublishedPolicy) -> bool:
    """Whether two versions would serve alike: the same declaration over features of the same signature."""
    return a.spec == b.spec and a.namespace == b.namespace and _signature(a) == _signature(b)


def propose(published: Published, declared: PublishedPolicy, *, at: float, go_live: bool, reason: str = "") -> Change:
    """What publishing a declared policy changes.

    A declaration equal to a published version is that version, so that applying an old file is a rollback; any other becomes the next
    version. It goes live when it is the policy's first, or ``go_live``.

    Args:
        published: what is there.
        declared: resolved; its version number is ignored.
        at: seconds since the epoch.
        go_live: whether it replaces the live version (development mode, or `--live`).
        reason: kept with what changes.
    """
    name = declared.spec.name
    versions = published.versions.get(name, {})
    head = published.heads.get(name)
    live = published.live(name)
    candidates = ([live] if live else []) + sorted(versions.values(), key=lambda v: -v.policy.version)
    after = next((v for v in candidates if same(v.policy, declared)), None)
    is_new = after is None
    if after is None:
        latest = max([*versions, head.latest if head else 0])
        after = Version(replace(declared, version=PolicyVersion(latest + 1)), at, reason)
    version = after.policy.version
    latest_now = PolicyVersion(max(version, head.latest if head else version))
    if head is not None and head.live == version:
        outcome, new_head = Outcome.UNCHANGED, None
    elif go_live or head is None or head.live is None:
        outcome, new_head = Outcome.LIVE, Head(version, latest_now, at, reason)
    elif is_new:
        outcome, new_head = Outcome.CANDIDATE, replace(head, latest=latest_now)
    else:
        outcome, new_head = Outcome.WAITING, None
    return Change(live, after, is_new, new_head, outcome, declared.namespace in published.namespaces(name))


def feature_changes(before: PublishedPolicy, after: PublishedPolicy) -> tuple[str, ...]:
    """How a service's features changed under a policy, in words; empty when they did not, or the policy names another service."""
    if before.plan is None or after.plan is None or before.spec.feature_service != after.spec.feature_service:
        return ()
    if _signature(before) == _signature(after):
        return ()
    was = {f.name: f.dtype for f in before.plan.features}
    now = {f.name: f.dtype for f in after.plan.features}
    said = [f"{name} is gone (was {was[name]})" for name in was if name not in now]
    said += [f"{name} is new ({now[name]})" for name in now if name not in was]
    said += [f"{name} was {was[name]}, is {now[name]}" for name in now if name in was and was[name] != now[name]]
    if not said and tuple(was) != tuple(now):
        said.append(f"their order was {', '.join(was)}, is {', '.join(now)}")
    old = {t.name: t.version for t in before.plan.transforms}
    said += [
        f"transform {t.name} was version {old[t.name]}, is {t.version}"
        for t in after.plan.transforms
        if t.name in old and old[t.name] != t.version
    ]
    return tuple(said or ["what they are computed from changed"])


def _signature(policy: PublishedPolicy) -> str | None:
    return None if policy.plan is None else signature(policy.plan)
