"""A catalogue in memory, for tests and for policies that need no store."""

from __future__ import annotations

from collections.abc import Iterable

from policies.types import Namespace, PolicyName
from serving.ports import PublishedPolicy


class MemoryCatalog:
    """`serving.ports.PolicyCatalog` over a list that grows with `publish`."""

    def __init__(self, policies: Iterable[PublishedPolicy] = ()) -> None:
        self._live: dict[PolicyName, PublishedPolicy] = {}
        self._by_namespace: dict[Namespace, PublishedPolicy] = {}
        for policy in policies:
            self.publish(policy)

    def publish(self, policy: PublishedPolicy) -> None:
        """Make a version live, in place of any other of its name."""
        self._live[policy.spec.name] = policy
        self._by_namespace[policy.namespace] = policy

    def live(self, name: PolicyName) -> PublishedPolicy | None:
        """See `PolicyCatalog.live`."""
        return self._live.get(name)

    def names(self) -> tuple[PolicyName, ...]:
        """See `PolicyCatalog.names`."""
        return tuple(sorted(self._live))

    async def by_namespace(self, namespace: Namespace) -> PublishedPolicy | None:
        """See `PolicyCatalog.by_namespace`."""
        return self._by_namespace.get(namespace)

    def namespaces(self, name: PolicyName) -> tuple[Namespace, ...]:
        """See `PolicyCatalog.namespaces`."""
        return tuple(namespace for namespace, policy in self._by_namespace.items() if policy.spec.name == name)
