"""Reading features alone, beside Feast's own SDK: the same rows of the same Redis, in one process."""

from __future__ import annotations

import json
from collections import defaultdict

from benchmarks import servers
from benchmarks.baseline import COMPANY, COMPUTED, OOML, ROWS, SDK, STORED, TOGETHER, TRIP
from benchmarks.rows import Limit, Row, Spread, at_least
from benchmarks.site import Site

TARGETS: dict[tuple[str, int], tuple[Limit | None, Limit | None]] = {
    (STORED, 10): (at_least(6), at_least(10)),
    (STORED, 50): (at_least(5), at_least(10)),
    (COMPUTED, 10): (None, None),
    (COMPUTED, 50): (None, None),
}
Reads = dict[tuple[str, str, int], list[dict[str, float]]]


def measure(site: Site) -> list[Row]:
    """Times that one read is faster than the SDK's `get_online_features`, one after the other."""
    site.ooml  # noqa: B018  brings up what is read
    options = ["--users", site.sizes.users, "--rounds", site.sizes.rounds, "--cell-s", site.sizes.cell_s]
    options += [word for count in sorted({count for _, count in TARGETS}) for word in ("--candidates", count)]
    site.tell("in a process with Feast")
    log = site.folder / "reading.log"
    said = servers.output("benchmarks.baseline.reading", *map(str, options), environment=site.feast("reading"), log=log)
    reads: Reads = defaultdict(list)
    for line in said.splitlines():
        read = json.loads(line)
        reads[read["who"], read["what"], read["count"]].append(read)
    return [_row(reads, who, what, count) for who in (OOML, TRIP, ROWS, TOGETHER) for what, count in TARGETS if (who, what, count) in reads]


def _row(reads: Reads, reader: str, what: str, count: int) -> Row:
    """How much faster ours is: by the clock, one read after the other; by CPU, as a busy server reads, several in a round trip."""
    ours, theirs = (reads[who, what, count] for who in (reader, SDK))
    read = f"features of {count} candidates, {what}"
    taken, measured = {
        OOML: ("wall_s", f"{read}, times faster than Feast's SDK"),
        TRIP: ("wall_s", f"{TRIP}, times faster than Feast's SDK reads {read}"),
        ROWS: ("wall_s", f"{read}, {ROWS}, times faster than Feast's SDK"),
        TOGETHER: ("cpu_s", f"{read}, {COMPANY} together, times less CPU than Feast's SDK"),
    }[reader]
    must, reach = TARGETS[what, count] if reader == OOML else (None, None)
    beside = {
        f"{who} {name}": 1e6 * Spread.of([read[key] for read in found]).median
        for who, found in ((reader, ours), ("SDK", theirs))
        for name, key in (("µs", "wall_s"), ("CPU µs", "cpu_s"))
    }
    return Row(
        what=measured,
        figure=Spread.of([t[taken] / o[taken] for o, t in zip(ours, theirs, strict=True)]),
        unit="×",
        generator="in one process",
        calls=round(sum(read["reads"] for read in ours)),
        must=must,
        reach=reach,
        beside=beside,
    )
