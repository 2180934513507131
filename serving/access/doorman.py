"""From the credential of a call to its caller. A credential that was found good is known again without any work."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Literal

from serving.access.caller import Caller
from serving.access.keys import Keyring, opens, parse_credential
from serving.access.rates import Meters
from serving.access.tokens import Tokens

Why = Literal["missing", "malformed", "key", "token", "expired", "revoked"]

MOST_KNOWN = 4096
"""Credentials known at once."""
LONGEST = 8192
"""Characters of the longest credential that is looked at."""


class Stranger(Exception):
    """The credential is not good. Why is for metrics: callers are told the same whatever it is."""

    def __init__(self, why: Why) -> None:
        super().__init__(why)
        self.why: Why = why


class Doorman:
    """Knows whose a credential is.

    Args:
        keyring: API keys.
        tokens: None: API keys alone are good.
        meters: of callers whose key has a rate.
        clock: seconds since the epoch.
    """

    def __init__(self, keyring: Keyring, tokens: Tokens | None, meters: Meters, clock: Callable[[], float] = time.time) -> None:
        self._keyring = keyring
        self._tokens = tokens
        self._meters = meters
        self._clock = clock
        self._known: dict[str, Caller] = {}
        self._since: tuple[object, object] = (None, None)

    def caller(self, authorization: str) -> Caller:
        """Whose credential stands in an authorization header.

        Raises:
            Stranger: nobody's that is good now.
        """
        since = (self._keyring.keys, None if self._tokens is None else self._tokens.keys)
        if since[0] is not self._since[0] or since[1] is not self._since[1]:
            self._known.clear()
            self._since = since
        caller = self._known.get(authorization)
        if caller is None:
            caller = self._identify(authorization)
            if len(self._known) >= MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[authorization] = caller
        if caller.expires_at <= self._clock():
            self._known.pop(authorization, None)
            raise Stranger("expired")
        return caller

    def _identify(self, authorization: str) -> Caller:
        if not authorization:
            raise Stranger("missing")
        scheme, _, credential = authorization.partition(" ")
        if scheme.lower() != "bearer" or len(credential) > LONGEST:
            raise Stranger("malformed")
        if (parsed := parse_credential(credential)) is None:
            return self._by_token(credential)
        key_id, secret = parsed
        key = self._keyring.keys.get(key_id)
        if not opens(key, secret) or key is None:
            raise Stranger("key")
        if key.revoked_at is not None:
            raise Stranger("revoked")
        expires_at = math.inf if key.expires_at is None else key.expires_at
        return Caller(key.id, key.role, key.policies, expires_at, self._meters.of(key.id, key.rate))

    def _by_token(self, credential: str) -> Caller:
        if self._tokens is None or credential.count(".") != 2:
            raise Stranger("malformed")
        caller = self._tokens.caller(credential)
        if caller is None:
            raise Stranger("token")
        return caller
