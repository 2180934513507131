"""A bare grpc.aio server of the same messages: it parses what ooml parses, sends what ooml sends, and does nothing in between.

What a call costs here is what grpc.aio costs as it comes: it takes in one call at a time, where ooml's worker takes in many, so it is no
floor. With ``--store URL`` a Score also waits for two trips to that store, one after the other, as every server does that reads before
it chooses and writes before it replies. Run as its own process:
``python -m benchmarks.echo``; it prints its port and ends with its stdin.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import grpc
import typer
import uvloop
from google.protobuf.timestamp_pb2 import Timestamp
from ooml.bandit.v1 import bandit_pb2 as pb

from benchmarks.trips import READ, WRITE, trip
from serving.redis.connect import connect

Score = Callable[[pb.ScoreRequest, Any], Awaitable[pb.ScoreResponse]]


def response(request: pb.ScoreRequest) -> pb.ScoreResponse:
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


async def score(request: pb.ScoreRequest, _: object) -> pb.ScoreResponse:
    """Reply at once."""
    return response(request)


def score_after_trips(url: str) -> Score:
    """Reply after a read and a write of a store."""
    client = connect(url, cluster=False, timeout_s=5.0)

    async def score(request: pb.ScoreRequest, _: object) -> pb.ScoreResponse:
        await trip(client, READ)
        await trip(client, WRITE)
        return response(request)

    return score


async def score_stream(_: object, context: grpc.aio.ServicerContext[pb.ScoreStreamRequest, pb.ScoreStreamResponse]) -> None:
    """Reply to one request after the other, without a task or a queue for any."""
    while isinstance(item := await context.read(), pb.ScoreStreamRequest):
        await context.write(pb.ScoreStreamResponse(sequence=item.sequence, response=response(item.request)))


async def reward(_request: pb.RewardRequest, _: object) -> pb.RewardResponse:
    """A reply of the size and shape of a real one."""
    return pb.RewardResponse(status=pb.REWARD_STATUS_APPLIED, value=1.0)


async def serve(store: str | None) -> None:
    """Serve on a free loopback port until stdin ends.

    Args:
        store: URL of what a Score waits for; None: for nothing.
    """
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Score": grpc.unary_unary_rpc_method_handler(
            score if store is None else score_after_trips(store), pb.ScoreRequest.FromString, pb.ScoreResponse.SerializeToString
        ),
        "ScoreStream": grpc.stream_stream_rpc_method_handler(
            score_stream, pb.ScoreStreamRequest.FromString, pb.ScoreStreamResponse.SerializeToString
        ),
        "Reward": grpc.unary_unary_rpc_method_handler(reward, pb.RewardRequest.FromString, pb.RewardResponse.SerializeToString),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("ooml.bandit.v1.BanditService", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(grace=None)


def main(store: Annotated[str | None, typer.Option(help="URL of the store whose answers a Score waits for.")] = None) -> None:
    """Answer ooml's messages with nothing behind."""
    uvloop.run(serve(store))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
