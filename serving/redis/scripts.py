"""The Lua scripts, and how they are run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError

from serving.redis.link import Command, Link, slot_of
from serving.redis.wire import Argument

_FOLDER = Path(__file__).parent / "lua"


class Call(NamedTuple):
    """One run of a script: the slot its keys lie in, its KEYS and its ARGV."""

    slot: int
    keys: Sequence[str | bytes]
    arguments: Sequence[Argument]

    def command(self, script: tuple[str, str], logs: bool) -> Command:
        """As it is sent; to a script that logs, with the id of the process that gets it in place of the first argument."""
        words = (*script, len(self.keys), *self.keys, *self.arguments)
        return Command(self.slot, words, len(script) + 1 + len(self.keys) if logs else None)


class Script:
    """One script: ``lua/<name>.lua`` behind its shebang, the files it includes, then the rest."""

    def __init__(self, name: str, *includes: str) -> None:
        shebang, rest = (_FOLDER / f"{name}.lua").read_text().split("\n", 1)
        self.source = "\n".join([shebang, *((_FOLDER / f"_{i}.lua").read_text() for i in includes), rest])
        # A script that writes nothing is run as such: a user who may only read Feast's rows may then name them as its keys.
        self._mode = "_RO" if "no-writes" in shebang else ""
        self._logs = "outbox" in includes
        self._sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    async def run(self, link: Link, keys: Sequence[str | bytes], arguments: Sequence[Argument]) -> Any:
        """Run it once.

        Raises:
            redis.exceptions.RedisError.
        """
        (answer,) = await self.run_all(link, [Call(slot_of(keys[0]), keys, arguments)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def run_all(self, link: Link, calls: Sequence[Call], beside: Sequence[Command] = ()) -> list[Any]:
        """Run it several times, and other commands beside it, in one round trip; the answers in order, errors as they are.

        It is named by its hash; a server that does not know it (it refuses before anything happens) is sent the source.
        """
        named = ("EVALSHA" + self._mode, self._sha)
        answers = await link.ask([*(call.command(named, self._logs) for call in calls), *beside])
        unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            told = await link.ask([calls[place].command(("EVAL" + self._mode, self.source), self._logs) for place in unknown])
            for place, answer in zip(unknown, told, strict=True):
                answers[place] = answer
        return answers


DENIED = Script("denied")
READ = Script("read")
EVIDENCE = Script("evidence")
DECIDE = Script("decide", "common", "outbox", "record", "evidence")
ACTIVATE = Script("activate", "common", "outbox", "record", "evidence")
REWARD = Script("reward", "common", "outbox", "record", "evidence")
FORGET = Script("forget", "common", "outbox", "record")
ERASE = Script("erase", "common", "record")
UNLOG = Script("unlog")
PUBLISH = Script("publish")
LEASE = Script("lease", "common")
DROP_IDLE = Script("drop_idle", "common", "outbox")


def commands() -> frozenset[str]:
    """Every command that some script runs."""
    return frozenset(re.findall(r"redis\.call\('([A-Z]+)'", "".join(file.read_text() for file in _FOLDER.glob("*.lua"))))
