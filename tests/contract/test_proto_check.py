"""What would break a client of the last release does not pass; what would not, does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.contract.protos import Contract, copy


@pytest.fixture
def contract(tmp_path: Path) -> Contract:
    return copy(tmp_path)


def test_the_contract_as_it_is_passes(contract: Contract) -> None:
    assert contract.check() == (0, "")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (
            "bandit.proto",
            "  Served served = 10;\n",
            "  Served served = 10;\n\n  // Something new. Default: empty.\n  string note = 11;\n",
        ),
        (
            "policy.proto",
            "// A policy as it is served.\n",
            "// Asks.\nmessage AskRequest {}\n\n// Answers.\nmessage AskResponse {}\n\n// A policy as it is served.\n",
        ),
        (
            "errors.proto",
            "  ERROR_REASON_INTERNAL = 16;\n",
            "  ERROR_REASON_INTERNAL = 16;\n\n  // UNAVAILABLE: something new.\n  ERROR_REASON_NEW = 1000;\n",
        ),
        (
            "bandit.proto",
            "  // Opens the reward window of a decision",
            "  // Scores anew.\n  rpc Anew(AnewRequest) returns (AnewResponse);\n\n  // Opens the reward window of a decision",
        ),
        ("bandit.proto", "  // It was counted.\n", "  // It was counted, once.\n"),
    ],
    ids=["field", "message", "enum value", "rpc", "comment of an enum's other values"],
)
def test_what_adds_passes(contract: Contract, file: str, old: str, new: str) -> None:
    contract.change(file, old, new)
    if "Anew" in new:
        contract.change(
            file,
            "// Asks which candidate to choose.\n",
            "// Asks.\nmessage AnewRequest {}\n\n// Answers.\nmessage AnewResponse {}\n\n// Asks which candidate to choose.\n",
        )
    assert contract.check() == (0, "")


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        (
            "bandit.proto",
            "  // Whether it was counted.\n  RewardStatus status = 1;\n\n",
            "",
            r'Previously present field "1" with name "status" on message "RewardResponse" was deleted',
        ),
        (
            "bandit.proto",
            "  rpc Activate(ActivateRequest) returns (ActivateResponse);",
            "  rpc Open(ActivateRequest) returns (ActivateResponse);",
            r'Previously present RPC "Activate" on service "BanditService" was deleted',
        ),
        (
            "policy.proto",
            "  uint64 count = 2;",
            "  string count = 2;",
            r'Field "2" with name "count" on message "ArmEvidence" changed type',
        ),
        (
            "bandit.proto",
            "  string arm = 2;\n\n  // Join keys of this candidate",
            "  string group = 2;\n\n  // Join keys of this candidate",
            r'Field "2" with name "group" on message "Candidate" changed .* from "arm" to "group"',
        ),
        (
            "bandit.proto",
            "  bool explain = 9;",
            "  bool explain = 11;",
            r'field "9" with name "explain" on message "ScoreRequest" was deleted',
        ),
        (
            "bandit.proto",
            "  optional double value = 2;",
            "  double value = 2;",
            r'Field "2" with name "value" on message "RewardResponse" changed cardinality',
        ),
        (
            "bandit.proto",
            "  rpc ScoreStream(stream ScoreStreamRequest)",
            "  rpc ScoreStream(ScoreStreamRequest)",
            r'RPC "ScoreStream" on service "BanditService" changed from client streaming',
        ),
        (
            "bandit.proto",
            "  // Never sent.\n  REWARD_STATUS_UNSPECIFIED = 0;",
            "  // Never sent.\n  REWARD_STATUS_NONE_UNSPECIFIED = 0;",
            r'Enum value "0" on enum "RewardStatus" changed name from "REWARD_STATUS_UNSPECIFIED" to "REWARD_STATUS_NONE_UNSPECIFIED"',
        ),
        (
            "errors.proto",
            "  // Never sent.\n  ERROR_REASON_UNSPECIFIED = 0;",
            "  // Whatever has no other reason.\n  ERROR_REASON_UNSPECIFIED = 0;",
            r'value "ooml\.bandit\.v1\.ErrorReason\.ERROR_REASON_UNSPECIFIED" changed from "Never sent\." to "Whatever has no other ',
        ),
        (
            "bandit.proto",
            "  // It came after the window: recorded, not learned.\n  REWARD_STATUS_LATE = 3;\n",
            "  // It came after the window: recorded, not learned.\n  REWARD_STATUS_LATE = 4;\n",
            r'Previously present enum value "3" on enum "RewardStatus" was deleted',
        ),
    ],
    ids=[
        "removed field",
        "renamed RPC",
        "changed type",
        "reused number",
        "moved number",
        "lost presence",
        "changed streaming",
        "renamed zero",
        "zero of another meaning",
        "moved enum value",
    ],
)
def test_what_breaks_clients_fails_and_is_named(contract: Contract, file: str, old: str, new: str, named: str) -> None:
    contract.change(file, old, new)
    code, said = contract.check()
    assert code == 1
    assert re.search(named, said), said
    assert said.endswith("clients of v0.1.0 would break: docs/compatibility.md says what may change and how\n")


def test_a_zero_whose_meaning_is_another_values_fails(contract: Contract) -> None:
    contract.change("bandit.proto", "REWARD_STATUS_UNSPECIFIED = 0;", "REWARD_STATUS_APPLIED = 0;")
    contract.change("bandit.proto", "REWARD_STATUS_APPLIED = 1;", "REWARD_STATUS_UNSPECIFIED = 1;")
    code, said = contract.check()
    assert code == 1
    assert 'Enum zero value name "REWARD_STATUS_APPLIED" should be suffixed with "_UNSPECIFIED"' in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  bool deferred = 8;", "    bool deferred = 8;", "-    bool deferred = 8;\n+  bool deferred = 8;"),
        ("  Served served = 10;", "  Served served = 10;\n\n  bool wantsIt = 11;", 'Field name "wantsIt" should be lower_snake_case'),
        ("message Served {", "message Serve {", "cannot find `Served` in this scope"),
    ],
    ids=["format", "lint", "no contract at all"],
)
def test_form_is_checked_too(contract: Contract, old: str, new: str, said: str) -> None:
    contract.change("bandit.proto", old, new)
    code, output = contract.check()
    assert code == 1
    assert said in output
    assert "would break" not in output


def test_a_release_writes_the_image_that_later_contracts_are_held_to(contract: Contract) -> None:
    contract.change("bandit.proto", "  Served served = 10;\n", "  Served served = 10;\n\n  // New. Default: empty.\n  string note = 11;\n")
    contract.set_version("0.2.0")
    code, said = contract.release()
    assert (code, said) == (0, f"wrote {contract.folder}/released/v0.2.0.binpb\n")
    assert contract.released == ["v0.1.0.binpb", "v0.2.0.binpb"]
    assert contract.check() == (0, "")

    contract.change("bandit.proto", "\n  // New. Default: empty.\n  string note = 11;\n", "")
    code, said = contract.check()
    assert code == 1
    assert 'Previously present field "11" with name "note" on message "ScoreRequest" was deleted' in said


def test_a_version_is_released_once(contract: Contract) -> None:
    code, said = contract.release()
    assert (code, said) == (1, "v0.1.0 is released already: raise the version in pyproject.toml first\n")


def test_an_older_version_is_not_released(contract: Contract) -> None:
    contract.set_version("0.0.9")
    assert contract.release() == (1, "v0.0.9 is older than the last release, v0.1.0\n")


@pytest.mark.parametrize(("version", "code"), [("0.2.0", 1), ("1.0.0", 0)])
def test_a_release_that_breaks_needs_another_major_version(contract: Contract, version: str, code: int) -> None:
    contract.change("policy.proto", "  uint64 count = 2;", "  string count = 2;")
    contract.set_version(version)
    got, said = contract.release()
    assert got == code
    assert ('Field "2" with name "count" on message "ArmEvidence" changed type' in said) == bool(code)
    assert (f"v{version}.binpb" in contract.released) == (not code)
