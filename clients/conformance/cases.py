"""The cases: which there are, what one language's runner is given of them, and what came of each."""

from __future__ import annotations

import json
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from clients.conformance.expand import CaseError, expand
from clients.conformance.judge import judged
from clients.conformance.proxy import Proxies, Proxy
from clients.conformance.site import Target

FILE = Path(__file__).parent / "cases.json"
PROXIES = {"counting": False, "freezing": True}
"""What a case may go ``through``, and whether it freezes."""
FOR_RUNNERS = {"call", "request", "requests", "deadline_ms", "metadata", "save", "cancel_after", "cancel_at_once", "wait_ms"}
"""What runners are told of a step; the rest is for the judge."""


@dataclass(frozen=True, slots=True)
class Run:
    """One language's.

    Args:
        file: the run file.
        cases: with macros written out.
        proxies: that cases go through, by the case's name.
    """

    file: Mapping[str, Any]
    cases: Sequence[Mapping[str, Any]]
    proxies: Mapping[str, Proxy]

    def judge(self, said: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
        """What went wrong with each case; an empty list: nothing."""
        by_case: dict[str, dict[int, Mapping[str, Any]]] = defaultdict(dict)
        for line in said:
            by_case[line["case"]][line["step"]] = line
        wrong = {case["name"]: list(judged(case, by_case[case["name"]])) for case in self.cases}
        for case in self.cases:
            if (expected := case.get("connections")) is not None:
                found = self.proxies[case["name"]].connections
                wrong[case["name"]] += [f"must take {expected} connections, took {found}"] * (found != expected)
        return wrong


@dataclass(frozen=True, slots=True)
class Plan:
    """The cases to run, and the requests they are like."""

    cases: Sequence[Mapping[str, Any]]
    requests: Mapping[str, Any]

    def prepare(self, language: str, targets: Mapping[str, Target], proxies: Proxies) -> Run:
        """A run whose names no other run has used, with the proxies it goes through."""
        nonce = secrets.token_hex(3)
        cases = [expand(case, self.requests, f"{language}-{nonce}-{n}") for n, case in enumerate(self.cases)]
        used: dict[str, Proxy] = {}
        given: dict[str, Target] = dict(targets)
        told = []
        for case in cases:
            target = case["target"]
            if (kind := case.get("through")) is not None:
                used[case["name"]] = proxy = proxies.add(targets[target]["address"], freezes=PROXIES[kind])
                target = f"{target} through {case['name']}"
                given[target] = {**targets[case["target"]], "address": proxy.address}
            steps = [{name: value for name, value in step.items() if name in FOR_RUNNERS} for step in case["steps"]]
            told.append({"name": case["name"], "target": target, "client": case.get("client", {}), "steps": steps})
        return Run({"targets": given, "cases": told}, cases, used)


def load(pattern: str | None = None) -> Plan:
    """The cases of `cases.json` whose names match.

    Raises:
        CaseError: there are none, or two have one name.
    """
    read = json.loads(FILE.read_text())
    names = [case["name"] for case in read["cases"]]
    if len(set(names)) != len(names):
        raise CaseError(f"names of cases must differ: {sorted({name for name in names if names.count(name) > 1})}")
    cases = [{"target": "plain", **case} for case in read["cases"] if pattern is None or fnmatchcase(case["name"], pattern)]
    if not cases:
        raise CaseError(f"no case matches {pattern!r}; --list names them all")
    return Plan(cases, read["requests"])
