"""`ooml relay` and `ooml sink` as they are run: processes of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.event_processes import OomlProcess
from tests.serving.server import environment


class Mover(OomlProcess):
    """One relay or sink, whose log can be asked.

    Args:
        what: ``relay`` or ``sink``.
        settings: its ``OOML_*`` variables.
        env: further variables.
    """

    def __init__(self, what: str, log: Path, settings: Mapping[str, object], env: Mapping[str, str] | None = None) -> None:
        super().__init__(what, log, {**environment(**settings), **(env or {})})

    def said(self, event: str) -> list[dict[str, Any]]:
        """Lines of its log that tell of an event."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in map(_parsed, lines) if line.get("event") == event]


def _parsed(line: str) -> dict[str, Any]:
    """A line of the log; nothing of what a process that was killed did not finish writing."""
    try:
        parsed = json.loads(line)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
