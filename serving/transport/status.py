"""From an exception to the google.rpc.Status that callers see: code, reason, the fields at fault, when to try again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from ooml.bandit.v1 import errors_pb2 as pb

from serving import ports
from serving.service.errors import InvalidRequest, PolicyNotAllowed, RequestIdReused, UnknownPolicy
from serving.transport import errors

DOMAIN = "ooml.bandit.v1"
DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
"""gRPC's own retry waits as long as this trailer says; it does not look into details. Only where a retry is asked for: to some
languages (Java) the trailer alone means that they should, whatever the code, and they would keep the true reason from their callers."""

MAX_STATUS_BYTES = 4096
"""A status travels as an HTTP/2 header, base64-encoded; clients refuse headers of more than 8 KiB together unless told otherwise."""
MAX_MESSAGE = 240
MAX_FIELD, MAX_DESCRIPTION = 160, 320
"""Longest texts, in characters: a caller's own id or name may be in them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What callers get for one kind of error.

    Args:
        code: of gRPC.
        reason: of the contract.
        retry_after_s: when trying again may help; None: it does not, or not by itself.
    """

    code: grpc.StatusCode
    reason: pb.ErrorReason.ValueType
    retry_after_s: float | None = None


INTERNAL = Answer(grpc.StatusCode.INTERNAL, pb.ERROR_REASON_INTERNAL)

ANSWERS: Mapping[type[Exception], Answer] = {
    InvalidRequest: Answer(grpc.StatusCode.INVALID_ARGUMENT, pb.ERROR_REASON_INVALID_REQUEST),
    DecodeError: Answer(grpc.StatusCode.INVALID_ARGUMENT, pb.ERROR_REASON_INVALID_REQUEST),
    UnknownPolicy: Answer(grpc.StatusCode.NOT_FOUND, pb.ERROR_REASON_UNKNOWN_POLICY),
    RequestIdReused: Answer(grpc.StatusCode.ALREADY_EXISTS, pb.ERROR_REASON_REQUEST_ID_REUSED),
    ports.UnknownDecision: Answer(grpc.StatusCode.NOT_FOUND, pb.ERROR_REASON_UNKNOWN_DECISION),
    ports.NotActivated: Answer(grpc.StatusCode.FAILED_PRECONDITION, pb.ERROR_REASON_NOT_ACTIVATED),
    ports.ActivatedTooLate: Answer(grpc.StatusCode.FAILED_PRECONDITION, pb.ERROR_REASON_ACTIVATED_TOO_LATE),
    ports.Forgotten: Answer(grpc.StatusCode.FAILED_PRECONDITION, pb.ERROR_REASON_SCOPE_FORGOTTEN),
    ports.ArmLimit: Answer(grpc.StatusCode.FAILED_PRECONDITION, pb.ERROR_REASON_ARM_LIMIT_REACHED),
    ports.RewardLimit: Answer(grpc.StatusCode.FAILED_PRECONDITION, pb.ERROR_REASON_REWARD_LIMIT_REACHED),
    ports.Unavailable: Answer(grpc.StatusCode.UNAVAILABLE, pb.ERROR_REASON_STORE_UNAVAILABLE, 0.5),
    errors.Draining: Answer(grpc.StatusCode.UNAVAILABLE, pb.ERROR_REASON_DRAINING, 0.1),
    errors.TooManyInFlight: Answer(grpc.StatusCode.RESOURCE_EXHAUSTED, pb.ERROR_REASON_TOO_MANY_IN_FLIGHT, 0.1),
    errors.OutOfTime: Answer(grpc.StatusCode.DEADLINE_EXCEEDED, pb.ERROR_REASON_DEADLINE_EXCEEDED),
    errors.Unauthenticated: Answer(grpc.StatusCode.UNAUTHENTICATED, pb.ERROR_REASON_UNAUTHENTICATED),
    PolicyNotAllowed: Answer(grpc.StatusCode.PERMISSION_DENIED, pb.ERROR_REASON_PERMISSION_DENIED),
    errors.PermissionDenied: Answer(grpc.StatusCode.PERMISSION_DENIED, pb.ERROR_REASON_PERMISSION_DENIED),
    errors.RateLimited: Answer(grpc.StatusCode.RESOURCE_EXHAUSTED, pb.ERROR_REASON_RATE_LIMITED),
}

_CODES = {code.value[0]: code for code in grpc.StatusCode}


def answer_to(error: Exception) -> Answer:
    """What callers get for an error; INTERNAL for one that nobody planned."""
    return next((ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS), INTERNAL)


def status_of(error: Exception) -> Status:
    """The status of an error, at most `MAX_STATUS_BYTES` long. The text of an unplanned error stays here."""
    answer = answer_to(error)
    status = Status(code=answer.code.value[0], message=_clipped(_message(error, answer), MAX_MESSAGE))
    status.details.add().Pack(ErrorInfo(reason=pb.ErrorReason.Name(answer.reason), domain=DOMAIN))
    retry_after_s = error.retry_after_s if isinstance(error, errors.RateLimited) else answer.retry_after_s
    if retry_after_s is not None:
        seconds, us = divmod(math.ceil(retry_after_s * 1e6), 1_000_000)
        status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=seconds, nanos=us * 1000)))
    if isinstance(error, InvalidRequest):
        status.details.add().Pack(_bad_request(error, MAX_STATUS_BYTES - status.ByteSize() - 64))
    return status


def without_frames(error: Exception) -> Exception:
    """An error that is only an answer from now on: without its traceback.

    That holds all that was at work where the error was raised, the request too, and some of it in turn holds the error: a cycle, which
    stays until somebody looks for cycles. An error that nobody planned keeps its own, to be logged.
    """
    return error if answer_to(error) is INTERNAL else error.with_traceback(None)


def code_of(status: Status) -> grpc.StatusCode:
    """The status's code as gRPC names it."""
    return _CODES[status.code]


