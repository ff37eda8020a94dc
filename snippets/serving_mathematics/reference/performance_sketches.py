"""What a quantile sketch costs and how wrong it is, from the record of `make bench`.

A million log-normal values go into each sketch as an array; its quantiles are held against the
sorted values. The error of a value is relative to the value with that rank, the error of rank is
the share of values between. A hundred sketches of a hundredth each are merged and asked again.

Assumes: values at hand as an array; log-normal values with a spread of σ = 1.

Source: the record sketch_speed; Masson, Rim and Lee (2019) for the promise of a relative error.
"""

from __future__ import annotations

from types import SimpleNamespace

from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record, runs_of, spread_text

RECORD = "sketch_speed"
SKETCHES = {
    "log histogram": "this site, log histogram",
    "DDSketch": "ddsketch, pure Python",
    "t-digest in C": "crick, t-digest in C",
    "t-digest in Rust": "fastdigest, t-digest in Rust",
    "KLL": "datasketches, KLL in C++",
}
LEVELS = {"0.5": "p50", "0.99": "p99", "0.999": "p99.9"}
PROMISED = 0.01  # relative error of the log histogram and of DDSketch


def _rows() -> str:
    """A row of the table for each sketch: times of the first run, errors the worst of both."""
    lines, runs = [], runs_of(read_record(RECORD))
    for name, row in runs[0].items():
        errors = [f"{100 * _worst(name, level):.2g}%" for level in LEVELS]
        both = [cell["rank"] for run in runs for cell in run[name]["worst"]["errors"].values()]
        rank = f"{100 * max(both):.2g}%"
        times = (spread_text(row["fill_ns"]), spread_text(row["merge_us"]))
        lines.append(f"| {' | '.join((SKETCHES[name], *times, *errors, rank))} |")
    return "\n".join(lines)


def _faster(at: str) -> str:
    """The sketches that are faster than ours in both runs, at one of the times, in words."""
    runs = runs_of(read_record(RECORD))
    names = [
        SKETCHES[name]
        for name in runs[0]
        if all(run[name][at]["median"] < run["log histogram"][at]["median"] for run in runs)
    ]
    return "; ".join(names) if names else "none"


def _closer(level: str) -> str:
    """The sketches with a smaller worst relative error than ours at a level, in words."""
    ours = _worst("log histogram", level)
    names = [SKETCHES[name] for name in SKETCHES if _worst(name, level) < 0.999 * ours]
    return "; ".join(names) if names else "none"


def _worst(name: str, level: str) -> float:
    """The largest relative error of a quantile over the rounds of both runs."""
    return float(
        max(run[name]["worst"]["errors"][level]["relative"] for run in runs_of(read_record(RECORD)))
    )


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    versions = read_record(RECORD)["versions"]
    wanted = ("ddsketch", "crick", "fastdigest", "datasketches")
    return SimpleNamespace(
        rows_sketches=_rows(),
        packages_sketches=", ".join(f"{name} {versions[name]}" for name in wanted),
        filled_faster=_faster("fill_ns"),
        merged_faster=_faster("merge_us"),
        closer_p50=_closer("0.5"),
        closer_p999=_closer("0.999"),
        kll_p999_percent=100 * _worst("KLL", "0.999"),
        ours_p999_percent=100 * _worst("log histogram", "0.999"),
    )


def check_promise_is_kept() -> None:
    """Every quantile of the log histogram and of ddsketch is within one percent, and both have the
    same errors, because they have the same buckets.

    Source: the sorted values, in both recorded runs; the promise of Masson, Rim and Lee (2019).
    """
    for number, run in enumerate(runs_of(read_record(RECORD)), 1):
        for state in ("errors", "merged_errors"):
            ours, theirs = (run[name]["worst"][state] for name in ("log histogram", "DDSketch"))
            for level, cell in ours.items():
                label = f"run {number}, {state.replace('_', ' ')} at {level}"
                error = cell["relative"]
                checks.inside(label, error, 0.0, PROMISED, kind="measured")
                other = theirs[level]["relative"]
                checks.close(f"{label}, ddsketch", other, error, rtol=1e-3, kind="measured")


def check_merging_costs_no_accuracy() -> None:
    """A hundred merged log histograms answer as one that saw all values does; so do DDSketches.

    Source: both states of the same recorded run.
    """
    for number, run in enumerate(runs_of(read_record(RECORD)), 1):
        for name in ("log histogram", "DDSketch"):
            worst = run[name]["worst"]
            same = worst["errors"] == worst["merged_errors"]
            checks.holds(f"run {number}, {name}", same, kind="measured")


def check_ranks() -> None:
    """Ranks from KLL and t-digest are within two percent of all values.

    Source: the sorted values, in both recorded runs.
    """
    for number, run in enumerate(runs_of(read_record(RECORD)), 1):
        for name in ("t-digest in C", "t-digest in Rust", "KLL"):
            rank = max(cell["rank"] for cell in run[name]["worst"]["merged_errors"].values())
            checks.inside(f"run {number}, {name}: largest error", rank, 0.0, 0.02)
