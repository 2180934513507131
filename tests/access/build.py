"""Keys and tokens for tests."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from policies.types import PolicyName
from serving.access.caller import Role
from serving.access.keys import Key, new_secret
from serving.access.rates import Rate

ISSUER, AUDIENCE = "https://issuer.example", "ooml"


def key(
    role: Role = Role.WRITER,
    policies: Collection[str] | None = None,
    *,
    rate: Rate | None = None,
    expires_at: float | None = None,
    revoked_at: float | None = None,
) -> tuple[Key, str]:
    """A key and what goes into its calls' authorization header."""
    key_id, credential, digest = new_secret()
    scope = None if policies is None else frozenset(map(PolicyName, policies))
    return Key(key_id, "test", digest, role, scope, rate, 0.0, expires_at, revoked_at), f"Bearer {credential}"


@dataclass(frozen=True)
class Signer:
    """An issuer's key."""

    kid: str
    algorithm: str
    private: Any
    public: dict[str, Any]

    def token(self, algorithm: str | None = None, headers: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A token that is good, but for the claims; those that are None are left out."""
        good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": time.time() + 60, "role": "writer", "policies": "*"}
        said = {name: value for name, value in {**good, **claims}.items() if value is not None}
        return jwt.encode(said, self.private, algorithm or self.algorithm, {"kid": self.kid, **(headers or {})})


@cache
def signer(algorithm: str = "RS256", kid: str = "k1") -> Signer:
    """A key pair of its own per kid and algorithm; RSA takes a moment."""
    private: Any
    make: Any
    if algorithm == "RS256":
        private, make = generate_rsa(65_537, 2048), RSAAlgorithm
    elif algorithm == "ES256":
        private, make = generate_private_key(SECP256R1()), ECAlgorithm
    else:
        private, make = Ed25519PrivateKey.generate(), OKPAlgorithm
    public = json.loads(make.to_jwk(private.public_key()))
    return Signer(kid, algorithm, private, {**public, "kid": kid, "use": "sig"})


def write_jwks(path: Path, *signers: Signer) -> Path:
    """A JWKS file, put in place whole as an issuer's tool would."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"keys": [each.public for each in signers]}))
    return fresh.replace(path)
