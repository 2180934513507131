"""The watcher process: compiles the feature registry whenever it changes, and publishes the plans for all workers.

The one process of a server that imports Feast.
"""

from __future__ import annotations

import asyncio
import importlib
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

import structlog

from features.fingerprint import fingerprint
from features.plan import Plan, Problem
from features.watcher import watch
from serving import child, logs
from serving.child import Orders
from serving.ports import Unavailable
from serving.redis.connect import Client, connect
from serving.redis.published import PublishedMeanwhile, load, publish_plans, revisions
from serving.redis.registry import mark_compiled
from serving.settings import Settings

log = structlog.get_logger()

KILLED_AFTER_S = 5.0


class Publisher:
    """Publishes what was compiled, unless somebody else published since the compilation began: then it is to be compiled again.

    Called from a thread without an event loop, seldom: each call opens a connection of its own.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._revision: int | None = None
        with suppress(Unavailable):
            self._revision = asyncio.run(self._current())

    def __call__(self, plans: Sequence[Plan], problems: Sequence[Problem]) -> None:
        """Publish all plans of one state of the registry. A service with a problem keeps the plan it had.

        Raises:
            PublishedMeanwhile, Unavailable.
        """
        try:
            asyncio.run(self._publish(plans, problems))
        except PublishedMeanwhile:
            self._revision = asyncio.run(self._current())
            raise
        for problem in problems:
            log.error("feature service cannot be served as defined", feature_service=problem.feature_service, problem=problem.description)
        log.info("plans published", feature_services=[plan.feature_service for plan in plans], revision=self._revision)

    async def _publish(self, plans: Sequence[Plan], problems: Sequence[Problem]) -> None:
        client = self._connect()
        try:
            if self._revision is None:
                _, self._revision = await revisions(client)
            known = {plan.feature_service for plan in plans} | {problem.feature_service for problem in problems}
            removed = set((await load(client)).plans) - known
            self._revision = await publish_plans(client, self._revision, plans, removed)
            state = plans[0].fingerprint if plans else fingerprint(self._settings.feature_repo) if self._settings.feature_repo else ""
            await mark_compiled(client, state)
        finally:
            await client.aclose()

    async def _current(self) -> int:
        client = self._connect()
        try:
            return (await revisions(client))[1]
        finally:
            await client.aclose()

    def _connect(self) -> Client:
        settings = self._settings
        return connect(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster, timeout_s=settings.redis_timeout_s)


def main() -> int:
    """Watch until told to stop."""
    settings = Orders.from_line(child.told()).settings
    logs.configure(settings, process="watcher")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the supervisor, which sends SIGTERM: that may end us anywhere,
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # though not at once: Feast takes its temporary folder away at exit
    child.outlive_parent_by(KILLED_AFTER_S)
    if settings.feature_repo is None:
        log.error("there is no feature repository to watch")
        return child.REFUSED
    publisher = Publisher(settings)
    importlib.import_module("feast")  # now, while others prepare: the first compilation need not wait for it
    child.say_ready()
    watch(settings.feature_repo, publisher, threading.Event(), log=log.error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
