"""What must never happen, whatever was asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from ooml.bandit.v1 import bandit_pb2 as pb

from serving.transport import together
from tests.fuzz.cases import METHODS, Case

NEVER = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
}
"""The server runs, so does its store, and time enough is given."""
HURRIED = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True)
class Answer:
    """What came of a call: how it ended, its replies, the details of its error, all as bytes, and how long it took."""

    code: grpc.StatusCode
    message: str
    replies: Sequence[bytes]
    details: bytes | None = None
    took_s: float = 0.0


def problems(case: Case, bodies: Sequence[bytes], answer: Answer) -> Iterator[str]:
    """What is wrong with an answer, as far as it and its request alone tell."""
    method = METHODS[case.method]
    yield from _wrong_code(case, answer.code, answer.message)
    if answer.code is not grpc.StatusCode.OK and method.ours and answer.code not in HURRIED:
        status = Status.FromString(answer.details or b"")
        yield from _wrong_status(case, status, answer.code)
    for reply in answer.replies:
        try:
            parsed = method.response.FromString(reply)
        except DecodeError:
            yield "a reply is no message of its type"
            continue
        for status in _errors(parsed):
            yield from _wrong_code(case, _CODES[status.code], status.message)
            yield from _wrong_status(case, status, _CODES[status.code])
        yield from _mixed_up(parsed, bodies)


def _wrong_code(case: Case, code: grpc.StatusCode, message: str) -> Iterator[str]:
    if code in NEVER and not (case.hurried and code in HURRIED):
        yield f"{code.name}: {message}"


def _wrong_status(case: Case, status: Status, code: grpc.StatusCode) -> Iterator[str]:
    infos = [info for detail in status.details if detail.Unpack(info := ErrorInfo())]
    if [info.domain for info in infos] != ["ooml.bandit.v1"] or not infos[0].reason.startswith("ERROR_REASON_"):
        yield f"{code.name} without its reason"


def _errors(reply: Any) -> Iterator[Status]:
    if isinstance(reply, pb.BatchScoreResponse | pb.BatchRewardResponse):
        yield from (result.error for result in reply.results if result.HasField("error"))
    elif isinstance(reply, pb.ScoreStreamResponse) and reply.HasField("error"):
        yield reply.error


def _mixed_up(reply: Any, bodies: Sequence[bytes]) -> Iterator[str]:
    """Answers that are another's: candidates nobody asked about, or too many or too few results."""
    if isinstance(reply, pb.ScoreResponse):
        yield from _not_of(reply, pb.ScoreRequest.FromString(bodies[0]))
    elif isinstance(reply, pb.BatchScoreResponse):
        requests = together.BATCH.FromString(bodies[0]).requests
        if len(requests) != len(reply.results):
            yield f"{len(reply.results)} results for {len(requests)} requests"
            return
        for request, result in zip(requests, reply.results, strict=True):
            if result.HasField("response"):
                try:
                    yield from _not_of(result.response, pb.ScoreRequest.FromString(request))
                except DecodeError:
                    yield "a decision about a request that cannot be read"
    elif isinstance(reply, pb.ScoreStreamResponse) and reply.HasField("response"):
        asked = [item.request for item in _readable(bodies) if item.sequence == reply.sequence]
        if all(any(_not_of(reply.response, request)) for request in asked):
            yield "a decision about other candidates than were asked about under its sequence"


def _readable(bodies: Sequence[bytes]) -> Iterator[pb.ScoreStreamRequest]:
    for body in bodies:
        try:
            together.STREAMED.FromString(body)
        except DecodeError:
            return  # the server reads no further either
        with suppress(DecodeError):  # of its request, which the server says is malformed
            yield pb.ScoreStreamRequest.FromString(body)


def _not_of(reply: pb.ScoreResponse, request: pb.ScoreRequest) -> Iterator[str]:
    asked = sorted(candidate.id for candidate in request.candidates)
    if sorted(scored.candidate_id for scored in reply.ranking) != asked or reply.candidate_id not in asked:
        yield "a decision about other candidates than were asked about"
    total = sum(scored.propensity for scored in reply.ranking)
    if not abs(total - 1) < 1e-9 or not 0 < reply.propensity <= 1:
        yield f"propensities sum to {total}, {reply.propensity} the one drawn with"