@contextmanager
def aborting() -> Iterator[None]:
    """Around what may abort a call: its handler goes on after it, and whatever that returns is not sent.

    gRPC keeps the error it throws for that with the call, to throw it again after the handler. Here it goes no further, and its traceback
    is taken off: that would hold the handler, the handler its request and the call, and so each other, until somebody looks for cycles.
    """
    try:
        yield
    except grpc.aio.AbortError as ended:
        ended.__traceback__ = None


async def abort(context: grpc.aio.ServicerContext[Any, Any], status: Status) -> None:
    """End a call with a status, as `aborting` says. Callers whose retry is gRPC's own hear of the delay too."""
    with aborting():
        await context.abort(code_of(status), status.message, ((DETAILS_KEY, status.SerializeToString()), *_pushback(status)))


def _pushback(status: Status) -> Iterator[tuple[str, str]]:
    retry = RetryInfo()
    for detail in status.details:
        if code_of(status) is grpc.StatusCode.UNAVAILABLE and detail.Unpack(retry):
            yield PUSHBACK_KEY, str(-(-retry.retry_delay.ToNanoseconds() // 1_000_000))


def _message(error: Exception, answer: Answer) -> str:
    if isinstance(error, InvalidRequest):
        first = error.violations[0]
        more = f" (and {error.more_than(1)})" if error.found > 1 else ""
        return f"{_clipped(first.field, 80)}: {_clipped(first.description, 120)}{more}"
    if isinstance(error, DecodeError):
        return "the request is not a message of this method's type"
    if answer is INTERNAL:
        return "internal error; it has been logged"
    return str(error)


def _bad_request(error: InvalidRequest, room: int) -> BadRequest:
    """As many violations as fit into so many bytes, and no more are looked at; the last entry says how many do not."""
    bad = BadRequest()
    size = 0
    for k, violation in enumerate(error.violations):
        entry = BadRequest.FieldViolation(
            field=_clipped(violation.field, MAX_FIELD), description=_clipped(violation.description, MAX_DESCRIPTION)
        )
        size += entry.ByteSize() + 4
        if size > room:
            bad.field_violations.add(description=f"and {error.more_than(k)}")
            break
        bad.field_violations.append(entry)
    return bad


def _clipped(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
