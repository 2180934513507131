"""The door of a worker that asks for credentials, put together: keys, tokens, rates, and what keeps up with them."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import structlog

from serving.access.doorman import Doorman
from serving.access.rates import Meters, Rate
from serving.access.tokens import JwksFile, Tokens
from serving.following import follow
from serving.redis.allowances import RedisAllowances
from serving.redis.connect import Client
from serving.redis.keyring import RedisKeyring
from serving.settings import Settings
from serving.transport.admission import Gate, asking_for_credentials

log = structlog.get_logger()


class Door:
    """Lets in whoever has a good credential.

    Args:
        client: of the Redis that keeps keys and rates; owned by the caller.

    Raises:
        BadJwks: the settings name a JWKS file that cannot be used.
    """

    def __init__(self, settings: Settings, client: Client) -> None:
        self.keyring = RedisKeyring(client, log.warning, timeout_s=settings.redis_timeout_s)
        self._jwks = None if settings.jwt_jwks_file is None else JwksFile(settings.jwt_jwks_file)
        meters = Meters(RedisAllowances(client))
        self._doorman = Doorman(self.keyring, self._tokens(settings, meters), meters)

    def behind(self, gate: Gate) -> Gate:
        """This door behind a gate."""
        return asking_for_credentials(self._doorman, gate)

    def followers(self, every_s: float) -> tuple[Coroutine[Any, Any, object], ...]:
        """What must run beside the server, so that keys made and revoked, and files that change, are taken up."""
        keys = self.keyring.follow(every_s)
        return (keys,) if self._jwks is None else (keys, follow("public keys of tokens", self._jwks.refresh, every_s, log.warning))

    def _tokens(self, settings: Settings, meters: Meters) -> Tokens | None:
        if self._jwks is None or settings.jwt_issuer is None or settings.jwt_audience is None:
            return None
        return Tokens(
            self._jwks,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            role_claim=settings.jwt_role_claim,
            rate=Rate.of(settings.jwt_rate),
            meters=meters,
        )
