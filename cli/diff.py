"""What an apply changes, for a person to read before it happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import shorten

import yaml
from rich.console import Console
from rich.text import Text

from policies.spec import PolicySpec, to_mapping
from policies.vector import feature_names
from serving.versions import Change, Outcome, feature_changes

_SECTIONS = ("reward", "reward.outcomes", "limits")
"""Fields that are shown key by key; any other is one value."""

_STYLE = {Outcome.UNCHANGED: "dim", Outcome.LIVE: "bold green", Outcome.CANDIDATE: "bold yellow", Outcome.WAITING: "yellow"}


def show(console: Console, change: Change) -> None:
    """Print one policy's change: its outcome, field by field what differs from the live version, and what becomes of its evidence."""
    for line in _lines(change):
        console.print(line, soft_wrap=True)


def field_changes(before: PolicySpec, after: PolicySpec) -> tuple[tuple[str, str | None, str | None], ...]:
    """(field, old, new) of every field that differs, None where there is none; values as in a policy file."""
    old, new = dict(_flat(to_mapping(before))), dict(_flat(to_mapping(after)))
    return tuple((name, old.get(name), new.get(name)) for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name))


def _lines(change: Change) -> Iterator[Text]:
    policy = change.after.policy
    yield Text.assemble((policy.spec.name, "bold"), f" version {policy.version} ", (_outcome(change), _STYLE[change.outcome]))
    before = change.before
    if before is None:
        columns = ", ".join(feature_names(policy.spec, policy.features))
        yield Text(f"    {policy.spec.algorithm} over {policy.dimension} numbers: {shorten(columns, 200, placeholder=' ...')}")
        return
    if before is change.after:
        return
    for name, old, new in field_changes(before.policy.spec, policy.spec):
        yield Text.assemble("    ", name, ": ", (old or "not set", "red"), " → ", (new or "not set", "green"))
    for said in feature_changes(before.policy, policy):
        yield Text(f"    features: {said}")
    if policy.namespace == before.policy.namespace:
        yield Text("    evidence carries over", style="green")
    elif change.keeps_evidence:
        yield Text("    evidence carries over from an earlier version, not from the live one", style="yellow")
    else:
        yield Text("    evidence starts empty", style="yellow")


def _outcome(change: Change) -> str:
    if change.outcome is Outcome.CANDIDATE:
        return "becomes a candidate: not served until `ooml apply --live --reason TEXT`"
    if change.outcome is Outcome.WAITING:
        return "is a candidate already: not served until `ooml apply --live --reason TEXT`"
    if change.outcome is Outcome.LIVE and change.before is not None:
        return f"goes live in place of version {change.before.policy.version}"
    return str(change.outcome.value)


def _flat(mapping: Mapping[str, object], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in mapping.items():
        name = f"{path}{key}"
        if name in _SECTIONS and isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).removesuffix("...\n").strip()
