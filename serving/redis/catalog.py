"""A replica's view of what is published: one immutable snapshot, swapped whole when Redis has a newer one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from policies.types import Namespace, PolicyName
from serving.following import Report, follow
from serving.ports import PublishedPolicy, Unavailable
from serving.redis.connect import Client
from serving.redis.published import load, revisions
from serving.versions import Problem, Published


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What is served, indexed as it is asked for."""

    published: Published
    live: Mapping[PolicyName, PublishedPolicy] = field(default_factory=dict)
    by_namespace: Mapping[Namespace, PublishedPolicy] = field(default_factory=dict)


class RedisCatalog:
    """`serving.ports.PolicyCatalog` over Redis.

    Args:
        client: knows where Redis is; owned by the caller.
        report: told of what goes wrong (a record that cannot be read, Redis away) once, and not again until it changes.
        timeout_s: how long one look at Redis may take.
    """

    def __init__(self, client: Client, report: Report, *, timeout_s: float = 1.0) -> None:
        self._client = client
        self._report = report
        self._timeout_s = timeout_s
        self._snapshot = _Snapshot(Published())
        self._looking = asyncio.Lock()
        self._looks = 0
        self._looked = False

    async def start(self) -> None:
        """Load what is published.

        Raises:
            Unavailable: Redis did not answer. `follow` loads it once Redis does.
        """
        await self.refresh()

    async def follow(self, every_s: float = 0.3) -> NoReturn:
        """Keep up with Redis until cancelled; while it is away, go on with what was last read."""
        await follow("published policies", self.refresh, every_s, self._report)

    async def refresh(self) -> None:
        """Take up what is published now: one round trip when nothing is new, a second when something is.

        Raises:
            Unavailable: Redis did not answer in time.
        """
        begun = self._looks
        async with self._looking:
            if self._looks > begun and self._looked:
                return  # somebody else's look began after this call, and serves it as well
            self._looks += 1
            self._looked = False
            try:
                async with asyncio.timeout(self._timeout_s):
                    seen = self._snapshot.published
                    if await revisions(self._client) != (seen.policies_rev, seen.plans_rev):
                        self._take_up(await load(self._client, seen))
            except TimeoutError as error:
                raise Unavailable("the store did not answer in time") from error
            self._looked = True

    def live(self, name: PolicyName) -> PublishedPolicy | None:
        """See `PolicyCatalog.live`."""
        return self._snapshot.live.get(name)

    def names(self) -> tuple[PolicyName, ...]:
        """See `PolicyCatalog.names`."""
        return tuple(sorted(self._snapshot.live))

    async def by_namespace(self, namespace: Namespace) -> PublishedPolicy | None:
        """See `PolicyCatalog.by_namespace`.

        Raises:
            Unavailable: it is not known here, and Redis did not answer.
        """
        found = self._snapshot.by_namespace.get(namespace)
        if found is None:
            await self.refresh()
            found = self._snapshot.by_namespace.get(namespace)
        return found

    def namespaces(self, name: PolicyName) -> tuple[Namespace, ...]:
        """See `PolicyCatalog.namespaces`."""
        return self._snapshot.published.namespaces(name)

    def _take_up(self, published: Published) -> None:
        before = self._snapshot
        known: set[Problem] = set(before.published.problems)
        self._snapshot = _index(published, before)
        for problem in published.problems:
            if problem not in known:
                self._report("published record cannot be read", record=problem.record, error=problem.error)


def _index(published: Published, before: _Snapshot) -> _Snapshot:
    live: dict[PolicyName, PublishedPolicy] = {}
    for name, head in published.heads.items():
        version = published.live(name)
        if version is not None:
            live[name] = version.policy
        elif head.live is not None and name in before.live:
            live[name] = before.live[name]  # the version that should be live cannot be read: the last good one goes on
    by_namespace = {v.policy.namespace: v.policy for versions in published.versions.values() for v in versions.values()}
    by_namespace |= {policy.namespace: policy for policy in live.values()}
    return _Snapshot(published, live, by_namespace)
