"""The servers that cases are aimed at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import servers
from cli.embedded import free_port
from clients.conformance.mirror import mirror
from clients.conformance.proxy import silent
from clients.conformance.secure import secure

POLICIES = Path(__file__).parent / "policies"
Target = Mapping[str, str]


@contextmanager
def site(folder: Path) -> Iterator[dict[str, Target]]:
    """All targets by name, up for as long as the block runs; README.md says what each is.

    Args:
        folder: for the servers' data and logs.
    """
    with ExitStack() as stack:
        store = stack.enter_context(servers.store(folder / "store"))
        lost = stack.enter_context(servers.store(folder / "lost"))
        for redis in (store, lost):
            servers.apply(POLICIES, redis.url)
        plain = stack.enter_context(servers.serve([store], folder / "plain.log", workers=2))
        busy = stack.enter_context(servers.serve([store], folder / "busy.log", settings={"max_in_flight": 1}))
        stranded = stack.enter_context(servers.serve([lost], folder / "stranded.log"))
        lost.stop()
        asking = stack.enter_context(secure(store, folder / "secure"))
        addresses = {
            "plain": plain.address,
            "busy": busy.address,
            "stranded": stranded.address,
            "mirror": stack.enter_context(mirror()),
            "silent": stack.enter_context(silent()),
            "nobody": f"127.0.0.1:{free_port()}",
            "elsewhere": "192.0.2.1:50051",
        }
        yield {**{name: {"address": address} for name, address in addresses.items()}, **asking}
