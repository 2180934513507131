from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest

from serving.access import keys
from serving.access.caller import Role
from serving.access.keys import KeyId, from_json, new_secret, opens, parse_credential, to_json
from serving.access.rates import Rate
from tests.access.build import key


def test_a_credential_names_its_key_and_holds_256_bits_nobody_keeps() -> None:
    key_id, credential, digest = new_secret()
    parsed = parse_credential(credential)
    assert parsed is not None
    assert parsed[0] == key_id
    assert len(parsed[1]) * 6 >= 256
    assert digest == hashlib.sha256(parsed[1].encode()).hexdigest()
    assert len({new_secret()[1] for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "text", ["", "ooml_", "ooml_0123456789ab_", "ooml_0123456789ab_" + "a" * 42, "ooml_0123456789AB_" + "a" * 43, "x" * 9]
)
def test_what_is_no_credential_is_not_taken_for_one(text: str) -> None:
    assert parse_credential(text) is None
    assert parse_credential(f"ooml_0123456789ab_{'a' * 43}\n") is None


@pytest.mark.parametrize(
    "made",
    [
        key(Role.READER)[0],
        key(Role.ADMIN, ["b", "a"], rate=Rate(0.5, 7), expires_at=12.5, revoked_at=3.25)[0],
        key(policies=[])[0],
    ],
)
def test_a_key_is_read_as_it_was_written(made: keys.Key) -> None:
    assert from_json(made.id, to_json(made)) == made


@pytest.mark.parametrize(
    "change",
    [{"digest": "short"}, {"role": "root"}, {"policies": "tips"}, {"policies": [1]}, {"policies": None}, {"rate": 5}, {"created_at": None}],
)
def test_a_record_that_is_none_is_refused(change: dict[str, Any]) -> None:
    record = json.loads(to_json(key()[0])) | change
    with pytest.raises((ValueError, TypeError)):
        from_json(KeyId("0"), json.dumps(record))


def test_a_key_is_good_until_it_ends_or_is_revoked() -> None:
    made, _ = key(expires_at=10.0)
    revoked, _ = key(expires_at=10.0, revoked_at=5.0)
    assert (made.state(9.9), made.state(10.0), revoked.state(9.9), revoked.state(11.0)) == ("active", "expired", "revoked", "revoked")
    assert key()[0].state(1e12) == "active"


def test_every_secret_is_compared_once_and_whole_whether_or_not_there_is_such_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    compare: Callable[[str, str], bool] = hmac.compare_digest

    def counting(a: str, b: str) -> bool:
        compared.append((len(a), len(b)))
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    made, header = key()
    secret = header.rpartition(f"{made.id}_")[2]
    assert [opens(made, secret), opens(made, secret[:-1] + "."), opens(made, ""), opens(None, secret)] == [True, False, False, False]
    assert compared == [(64, 64)] * 4


def test_no_text_of_a_key_shows_its_digest() -> None:
    made, header = key()
    assert made.digest not in repr(made)
    assert header.rpartition(f"{made.id}_")[2] not in to_json(made)
