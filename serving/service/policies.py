"""What is served, what it has learned, and forgetting a person."""

from __future__ import annotations

import asyncio

from policies.posterior import posterior, ridge_prior
from policies.types import PolicyName, ScopeId
from policies.vector import feature_names
from serving.access.caller import ANYBODY, Caller
from serving.ports import DecisionStore, PolicyCatalog, PublishedPolicy
from serving.service.commands import ArmEvidence, PolicyDescription
from serving.service.deciding import unknown_policy
from serving.service.errors import InvalidRequest
from serving.service.slate import scope_of
from serving.service.validate import identifier


class PolicyService:
    """Looks into policies and their evidence, and erases people."""

    def __init__(self, store: DecisionStore, catalog: PolicyCatalog) -> None:
        self._store = store
        self._catalog = catalog

    def list(self, caller: Caller = ANYBODY) -> tuple[PolicyDescription, ...]:
        """All served policies that the caller may work with, by name."""
        live = (self._catalog.live(name) for name in self._catalog.names() if caller.allows(name))
        return tuple(_description(policy) for policy in live if policy is not None)

    def get(self, name: PolicyName) -> PolicyDescription:
        """One served policy.

        Raises:
            InvalidRequest, UnknownPolicy.
        """
        _check(policy=name)
        return _description(self._live(name))

    async def evidence(self, name: PolicyName, scope: ScopeId) -> tuple[ArmEvidence, ...]:
        """What each arm has shown a scope, by arm; empty when nothing has.

        Raises:
            InvalidRequest, UnknownPolicy.
        """
        _check(policy=name, scope=scope)
        policy = self._live(name)
        evidence = await self._store.evidence(policy, scope_of(policy, scope))
        theta = posterior(ridge_prior(len(evidence.arms), policy.dimension, policy.spec.ridge), evidence).theta
        return tuple(
            ArmEvidence(arm, int(evidence.count[m]), float(evidence.reward_sum[m]), theta[m], int(evidence.version[m]))
            for m, arm in enumerate(evidence.arms)
        )

    async def forget(self, scope: ScopeId, name: PolicyName | None) -> None:
        """Erase a person from one policy, or (None) from all. Safe to repeat.

        Raises:
            InvalidRequest, UnknownPolicy.
        """
        _check(scope=scope, **({} if name is None else {"policy": name}))
        names = self._catalog.names() if name is None else (name,)
        if name is not None and not self._catalog.namespaces(name):
            raise unknown_policy(name)
        await asyncio.gather(*(self._store.forget(each, self._catalog.namespaces(each), self._scope(each, scope)) for each in names))

    def _scope(self, name: PolicyName, scope: ScopeId) -> ScopeId:
        policy = self._catalog.live(name)
        return scope if policy is None else scope_of(policy, scope)

    def _live(self, name: PolicyName) -> PublishedPolicy:
        policy = self._catalog.live(name)
        if policy is None:
            raise unknown_policy(name)
        return policy


def _check(**ids: str) -> None:
    """Raise InvalidRequest unless each of a request's fields is an id."""
    violations = [violation for field, value in ids.items() for violation in identifier(field, value)]
    if violations:
        raise InvalidRequest(violations)


def _description(policy: PublishedPolicy) -> PolicyDescription:
    return PolicyDescription(policy, feature_names(policy.spec, policy.features))
