"""Looks for known vulnerabilities of the pinned dependencies, by pip-audit; fails when there are any.

What is known comes from the package index. Where that does not answer, or tells nothing of vulnerabilities, the audit is skipped and says
so: it is no substitute for one that ran.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WITHIN_S = 300


def main(pins: str) -> int:
    """Audit a file of pins; 0 when nothing is known, or nothing can be told."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--progress-spinner", "off", "--format", "json", "-r", pins]
    try:
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WITHIN_S)  # noqa: S603  # our own arguments
    except subprocess.TimeoutExpired:
        return _skipped(f"no answer within {WITHIN_S} s")
    try:
        audited = json.loads(ran.stdout)["dependencies"]
    except ValueError:
        return _skipped(ran.stderr.strip().rpartition("\n")[2] or "pip-audit said nothing")
    untold = [each["name"] for each in audited if "skip_reason" in each]
    if len(untold) == len(audited):
        return _skipped("the package index tells of none of the pins")
    found = [(each["name"], each["version"], bad) for each in audited for bad in each.get("vulns", ())]
    for name, version, bad in found:
        print(f"{name} {version}: {bad['id']}; mended in {', '.join(bad['fix_versions']) or 'no version yet'}")
    print(f"audit: {len(audited) - len(untold)} pins, {len(found)} known vulnerabilities; not told of: {', '.join(untold) or 'none'}")
    return int(bool(found))


def _skipped(why: str) -> int:
    print(f"audit: skipped, vulnerability data cannot be had here: {why}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
