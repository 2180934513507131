"""Follows a feature repository: whenever `feast apply` has changed a definition, compiles it anew and hands the plans on.

Runs in a process of its own: Feast is imported at the first compilation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from features.fingerprint import fingerprint
from features.plan import Plan, Problem


class Stop(Protocol):
    """`threading.Event` or `multiprocessing.Event`."""

    def wait(self, timeout: float | None = None) -> bool:
        """Return True as soon as it is set, False after ``timeout`` seconds."""


def watch(
    repo: Path,
    publish: Callable[[Sequence[Plan], Sequence[Problem]], None],
    stop: Stop,
    interval_s: float = 0.5,
    log: Callable[[str], None] = print,
) -> None:
    """Publish a repository's plans, now and after every change of its definitions, until told to stop.

    A change is taken up once the registry has been the same for one interval, since `feast apply` writes object by object. Errors (an
    unreadable registry, a failing ``publish``) are logged once each, and tried again every interval.

    Args:
        repo: folder with ``feature_store.yaml``.
        publish: takes the plans of one state of the registry, and the problems of services without one.
        stop: set to end.
        interval_s: seconds between two looks at the registry.
        log: takes a sentence.
    """
    published: str | None = None
    seen: str | None = None
    said: str | None = None
    while True:
        try:
            current = fingerprint(repo)
            settled = published is None or current == seen
            seen = current
            if current != published and settled:
                from features.compiler import compile_repo

                publish(*compile_repo(repo))
                published = current
            said = None
        except Exception as error:  # whatever it is, the plans published before keep serving
            if said != (said := f"feature repository {repo}: {type(error).__name__}: {error}"):
                log(said)
        if stop.wait(interval_s):
            return
