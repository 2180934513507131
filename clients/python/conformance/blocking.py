"""The runner of the blocking client."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ooml.client import Client

from conformance.steps import Step, method_name, options, say_refused


def execute(run: Mapping[str, Any]) -> None:
    """All cases, one after the other."""
    for case in run["cases"]:
        target = run["targets"][case["target"]]
        saved: dict[str, str] = {}
        try:
            client = Client(target["address"], options(target, case.get("client", {})))
        except ValueError as why:
            say_refused(case, why)
            continue
        with client:
            for number, given in enumerate(case["steps"]):
                if "wait_ms" in given:
                    time.sleep(given["wait_ms"] / 1000)
                else:
                    _call(client, Step(case["name"], number, given, saved))


def _call(client: Client, step: Step) -> None:
    responses: list[Any] = []
    error: Exception | None = None
    streams = step.given["call"] == "ScoreStream"
    try:
        if streams:
            _stream(client, step, responses)
        else:
            responses.append(_unary(client, step))
    except Exception as raised:
        error = raised
    step.say(responses if streams else next(iter(responses), None), error)


def _unary(client: Client, step: Step) -> Any:
    method = getattr(client, method_name(step.given["call"]))
    if step.given.get("cancel_at_once"):
        future = method.future(step.request(), **step.arguments)
        future.cancel()
        return future.result()
    return method(step.request(), **step.arguments)


def _stream(client: Client, step: Step, responses: list[Any]) -> None:
    cancel_after = step.given.get("cancel_after")
    over = threading.Event()

    def requests() -> Iterator[Any]:
        yield from step_requests
        if cancel_after is not None:
            over.wait()

    step_requests = step.requests()
    call = client.score_stream(requests(), **step.arguments)
    try:
        for response in call:
            responses.append(response)
            if len(responses) == cancel_after:
                call.cancel()
    finally:
        over.set()
