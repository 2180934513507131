"""What the conformance run says of what runners say."""

from __future__ import annotations

from typing import Any

import pytest
from ooml.bandit.v1 import bandit_pb2, errors_pb2, policy_pb2

from clients.conformance.cases import load
from clients.conformance.expand import CaseError, expand
from clients.conformance.judge import judged
from clients.conformance.match import ABSENT, differences

NEVER_SENT_WHEN_WELL = {"UNSPECIFIED", "DRAINING", "INTERNAL"}


def test_every_call_and_every_reason_has_a_case() -> None:
    cases = str(load().cases)
    methods = [m.name for file in (bandit_pb2, policy_pb2) for s in file.DESCRIPTOR.services_by_name.values() for m in s.methods]
    assert [name for name in methods if f"'call': '{name}'" not in cases] == []
    reasons = {value.name.removeprefix("ERROR_REASON_") for value in errors_pb2.ErrorReason.DESCRIPTOR.values}
    assert {reason for reason in reasons if f"ERROR_REASON_{reason}'" not in cases} == NEVER_SENT_WHEN_WELL


def test_macros_are_written_out() -> None:
    requests = {"score": {"policy": "p", "entities": {"u": "{fresh}"}}}
    assert expand({"$like": "score", "policy": None, "n": 1}, requests, "me") == {"entities": {"u": "me"}, "n": 1}
    assert expand({"$times": 2, "item": {"id": "c#"}}, {}, "") == [{"id": "c0"}, {"id": "c1"}]
    assert expand({"$entries": 2, "key": "k#", "value": "v#"}, {}, "") == {"k0": "v0", "k1": "v1"}
    assert expand([{"$repeat": "é", "times": 3}], {}, "") == ["ééé"]
    with pytest.raises(CaseError, match="no request 'nothing'"):
        expand({"$like": "nothing"}, {}, "")


@pytest.mark.parametrize(
    ("expected", "fits", "fails"),
    [
        ("a", "a", "b"),
        ("", "", ABSENT),
        (1, 1.0, 2),
        (1, 1, True),
        (True, True, 1),
        ("$any", "x", ""),
        ("$absent", ABSENT, None),
        ({"$between": [1, 2]}, 2, 2.1),
        ({"$matches": "^a"}, "ab", "ba"),
        ({"$not": "a"}, "b", "a"),
        ({"$one_of": ["$absent", "a"]}, ABSENT, "b"),
        ({"$size": 1}, [0], []),
        ({"$some": {"a": 1}}, [{"a": 0}, {"a": 1}], [{"a": 0}]),
        ({"$every": {"a": 1}}, [{"a": 1, "b": 2}], [{"a": 1}, {"a": 0}]),
        ({"$sum": "p", "is": 1}, [{"p": 0.25}, {"p": 0.75}], [{"p": 0.25}]),
        ({"$both": ["$any", {"$matches": "a"}]}, "a", "b"),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, {"a": {}}),
        ([1, 2], [1, 2], [1, 2, 3]),
    ],
)
def test_a_matcher_fits_and_fails(expected: Any, fits: Any, fails: Any) -> None:
    assert list(differences(expected, fits, "it")) == []
    assert len(list(differences(expected, fails, "it"))) == 1


def wrong(expect: dict[str, Any], call: str = "Score", **said: Any) -> list[str]:
    """What is wrong with one call, given what a runner said of it."""
    return list(judged({"steps": [{"call": call, "expect": expect}]}, {0: {"code": "OK", **said}}))


def test_an_error_says_no_less_and_no_more_than_expected() -> None:
    said: dict[str, Any] = {"code": "NOT_FOUND", "reason": "R", "domain": "ooml.bandit.v1"}
    assert wrong({"code": "NOT_FOUND", "reason": "R"}, **said) == []
    assert wrong({"code": "NOT_FOUND"}, **said) == ["step 0 reason: must be absent, is 'R'"]
    assert wrong({"code": "NOT_FOUND", "reason": "R"}, **{**said, "domain": "x"}) == ["step 0 domain: must be 'ooml.bandit.v1', is 'x'"]
    assert wrong({"code": "NOT_FOUND", "reason": "R"}, **said, retry_delay_ms=1) == ["step 0 retry_delay_ms: must be absent, is 1"]
    assert wrong({}, **said, message="m") == ["step 0: code must be OK, is NOT_FOUND (R: m)"]


def test_violations_are_those_expected_and_no_others() -> None:
    said = [{"field": "a", "description": "one"}, {"field": "a", "description": "two"}]
    assert wrong({"violations": {"a": "one; two"}}, violations=said) == []
    assert len(wrong({"violations": {"a": "one"}}, violations=said)) == 1
    assert len(wrong({}, violations=said)) == 1
    assert len(wrong({"violations": {"a": "one; two", "b": "$any"}}, violations=said)) == 1
    assert wrong({"violations": {"$some_of": {"a": {"$matches": "two"}}}}, violations=[*said, {"field": "b"}]) == []


def test_defaults_count_as_printed_and_streams_are_sorted() -> None:
    assert wrong({"response": {"propensity": 0, "ranking": []}}, response={"candidateId": "a"}) == []
    late_first = [{"sequence": "10"}, {"sequence": 9}, {}]
    assert wrong({"responses": [{"sequence": "0"}, {"sequence": "9"}, {"sequence": "10"}]}, "ScoreStream", responses=late_first) == []
    assert wrong({"responses": []}, "ScoreStream") == []


def test_what_is_no_response_and_what_was_not_said_are_told() -> None:
    assert "no field named" in wrong({}, response={"colour": "red"})[0]
    assert list(judged({"steps": [{"wait_ms": 1}, {"call": "Score"}]}, {})) == ["step 1: the runner said nothing of it"]


def test_what_was_saved_is_expected_again() -> None:
    steps = [{"call": "Score", "save": {"d": "decisionId"}}, {"call": "Score", "expect": {"response": {"decisionId": "${d}"}}}]
    first = {"code": "OK", "response": {"decisionId": "x"}}
    assert list(judged({"steps": steps}, {0: first, 1: first})) == []
    other = {"code": "OK", "response": {"decisionId": "y"}}
    assert list(judged({"steps": steps}, {0: first, 1: other})) == ["step 1 response.decisionId: must be 'x', is 'y'"]
