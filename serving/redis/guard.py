"""Whether a Redis keeps what it acknowledges: asked once at start, so that a lossy setting is not found out by losing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from redis.exceptions import NoPermissionError, ResponseError

from serving.redis.connect import Client
from serving.redis.errors import unavailable
from serving.redis.link import LinkedCluster

_SETTINGS = ("appendonly", "appendfsync", "maxmemory-policy")


class Severity(Enum):
    """LOSSY: acknowledged writes can be lost for good; a refusal in production. RISK: worth a warning anywhere."""

    LOSSY = "lossy"
    RISK = "risk"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about one server that puts acknowledged rewards at risk, and how to mend it."""

    server: str
    severity: Severity
    text: str

    def __str__(self) -> str:
        return f"{self.server}: {self.text}"


class UnsafeStore(Exception):
    """The store may lose what it acknowledges, and production refuses that; the message lists every finding."""


async def findings(client: Client) -> tuple[Finding, ...]:
    """What each server (on a cluster: each master) may lose; empty when it keeps what it acknowledges.

    Raises:
        Unavailable: a server did not answer.
    """
    found: list[Finding] = []
    with unavailable():
        if isinstance(client, LinkedCluster):
            await client.initialize()
            for node in client.get_primaries():
                answer = await _settings(client, {"target_nodes": node})
                found += judge(f"{node.host}:{node.port}", answer)
        else:
            at = client.connection_pool.connection_kwargs
            found += judge(str(at.get("path") or f"{at.get('host', 'localhost')}:{at.get('port', 6379)}"), await _settings(client, {}))
    return tuple(found)


def judge(server: str, settings: Mapping[str, str] | None) -> list[Finding]:
    """The findings on one server's `appendonly`, `appendfsync` and `maxmemory-policy`; None: it would not say."""
    if settings is None:
        return [
            Finding(
                server,
                Severity.RISK,
                "CONFIG GET is forbidden here, so nobody checked that it runs with appendonly yes, appendfsync always "
                "and maxmemory-policy noeviction; check it by hand, or allow CONFIG GET",
            )
        ]
    found = []
    if (policy := settings.get("maxmemory-policy", "noeviction")) != "noeviction":
        text = f"maxmemory-policy is {policy}: when memory is full it deletes evidence silently; set it to noeviction"
        found.append(Finding(server, Severity.LOSSY, text))
    fsync = settings.get("appendfsync")
    if settings.get("appendonly") != "yes":
        text = "appendonly is no: a crash or restart loses every reward since the last snapshot; set appendonly yes and appendfsync always"
        found.append(Finding(server, Severity.LOSSY, text))
    elif fsync == "no":
        text = "appendfsync is no: a power failure loses what the system had not written, often 30 s of rewards; set it to always"
        found.append(Finding(server, Severity.LOSSY, text))
    elif fsync != "always":
        text = f"appendfsync is {fsync}: a crash may lose a second of acknowledged rewards, more when the disk is slow; set it to always"
        found.append(Finding(server, Severity.RISK, text))
    return found


def refuse_in_production(found: Sequence[Finding], *, production: bool) -> None:
    """Raise when production would run on a store that loses acknowledged writes; elsewhere the caller warns.

    Raises:
        UnsafeStore: with every finding.
    """
    if production and any(finding.severity is Severity.LOSSY for finding in found):
        raise UnsafeStore("refusing to serve in production on a store that may lose rewards:\n" + "\n".join(f"  {f}" for f in found))


async def _settings(client: Client, where: Mapping[str, object]) -> dict[str, str] | None:
    try:
        answer = await client.execute_command("CONFIG GET", *_SETTINGS, **where)
    except NoPermissionError:
        return None
    except ResponseError:  # renamed or removed, as managed services do
        return None
    return {_text(key): _text(value) for key, value in answer.items()}


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
