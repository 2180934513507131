"""Client of ooml: ask which candidate a person should get, and tell what came of it.

`Client` blocks, `AsyncClient` is for asyncio; both take `Options`. Messages are in `ooml.bandit.v1`.
"""

from ooml.client.aio import AsyncClient
from ooml.client.blocking import Client
from ooml.client.failure import Failure, Violation, failure_of
from ooml.client.options import Options, Tls

__all__ = ["AsyncClient", "Client", "Failure", "Options", "Tls", "Violation", "failure_of"]
