"""Why the service refuses. Messages are written for callers; transport turns the types into statuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One mistake of a request: the field's path in the contract, and what to do about it."""

    field: str
    description: str


class ServiceError(Exception):
    """The service refuses; the subclass says why."""


class InvalidRequest(ServiceError):
    """The request breaks the contract; every mistake is named."""

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in self.violations))


class UnknownPolicy(ServiceError):
    """No policy of that name is served."""


class RequestIdReused(ServiceError):
    """The request_id has answered another request before."""
