"""The runner of the client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
from ooml.client import AsyncClient

from conformance.steps import Step, method_name, options, say_refused


async def execute(run: Mapping[str, Any]) -> None:
    """All cases, one after the other."""
    for case in run["cases"]:
        target = run["targets"][case["target"]]
        saved: dict[str, str] = {}
        try:
            client = AsyncClient(target["address"], options(target, case.get("client", {})))
        except ValueError as why:
            say_refused(case, why)
            continue
        async with client:
            for number, given in enumerate(case["steps"]):
                if "wait_ms" in given:
                    await asyncio.sleep(given["wait_ms"] / 1000)
                else:
                    await _call(client, Step(case["name"], number, given, saved))


async def _call(client: AsyncClient, step: Step) -> None:
    responses: list[Any] = []
    error: Exception | None = None
    streams = step.given["call"] == "ScoreStream"
    try:
        if streams:
            await _stream(client, step, responses)
        else:
            responses.append(await _unary(client, step))
    except Exception as raised:
        error = raised
    except asyncio.CancelledError:  # the call is, and not this task
        error = grpc.FutureCancelledError()
    step.say(responses if streams else next(iter(responses), None), error)


async def _unary(client: AsyncClient, step: Step) -> Any:
    call = getattr(client, method_name(step.given["call"]))(step.request(), **step.arguments)
    if step.given.get("cancel_at_once"):
        call.cancel()
    return await call


async def _stream(client: AsyncClient, step: Step, responses: list[Any]) -> None:
    cancel_after = step.given.get("cancel_after")
    step_requests = step.requests()

    async def requests() -> AsyncIterator[Any]:
        for request in step_requests:
            yield request
        if cancel_after is not None:
            await asyncio.Event().wait()

    call = client.score_stream(requests(), **step.arguments)
    async for response in call:
        responses.append(response)
        if len(responses) == cancel_after:
            call.cancel()
