from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from serving.access import doorman as module
from serving.access.caller import Role
from serving.access.doorman import Doorman, Stranger
from serving.access.keys import Key, new_secret, opens
from serving.access.rates import Meters, Rate
from serving.access.tokens import JwksFile, Tokens
from serving.memory.allowances import MemoryAllowances
from serving.memory.keyring import MemoryKeyring
from tests.access.build import AUDIENCE, ISSUER, key, signer, write_jwks


def doorman(keyring: MemoryKeyring, now: list[float] | None = None, tokens: Tokens | None = None) -> Doorman:
    return Doorman(keyring, tokens, Meters(MemoryAllowances()), lambda: (now or [0.0])[0])


def why(door: Doorman, header: str) -> str:
    with pytest.raises(Stranger) as refused:
        door.caller(header)
    assert header not in f"{refused.value!r}{refused.value}" or not header
    return refused.value.why


def test_a_good_credential_is_its_keys_caller() -> None:
    made, header = key(Role.READER, ["tips"], expires_at=5.0)
    caller = doorman(MemoryKeyring([made])).caller(header)
    assert (caller.id, caller.role, caller.policies, caller.expires_at, caller.meter) == (
        made.id,
        Role.READER,
        frozenset({"tips"}),
        5.0,
        None,
    )
    assert doorman(MemoryKeyring([made])).caller(header.replace("Bearer", "bearer")).id == made.id


def test_any_other_is_refused_by_its_reason() -> None:
    made, header = key()
    expired, of_expired = key(expires_at=0.0)
    revoked, of_revoked = key(revoked_at=0.0)
    door = doorman(MemoryKeyring([made, expired, revoked]))
    unknown = f"Bearer {new_secret()[1]}"
    other = header[:-1] + ("A" if header[-1] != "A" else "B")
    headers = {"": "missing", "Bearer": "malformed", "Basic eDp5": "malformed", header[7:]: "malformed", unknown: "key", other: "key"}
    headers |= {
        of_expired: "expired",
        of_revoked: "revoked",
        f"{header} ": "malformed",
        "Bearer a.b.c": "malformed",
        "Bearer " + "a" * 9999: "malformed",
    }
    assert {text: why(door, text) for text in headers} == headers


def test_a_key_revoked_changed_or_expired_is_not_remembered_as_it_was() -> None:
    now = [0.0]
    made, header = key(Role.READER, expires_at=10.0)
    keyring = MemoryKeyring([made])
    door = doorman(keyring, now)
    assert door.caller(header).role is Role.READER
    keyring.put(replace(made, role=Role.ADMIN))
    assert door.caller(header).role is Role.ADMIN
    now[0] = 10.0
    assert why(door, header) == "expired"
    now[0] = 9.0
    keyring.put(replace(made, revoked_at=9.0))
    assert why(door, header) == "revoked"


def test_a_credential_found_good_is_known_again_without_work(monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[Key | None] = []

    def counting(key: Key | None, secret: str) -> bool:
        worked.append(key)
        return opens(key, secret)

    monkeypatch.setattr(module, "opens", counting)
    made, header = key()
    door = doorman(MemoryKeyring([made]))
    assert door.caller(header) is door.caller(header)
    assert worked == [made]


def test_a_bounded_number_of_credentials_is_known_and_none_that_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KNOWN", 2)
    made = [key() for _ in range(3)]
    door = doorman(MemoryKeyring([each for each, _ in made]))
    for _, header in made:
        door.caller(header)
    assert list(door._known) == [header for _, header in made[1:]]
    why(door, f"Bearer {new_secret()[1]}")
    assert len(door._known) == 2


def test_all_who_share_a_key_share_its_meter_until_the_rate_changes() -> None:
    made, header = key(rate=Rate(5, 5))
    keyring = MemoryKeyring([made])
    door = doorman(keyring)
    meter = door.caller(header).meter
    assert door.caller(header.replace("Bearer", "BEARER")).meter is meter
    keyring.put(key()[0])
    assert door.caller(header).meter is meter
    keyring.put(replace(made, rate=Rate(6, 6)))
    changed = door.caller(header).meter
    assert changed is not None
    assert changed.rate == Rate(6, 6)


async def test_tokens_are_known_until_they_end_or_their_keys_change(tmp_path: Path) -> None:
    now = [0.0]
    file = JwksFile(write_jwks(tmp_path / "jwks", signer("ES256")))
    tokens = Tokens(file, issuer=ISSUER, audience=AUDIENCE, role_claim="role", rate=None, meters=Meters(MemoryAllowances()))
    door = doorman(MemoryKeyring(), now, tokens)
    header = f"Bearer {signer('ES256').token()}"
    caller = door.caller(header)
    assert door.caller(header) is caller
    now[0] = caller.expires_at
    assert why(door, header) == "expired"
    now[0] = 0.0
    assert door.caller(header).id == "jwt:alice"
    write_jwks(tmp_path / "jwks", signer("ES256", "k2"))
    await file.refresh()
    assert why(door, header) == "token"
    assert why(door, "Bearer not.a.token") == "token"
