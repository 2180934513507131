"""Fills the namespace of a policy's new version with what that would have learned from the decisions of those before it.

What it would have learned goes to the log first, as rows of kind ``filled``: so the log goes on telling all that Redis holds, and whatever
is lost can be put back from it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow.compute as pc

from events.audit import Stage, by_namespace
from events.held import clocks
from events.log import Log, read
from events.outbox import Outbox
from events.reading import EntryReader, among
from events.rebuild import CannotRebuild, Rebuilt, evidence, put
from events.recompute import recount
from events.relearner import Relearner
from events.table import EventTable
from policies.types import Namespace, PolicyName, PolicyVersion
from serving.ports import PublishedPolicy
from serving.redis.connect import Client
from serving.redis.errors import unavailable
from serving.redis.link import Command, slot_of
from serving.redis.published import load
from serving.versions import Published


@dataclass(slots=True)
class Filled:
    """What a namespace was filled with.

    Args:
        decisions: that taught it.
        arms, scopes: of its evidence.
        rejected: decisions that the version would have refused to make, for it rejects missing features.
        shed: decisions whose slates were not logged.
        foreign: events of versions that are not published any more, and so left out.
    """

    namespace: Namespace
    decisions: int = 0
    arms: int = 0
    scopes: int = 0
    rejected: int = 0
    shed: int = 0
    foreign: int = 0


class Filler:
    """Fills namespaces.

    Args:
        client: from `connect`; owned by the caller.
        url: of the table.
        stage: told how far it is.
    """

    def __init__(self, client: Client, url: str, stage: Stage = lambda what, total: lambda count: None) -> None:
        self._client = client
        self._url = url
        self._stage = stage

    async def run(self, which: str) -> Filled:
        """Fill one, anew if it was filled before.

        Args:
            which: a namespace, ``policy@version``, or a policy, meaning its newest version.

        Raises:
            CannotRebuild: what it needs was not logged, or it has learned by itself already; nothing was changed.
            Unavailable, TableUnavailable, ValueError.
        """
        published = await load(self._client)
        target, policies = wanted(published, which), by_namespace(published)
        log = await self._log(policies)
        sources = {ns: p for ns, p in policies.items() if p.spec.name == target.spec.name and ns != target.namespace}
        taught = _counts(log, target.spec.name)
        if taught.get(target.namespace):
            raise CannotRebuild(f"{target.namespace} has decisions of its own already: it must be filled before it goes live")
        work = Relearner(target, {ns: p for ns, p in sources.items() if taught.get(ns)}, log)
        if wrong := work.obstacles():
            raise CannotRebuild(f"{target.namespace} cannot be filled from the log: {'; '.join(wrong)}")
        table = EventTable(self._url)
        for rows in work.rows(self._stage("reading the log", log.rows)):
            table.append(rows)
        foreign = sum(count for namespace, count in taught.items() if namespace not in policies)
        filled = Filled(target.namespace, work.decisions, rejected=work.rejected, shed=work.shed(), foreign=foreign)
        await self._write(target, await self._log(policies), filled)
        return filled

    async def _log(self, policies: Mapping[Namespace, PublishedPolicy]) -> Log:
        _, log = await read(Outbox(self._client), EntryReader(among(policies), lambda what, **said: None), self._url)
        return log

    async def _write(self, target: PublishedPolicy, log: Log, filled: Filled) -> None:
        """Put its evidence in the place of what an earlier filling left."""
        namespace = target.namespace
        where = pc.field("namespace") == namespace
        sums = recount(log, {namespace: target.spec.half_life_s}, where=where).sums.get(namespace)
        with unavailable():
            old = [key async for key in self._client.scan_iter(match=f"ooml:{{*}}:ev:{namespace}:*", count=1000)]
            await self._client.ask([Command(slot_of(key), ("UNLINK", key)) for key in old])
        if sums is not None:
            _, now_us = await clocks(self._client)
            counted = Rebuilt()
            await put(self._client, evidence(target, sums, now_us, counted), self._stage("writing evidence", None))
            filled.arms, filled.scopes = counted.arms, counted.scopes


def wanted(published: Published, which: str) -> PublishedPolicy:
    """The version that is meant.

    Raises:
        CannotRebuild: there is none.
    """
    by_name = by_namespace(published)
    if which in by_name:
        return by_name[Namespace(which)]
    name, _, number = which.partition("@")
    versions = published.versions.get(PolicyName(name), {})
    if versions and (not number or number.isdecimal()):
        version = versions.get(PolicyVersion(int(number) if number else max(versions)))
        if version is not None:
            return version.policy
    known = ", ".join(f"{p}@{max(v)}" for p, v in published.versions.items()) or "none"
    raise CannotRebuild(f"no published version is {which}; the newest are {known}. `ooml apply` publishes others")


def _counts(log: Log, policy: str) -> dict[Namespace, int]:
    """Decisions and what they taught, by namespace."""
    found: defaultdict[Namespace, int] = defaultdict(int)
    of_policy: pc.Expression = pc.field("policy") == policy
    for batch in log.batches(("decision", "evidence"), ("namespace", "policy"), where=of_policy):
        for counted in pc.value_counts(batch["namespace"]).to_pylist():
            found[counted["values"]] += counted["counts"]
    return dict(found)
