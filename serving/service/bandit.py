"""Score, Activate and Reward."""

from __future__ import annotations

from collections.abc import Sequence

from policies.types import DecisionId
from serving.access.caller import ANYBODY, Caller
from serving.ids import parse_decision_id
from serving.ports import DecisionStore, PolicyCatalog, PublishedPolicy, RewardOutcome, Told, UnknownDecision
from serving.service.commands import Reward, Score, Scored
from serving.service.deciding import Decider, Sources, unknown_policy
from serving.service.errors import InvalidRequest, PolicyNotAllowed
from serving.service.slate import Asked, prepare
from serving.service.validate import activate_violations, reward_value, reward_violations, score_violations


class BanditService:
    """Decides and learns. Holds nothing that cannot be lost."""

    def __init__(self, store: DecisionStore, catalog: PolicyCatalog, sources: Sources) -> None:
        self._store = store
        self._catalog = catalog
        self._decider = Decider(store, catalog, sources)

    def prepare(self, request: Score) -> Asked:
        """Look whether a request can be decided; nothing is read yet.

        Raises:
            InvalidRequest: with every mistake of the request.
            UnknownPolicy.
        """
        violations = score_violations(request)
        policy = self._catalog.live(request.policy)
        if policy is None:
            if violations:
                raise InvalidRequest(violations)
            raise unknown_policy(request.policy)
        return prepare(policy, request, violations)

    async def decide(self, group: Sequence[Asked]) -> list[Scored | Exception]:
        """Choose one candidate for each and record the decisions before answering. One answer a request, in order, errors as they are.

        Errors: InvalidRequest, UnknownPolicy, RequestIdReused, and what `DecisionStore.read` and `decide` answer.
        """
        return await self._decider.decide(group)

    async def activate(self, decision_id: str, caller: Caller = ANYBODY) -> float:
        """Open a deferred decision's window; returns the reward deadline, in seconds since the epoch.

        Raises:
            InvalidRequest: with every mistake of the request.
            PolicyNotAllowed, UnknownDecision, ActivatedTooLate, Forgotten, ArmLimit.
        """
        violations = list(activate_violations(decision_id))
        if violations:
            raise InvalidRequest(violations)
        policy = await self._policy_of(decision_id, caller)
        return await self._store.activate(policy, DecisionId(decision_id))

    async def prepare_reward(self, request: Reward, caller: Caller = ANYBODY) -> Told:
        """Look whether a reward can be counted, and what it is worth; nothing is counted yet.

        Raises:
            InvalidRequest: with every mistake of the request.
            PolicyNotAllowed, UnknownDecision.
        """
        violations = list(reward_violations(request))
        if violations:
            raise InvalidRequest(violations)
        policy = await self._policy_of(request.decision_id, caller)
        value, violations = reward_value(request, policy.spec.reward)
        if violations:
            raise InvalidRequest(violations)
        return Told(policy, DecisionId(request.decision_id), value, request.reward_id or None, request.occurred_at)

    async def reward(self, group: Sequence[Told]) -> list[RewardOutcome | Exception]:
        """Count rewards towards their decisions, each once. One answer a reward, in order, errors as they are.

        Errors: what `DecisionStore.reward` answers.
        """
        return await self._store.reward(group)

    async def _policy_of(self, decision_id: str, caller: Caller) -> PublishedPolicy:
        """The rules a decision was made under, which its id names."""
        parsed = parse_decision_id(decision_id)
        policy = await self._catalog.by_namespace(parsed[1]) if parsed else None
        if caller.policies is not None and (policy is None or not caller.allows(policy.spec.name)):
            # One answer for what is not theirs and what is not there.
            raise PolicyNotAllowed("this credential does not allow the policy of that decision, or there is no such decision")
        if policy is None:
            raise UnknownDecision("no such decision, or its window and grace are over")
        return policy
