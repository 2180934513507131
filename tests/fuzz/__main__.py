"""Attacks a server for some time with random and mutated messages; fails, and says how to see it again, when it finds anything.

The same seed makes the same calls. A finding is kept as a file, for ``--replay``.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from tests.fuzz.attack import Attack, Finding
from tests.fuzz.cases import cases, load
from tests.fuzz.site import site

MOST_KEPT = 20
FOUND = Path("out/fuzz")


def main() -> int:
    """Attack until the time is over, or until enough is found."""
    arguments = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    arguments.add_argument("--seconds", type=float, default=600.0)
    arguments.add_argument("--seed", type=int, help="default: another one each time")
    arguments.add_argument("--replay", type=Path, metavar="FILE", help="make the one call of a finding")
    given = arguments.parse_args()
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    with tempfile.TemporaryDirectory() as data, site(Path(data), seed) as here:
        attack = Attack(here)
        found = _replay(attack, seed, given.replay) if given.replay else _attack(attack, seed, given.seconds)
    print(f"{attack.sent} calls in {attack.rounds} rounds, seed {seed}: {dict(attack.codes.most_common())}; {len(found)} findings")
    print(f"the slowest took {attack.slowest[0]:.2f} s: {attack.slowest[1]}")
    _keep(found, seed)
    return int(bool(found))


def _replay(attack: Attack, seed: int, path: Path) -> list[Finding]:
    return attack.round([load(path)], attack.site.decide(f"{seed}"))


def _attack(attack: Attack, seed: int, seconds: float) -> list[Finding]:
    found: list[Finding] = []
    began = told = time.monotonic()
    while time.monotonic() - began < seconds and len(found) < MOST_KEPT:
        found += attack.round(list(cases(seed, attack.rounds)), attack.site.decide(f"{seed}-{attack.rounds}"))
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"{told - began:.0f} s: {attack.sent} calls, worker {attack.resident_bytes >> 20} MiB, {len(found)} findings", flush=True)
    return found


def _keep(found: Iterable[Finding], seed: int) -> None:
    for finding in list(found)[:MOST_KEPT]:
        again = f"python -m tests.fuzz --seed {seed}"
        if finding.case is not None:
            FOUND.mkdir(parents=True, exist_ok=True)
            path = FOUND / f"{finding.case.name}.json"
            finding.case.save(path, finding.problem)
            again += f" --replay {path}"
        where = "" if finding.case is None else f"{finding.case.method}: "
        print(f"FOUND {where}{finding.problem}\n  again: {again}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
