"""What must be so before a worker serves, and stay so: the store answers and keeps its promise, and what to serve is known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from features.fingerprint import RegistryUnreadableError, fingerprint
from serving.ports import Unavailable
from serving.redis.catalog import RedisCatalog
from serving.redis.connect import Client
from serving.redis.guard import findings, refuse_in_production
from serving.redis.keyring import RedisKeyring
from serving.redis.permissions import check_permissions
from serving.redis.registry import compiled
from serving.redis.store import RedisDecisionStore
from serving.settings import Settings

log = structlog.get_logger()


class Readiness:
    """Whether a worker can serve. Three things are asked until they are so once; whether the store answers, always.

    Args:
        keyring: API keys that must be known first; None: nobody is asked for one.
        loud: whether this worker writes what it finds about the store to the log, for all workers of the server.
    """

    def __init__(
        self,
        settings: Settings,
        client: Client,
        store: RedisDecisionStore,
        catalog: RedisCatalog,
        keyring: RedisKeyring | None = None,
        *,
        loud: bool,
    ) -> None:
        self._settings = settings
        self._client = client
        self._store = store
        self._catalog = catalog
        self._keyring = keyring
        self._loud = loud
        self._guarded = self._planned = self._loaded = False

    def admit(self, method: str, metadata: Callable[[], Mapping[str, str | bytes]]) -> None:
        """Let a call pass once the worker could serve for the first time; before, it would miss policies that exist.

        Raises:
            Unavailable.
        """
        if not self._loaded:
            raise Unavailable("this server is starting; nothing was done")

    async def check(self) -> None:
        """Return when the worker can serve.

        Raises:
            Unavailable: not now; the message says why.
            UnsafeStore: never, since this is production and the store may lose what it acknowledges.
        """
        await self._store.ping()
        if not self._guarded:
            await self._guard()
        if not self._planned:
            await self._await_plans()
        if not self._loaded:
            await self._catalog.refresh()
            if self._keyring is not None:
                await self._keyring.refresh()
                if self._loud and not self._keyring.keys and self._settings.jwt_jwks_file is None:
                    log.warning("nobody may call yet: make a key with `ooml keys make`")
            self._loaded = True

    async def _guard(self) -> None:
        await check_permissions(self._client)
        found = await findings(self._client)
        refuse_in_production(found, production=self._settings.production)
        if self._loud:
            for finding in found:
                log.warning("THE STORE MAY LOSE REWARDS", server=finding.server, finding=finding.text)
        self._guarded = True

    async def _await_plans(self) -> None:
        """Where the registry is at hand, plans of another state of it are not served: its watcher publishes new ones in seconds."""
        if self._settings.feature_repo is not None:
            try:
                current = await asyncio.to_thread(fingerprint, self._settings.feature_repo)
            except RegistryUnreadableError as error:
                raise Unavailable(f"the feature registry cannot be read: {error}") from None
            if await compiled(self._client) != current:
                raise Unavailable("the feature registry has changed and its plans are not published yet")
        self._planned = True
