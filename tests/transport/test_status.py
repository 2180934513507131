"""Statuses made of exceptions, and the documents that list them."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from ooml.bandit.v1 import errors_pb2 as pb

from serving import ports
from serving.service import errors as service_errors
from serving.service.errors import FieldViolation, InvalidRequest
from serving.transport import errors as transport_errors
from serving.transport.status import ANSWERS, INTERNAL, MAX_STATUS_BYTES, status_of
from tests.transport.harness import read_status

ROOT = Path(__file__).parents[2]
REASONS = {value for value in pb.ErrorReason.values() if value != pb.ERROR_REASON_UNSPECIFIED}

texts = st.text(max_size=600)
violations = st.builds(FieldViolation, texts, texts)


def test_every_error_there_is_has_an_answer() -> None:
    bases = (ports.StoreError, service_errors.ServiceError, transport_errors.Refused)
    kinds = {
        kind
        for module in (ports, service_errors, transport_errors)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, bases) and kind not in bases
    }
    assert len(kinds) == 17
    assert kinds <= ANSWERS.keys()


def test_every_reason_answers_some_error() -> None:
    assert {answer.reason for answer in ANSWERS.values()} | {INTERNAL.reason} == REASONS


@given(st.lists(violations, min_size=1, max_size=30))
def test_a_status_fits_a_header_and_counts_every_violation(given_: list[FieldViolation]) -> None:
    status = status_of(InvalidRequest(given_))
    assert status.ByteSize() <= MAX_STATUS_BYTES
    assert len(status.message) <= 240


@given(st.integers(1, 500))
def test_violations_that_do_not_fit_are_counted(size: int) -> None:
    seen = read_status(status_of(InvalidRequest([FieldViolation(f"candidates[{k}]", "x" * 40) for k in range(size)])))
    named = [field for field in seen.fields if field]
    assert named == [f"candidates[{k}]" for k in range(len(named))]
    assert len(named) == size or seen.fields[""] == f"and {size - len(named)} more"


def test_the_documented_table_is_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| ([^|]*) \|", (ROOT / "docs/errors.md").read_text(), re.MULTILINE)
    assert len(rows) == len(REASONS)
    documented = {(pb.ErrorReason.Value(f"ERROR_REASON_{reason}"), code, details.strip()) for reason, code, details in rows}
    assert documented == {
        (answer.reason, answer.code.name, _details(answer.retry_after_s, answer.reason)) for answer in (*ANSWERS.values(), INTERNAL)
    }


def test_the_contract_names_each_reasons_code() -> None:
    proto = (ROOT / "protos/ooml/bandit/v1/errors.proto").read_text()
    said = re.findall(r"^  // ([A-Z_]+): (?:[^=]*?)ERROR_REASON_(\w+) = \d+;", proto, re.MULTILINE)
    assert {(pb.ErrorReason.Value(f"ERROR_REASON_{reason}"), code) for code, reason in said} == {
        (answer.reason, answer.code.name) for answer in (*ANSWERS.values(), INTERNAL)
    }


def _details(retry_after_s: float | None, reason: int) -> str:
    if reason == pb.ERROR_REASON_INVALID_REQUEST:
        return "BadRequest"
    if reason == pb.ERROR_REASON_RATE_LIMITED:
        return "RetryInfo: when it is worth it"
    return "" if retry_after_s is None else f"RetryInfo {retry_after_s:g} s"
