"""Which state of the feature registry the published plans were compiled from: ``ooml:registry``, a fingerprint."""

from __future__ import annotations

from serving.redis.connect import Client
from serving.redis.errors import unavailable

REGISTRY = "ooml:registry"


async def mark_compiled(client: Client, fingerprint: str) -> None:
    """Note that all plans of a state of the registry are published (as far as they could be compiled).

    Raises:
        Unavailable.
    """
    with unavailable():
        await client.set(REGISTRY, fingerprint)


async def compiled(client: Client) -> str | None:
    """Fingerprint of that state, None when plans were never published.

    Raises:
        Unavailable.
    """
    with unavailable():
        found = await client.get(REGISTRY)
    return None if found is None else found.decode()
