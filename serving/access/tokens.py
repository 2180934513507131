"""JSON Web Tokens of one issuer, checked with the public keys of a JWKS file."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jwt
from jwt import PyJWK

from serving.access.caller import Caller, Role
from serving.access.keys import scope_of
from serving.access.rates import Meters, Rate

_KINDS = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}
"""The one algorithm each kind of key is used with. All are asymmetric: who can check a token cannot make one."""
LEEWAY_S = 10
"""How far the issuer's clock may be from ours."""
LONGEST_SUBJECT = 256
_LEAST_RSA_BITS = 2048


class BadJwks(Exception):
    """The JWKS file cannot be used; the message says why, and quotes nothing of it."""


class JwksFile:
    """The public keys of a file, by their ``kid``; read again when the file changes."""

    def __init__(self, path: Path) -> None:
        """Read it.

        Raises:
            BadJwks.
        """
        self._path = path
        self._seen = self._stamp()
        self.keys = read_jwks(path)

    async def refresh(self) -> None:
        """Take up what the file holds now.

        Raises:
            BadJwks: what it held before stays in force.
        """
        stamp = self._stamp()
        if stamp != self._seen:
            self.keys = await asyncio.to_thread(read_jwks, self._path)
            self._seen = stamp

    def _stamp(self) -> tuple[int, int, int]:
        try:
            found = os.stat(self._path)
        except OSError as error:
            raise BadJwks(f"{self._path} cannot be read: {error.strerror}") from None
        return found.st_ino, found.st_size, found.st_mtime_ns


def read_jwks(path: Path) -> Mapping[str, PyJWK]:
    """The keys of a JWKS file, at least one, by their ``kid``.

    Raises:
        BadJwks: also when one of them is private, symmetric, weak or has no ``kid``: a file that holds such was not meant for this.
    """
    try:
        entries = json.loads(path.read_bytes())["keys"]
        found = dict(_public(entry) for entry in entries)
    except OSError as error:
        raise BadJwks(f"{path} cannot be read: {error.strerror}") from None
    except BadJwks as bad:
        raise BadJwks(f"{path}: {bad}") from None
    except Exception:  # PyJWT's own words may quote the key
        raise BadJwks(f'{path} must look like {{"keys": [{{"kid": "...", "kty": "RSA", ...}}]}}') from None
    if not found:
        raise BadJwks(f"{path} holds no key")
    return MappingProxyType(found)


def _public(entry: Mapping[str, Any]) -> tuple[str, PyJWK]:
    kid, algorithm = entry.get("kid"), _KINDS.get(entry["kty"])
    if not isinstance(kid, str) or not kid:
        raise BadJwks("every key needs a kid, which tokens name")
    if algorithm is None or "d" in entry or "k" in entry:
        raise BadJwks("only public keys may be in it (RSA, EC or OKP, and no member d or k); replace a secret that was")
    if entry.get("alg", algorithm) != algorithm or entry.get("crv") not in (None, "P-256", "Ed25519"):
        raise BadJwks("keys must be for RS256, ES256 or EdDSA (Ed25519)")
    key = PyJWK(dict(entry), algorithm)
    if algorithm == "RS256" and key.key.key_size < _LEAST_RSA_BITS:
        raise BadJwks(f"an RSA key must have at least {_LEAST_RSA_BITS} bits")
    return kid, key


class Tokens:
    """From tokens to callers.

    Args:
        jwks: the issuer's public keys.
        issuer, audience: whose tokens for whom are good.
        role_claim: the claim that holds the role.
        rate: of each subject; None: no limit.
    """

    def __init__(self, jwks: JwksFile, *, issuer: str, audience: str, role_claim: str, rate: Rate | None, meters: Meters) -> None:
        self._jwks = jwks
        self._issuer = issuer
        self._audience = audience
        self._role_claim = role_claim
        self._rate = rate
        self._meters = meters

    @property
    def keys(self) -> Mapping[str, PyJWK]:
        """What tokens are checked with: the same object until it changes."""
        return self._jwks.keys

    def caller(self, token: str) -> Caller | None:
        """Who a token says is calling, None unless all of it is good. Takes some 50 µs."""
        try:
            key = self.keys[jwt.get_unverified_header(token)["kid"]]
            # The algorithm is the key's: what the token says of it is only ever compared with that.
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            return self._caller(claims)
        except (jwt.PyJWTError, ValueError, KeyError, TypeError, OverflowError):
            return None

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        subject: str = claims["sub"]
        if len(subject) > LONGEST_SUBJECT or not subject.isprintable():
            raise ValueError("not fit for a log")
        who = f"jwt:{subject}"
        expires_at = float(claims["exp"]) + LEEWAY_S
        return Caller(who, Role(claims[self._role_claim]), scope_of(claims["policies"]), expires_at, self._meters.of(who, self._rate))
