"""PolicyService over gRPC: parse, call one use case, render."""

from __future__ import annotations

from typing import Any

import grpc
from ooml.bandit.v1 import policy_pb2 as pb
from ooml.bandit.v1 import policy_pb2_grpc

from policies.types import PolicyName, ScopeId
from serving.service.policies import PolicyService
from serving.transport import render
from serving.transport.admission import CALLER

Context = grpc.aio.ServicerContext[Any, Any]


class PolicyServicer(policy_pb2_grpc.PolicyServiceServicer):
    """Handlers of PolicyService; the entrance stands before them."""

    def __init__(self, service: PolicyService) -> None:
        self._service = service

    async def ListPolicies(self, request: pb.ListPoliciesRequest, context: Context) -> pb.ListPoliciesResponse:  # noqa: N802
        """All served policies that the caller may work with."""
        listed = self._service.list(CALLER.get())
        return pb.ListPoliciesResponse(policies=[render.policy(description) for description in listed])

    async def GetPolicy(self, request: pb.GetPolicyRequest, context: Context) -> pb.GetPolicyResponse:  # noqa: N802
        """One served policy."""
        return pb.GetPolicyResponse(policy=render.policy(self._service.get(PolicyName(request.policy))))

    async def GetEvidence(self, request: pb.GetEvidenceRequest, context: Context) -> pb.GetEvidenceResponse:  # noqa: N802
        """What each arm has shown a scope."""
        arms = await self._service.evidence(PolicyName(request.policy), ScopeId(request.scope))
        return pb.GetEvidenceResponse(arms=[render.arm_evidence(arm) for arm in arms])

    async def ForgetScope(self, request: pb.ForgetScopeRequest, context: Context) -> pb.ForgetScopeResponse:  # noqa: N802
        """Erase a scope."""
        await self._service.forget(ScopeId(request.scope), PolicyName(request.policy) if request.policy else None)
        return pb.ForgetScopeResponse()
