"""Run the snippet modules that need it: `python -m builder [MODULE ...]`."""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
from pathlib import Path

from builder import ROOT, BuildError
from builder.runner import TIMEOUT_S, default_cache, failure_report, run_all


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 when all is well, 1 when a module failed, 2 when nothing could be run."""
    parser = argparse.ArgumentParser(
        prog="python -m builder",
        description="Run the snippet modules that are not in the cache; report every failure.",
        epilog="example: python -m builder definitions.utilization",
    )
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help="dotted name in the package (default: all)"
    )
    parser.add_argument(
        "--jobs", type=int, help="worker processes at a time (default: one per core, at least two)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT_S,
        help="seconds for one module (default: %(default)g)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        help="folder of the run records (default: $SNIPPETS_CACHE or .cache/snippets)",
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing unless something fails")
    options = parser.parse_args(arguments)
    if options.jobs is not None and options.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {options.jobs}")
    if not 0 < options.timeout < math.inf:
        parser.error(f"--timeout must be a positive number, got {options.timeout:g}")

    started = time.perf_counter()
    ran = 0

    def progress(line: str) -> None:
        nonlocal ran
        ran += 1
        if not options.quiet:
            print(line, file=sys.stderr, flush=True)

    try:
        runs = run_all(
            ROOT,
            options.cache or default_cache(ROOT),
            names=options.modules or None,
            jobs=options.jobs,
            timeout_s=options.timeout,
            progress=progress,
        )
    except BuildError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    report = failure_report(runs)
    if report:
        print(report, file=sys.stderr)
    elif not options.quiet:
        elapsed = time.perf_counter() - started
        print(
            f"{len(runs)} modules: {ran} run, {len(runs) - ran} from the cache, {elapsed:.1f} s",
            file=sys.stderr,
        )
    return 1 if report else 0


def _terminate(*_: object) -> None:
    sys.exit(128 + signal.SIGTERM)  # workers are ended and their folders removed on the way out


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
