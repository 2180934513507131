"""Runs that are kept: one JSON file each, `results/bench.json` and, of other machines and days, `results/bench-*.json` beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.rows import Limit, Row, Spread

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it was written.

    Args:
        told: all that a reader must know to make sense of the rows: when, where, what, how.
        rows: by measure, in the order in which they were made.
    """

    told: Mapping[str, Any]
    rows: Mapping[str, Sequence[Row]]

    @property
    def listed(self) -> list[Row]:
        """All rows, in order."""
        return [row for found in self.rows.values() for row in found]

    def write(self, file: Path) -> None:
        """As JSON, each row with its verdicts."""
        rows = [
            {"measure": name, **asdict(row), "verdict": row.verdict, "reached": row.reached}
            for name, found in self.rows.items()
            for row in found
        ]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({**self.told, "rows": rows}, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, file: Path) -> Run:
        """What `write` wrote; verdicts are judged anew."""
        told = json.loads(file.read_text())
        rows: dict[str, list[Row]] = {}
        for kept in told.pop("rows"):
            del kept["verdict"], kept["reached"]
            kept["figure"] = Spread(**kept["figure"])
            for limit in ("must", "reach"):
                kept[limit] = Limit(**kept[limit]) if kept[limit] else None
            rows.setdefault(kept.pop("measure"), []).append(Row(**kept))
        return cls(told, rows)


def runs(folder: Path = RESULTS) -> dict[str, Run]:
    """All that are kept, by name of their file: the one that `make bench` writes, then the others."""
    return {file.stem: Run.read(file) for file in (*folder.glob("bench.json"), *sorted(folder.glob("bench-*.json")))}
