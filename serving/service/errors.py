"""Why the service refuses. Messages are written for callers; transport turns the types into statuses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

MAX_VIOLATIONS = 500
"""Mistakes of a request that are put into words. A status holds some sixty; to word all of a message's would hold up everybody else."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One mistake of a request: the field's path in the contract, and what to do about it."""

    field: str
    description: str


class ServiceError(Exception):
    """The service refuses; the subclass says why."""


class InvalidRequest(ServiceError):
    """The request breaks the contract; every mistake is named, as far as there are no more than `MAX_VIOLATIONS`.

    Args:
        violations: at least one; taken one by one, and none beyond the first that is too many.
    """

    def __init__(self, violations: Iterable[FieldViolation]) -> None:
        found = tuple(islice(violations, MAX_VIOLATIONS + 1))
        self.violations = found[:MAX_VIOLATIONS]
        self.found = len(found)
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in self.violations))

    def more_than(self, told: int) -> str:
        """How many mistakes there are beside so many that are told: ``3 more``, or ``at least 440 more``."""
        return f"{'at least ' * (self.found > MAX_VIOLATIONS)}{self.found - told} more"


class UnknownPolicy(ServiceError):
    """No policy of that name is served."""


class PolicyNotAllowed(ServiceError):
    """The caller may not work with the policy, or with that of the decision: said alike whether it exists or not."""

    why = "policy"


class RequestIdReused(ServiceError):
    """The request_id has answered another request before."""
