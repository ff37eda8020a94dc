"""The builder from the command line: `python -m builder --help`."""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

from builder import ROOT, BuildError, end_in_order, said_by
from builder.configuration import plain_configuration, site_of
from builder.expansion import expand, write
from builder.runner import TIMEOUT_S, Progress, failures, run_all
from builder.source import Sources


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 when all is well, 1 when a module failed, 2 when nothing could be run or
    written.
    """
    parser = argparse.ArgumentParser(
        prog="python -m builder",
        description="Run the snippet modules that are not in the cache; report every failure.",
        epilog="example: python -m builder definitions.utilization.pooling",
    )
    add = parser.add_argument
    add("modules", nargs="*", metavar="MODULE", help="dotted name in the package (default: all)")
    told = "seconds for one module (default: %(default)g)"
    add("--timeout", type=float, default=TIMEOUT_S, help=told)
    told = "write the whole site there as plain Markdown, with figures, downloads, and a mkdocs.yml"
    add("--expand", type=Path, metavar="FOLDER", help=f"{told} that asks for no plugin and no hook")
    options = parser.parse_args(arguments)
    if not 0 < options.timeout < math.inf:
        parser.error(f"--timeout must be a positive number, got {options.timeout:g}")

    started, progress, sources = time.perf_counter(), Progress(_say), Sources(ROOT)
    names = options.modules or None
    try:
        runs = run_all(sources, names=names, timeout_s=options.timeout, progress=progress)
        if report := failures(runs):
            _say("\n".join(report))
            return 1
        known, elapsed = len(runs) - progress.ran, time.perf_counter() - started
        _say(f"{len(runs)} modules: {progress.ran} run, {known} from the cache, {elapsed:.1f} s")
        if folder := options.expand and options.expand.absolute():
            made = expand(ROOT, site_of(ROOT), runs, sources=sources)
            write(made, ROOT, folder, plain_configuration(ROOT))
            _say(f"{len(made.pages)} pages and {len(made.files)} files in {folder}")
    except BuildError as problem:
        _say(f"error: {problem}")
        return 2
    except OSError as problem:
        _say(f"error: {said_by(problem)}")
        return 2
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    end_in_order()
    sys.exit(main())
