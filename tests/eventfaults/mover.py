"""`ooml relay` and `ooml sink` as they are run: processes of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.event_processes import OomlProcess
from tests.serving.server import environment, lines_of


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
        return [line for line in lines_of(self.log) if line.get("event") == event]
