"""What both runners share: options and requests made of the run file, and outcomes made into lines."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from ooml.bandit.v1 import bandit_pb2, policy_pb2
from ooml.client import Options, Tls, failure_of

MESSAGES = {**vars(bandit_pb2), **vars(policy_pb2)}
_WORD = re.compile(r"(?<!^)(?=[A-Z])")


class Refused(Exception):
    """The client refuses its options."""


def say_refused(case: Mapping[str, Any], why: Exception) -> None:
    """Print that no step of a case was sent."""
    for number, given in enumerate(case["steps"]):
        if "call" in given:
            Step(case["name"], number, given, {}).say(error=Refused(str(why)))


def method_name(call: str) -> str:
    """The client's name of an RPC."""
    return _WORD.sub("_", call).lower()


def options(target: Mapping[str, str], client: Mapping[str, Any]) -> Options:
    """A case's."""
    secure = Tls(target["ca_file"], target.get("cert_file"), target.get("key_file")) if "ca_file" in target else None
    return Options(
        channels=client.get("channels", 1),
        api_key=client.get("api_key", target.get("api_key")) or None,
        tls=secure,
        keepalive_s=client.get("keepalive_ms", 30_000) / 1000,
        keepalive_timeout_s=client.get("keepalive_timeout_ms", 10_000) / 1000,
        retry=client.get("retry", True),
    )


@dataclass
class Step:
    """One step of a case.

    Args:
        given: as the run file has it.
        saved: what earlier steps of the case saved; this one adds to it.
    """

    case: str
    number: int
    given: Mapping[str, Any]
    saved: dict[str, str]
    began: float = field(default_factory=time.monotonic)

    @property
    def arguments(self) -> dict[str, Any]:
        """For the client's method, beside the request."""
        found: dict[str, Any] = {"metadata": tuple(self.given.get("metadata", {}).items())}
        if "deadline_ms" in self.given:
            found["deadline_s"] = self.given["deadline_ms"] / 1000
        return found

    def request(self) -> Any:
        """The one request."""
        return self._parsed(self.given["request"])

    def requests(self) -> list[Any]:
        """A stream's."""
        return [self._parsed(request) for request in self.given["requests"]]

    def say(self, responses: Message | list[Any] | None = None, error: Exception | None = None) -> None:
        """Print what came of it."""
        line: dict[str, Any] = {"case": self.case, "step": self.number, "ms": round((time.monotonic() - self.began) * 1000)}
        if isinstance(responses, list):
            line["responses"] = [json_format.MessageToDict(response) for response in responses]
        elif responses is not None:
            line["response"] = json_format.MessageToDict(responses)
            self._save(line["response"])
        print(json.dumps({**line, **_outcome(error)}), flush=True)

    def _parsed(self, request: Any) -> Message:
        message: Message = MESSAGES[f"{self.given['call']}Request"]()
        return json_format.ParseDict(self._filled(request), message)

    def _filled(self, value: Any) -> Any:
        match value:
            case str():
                for name, text in self.saved.items():
                    value = value.replace(f"${{{name}}}", text)
                return value
            case list():
                return [self._filled(item) for item in value]
            case dict():
                return {self._filled(name): self._filled(item) for name, item in value.items()}
        return value

    def _save(self, response: Any) -> None:
        for name, path in self.given.get("save", {}).items():
            value = response
            for part in path.split("."):
                value = value[int(part)] if isinstance(value, list) else value[part]
            self.saved[name] = value


def _outcome(error: Exception | None) -> dict[str, Any]:
    match error:
        case None:
            return {"code": "OK"}
        case json_format.ParseError() | Refused():
            return {"code": "LOCAL", "message": str(error)}
        case grpc.RpcError():
            failure = failure_of(error)
            said = {
                "code": failure.code.name,
                "message": failure.message,
                "reason": failure.reason,
                "domain": failure.domain,
                "violations": [{"field": each.field, "description": each.description} for each in failure.violations],
            }
            delay_s = failure.retry_delay_s
            return {name: value for name, value in said.items() if value} | (
                {} if delay_s is None else {"retry_delay_ms": round(delay_s * 1e3)}
            )
        case grpc.FutureCancelledError():
            return {"code": "CANCELLED"}
    return {"code": "RUNNER", "message": f"{type(error).__name__}: {error}"}
