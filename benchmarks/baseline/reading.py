"""The same rows of features, read by ooml and by Feast's SDK in one process; run as ``python -m benchmarks.baseline.reading``.

Prints one JSON object a line: who read what of how many candidates, seconds and CPU seconds of this process for one read.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer
import uvloop
from feast import FeatureStore

from benchmarks.baseline import COMPANY, COMPUTED, OOML, ROWS, SDK, STORED, TOGETHER, TRIP
from benchmarks.baseline.features import SERVICES, open_store
from benchmarks.people import task_ids, user_id
from benchmarks.trips import EMPTY, trip
from features.plan import Plan
from features.reader import Slate, assemble, lookup
from policies.types import PolicyName, ScopeId
from serving.ports import PublishedPolicy, Query
from serving.redis.connect import Client, connect
from serving.redis.link import Command
from serving.redis.published import load
from serving.redis.store import RedisDecisionStore

Slates = Sequence[tuple[str, Sequence[str]]]
"""Users, and tasks of each."""
Read = Callable[[Slates], Awaitable[Any]]
"""Reads the features of users' tasks."""


async def live(client: Client) -> tuple[PublishedPolicy, Plan]:
    """The policy of the sample, and its plan."""
    published = (await load(client)).live(PolicyName("tips"))
    if published is None or published.policy.plan is None:
        raise LookupError("policy tips is not live")
    return published.policy, published.policy.plan


def ooml(client: Client, policy: PublishedPolicy, plan: Plan, what: str) -> Read:
    """How the server reads, without the evidence that it reads in the same trip: the one place of the benchmark that knows its parts."""
    if what == STORED:
        plan = replace(plan, features=(), transforms=())  # its rows are read and decoded, and that is all
    store = RedisDecisionStore(client)

    async def read(slates: Slates) -> Any:
        found = [lookup(plan, {"user_id": user}, [{"task_id": task} for task in tasks]) for user, tasks in slates]
        queries = [Query(policy, ScopeId(user), (), each.rows, None) for (user, _), each in zip(slates, found, strict=True)]
        read, now = [], time.time()
        for (_, tasks), each, snapshot in zip(slates, found, await store.read(queries), strict=True):
            if isinstance(snapshot, Exception):
                raise snapshot
            read.append(Slate(each, snapshot.rows, now, 0.0, {}, [{}] * len(tasks)))
        return assemble(plan, read).x

    return read


def empty(client: Client) -> Read:
    """What every read waits for, and nothing else: one answer of the store."""

    async def read(_: Slates) -> Any:
        await trip(client, EMPTY)

    return read


def fetch(client: Client, plan: Plan) -> Read:
    """The same with the rows in the answer: one command for each, made beforehand."""
    made: dict[tuple[str, int], list[Command]] = {}

    async def read(slates: Slates) -> Any:
        for user, tasks in slates:
            if (user, len(tasks)) not in made:
                rows = lookup(plan, {"user_id": user}, [{"task_id": task} for task in tasks]).rows
                made[user, len(tasks)] = [Command(0, ("HMGET", key, *fields)) for key, fields in rows]
            await trip(client, *made[user, len(tasks)])

    return read


def sdk(store: FeatureStore, what: str) -> Read:
    """How the SDK reads, without a loop in between: the faster of its two ways when one read follows another."""
    features = store.get_feature_service(SERVICES[what])

    async def read(slates: Slates) -> Any:
        moment = {"request_time": time.time(), "utc_offset": 0.0} if what == COMPUTED else {}
        for _, tasks in slates:
            store.get_online_features(features, [{"task_id": task, **moment} for task in tasks]).to_dict()

    return read


async def run(users: int, counts: Sequence[int], rounds: int, cell_s: float) -> None:
    """Read in alternation, and print."""
    client = connect(os.environ["OOML_REDIS_URL"], cluster=False, timeout_s=5.0)
    store = open_store()
    policy, plan = await live(client)
    readers = {(TRIP, STORED): empty(client), (ROWS, STORED): fetch(client, plan)}
    for what in (STORED, COMPUTED):
        ours = ooml(client, policy, plan, what)
        readers |= {(OOML, what): ours, (TOGETHER, what): ours, (SDK, what): sdk(store, what)}
    gc.collect()
    gc.freeze()  # as the server does: to look at all that Feast brought takes 70 ms, of whichever reader is at it
    try:
        for count in counts:
            slates = [(user_id(user), task_ids(user, users, count)) for user in range(users)]
            company = {key: COMPANY if key[0] == TOGETHER else 1 for key in readers}
            reads = {key: await _reads_in(read, slates, company[key], cell_s) for key, read in readers.items()}
            for _ in range(rounds):
                for key, read in readers.items():
                    wall_s, cpu_s = await _once(read, slates, company[key], reads[key])
                    took = {"who": key[0], "what": key[1], "count": count, "reads": reads[key], "wall_s": wall_s, "cpu_s": cpu_s}
                    print(json.dumps(took), flush=True)
    finally:
        await client.aclose()


async def _reads_in(read: Read, slates: Slates, company: int, seconds: float) -> int:
    await _once(read, slates, company, 4 * company)  # what is made at the first read is not counted
    wall_s, _ = await _once(read, slates, company, 16 * company)
    return company * max(4, int(seconds / wall_s / company))


async def _once(read: Read, slates: Slates, company: int, times: int) -> tuple[float, float]:
    """Seconds and CPU seconds of one of so many reads, some at a time."""
    asked = itertools.cycle(slates)
    began, cpu = time.perf_counter(), time.process_time()
    for _ in range(times // company):
        await read(list(itertools.islice(asked, company)))
    return (time.perf_counter() - began) / times, (time.process_time() - cpu) / times


def main(
    users: Annotated[int, typer.Option(help="Of the sample.")],
    candidates: Annotated[list[int], typer.Option(help="How many to read the features of; may be repeated.")],
    rounds: Annotated[int, typer.Option(help="In alternation.")] = 5,
    cell_s: Annotated[float, typer.Option(help="Seconds each reads in a round.")] = 0.5,
) -> None:
    """Read features by ooml and by Feast's SDK, from the Redis and registry of the environment."""
    uvloop.run(run(users, candidates, rounds, cell_s))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
