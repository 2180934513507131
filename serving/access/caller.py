"""Whoever makes a call, and what they may do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from policies.types import PolicyName
from serving.access.rates import Meter


class Role(Enum):
    """What a credential is for. Each role may do all that the one before it may."""

    READER = "reader"
    WRITER = "writer"
    ADMIN = "admin"


_BANDIT, _POLICY = "/ooml.bandit.v1.BanditService/", "/ooml.bandit.v1.PolicyService/"
_READS = frozenset(_POLICY + name for name in ("ListPolicies", "GetPolicy", "GetEvidence"))
_WRITES = frozenset(_BANDIT + name for name in ("Score", "Reward", "Activate", "BatchScore", "BatchReward", "ScoreStream"))
_ERASES = frozenset({_POLICY + "ForgetScope"})

METHODS: Mapping[Role, frozenset[str]] = {
    Role.READER: _READS,
    Role.WRITER: _READS | _WRITES,
    Role.ADMIN: _READS | _WRITES | _ERASES,
}
"""What each role may call. A method that is named nowhere here may be called by nobody."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose credential was found good.

    Args:
        id: for logs and rates; no secret. Empty: nobody was asked for a credential.
        policies: names of the policies they may work with; None: all.
        expires_at: when the credential ends, seconds since the epoch.
        meter: what their calls are counted by; None: they are not.
    """

    id: str
    role: Role
    policies: frozenset[PolicyName] | None = None
    expires_at: float = math.inf
    meter: Meter | None = None

    def may_call(self, method: str) -> bool:
        """Whether the role allows a method, by its full name."""
        return method in METHODS[self.role]

    def allows(self, policy: str) -> bool:
        """Whether they may work with a policy, be there one of that name or not."""
        return self.policies is None or policy in self.policies


ANYBODY = Caller("", Role.ADMIN)
"""Whoever calls a server that asks for no credentials."""
