"""What a runner said of a case, against what the case expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf import json_format, message_factory
from google.rpc import error_details_pb2  # noqa: F401  details of errors inside replies are parsed by their registered types
from ooml.bandit.v1 import bandit_pb2, policy_pb2

from clients.conformance.match import ABSENT, differences

STREAM = "ScoreStream"
DOMAIN = "ooml.bandit.v1"
OUTPUTS = {
    method.name: message_factory.GetMessageClass(method.output_type)
    for file in (bandit_pb2, policy_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


def judged(case: Mapping[str, Any], said: Mapping[int, Mapping[str, Any]]) -> Iterator[str]:
    """What went otherwise than the case expects, a line each.

    Args:
        said: what the runner printed, by step.
    """
    saved: dict[str, str] = {}
    for n, step in enumerate(case["steps"]):
        if "call" not in step:
            continue
        outcome = said.get(n)
        if outcome is None:
            yield f"step {n}: the runner said nothing of it"
            continue
        try:
            came = _normal(step["call"], outcome)
        except json_format.ParseError as error:
            yield f"step {n}: the response is no JSON of its message: {error}"
            continue
        yield from _step(n, filled(step.get("expect", {}), saved), came)
        _save(step.get("save", {}), came.get("response", {}), saved)


def _step(n: int, expect: Mapping[str, Any], came: Mapping[str, Any]) -> Iterator[str]:
    """One call: what is expected of it, and that an error says no more than expected."""
    where = f"step {n}"
    code = expect.get("code", "OK")
    if list(differences(code, came["code"], "")):
        yield f"{where}: code must be {code}, is {came['code']} ({came.get('reason', 'no reason')}: {came.get('message', '')})"
        return
    for name in ("reason", "retry_delay_ms"):
        yield from differences(expect.get(name, "$absent"), came.get(name, ABSENT), f"{where} {name}")
    yield from differences(DOMAIN if "reason" in came else "$absent", came.get("domain", ABSENT), f"{where} domain")
    for name in ("message", "ms", "response", "responses"):
        if name in expect:
            yield from differences(expect[name], came.get(name, ABSENT), f"{where} {name}")
    yield from _violations(expect.get("violations", {}), came.get("violations", []), where)


def _violations(expected: Mapping[str, Any], came: Sequence[Mapping[str, str]], where: str) -> Iterator[str]:
    """The fields at fault, all and no others unless `$some_of` them are named; what is said of each."""
    found: dict[str, str] = {}
    for violation in came:
        name, told = violation.get("field", ""), violation.get("description", "")
        found[name] = f"{found[name]}; {told}" if name in found else told
    if "$some_of" in expected:
        yield from differences(expected["$some_of"], found, f"{where} violations")
        return
    if found.keys() != expected.keys():
        yield f"{where} violations: must be of {sorted(expected)}, are {found}"
        return
    yield from differences(expected, found, f"{where} violations")


def _normal(method: str, outcome: Mapping[str, Any]) -> dict[str, Any]:
    """An outcome whose responses are written alike by all languages: every field, whatever it left out as a default."""
    normal = dict(outcome)
    if "response" in outcome:
        normal["response"] = _written_out(method, outcome["response"])
    if method == STREAM:
        replies = [_written_out(method, response) for response in outcome.get("responses", [])]
        normal["responses"] = sorted(replies, key=lambda reply: int(reply["sequence"]))  # they may overtake each other
    return normal


def _written_out(method: str, response: Any) -> dict[str, Any]:
    message = json_format.ParseDict(response, OUTPUTS[method]())
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)


def _save(paths: Mapping[str, str], response: Any, saved: dict[str, str]) -> None:
    for name, path in paths.items():
        value = response
        for part in path.split("."):
            value = value[int(part)] if isinstance(value, list) and int(part) < len(value) else value.get(part, {}) if value else {}
        saved[name] = value if isinstance(value, str) else ""


def filled(value: Any, saved: Mapping[str, str]) -> Any:
    """An expectation with what earlier steps saved in place of ``${name}``."""
    match value:
        case str():
            for name, text in saved.items():
                value = value.replace(f"${{{name}}}", text)
            return value
        case list():
            return [filled(item, saved) for item in value]
        case dict():
            return {filled(name, saved): filled(item, saved) for name, item in value.items()}
    return value
