"""The builder from the command line.

python -m builder [run] [MODULE ...]   run the snippet modules that are not in the cache
python -m builder expand FOLDER        write the whole site as plain Markdown for any generator
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
from pathlib import Path

from builder import ROOT, BuildError, end_in_order
from builder.runner import TIMEOUT_S, Progress, default_cache, failures, run_all


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 when all is well, 1 when a module failed, 2 when nothing could be run."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["expand"]:
        return _expand(given[1:])
    return _run(given[1:] if given[:1] == ["run"] else given)


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m builder",
        description="Run the snippet modules that are not in the cache; report every failure.",
        epilog="example: python -m builder definitions.utilization.pooling;"
        " python -m builder expand FOLDER writes the site as plain Markdown",
    )
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help="dotted name in the package (default: all)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT_S,
        help="seconds for one module (default: %(default)g)",
    )
    options = parser.parse_args(arguments)
    if not 0 < options.timeout < math.inf:
        parser.error(f"--timeout must be a positive number, got {options.timeout:g}")

    started = time.perf_counter()
    progress = Progress(_say)
    try:
        runs = run_all(
            ROOT,
            default_cache(ROOT),
            names=options.modules or None,
            timeout_s=options.timeout,
            progress=progress,
        )
    except BuildError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    report = failures(runs)
    if report:
        print("\n".join(report), file=sys.stderr)
    else:
        known, elapsed = len(runs) - progress.ran, time.perf_counter() - started
        _say(f"{len(runs)} modules: {progress.ran} run, {known} from the cache, {elapsed:.1f} s")
    return 1 if report else 0


def _expand(arguments: list[str]) -> int:
    from builder.configuration import plain_configuration, site_of
    from builder.expansion import expand, write
    from builder.source import Sources

    parser = argparse.ArgumentParser(
        prog="python -m builder expand",
        description="Write the whole site as plain Markdown, with figures, downloads, and a"
        " mkdocs.yml that asks for no plugin and no hook.",
        epilog="example: python -m builder expand .cache/plain",
    )
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="made, or replaced if it is ours"
    )
    options = parser.parse_args(arguments)

    try:
        site = site_of(ROOT)
        cache = default_cache(ROOT)
        sources = Sources(ROOT, cache)
        runs = run_all(ROOT, cache, progress=Progress(_say), sources=sources)
        made = expand(ROOT, site, runs, sources=sources)
        write(made, ROOT, options.folder.absolute(), plain_configuration(ROOT), site)
    except BuildError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except OSError as problem:
        where = problem.filename or options.folder
        print(f"error: cannot write {where}: {problem.strerror}", file=sys.stderr)
        return 2
    print(
        f"{len(made.pages)} pages and {len(made.files)} files in {options.folder}", file=sys.stderr
    )
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    end_in_order()
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
