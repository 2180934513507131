"""What a Redis user must be allowed, asked once at start: a script that is denied a command would stop half-way.

``docs/security.md`` says how to make such a user.
"""

from __future__ import annotations

from typing import Any

from redis.exceptions import NoPermissionError

from serving.ports import Unavailable
from serving.redis import scripts
from serving.redis.connect import Client
from serving.redis.errors import unavailable
from serving.redis.keys import keys_of
from serving.redis.link import LinkedCluster

NEEDED = scripts.commands() | {"EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "INFO", "MULTI", "EXEC", "SCAN"}
"""On one node; what is asked outside of scripts (GET, SET, HGET, HMGET, HGETALL, XLEN, PTTL) is asked in them too."""

NEEDED_ON_A_CLUSTER = NEEDED | {"CLUSTER|SLOTS", "COMMAND"}


async def check_permissions(client: Client) -> None:
    """Return when the user may run all that is needed.

    Raises:
        Unavailable: it may not (yet); the message names every command that is missing.
    """
    asked: tuple[str | int, ...] = ("EVAL_RO", scripts.DENIED.source, 0, keys_of(0).health, *sorted(NEEDED))
    nodes: list[dict[str, Any]] = [{}]
    with unavailable():
        if isinstance(client, LinkedCluster):
            await client.initialize()
            nodes = [{"target_nodes": node} for node in client.get_primaries()]
        for where in nodes:
            try:
                denied = [name.decode() for name in await client.execute_command(*asked, **where)]
            except NoPermissionError:
                denied = ["EVAL_RO"]
            if denied:
                raise Unavailable(
                    f"the user of Redis may not run {', '.join(denied)} on keys of ooml:*; docs/security.md says what it needs"
                )
