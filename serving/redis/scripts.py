"""The Lua scripts, and how they are run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.exceptions import NoScriptError

from serving.redis.connect import Client
from serving.redis.link import LinkedRedis

_FOLDER = Path(__file__).parent / "lua"

Argument = str | bytes | int | float


class Script:
    """One script: ``lua/<name>.lua`` behind its shebang, the files it includes, then the rest."""

    def __init__(self, name: str, *includes: str) -> None:
        shebang, rest = (_FOLDER / f"{name}.lua").read_text().split("\n", 1)
        self.source = "\n".join([shebang, *((_FOLDER / f"_{i}.lua").read_text() for i in includes), rest])
        self._sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: Client, keys: Sequence[str | bytes], arguments: Sequence[Argument]) -> Any:
        """Run it by its hash; a server that does not know it (it refuses before anything happens) is sent the source."""
        execute = client.call if isinstance(client, LinkedRedis) else client.execute_command
        try:
            return await execute("EVALSHA", self._sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return await execute("EVAL", self.source, len(keys), *keys, *arguments)


READ = Script("read")
EVIDENCE = Script("evidence")
DECIDE = Script("decide", "common", "outbox", "record", "evidence")
ACTIVATE = Script("activate", "common", "outbox", "record", "evidence")
REWARD = Script("reward", "common", "outbox", "record", "evidence")
FORGET = Script("forget", "common", "outbox", "record")
ERASE = Script("erase", "common", "record")
UNLOG = Script("unlog")
DROP_IDLE = Script("drop_idle", "common", "outbox")
