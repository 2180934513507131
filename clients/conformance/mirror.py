"""A server that shows what reaches it: what a client adds to a call cannot be seen in a real answer.

Every Score, alone, in a batch or in a stream, is answered with what came: `decision_id` is its request_id, `candidate_id` the metadata
`authorization`, `propensity` the seconds left until the deadline, `policy_version` the number of the attempt. A call is UNAVAILABLE for as
many attempts as its metadata `fail-attempts` says, each time with the `pushback-ms` that it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1.bandit_pb2_grpc import BanditServiceServicer, add_BanditServiceServicer_to_server


@contextmanager
def mirror() -> Iterator[str]:
    """Its address, for as long as the block runs."""
    server = grpc.server(ThreadPoolExecutor(8))
    add_BanditServiceServicer_to_server(_Mirror(), server)  # type: ignore[abstract]  # three calls are enough
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


class _Mirror(BanditServiceServicer):
    def Score(self, request: pb.ScoreRequest, context: Any) -> pb.ScoreResponse:  # noqa: N802
        return _shown(request, context)

    def BatchScore(self, request: pb.BatchScoreRequest, context: Any) -> pb.BatchScoreResponse:  # noqa: N802
        return pb.BatchScoreResponse(results=[pb.ScoreResult(response=_shown(each, context)) for each in request.requests])

    def ScoreStream(self, request_iterator: Any, context: Any) -> Iterator[pb.ScoreStreamResponse]:  # noqa: N802
        for item in request_iterator:
            yield pb.ScoreStreamResponse(sequence=item.sequence, response=_shown(item.request, context))


def _shown(request: pb.ScoreRequest, context: Any) -> pb.ScoreResponse:
    told = dict(context.invocation_metadata())
    attempt = int(told.get("grpc-previous-rpc-attempts", 0)) + 1
    if attempt <= int(told.get("fail-attempts", 0)):
        if "pushback-ms" in told:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", told["pushback-ms"]),))
        context.abort(grpc.StatusCode.UNAVAILABLE, "as asked")
    return pb.ScoreResponse(
        decision_id=request.request_id,
        candidate_id=told.get("authorization", ""),
        propensity=context.time_remaining(),
        policy_version=attempt,
    )
