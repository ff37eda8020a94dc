"""Kernels alone: a step from kernel measurements, fitted to no run, beside one efficiency for all.

The usual estimate divides bytes and operations by a data sheet's numbers and by one efficiency. A
step that adds kernels, each a floor and the longer of reading and multiplying, is held against it
on the same runs, where it was fitted to none of them and the efficiency to all other models.

Assumes: what `step_time` and `benchmark_loops` assume.

Source: `records/machine_runs.json.gz` and `records/machine_scores.json`, made from
aiconfigurator-core 0.12.0; Williams, Waterman and Patterson (2009).
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from serving_mathematics.core.hardware.calibration import (
    KERNELS,
    Table,
    groupings,
    predict_runs,
    tabulate,
)
from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
from serving_mathematics.core.hardware.step_terms import DATA_SHEET
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import read_record

Array = NDArray[np.float64]


@cache
def _record() -> tuple[Table, Array]:
    """All aggregated runs, and times per token that kernels alone predict, [s]."""
    table = tabulate(read_runs(line for line in read_lines() if line["mode"] == "agg"))
    return table, predict_runs(table, KERNELS).per_token_s


@cache
def _one_efficiency() -> tuple[float, float, float]:
    """Median error of bytes and operations over a data sheet's numbers with one efficiency, which
    is fitted without the model of a run; and the efficiency that dense models and mixtures need."""
    table, _ = _record()
    slower = table.per_token_s / predict_runs(table, DATA_SHEET).per_token_s
    models = np.array([run.family for run in table.runs])
    sparse = np.array([run.answers.architecture.routed_parameters > 0 for run in table.runs])
    off = [
        np.abs(np.median(slower[models != name]) / slower[models == name] - 1)
        for name in dict.fromkeys(models.tolist())
    ]
    dense, mixed = (1 / np.median(slower[kind]) for kind in (~sparse, sparse))
    return float(np.median(np.concatenate(off))), float(dense), float(mixed)


def example() -> SimpleNamespace:
    """The number of the page, in percent."""
    return SimpleNamespace(simple_median=100 * _one_efficiency()[0])


def figure_kernels_alone(figure: Figure) -> None:
    """Times per token of all runs without separate fleets, predicted from kernels alone.

    No constant was fitted to any of these runs. On the dotted lines, predictions are off by a
    factor of two.

    Alt: Scatter plot with logarithmic axes of predicted against measured time per token, from two
    to five hundred milliseconds. Points of Hopper and Blackwell devices lie along the diagonal,
    nearly all between dotted lines at half and twice the measured time; a few strays lie beyond.
    """
    table, predicted = _record()
    figure.set_dpi(64)  # of the points, each a pixel: thousands of them stay a small picture
    axes = figure.subplots()
    generation = np.array([run.answers.system.generation for run in table.runs])
    for name, colour, place in (("hopper", "C0", (0.05, 0.92)), ("blackwell", "C1", (0.05, 0.85))):
        index = generation == name
        axes.plot(
            1e3 * table.per_token_s[index],
            1e3 * predicted[index],
            ",",
            color=colour,
            rasterized=True,
        )
        label = f"{name.capitalize()}, {int(index.sum()):,} runs"
        axes.annotate(label, place, xycoords="axes fraction", color=colour)
    ends = np.array([2.0, 600.0])
    axes.plot(ends, ends, color="C4", linewidth=1)
    for factor in (0.5, 2.0):
        axes.plot(ends, factor * ends, color="C4", linewidth=1, linestyle=":")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(1.5, 600),
        ylim=(1.5, 600),
        xticks=[2, 5, 10, 20, 50, 100, 200, 500],
        yticks=[2, 5, 10, 20, 50, 100, 200, 500],
        xlabel="measured time per token [ms]",
        ylabel="predicted time per token [ms]",
    )
    axes.minorticks_off()


def check_kernels_beat_one_efficiency() -> None:
    """With kernels alone, fitted to no run, the median error is at most six tenths of that with one
    efficiency, though the latter is fitted to the runs of all other models. Mixtures need an
    efficiency of 70% to 85% of that of dense models.

    Source: the published runs; both count the same bytes, operations and prompts of the same loop.
    """
    table, predicted = _record()
    error = float(np.median(np.abs(predicted / table.per_token_s - 1)))
    simple, dense, mixed = _one_efficiency()
    checks.inside("kernels over one efficiency", error / simple, 0.0, 0.6)
    checks.inside("efficiency, mixtures over dense", mixed / dense, 0.7, 0.85)


def check_scores_are_those_of_the_shown_code() -> None:
    """The functions on this page, applied to every run again, give the errors that the record
    states.

    Source: the record of scores, for constants from kernels alone.
    """
    table, predicted = _record()
    told = read_record("machine_scores")["aggregated"]["constants from kernels alone"]
    error = np.abs(predicted / table.per_token_s - 1)
    expected = told["per token"]["all"]
    for label, got in (("median", np.median(error)), ("mean", np.mean(error))):
        checks.close(label, float(got), expected[label], atol=2e-4, kind="measured")
    by_model = np.array(groupings(table)["model"])
    for model in ("GLM-5", "gpt-oss-120b"):
        got = float(np.median(error[by_model == model]))
        checks.close(
            model, got, told["per token"]["model"][model]["median"], atol=2e-4, kind="measured"
        )
