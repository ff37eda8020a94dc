"""Time the builds of this site against the same pages as a plain Material site: `make bench-build`.

Everything is built in a temporary folder, from a copy of the tree. The plain site has the same
theme, plugins and extensions, and the pages as they are after expansion; nothing is executed for it
and its formulas stay TeX. The two take turns, in rounds; every figure is the median over the
rounds, with its range.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # Python put only our folder there

from benchmarks import builders, report, rounds
from benchmarks.processes import BenchmarkError
from builder import SOURCES

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / SOURCES / "records" / "build.json"
SERVED_EDITS = 3  # of each kind, in each round


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command line, checked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--rounds", type=int, help="default: 5, and with --peers 3, which takes some 20 minutes"
    )
    parser.add_argument(
        "--peers",
        action="store_true",
        help="compare with mkdocs-jupyter, sphinx-gallery and MyST-NB on the same chapters, each in"
        " an environment that is made under .cache/bench, instead of with plain Material in detail",
    )
    parser.add_argument(
        "--chapters", type=int, default=0, help="give the peers the first so many (default: all)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one round, one edit served, and no record"
    )
    parser.add_argument("--tree", type=Path, default=ROOT, help="project to copy (default: this)")
    parser.add_argument(
        "--output", type=Path, help="record to write (default: build.json or site_builders.json)"
    )
    options = parser.parse_args(arguments)
    if not hasattr(os, "wait4"):
        parser.error("this system has no wait4(), which tells the processor time of a module")
    if options.rounds is None:
        options.rounds = 1 if options.quick else 3 if options.peers else 5
    if options.chapters < 0 or (options.chapters and not options.peers):
        parser.error("--chapters must be positive and goes with --peers")
    if options.chapters and not options.output:
        options.quick = True
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {options.rounds}")
    if not (options.tree / "mkdocs.yml").is_file():
        parser.error(f"--tree must hold a mkdocs.yml, got {options.tree}")
    if options.output is None and not options.quick:
        options.output = RECORD.with_stem(builders.RECORD) if options.peers else RECORD
    return options


def commit(tree: Path) -> str:
    """The commit of a tree; says so when what the site is made of differs from it."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(tree), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        found = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--", "docs", "snippets", "mkdocs.yml")
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return f"{found} with changes" if changed else found


def describe(
    bench: rounds.Bench, options: argparse.Namespace, differing: list[str]
) -> dict[str, Any]:
    """The record: what was measured, on what, and what came out."""
    facts, count = bench.facts, 1 if options.quick else options.rounds
    command = ["python", "benchmarks/build.py", "--rounds", str(count)]
    return {
        "what": "builds of this site and of the same pages as a plain Material site",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit(options.tree),
        "command": shlex.join(command),
        "machine": report.machine(),
        "versions": report.versions(),
        "site": {
            "pages": facts.pages,
            "modules": len(facts.needs),
            "figures": facts.figures,
            "workers": facts.workers,
            "pages_whose_text_differs": differing,
        },
        "edited": {
            row: {"file": edit.file, "function": edit.function} | vars(bench.costs[row])
            for row, edit in bench.edits.items()
        },
        "results": report.results(bench.samples),
        "cold_bound_s": round(report.cold_bound(report.medians(bench.samples), facts.workers), 4),
        "aims": [vars(aim) for aim in report.aims(bench.samples, facts.workers)],
    }


def lines(record: dict[str, Any], bench: rounds.Bench) -> list[str]:
    """What is printed."""
    machine, site, edited = record["machine"], record["site"], record["edited"]
    found = [
        f"{site['pages']} pages, {site['modules']} modules, {site['figures']} figures;"
        f" {machine['cpu']}, {machine['cores']} cores, {machine['os']};"
        f" Python {record['versions']['python']}; {record['date']}; commit {record['commit']}",
        f"load of the machine before: {record['load_before']} processes",
        f"{bench.rounds} round{'s' * (bench.rounds > 1)}, this site and the plain one in turn;"
        " median [least–most]",
        "",
        *report.table(bench.samples),
        "",
        *(
            f"{row.replace('_', ' ')} edit: {edit['function']} in {edit['file']}; modules that run"
            f" again: {edit['modules']}, for {edit['cpu_s']:.1f} s of processor time"
            for row, edit in edited.items()
        ),
        f"bound of the cold build: {record['cold_bound_s']:.2f} s = processor time of the snippets"
        f" ÷ {site['workers']} workers + plain cold build",
    ]
    if site["pages_whose_text_differs"]:
        found.append(f"NOT THE SAME TEXT: {', '.join(site['pages_whose_text_differs'])}")
    else:
        found.append("the text of every page is the same in both, formulas aside")
    return [*found, "", *map(str, report.aims(bench.samples, bench.facts.workers))]


def clock() -> Callable[[str], None]:
    """Prints what comes next, after the seconds since it was made."""
    started = time.perf_counter()

    def tell(what: str) -> None:
        print(f"{time.perf_counter() - started:6.0f} s  {what}", file=sys.stderr, flush=True)

    return tell


def compare(options: argparse.Namespace, temporary: Path, load: float) -> dict[str, Any]:
    """Prepare the projects of every builder and go through the rounds. Each takes long enough that
    the record is written after every one.
    """
    tell = clock()
    environments = ROOT / ".cache" / "bench"
    prepared = builders.prepare(
        options.tree.resolve(), temporary, environments, tell, options.chapters
    )
    for number in range(1, options.rounds + 1):
        for step in prepared.contest.round():
            tell(f"round {number} of {options.rounds}: {step}")
        record = builders.describe(prepared, load)
        if options.output:
            write(record, options.output)
    return record


def measure(options: argparse.Namespace, temporary: Path) -> tuple[rounds.Bench, list[str]]:
    """Prepare the projects and go through the rounds."""
    tell = clock()
    tell("prepare")
    bench, differing = rounds.prepare(options.tree.resolve(), temporary)
    count = 1 if options.quick else options.rounds
    for number in range(1, count + 1):
        for step in bench.round(1 if options.quick else SERVED_EDITS):
            tell(f"round {number} of {count}: {step}")
    return bench, differing


def write(record: dict[str, Any], path: Path) -> None:
    """Put the record in its place, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


def stop_on_signals() -> None:
    """Whatever asks us to stop raises KeyboardInterrupt, once: what was started is then ended, and
    the folder removed, undisturbed.
    """
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP")]

    def stop(*_: object) -> NoReturn:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in numbers:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, stop)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 when all was measured, whatever came out; 1 when it could not be."""
    options = parse(arguments)
    load = round(os.getloadavg()[0], 2)  # what else the machine had to do, before we began
    stop_on_signals()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
            if options.peers:
                record = compare(options, Path(folder), load)
                told = builders.lines(record)
            else:
                bench, differing = measure(options, Path(folder))
                record = describe(bench, options, differing) | {"load_before": load}
                told = lines(record, bench)
    except BenchmarkError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    print("\n".join(told))
    if options.output:
        write(record, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
