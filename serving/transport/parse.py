"""From messages of the contract to commands of the service, which checks them.

What no number can hold (a Timestamp or Duration whose fields contradict each other) becomes NaN, which the service refuses at its own field
together with every other mistake of the request.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from ooml.bandit.v1 import bandit_pb2 as pb

from policies.types import CandidateId, PolicyName
from serving.service.commands import NOTHING, Reward, Score, Served
from serving.service.errors import FieldViolation, InvalidRequest
from serving.service.validate import MAX_CANDIDATES
from serving.transport import together

MAX_BATCH = 100
_SERVICE = pb.DESCRIPTOR.services_by_name["BanditService"].full_name
_BODY_HASH_BYTES = 16


class Sent(NamedTuple):
    """A ScoreRequest as it came.

    Args:
        body: its bytes.
        head: what they are, as far as `together.HEAD` reads them.
    """

    body: bytes
    head: Any

    @property
    def policy(self) -> str:
        """Which it asks."""
        return str(self.head.policy)


def sent(body: bytes) -> Sent:
    """A ScoreRequest that came as these bytes.

    Raises:
        DecodeError: they are none. What is nested may still be malformed.
    """
    return Sent(body, together.HEAD.FromString(body))


class Streamed(NamedTuple):
    """A ScoreStreamRequest, and why its request is none."""

    sequence: int
    request: Sent | DecodeError


def streamed(body: bytes) -> Streamed:
    """A ScoreStreamRequest that came as these bytes.

    Raises:
        DecodeError: they are none.
    """
    item = together.STREAMED.FromString(body)
    try:
        if len(item.request) > 1:  # pieces: what they make is for the library to say
            return Streamed(item.sequence, sent(pb.ScoreStreamRequest.FromString(body).request.SerializeToString()))
        return Streamed(item.sequence, sent(b"".join(item.request)))
    except DecodeError as error:
        return Streamed(item.sequence, error)


READERS: Mapping[str, Callable[[bytes], Any]] = {
    f"/{_SERVICE}/Score": sent,
    f"/{_SERVICE}/BatchScore": together.BATCH.FromString,
    f"/{_SERVICE}/ScoreStream": streamed,
}
"""Full names of methods, and how their requests are read where generated code would read too much."""


def scores(requests: Sequence[Sent]) -> list[Score | Exception]:
    """Several Scores; DecodeError stands for one that is malformed."""
    return [_score(*both) for both in zip(requests, together.maps_of([request.head for request in requests]), strict=True)]


def _score(request: Sent, maps: together.Maps | None) -> Score | Exception:
    body, head = request
    if len(head.candidates) > MAX_CANDIDATES:
        return Score(PolicyName(head.policy), ids=head.candidates)  # they are counted, and nothing is looked at
    try:
        return score(body) if maps is None else _read(body, head, maps)
    except DecodeError as error:
        return error


def _read(body: bytes, head: Any, maps: together.Maps) -> Score:
    """A Score whose maps are read already.

    Raises:
        DecodeError: something else that is nested is malformed.
    """
    return Score(
        policy=PolicyName(head.policy),
        ids=maps.ids,
        arms=[""] * len(maps.ids),
        own_entities=maps.own_entities,
        own_features=[NOTHING] * len(maps.ids),
        entities=maps.entities,
        context=maps.context,
        request_time=_seconds(Timestamp.FromString(head.request_time[0])) if head.request_time else None,
        utc_offset_s=_length(Duration.FromString(head.utc_offset[0])) if head.utc_offset else 0.0,
        request_id=head.request_id,
        deferred=head.deferred,
        explain=head.explain,
        served=_served(pb.Served.FromString(head.served[0])) if head.served else None,
        body_hash=_body_hash(body) if head.request_id else b"",
        message=body,
    )


def score(body: bytes) -> Score:
    """A Score that came as these bytes, whatever is in it.

    Raises:
        DecodeError: they are none.
    """
    request = pb.ScoreRequest.FromString(body)
    slate = list(request.candidates)
    # Maps are handed on as they are, to be read only: to copy them takes as long as all else that is done here.
    return Score(
        policy=PolicyName(request.policy),
        ids=[CandidateId(c.id) for c in slate],
        arms=[c.arm for c in slate],
        own_entities=[c.entities for c in slate],
        own_features=[c.features for c in slate],
        entities=request.entities,
        context=request.context,
        request_time=_seconds(request.request_time) if request.HasField("request_time") else None,
        utc_offset_s=_length(request.utc_offset) if request.HasField("utc_offset") else 0.0,
        request_id=request.request_id,
        deferred=request.deferred,
        explain=request.explain,
        served=_served(request.served) if request.HasField("served") else None,
        body_hash=_body_hash(body) if request.request_id else b"",
        message=body,
    )


def reward(request: pb.RewardRequest) -> Reward:
    """A Reward."""
    result = request.WhichOneof("result")
    return Reward(
        decision_id=request.decision_id,
        value=request.value if result == "value" else None,
        outcome=request.outcome if result == "outcome" else None,
        reward_id=request.reward_id,
        occurred_at=_seconds(request.occurred_at) if request.HasField("occurred_at") else None,
    )


def check_batch(size: int) -> None:
    """Raises InvalidRequest unless a batch holds as many requests as it may."""
    if not 1 <= size <= MAX_BATCH:
        raise InvalidRequest([FieldViolation("requests", f"must be 1 to {MAX_BATCH}, got {size}")])


def _served(served: pb.Served) -> Served:
    decided_at = _seconds(served.decided_at) if served.HasField("decided_at") else None
    return Served(CandidateId(served.candidate_id), served.propensity, decided_at)


def _body_hash(body: bytes) -> bytes:
    """Of all that makes two requests the same: everything but the request_id."""
    request = pb.ScoreRequest.FromString(body)
    request.ClearField("request_id")
    return hashlib.blake2b(request.SerializeToString(deterministic=True), digest_size=_BODY_HASH_BYTES).digest()


def _seconds(time: Timestamp) -> float:
    """Seconds since the epoch, never rounded up to the next whole one; NaN for a Timestamp that is none."""
    if not 0 <= time.nanos < 1_000_000_000:
        return math.nan
    seconds = time.seconds + time.nanos / 1e9
    return seconds if seconds < time.seconds + 1 else math.nextafter(seconds, -math.inf)


def _length(duration: Duration) -> float:
    """Seconds; NaN for a Duration that is none."""
    if abs(duration.nanos) >= 1_000_000_000 or duration.seconds * duration.nanos < 0:
        return math.nan
    return duration.seconds + duration.nanos / 1e9
