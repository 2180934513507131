"""``python -m conformance [--asyncio] RUN_FILE``: one line of JSON a step that calls."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from conformance import awaiting, blocking


def main() -> int:
    """Execute every case; returns the exit code."""
    *flags, run_file = sys.argv[1:]
    run = json.loads(Path(run_file).read_text())
    if flags == ["--asyncio"]:
        asyncio.run(awaiting.execute(run))
    else:
        blocking.execute(run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
