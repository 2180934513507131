"""What `ooml apply` does, free of the terminal: declared policies against what is published, then one publication, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cli.policy_files import Mistake, PolicyFile, PolicyFilesError
from features.plan import Plan
from policies.parse import SpecError
from serving.redis.connect import Client
from serving.redis.published import publish_plans, publish_policies
from serving.resolve import resolve
from serving.versions import Change, Published, feature_changes, propose


@dataclass(frozen=True, slots=True)
class Intent:
    """How to apply.

    Args:
        go_live: whether changed policies replace the live version at once; else they become candidates.
        reason: kept with what is published.
        accept_feature_change: whether a policy may move to features of other names, types or transforms.
        at: seconds since the epoch.
    """

    go_live: bool
    reason: str
    accept_feature_change: bool
    at: float


@dataclass(frozen=True, slots=True)
class Compiled:
    """Feature services as a repository defines them now.

    Args:
        plans: by service; they go before the published ones.
        problems: by service, why it has no plan.
    """

    plans: Mapping[str, Plan] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What an apply would publish.

    Args:
        published: what it was derived from; publishing fails when that is no longer so.
        plans: compiled for it, to be published with it; empty when the published ones are used.
        changes: one per file.
    """

    published: Published
    plans: tuple[Plan, ...]
    changes: tuple[Change, ...]


def prepare(published: Published, files: Sequence[PolicyFile], compiled: Compiled, intent: Intent) -> Proposal:
    """What applying the files changes.

    Raises:
        PolicyFilesError: at least one policy does not fit the features there are; every mistake of every file.
    """
    plans = {**published.plans, **compiled.plans}
    changes: list[Change] = []
    mistakes: list[Mistake] = []
    for file in files:
        service = file.spec.feature_service
        if service is not None and (service not in plans or service in compiled.problems):
            mistakes.append(_mistake(file, compiled.problems.get(service) or _no_plan(service)))
            continue
        try:
            declared = resolve(file.spec, plans.get(service) if service else None)
        except SpecError as error:
            mistakes += file.mistakes(error)
            continue
        change = propose(published, declared, at=intent.at, go_live=intent.go_live, reason=intent.reason)
        if change.is_new and not intent.accept_feature_change:
            mistakes += _feature_mistakes(file, published, change)
        changes.append(change)
    if mistakes:
        raise PolicyFilesError(mistakes)
    return Proposal(published, tuple(plan for name, plan in compiled.plans.items() if name in services_of(files)), tuple(changes))


async def publish(client: Client, proposal: Proposal) -> None:
    """Publish a proposal. Plans first: a version never names a plan that is not there.

    Raises:
        PublishedMeanwhile: somebody else published since; no policy was changed.
        Unavailable.
    """
    await publish_plans(client, proposal.published.plans_rev, proposal.plans)
    await publish_policies(client, proposal.published.policies_rev, proposal.changes)


def services_of(files: Sequence[PolicyFile]) -> frozenset[str]:
    """Feature services that the files name."""
    return frozenset(file.spec.feature_service for file in files if file.spec.feature_service is not None)


def _no_plan(service: str) -> str:
    return (
        f"no plan of feature service {service} is published, so nobody can read its features. Define it in the feature repository and run "
        "`feast apply` there; then a running server that watches the repository (`ooml up`, or `ooml serve` with OOML_FEATURE_REPO) "
        "publishes its plan, or else `ooml apply --feature-repo FOLDER` does"
    )


def _feature_mistakes(file: PolicyFile, published: Published, change: Change) -> list[Mistake]:
    versions = published.versions.get(file.spec.name, {})
    baseline = change.before or (versions[max(versions)] if versions else None)
    changed = feature_changes(baseline.policy, change.after.policy) if baseline else ()
    if baseline is None or not changed:
        return []
    text = (
        f"features of {file.spec.feature_service} changed since version {baseline.policy.version}: {'; '.join(changed)}. That version "
        "keeps serving with the features it knows. A new one would start with no evidence; --accept-feature-change makes it"
    )
    return [_mistake(file, text)]


def _mistake(file: PolicyFile, text: str) -> Mistake:
    return Mistake(file.file, file.document.mark(("feature_service",)), text)
