"""What own runs are worth: errors of a deployment's other runs, before and after some calibrated.

Assumes: deployments of the future gain as those of the record do; five factors pulled towards 1, as
`own_runs` fits them.

Source: records/calibration_scores.json, made from aiconfigurator-core 0.12.0.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from serving_mathematics.core.hardware.calibration import KERNELS, tabulate
from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
from serving_mathematics.machine.predictions.calibration_scores import (
    FEW,
    LEAST_RUNS,
    SCORES,
    _errors_after,
    deployment_name,
    kept_error,
)
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def example() -> SimpleNamespace:
    """Numbers of the page, errors in percent."""
    rows = []
    for few in FEW:
        cells = [
            f"{100 * kept_error(few, method=method)['median']:.1f}%"
            for method in ("before", "one factor", "after")
        ]
        rows.append(f"| {few} | {' | '.join(cells)} |")
    scored = [row for row in read_record(SCORES)["deployments"] if row["half"] == "scored on"]
    key = "median error per token"
    return SimpleNamespace(
        own_rows="\n".join(rows),
        own_deployments=len(scored),
        own_before=100 * kept_error(3, method="before")["median"],
        own_after=100 * kept_error(3)["median"],
        own_low=100 * kept_error(3, method="low loads")["median"],
        own_worse=sum(row[key]["after"] > row[key]["before"] for row in scored),
        own_most=100 * max(row[key]["after"] for row in scored),
    )


def figure_calibrated(figure: Figure) -> None:
    """With three runs of a deployment, its others are predicted better in four of five cases.

    Each dot is a deployment of the record: the median error of the time per token of the runs that
    did not calibrate, before and after three others did. Filled dots are the half on which nothing
    was chosen.

    Alt: Scatter plot with logarithmic axes, from one to a hundred percent before and to three
    hundred after. Most dots lie below the diagonal, many by a factor of two and more; those that
    began above thirty percent all end lower, and some that began below ten percent end higher, one
    of them at 281.
    """
    axes = figure.subplots()
    for half, marker, colour in (("chosen on", "o", "C4"), ("scored on", "o", "C0")):
        rows = [row for row in read_record(SCORES)["deployments"] if row["half"] == half]
        before, after = (
            [100 * row["median error per token"][key] for row in rows]
            for key in ("before", "after")
        )
        face = "none" if half == "chosen on" else colour
        axes.plot(before, after, marker, color=colour, markerfacecolor=face, linestyle="none")
    ends = np.array([0.5, 200.0])
    axes.plot(ends, ends, color="C3", linewidth=1)
    axes.annotate("no better", (35, 48), color="C3", ha="right", va="bottom")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(1, 120),
        ylim=(0.5, 400),
        xlabel="median error before [%]",
        ylabel="median error after three runs [%]",
    )
    ticks = (1, 3, 10, 30, 100, 300)
    axes.set_xticks(ticks[:-1], [f"{tick}" for tick in ticks[:-1]])
    axes.set_yticks(ticks, [f"{tick}" for tick in ticks])
    axes.minorticks_off()


def check_loads_apart_are_worth_more_than_low_ones() -> None:
    """Three runs at the fewest, the middle and the most requests leave a lower error than the three
    at the lowest loads, in the median and in the mean; on both halves of the deployments.

    Source: the record.
    """
    rows = {
        (row["half"], row["method"]): row
        for row in read_record(SCORES)["all"]
        if row["few"] == 3 and row["time"] == "per_token_s"
    }
    for half in ("scored on", "chosen on"):
        apart, low = rows[half, "spread loads"], rows[half, "low loads"]
        for key in ("median", "mean"):
            label = f"{half}, {key}: apart over low"
            checks.inside(label, apart[key] / low[key], 0.0, 0.9, kind="measured")


def check_three_runs_help_without_a_fit() -> None:
    """From constants that were fitted to no run at all, three runs of a deployment of Llama-3.1-70B
    halve the median error of its others too; of the eight times smaller model they change it by
    less than a quarter.

    Source: every ninth of these deployments in the record of runs, and the constants that kernels
    alone give.
    """
    was, now = _without_a_fit("Llama-3.1-70B")
    checks.inside(f"median error after, {was:.3f} before", now, 0.0, was / 2, kind="measured")
    was, now = _without_a_fit("Llama-3.1-8B-Instruct")
    label = f"Llama-3.1-8B: median error after, {was:.3f} before"
    checks.inside(label, now, 0.75 * was, 1.25 * was, kind="measured")


def _without_a_fit(model: str) -> tuple[float, float]:
    """Median errors of the time per token, before and after three runs."""
    runs = read_runs(line for line in read_lines() if line["model"].endswith(model))
    table = tabulate([run for run in runs if run.kind == "engine"])
    names = np.array([deployment_name(run) for run in table.runs])
    rng, before, after = np.random.default_rng(1), [np.empty(0)], [np.empty(0)]
    every = [name for name in dict.fromkeys(names.tolist()) if sum(names == name) >= LEAST_RUNS]
    for name in every[::9]:
        part = table.rows(names == name)
        drawn = rng.permutation(len(part.runs))
        times = part.first_token_s, part.per_token_s
        told = _errors_after(part.engines, *times, KERNELS, drawn, 3)["per_token_s"]
        before.append(np.abs(told["before"] - 1))
        after.append(np.abs(told["after"] - 1))
    was, now = (float(np.median(np.concatenate(parts))) for parts in (before, after))
    return was, now
