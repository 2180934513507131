"""Executes `cases.json` with every client against real servers, and prints one table: a row a group of cases, a column a language.

Servers are started and stopped by this program. What runners were given and what they said is kept in build/conformance/LANGUAGE.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from rich.console import Console

from benchmarks.load import BenchmarkError
from clients.conformance.cases import Plan, load
from clients.conformance.expand import CaseError
from clients.conformance.languages import ROOT, Language, LanguageError, languages
from clients.conformance.proxy import Proxies, proxying
from clients.conformance.report import Column, report
from clients.conformance.site import Target, site

OUT = ROOT / "build" / "conformance"
EXAMPLES = """examples:
  make test-clients                                    all languages there are tools for
  .venv/bin/python -m clients.conformance.run --only go --case 'stream/*'
  .venv/bin/python -m clients.conformance.run --list   names of all cases
"""


def main() -> int:
    """Run what the command line says; returns the exit code."""
    asked = _arguments()
    try:
        return _run(asked, Console())
    except (CaseError, BenchmarkError) as error:
        print(error, file=sys.stderr)
        return 2


def _run(asked: argparse.Namespace, console: Console) -> int:
    plan = load(asked.case)
    if asked.list:
        console.print("\n".join(case["name"] for case in plan.cases), highlight=False, markup=False)
        return 0
    chosen = [one for one in languages(dict(asked.at)) if not asked.only or one.name.split("-")[0] in asked.only]
    absent = {one.name: one.missing() for one in chosen if one.missing()}
    with tempfile.TemporaryDirectory(prefix="ooml-clients-") as name, site(Path(name)) as targets, proxying() as proxies:
        columns = _columns([one for one in chosen if one.name not in absent], plan, targets, proxies)
    failed = report(console, plan, columns, absent, everything=asked.verbose)
    if absent and os.environ.get("CI"):
        console.print("on CI every client must run: install what is missing", style="red")
        failed = True
    return int(failed)


def _columns(chosen: Sequence[Language], plan: Plan, targets: Mapping[str, Target], proxies: Proxies) -> list[Column]:
    """What came of each language. All run at once, for they mostly wait; they are built one after the other."""
    building = Lock()

    def column(language: Language) -> Column:
        out = OUT / language.name
        out.mkdir(parents=True, exist_ok=True)
        try:
            with building:
                language.make(out)
            run = plan.prepare(language.name, targets, proxies)
            run_file = out / "run.json"
            run_file.write_text(json.dumps(run.file))
            said = language.execute(run_file, out)
            (out / "said.jsonl").write_text(said)
            return Column(language.name, run.judge(_lines(said)))
        except LanguageError as error:
            return Column(language.name, {}, str(error))

    with ThreadPoolExecutor(max(1, len(chosen))) as threads:
        return list(threads.map(column, chosen))


def _lines(said: str) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in said.split("\n") if line]  # U+2028 is no end of a line here
    except json.JSONDecodeError as error:
        raise LanguageError(f"the runner printed a line that is no JSON: {error.doc[:200]!r}") from None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m clients.conformance.run", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = sorted({one.name.split("-")[0] for one in languages({})})
    parser.add_argument("--only", action="append", choices=names, metavar="LANGUAGE", help=f"run this client alone: {', '.join(names)}")
    parser.add_argument("--case", metavar="PATTERN", help="run the cases whose names match, such as 'score/*'")
    parser.add_argument("--list", action="store_true", help="print the names of the cases, and end")
    parser.add_argument("--verbose", action="store_true", help="a row for every case")
    parser.add_argument(
        "--at", action="append", default=[], type=_elsewhere, metavar="LANGUAGE=FOLDER", help="take a client from another folder"
    )
    return parser.parse_args()


def _elsewhere(said: str) -> tuple[str, Path]:
    name, _, folder = said.partition("=")
    if not folder:
        raise argparse.ArgumentTypeError("must be LANGUAGE=FOLDER")
    return name, Path(folder)


if __name__ == "__main__":
    sys.exit(main())
