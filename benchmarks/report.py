"""Turns the samples of the build benchmark into a table, verdicts on its aims, and a record."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serving_mathematics.reference.build_benchmark import NO_CHANGE_AIM
from serving_mathematics.support.measuring import processors

PACKAGES = (
    "mkdocs",
    "mkdocs-material",
    "Markdown",
    "pymdown-extensions",
    "Pygments",
    "Jinja2",
    "watchdog",
    "math-core",
    "numpy",
    "matplotlib",
)
ROWS = {
    "cold": "cold build [s]",
    "unchanged": "no-change rebuild [s]",
    "snippet": "rebuild, one snippet edit [s]",
    "costly_snippet": "rebuild, costliest snippet edit [s]",
    "prose": "rebuild, one prose edit [s]",
    "serve_snippet": "serve, snippet edit to page [s]",
    "serve_costly_snippet": "serve, costliest snippet edit [s]",
    "serve_prose": "serve, prose edit to page [s]",
    "cold_rss": "peak memory, cold, RSS [MiB]",
    "cold_pss": "peak memory, cold, PSS [MiB]",
    "unchanged_rss": "peak memory, no change, RSS [MiB]",
    "unchanged_pss": "peak memory, no change, PSS [MiB]",
    "snippet_cpu": "snippets alone, processor time [s]",
}
SNIPPET_EDIT_S = 1.0
EDIT_TO_PAGE_S = 1.5  # what still rounds to one second
COLD_RATIO = 1.5

Samples = Mapping[str, Mapping[str, Sequence[float]]]  # row, side, values


@dataclass(frozen=True)
class Summary:
    """Median and range of the samples of one figure."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        """As `median [least–most]`, in as many digits as are of use."""
        digits = 0 if self.median >= 100 else 1 if self.median >= 20 else 2
        return f"{self.median:.{digits}f} [{self.least:.{digits}f}–{self.most:.{digits}f}]"


def summarise(values: Sequence[float]) -> Summary:
    """Raises ValueError for no samples."""
    if not values:
        raise ValueError("values must hold at least one sample, got none")
    return Summary(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Aim:
    """What was aimed at, what came out, and whether it holds."""

    aim: str
    found: str
    holds: bool

    def __str__(self) -> str:
        """One line."""
        return f"{'holds ' if self.holds else 'MISSED'}  {self.aim}: {self.found}"


def medians(samples: Samples) -> dict[str, dict[str, float]]:
    """The median of every row and side that was sampled."""
    return {
        row: {side: statistics.median(values) for side, values in sides.items() if values}
        for row, sides in samples.items()
    }


def table(samples: Samples) -> list[str]:
    """The lines of the table: this site, the plain one, ratio and difference of the medians."""
    lines = [f"{'':36}{'this site':>24}{'plain Material':>24}{'ratio':>8}{'difference':>12}"]
    for row, title in ROWS.items():
        sides = {side: summarise(v) for side, v in samples.get(row, {}).items() if v}
        if not sides:
            continue
        line = f"{title:36}" + "".join(f"{sides.get(side, '')!s:>24}" for side in ("ours", "plain"))
        if len(sides) == 2:
            ours, plain = sides["ours"].median, sides["plain"].median
            line += f"{ours / plain:>7.2f}×{ours - plain:>+12.2f}"
        lines.append(line.rstrip())
    return lines


def cold_bound(found: Mapping[str, Mapping[str, float]], workers: int) -> float:
    """Seconds that a cold build needs at least: the snippets shared out evenly, and the pages."""
    return found["snippet_cpu"]["ours"] / workers + found["cold"]["plain"]


def aims(samples: Samples, workers: int) -> list[Aim]:
    """Each aim, with its verdict on the medians."""
    found = medians(samples)
    verdicts = []
    ratio = found["unchanged"]["ours"] / found["unchanged"]["plain"]
    verdicts.append(
        Aim(
            f"no-change rebuild ≤ {NO_CHANGE_AIM} × plain",
            f"{ratio:.2f} ×",
            ratio <= NO_CHANGE_AIM,
        )
    )
    for row, which in (("snippet", "one-snippet"), ("costly_snippet", "costliest one-snippet")):
        if row in found:
            more = found[row]["ours"] - found[row]["plain"]
            aim = f"{which} edit ≤ plain + {SNIPPET_EDIT_S:g} s"
            verdicts.append(Aim(aim, f"plain {more:+.2f} s", more <= SNIPPET_EDIT_S))
    for row, which in (
        ("serve_snippet", "snippet"),
        ("serve_costly_snippet", "costliest snippet"),
        ("serve_prose", "prose"),
    ):
        if row in found:
            ours, plain = found[row]["ours"], found[row]["plain"]
            aim = f"{which} edit to browser ≈ 1 s (≤ {EDIT_TO_PAGE_S:g} s)"
            verdicts.append(Aim(aim, f"{ours:.2f} s (plain {plain:.2f} s)", ours <= EDIT_TO_PAGE_S))
    bound = cold_bound(found, workers)
    ratio = found["cold"]["ours"] / bound
    aim = f"cold build ≤ {COLD_RATIO} × (snippet processor time ÷ {workers} workers + plain)"
    verdicts.append(
        Aim(
            aim, f"{found['cold']['ours']:.1f} s = {ratio:.2f} × {bound:.1f} s", ratio <= COLD_RATIO
        )
    )
    return verdicts


def machine() -> dict[str, Any]:
    """What the figures depend on, and nothing that names the machine."""
    return {
        "cpu": _cpu_model(),
        "cores": processors(),
        "os": platform.system(),
        "architecture": platform.machine(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
    }


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or "unknown"
    models = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return models[0] if models else platform.processor() or "unknown"


def versions() -> dict[str, str]:
    """Python and the packages that a build runs."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package.lower()] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package.lower()] = "absent"
    return found


def results(samples: Samples) -> dict[str, Any]:
    """The rows for the record: median and range beside every sample, in the order of the rounds."""
    return {
        row: {"title": title}
        | {
            side: {key: round(value, 4) for key, value in asdict(summarise(values)).items()}
            | {"samples": [round(value, 4) for value in values]}
            for side, values in samples[row].items()
            if values
        }
        for row, title in ROWS.items()
        if any(samples.get(row, {}).values())
    }
