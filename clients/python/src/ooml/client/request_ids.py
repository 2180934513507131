"""Names for requests that have none: only a Score with a request_id may be sent again."""

from __future__ import annotations

import uuid

from ooml.bandit.v1 import bandit_pb2 as pb


def score(request: pb.ScoreRequest) -> pb.ScoreRequest:
    """The request itself if it has a name, else a copy that has one."""
    if request.request_id:
        return request
    named = pb.ScoreRequest()
    named.CopyFrom(request)
    named.request_id = str(uuid.uuid4())
    return named


def batch(request: pb.BatchScoreRequest) -> pb.BatchScoreRequest:
    """A batch whose requests all have names."""
    return pb.BatchScoreRequest(requests=map(score, request.requests))


def streamed(request: pb.ScoreStreamRequest) -> pb.ScoreStreamRequest:
    """A stream's request that has a name."""
    return pb.ScoreStreamRequest(sequence=request.sequence, request=score(request.request))
