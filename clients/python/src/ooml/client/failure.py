"""Why a call failed, beyond its code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

DETAILS_KEY = "grpc-status-details-bin"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Violation:
    """A field at fault, by its path, and what is wrong with it."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call, or one request of a batch or stream, failed.

    Args:
        reason: a name of `ooml.bandit.v1.errors_pb2.ErrorReason`; empty when gRPC itself refused.
        domain: whose reason it is; empty without one.
        violations: fields at fault.
        retry_delay_s: when trying again may help; None: it does not.
    """

    code: grpc.StatusCode
    message: str
    reason: str = ""
    domain: str = ""
    violations: tuple[Violation, ...] = ()
    retry_delay_s: float | None = None


def failure_of(error: grpc.RpcError | Status) -> Failure:
    """What an error says: one that a call raised, or the one in a result of a batch or stream."""
    if isinstance(error, Status):
        return _read(_CODES.get(error.code, grpc.StatusCode.UNKNOWN), error.message, error)
    call: Any = error  # every error that a call raises is also that call
    status = next((value for key, value in call.trailing_metadata() or () if key == DETAILS_KEY), b"")
    return _read(call.code(), call.details() or "", Status.FromString(status))


def _read(code: grpc.StatusCode, message: str, status: Status) -> Failure:
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    delay_s = None
    for detail in status.details:
        if detail.Unpack(retry):
            delay_s = retry.retry_delay.ToTimedelta().total_seconds()
        elif not detail.Unpack(info):
            detail.Unpack(bad)
    violations = tuple(Violation(violation.field, violation.description) for violation in bad.field_violations)
    return Failure(code, message, info.reason, info.domain, violations, delay_s)
