"""How published policies and plans lie in Redis: two hashes, each with a revision that grows with every publication.

``ooml:policies``: ``@rev``; ``<name>`` → where the name points; ``<name>@<version>`` → one version.
``ooml:plans``: ``@rev``; ``<service>`` → its newest plan; ``<service>@<signature>`` → the newest plan of that signature.
A version names the signature of its plan, so that it follows a changed TTL but keeps the last plan whose features it knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any, TypeVar

from features.plan import Plan, from_json, signature, to_json
from policies.parse import parse_spec
from policies.spec import to_mapping
from policies.types import Namespace, PolicyName, PolicyVersion
from serving.ports import StoreError
from serving.redis.connect import Client
from serving.redis.errors import unavailable
from serving.redis.link import Command, slot_of
from serving.redis.scripts import PUBLISH
from serving.resolve import resolve
from serving.versions import Change, Head, Problem, Published, Version

K = TypeVar("K")
T = TypeVar("T")

POLICIES = "ooml:policies"
PLANS = "ooml:plans"
REV = "@rev"

Raw = Mapping[str, str]
"""A hash as it was read: field → value."""


class PublishedMeanwhile(StoreError):
    """Somebody else published between the reading and the publication; nothing was changed."""


async def revisions(client: Client) -> tuple[int, int]:
    """The revisions of policies and plans, in one round trip.

    Raises:
        Unavailable.
    """
    with unavailable():
        answers = await client.ask([Command(slot_of(key), ("HGET", key, REV)) for key in (POLICIES, PLANS)])
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
    policies, plans = answers
    return int(policies or 0), int(plans or 0)


async def load(client: Client, before: Published | None = None) -> Published:
    """All that is published. What cannot be read is a problem, and stays as it was ``before``.

    Raises:
        Unavailable.
    """
    with unavailable():
        # Policies first: plans are only ever added, so every plan a version names is there (or, on a cluster, in the next reading).
        pipeline = client.pipeline()
        pipeline.hgetall(POLICIES)
        pipeline.hgetall(PLANS)
        policies, plans = await pipeline.execute()
    return _Reading(_decoded(policies), _decoded(plans), before or Published()).published()


async def publish_policies(client: Client, based_on: int, changes: Iterable[Change]) -> int:
    """Publish changes, all or none; returns the new revision, or the old one when nothing is to be published.

    Args:
        based_on: revision of the policies from which the changes were derived.

    Raises:
        PublishedMeanwhile: it is no longer that one.
        Unavailable.
    """
    fields: dict[str, str] = {}
    for change in changes:
        name = change.after.policy.spec.name
        if change.is_new:
            fields[f"{name}@{change.after.policy.version}"] = _version_to_json(change.after)
        if change.head is not None:
            fields[name] = json.dumps(asdict(change.head))
    return await _publish(client, POLICIES, based_on, fields)


async def publish_plans(client: Client, based_on: int, plans: Iterable[Plan], removed: Iterable[str] = ()) -> int:
    """Publish the newest plans, all or none; returns the new revision, or the old one when they are published already.

    A service that is ``removed`` can no longer be applied against; versions that use it keep its last plan.

    Args:
        based_on: revision of the plans when compilation began, so that an older registry never overwrites a newer one.

    Raises:
        PublishedMeanwhile: it is no longer that one.
        Unavailable.
    """
    fields = {}
    for plan in plans:
        text = to_json(plan)
        fields[plan.feature_service] = text
        fields[f"{plan.feature_service}@{signature(plan)}"] = text
    fields.update(dict.fromkeys(removed, ""))
    if not fields:
        return based_on
    with unavailable():
        stored: list[bytes | None] = await client.execute_command("HMGET", PLANS, *fields)
    changed = {name: text for (name, text), old in zip(fields.items(), stored, strict=True) if _text(old or "") != text}
    return await _publish(client, PLANS, based_on, changed)


class _Reading:
    """From two raw hashes to what they mean; an unreadable field keeps the meaning it had."""

    def __init__(self, policies: Raw, plans: Raw, before: Published) -> None:
        self._policies = policies
        self._plans = plans
        self._before = before
        self._problems: list[Problem] = []

    def published(self) -> Published:
        names = sorted(PolicyName(field) for field in self._policies if "@" not in field)
        services = sorted(field for field in self._plans if "@" not in field)
        return Published(
            policies_rev=int(self._policies.get(REV, 0)),
            plans_rev=int(self._plans.get(REV, 0)),
            heads=_known({name: self._read(f"{POLICIES} {name}", self._head, name, self._before.heads.get(name)) for name in names}),
            versions=self._versions(),
            plans=_known({name: self._read(f"{PLANS} {name}", self._plan, name, self._before.plans.get(name)) for name in services}),
            problems=tuple(self._problems),
        )

    def _versions(self) -> dict[PolicyName, dict[PolicyVersion, Version]]:
        found: dict[PolicyName, dict[PolicyVersion, Version]] = {}
        for field in self._policies:
            name, at, number = field.partition("@")
            if name and at and number.isdecimal():
                policy, version = PolicyName(name), PolicyVersion(int(number))
                before = self._before.versions.get(policy, {}).get(version)
                if (read := self._read(f"{POLICIES} {field}", self._version, field, before)) is not None:
                    found.setdefault(policy, {})[version] = read
        return {name: dict(sorted(versions.items())) for name, versions in sorted(found.items())}

    def _read(self, record: str, parse: Callable[[str], T], field: str, before: T | None) -> T | None:
        try:
            return parse(field)
        except Exception as error:  # whatever a broken record raises, the others are served
            self._problems.append(Problem(record, f"{type(error).__name__}: {error}"))
            return before

    def _head(self, field: str) -> Head:
        return Head(**json.loads(self._policies[field]))

    def _plan(self, field: str) -> Plan:
        return _plan_from_json(self._plans[field])

    def _version(self, field: str) -> Version:
        record = self._policies[field]
        needs = json.loads(record)["plan"]
        plan = None if needs is None else self._plans[f"{needs['service']}@{needs['signature']}"]
        return _version_from_json(PolicyVersion(int(field.partition("@")[2])), record, plan)


def _version_to_json(version: Version) -> str:
    policy = version.policy
    plan = policy.plan
    types = {f.name: f.dtype for f in plan.features} if plan else dict.fromkeys(policy.features, "float64")
    return json.dumps(
        {
            "spec": to_mapping(policy.spec),
            "namespace": policy.namespace,
            "features": list(types.items()),
            "dimension": policy.dimension,
            "plan": plan and {"service": plan.feature_service, "signature": signature(plan)},
            "published_at": version.published_at,
            "reason": version.reason,
        }
    )


@lru_cache(maxsize=4096)  # records never change: a reading parses only what is new
def _version_from_json(number: PolicyVersion, text: str, plan_text: str | None) -> Version:
    record: dict[str, Any] = json.loads(text)
    plan = None if plan_text is None else _plan_from_json(plan_text)
    policy = resolve(parse_spec(record["spec"]), plan, number)  # a newer plan of the signature must still fit
    return Version(replace(policy, namespace=Namespace(record["namespace"])), float(record["published_at"]), record["reason"])


@lru_cache(maxsize=1024)
def _plan_from_json(text: str) -> Plan:
    return from_json(text)


async def _publish(client: Client, key: str, based_on: int, fields: Mapping[str, str]) -> int:
    if not fields:
        return based_on
    words = [word for pair in fields.items() for word in pair]
    with unavailable():
        revision = int(await PUBLISH.run(client, [key], [based_on, *words]))
    if revision < 0:
        raise PublishedMeanwhile("somebody else published in the meantime; nothing was changed: look at what they did, and try again")
    return revision


def _decoded(raw: Mapping[bytes | str, bytes | str]) -> Raw:
    return {_text(field): _text(value) for field, value in raw.items()}


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _known(found: Mapping[K, T | None]) -> dict[K, T]:
    return {key: value for key, value in found.items() if value is not None}
