"""API keys: ``ooml_<id>_<secret>``. Whoever keeps them keeps a digest of the secret, never the secret.

The secret is 256 random bits, so one round of SHA-256 keeps it as well as a slow hash would: nobody guesses it, with or without the
digest. (Slow hashes are for passwords, which people choose.)
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NewType, Protocol

from policies.types import PolicyName
from serving.access.caller import Role
from serving.access.rates import Rate

KeyId = NewType("KeyId", str)
State = Literal["active", "expired", "revoked"]

SECRET_BYTES = 32
_CREDENTIAL = re.compile(r"ooml_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NOBODYS = hashlib.sha256(secrets.token_bytes(SECRET_BYTES)).hexdigest()


@dataclass(frozen=True, slots=True)
class Key:
    """One key, as it is kept.

    Args:
        id: part of the credential; no secret.
        name: whose it is, for people.
        digest: SHA-256 of the secret, in hex.
        policies: it is good for; None: all.
        rate: how often it may call; None: as often as it likes.
        created_at, expires_at, revoked_at: seconds since the epoch; None: never.
    """

    id: KeyId
    name: str
    digest: str = field(repr=False)
    role: Role
    policies: frozenset[PolicyName] | None
    rate: Rate | None
    created_at: float
    expires_at: float | None
    revoked_at: float | None = None

    def state(self, now: float) -> State:
        """Whether it is good."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


class Keyring(Protocol):
    """The API keys there are, whole and consistent."""

    @property
    def keys(self) -> Mapping[KeyId, Key]:
        """All of them, revoked ones too. The same object until one changes; never waits: it follows its source in the background."""


def new_secret() -> tuple[KeyId, str, str]:
    """A key's id, its credential, and the digest of its secret."""
    key_id, secret = KeyId(secrets.token_hex(6)), secrets.token_urlsafe(SECRET_BYTES)
    return key_id, f"ooml_{key_id}_{secret}", _digest(secret)


def parse_credential(text: str) -> tuple[KeyId, str] | None:
    """Id and secret of an API key's credential; None when the text is none."""
    match = _CREDENTIAL.fullmatch(text)
    return (KeyId(match[1]), match[2]) if match else None


def opens(key: Key | None, secret: str) -> bool:
    """Whether a secret is a key's. Takes as long when there is no such key (None), and whatever it has in common with the real one."""
    same = hmac.compare_digest(_digest(secret), _NOBODYS if key is None else key.digest)
    return same and key is not None


def to_json(key: Key) -> str:
    """As it is kept, but for its id."""
    return json.dumps(
        {
            "name": key.name,
            "digest": key.digest,
            "role": key.role.value,
            "policies": "*" if key.policies is None else sorted(key.policies),
            "rate": key.rate and [key.rate.per_s, key.rate.burst],
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "revoked_at": key.revoked_at,
        }
    )


def from_json(key_id: KeyId, text: str) -> Key:
    """What `to_json` wrote.

    Raises:
        ValueError, KeyError, TypeError: it did not.
    """
    record: dict[str, Any] = json.loads(text)
    if not re.fullmatch(r"[0-9a-f]{64}", record["digest"]):
        raise ValueError("no digest")
    rate = record["rate"]
    return Key(
        id=key_id,
        name=str(record["name"]),
        digest=record["digest"],
        role=Role(record["role"]),
        policies=scope_of(record["policies"]),
        rate=None if rate is None else Rate(float(rate[0]), int(rate[1])),
        created_at=float(record["created_at"]),
        expires_at=_time(record["expires_at"]),
        revoked_at=_time(record["revoked_at"]),
    )


def scope_of(policies: object) -> frozenset[PolicyName] | None:
    """What ``"*"`` (None: all policies) or a list of names stands for.

    Raises:
        ValueError: it is neither.
    """
    if policies == "*":
        return None
    if not isinstance(policies, list) or not all(isinstance(name, str) for name in policies):
        raise ValueError('policies are "*" or a list of names')
    return frozenset(PolicyName(name) for name in policies)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _time(seconds: float | None) -> float | None:
    return None if seconds is None else float(seconds)
