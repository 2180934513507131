"""The users of Redis that docs/security.md declares, and a Redis that speaks TLS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from cli.embedded import EmbeddedServer, free_port
from tests.certificates import Authority
from tests.servers import Cluster, Store

PASSWORD = 's3cret, with=all: that@may#be"in{it}'  # noqa: S105
DOCUMENTED = dict(
    re.findall(r"^ACL SETUSER (\w+) (.+)$", (Path(__file__).parent.parent / "docs" / "security.md").read_text(), re.MULTILINE)
)
"""Rules by user."""


def granted(user: str) -> set[str]:
    """The commands a user may run."""
    return {word[1:].upper() for word in DOCUMENTED[user].split() if word.startswith("+")}


def make_users(store: Store, *more: str, whose: str = "ooml") -> None:
    """Make them all, with ``more`` rules for one of them, the server's unless said otherwise."""
    for node in store.nodes if isinstance(store, Cluster) else (store,):
        with redis.Redis(host=node.host, port=node.port) as admin:
            for user, rules in DOCUMENTED.items():
                words = (f">{PASSWORD}" if word == ">PASSWORD" else word for word in rules.split())
                admin.execute_command("ACL SETUSER", user, *words)
            admin.execute_command("ACL SETUSER", whose, *more)


@contextmanager
def with_tls(folder: Path, program: Path) -> Iterator[tuple[EmbeddedServer, int, Authority]]:
    """A Redis that listens in clear for the test and with TLS for the users: it, the port, and who vouches for it.

    Raises:
        ServerError: the program was built without TLS.
    """
    authority = Authority(folder, "redis-authority")
    issued = authority.issue("redis")
    port = free_port()
    settings = {
        "tls-port": str(port),
        "tls-cert-file": str(issued.certificate),
        "tls-key-file": str(issued.key),
        "tls-ca-cert-file": str(authority.certificate),
        "tls-auth-clients": "no",
    }
    with EmbeddedServer(folder / "redis-tls", program=program, settings=settings) as server:
        yield server, port, authority
