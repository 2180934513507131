"""A bare grpc.aio server of the same messages: it parses what ooml parses, sends what ooml sends, and does nothing in between.

What a call costs here is the floor under every Python server. Run as its own process: ``python -m benchmarks.echo``; it prints its port
and ends with its stdin.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import uvloop
from google.protobuf.timestamp_pb2 import Timestamp
from ooml.bandit.v1 import bandit_pb2 as pb


async def score(request: pb.ScoreRequest, _: object) -> pb.ScoreResponse:
    """A reply of the size and shape of a real one, with as many candidates as were asked about."""
    ids = [candidate.id for candidate in request.candidates]
    return pb.ScoreResponse(
        decision_id="0123456789abcdefghijklmnopqrstuvwxyz",
        candidate_id=ids[0],
        propensity=0.955,
        ranking=[pb.ScoredCandidate(candidate_id=i, arm="task", score=1.25, mean=0.25, uncertainty=1.0, propensity=0.005) for i in ids],
        policy_version=1,
        feature_status=pb.FeatureStatus(present=5 * len(ids)),
        reward_deadline=Timestamp(seconds=1_767_571_200),
    )


async def reward(_request: pb.RewardRequest, _: object) -> pb.RewardResponse:
    """A reply of the size and shape of a real one."""
    return pb.RewardResponse(status=pb.REWARD_STATUS_APPLIED, value=1.0)


HANDLERS: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
    "Score": grpc.unary_unary_rpc_method_handler(score, pb.ScoreRequest.FromString, pb.ScoreResponse.SerializeToString),
    "Reward": grpc.unary_unary_rpc_method_handler(reward, pb.RewardRequest.FromString, pb.RewardResponse.SerializeToString),
}


async def serve() -> None:
    """Serve on a free loopback port until stdin ends."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("ooml.bandit.v1.BanditService", HANDLERS),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(grace=None)


if __name__ == "__main__":
    uvloop.run(serve())
