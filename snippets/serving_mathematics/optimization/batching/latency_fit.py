"""The straight line through measured batch times, how far to trust it, and what it predicts.

Least squares gives ℓ(b) = αb + β with the standard errors of both and R². The record is of an ONNX
model on one CPU thread; `serving_mathematics.core.classifiers.onnx_latency_measurement` made it.

Assumes: equal and independent scatter about the line for the standard errors; the times are medians
over rounds.

Source: measurement, records/onnx_batch_latency.json; ordinary least squares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.intervals import STUDENT_T_975
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_finite,
    require_shape,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORD = "onnx_batch_latency"


@dataclass(frozen=True)
class LineFit:
    """A fitted ℓ(b) = αb + β with the standard errors of both, in the unit of the times, and R²."""

    per_item: float
    fixed: float
    per_item_error: float
    fixed_error: float
    r_squared: float

    def at(self, batch: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The line at one or more batch sizes."""
        return self.per_item * as_floats(batch=batch) + self.fixed


def fit_line(batches: npt.ArrayLike, times: npt.ArrayLike) -> LineFit:
    """The least-squares line through batch times.

    batches: sizes, at least two different ones, shape (n,), n ≥ 3. times: of a batch, in any unit,
    shape (n,). Raises ValueError on other shapes or numbers that are not finite.

    >>> line = fit_line([1, 2, 3], [6.0, 9.0, 9.0])
    >>> line.per_item, line.fixed, line.r_squared
    (1.5, 5.0, 0.75)
    """
    sizes, values = as_floats(batches=batches), as_floats(times=times)
    require(sizes.ndim == 1 and sizes.size >= 3, "batches", "of shape (n,), n ≥ 3", sizes.shape)
    require(np.all(np.isfinite(sizes)) and np.ptp(sizes) > 0, "batches", "different", sizes)
    require_shape(sizes.shape, times=values)
    require_all_finite(times=values)
    centred = sizes - sizes.mean()
    spread = float(centred @ centred)
    slope = float(centred @ values) / spread
    fixed = float(values.mean() - slope * sizes.mean())
    residual = values - slope * sizes - fixed
    variance = float(residual @ residual) / (sizes.size - 2)
    total = float(np.square(values - values.mean()).sum())
    return LineFit(
        slope,
        fixed,
        math.sqrt(variance / spread),
        math.sqrt(variance * (1 / sizes.size + float(sizes.mean()) ** 2 / spread)),
        1 - float(residual @ residual) / total if total > 0 else 1.0,
    )


def _recorded() -> dict[str, Any]:
    record = read_record(RECORD)
    sizes = len(record["batches"])
    require(sizes == 12, "batches", "as many as STUDENT_T_975[10] is for, 12", sizes)
    return record


def _columns(record: dict[str, Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sizes, and quartiles with the median between them [ms], shape (3, n)."""
    rows = record["batches"]
    sizes = np.array([row["batch"] for row in rows], dtype=float)
    times = [(row["quartiles_ms"][0], row["median_ms"], row["quartiles_ms"][1]) for row in rows]
    return sizes, np.array(times, dtype=float).T


def example() -> SimpleNamespace:
    """Numbers quoted in the text, all from the record."""
    record = _recorded()
    sizes, times = _columns(record)
    line = fit_line(sizes, times[1])
    alone, largest = record["batcher"][0], record["batcher"][-1]
    return SimpleNamespace(
        fit_per_item_ms=line.per_item,
        fit_per_item_half_ms=STUDENT_T_975[10] * line.per_item_error,
        fit_fixed_ms=line.fixed,
        fit_fixed_half_ms=STUDENT_T_975[10] * line.fixed_error,
        fit_r_squared=line.r_squared,
        fit_single_ms=float(line.at(1)),
        measured_single_ms=float(times[1, 0]),
        batcher_single_per_s=alone["per_s"],
        batcher_largest=largest["largest"],
        batcher_largest_per_s=largest["per_s"],
        batcher_gain=largest["per_s"] / alone["per_s"],
        batcher_requests=sum(run["answered"] for run in record["batcher"]),
        measured_on=record["date"],
        measured_runtime=record["versions"]["onnxruntime"],
        measured_python=record["versions"]["python"],
        measured_system=f"{record['machine']['system']} {record['machine']['architecture']}",
    )


def figure_measured_batches(figure: Figure) -> None:
    """Batch times of a real model lie close to a line, and the batcher in front of it serves what
    the line promises, less the cost of its own Python.

    Left: medians of the rounds with quartiles, and the fitted line. Right: requests a second of 128
    callers who wait for their answers, against the largest batch; the curve is b over the fitted
    batch time.

    Alt: Two panels. Left, twelve batch times from 1 to 128 requests rise along a straight line, the
    smallest ones below it. Right, measured throughput of the batcher rises steeply with its largest
    batch from 1 to 64 along the curve that the line predicts, above it at first and somewhat below
    it later.
    """
    record = _recorded()
    sizes, (low, median, high) = _columns(record)
    line = fit_line(sizes, median)
    figure.set_size_inches(5.8, 3.3)
    left, right = figure.subplots(1, 2)
    ends = np.array([0, sizes.max() * 1.03])
    left.plot(ends, line.at(ends), color="C4")
    left.errorbar(sizes, median, (median - low, high - median), fmt="o", color="C0")
    left.set(xlim=(0, None), ylim=(0, None), xlabel="batch [requests]", ylabel="batch time [ms]")
    limits = np.array([run["largest"] for run in record["batcher"]], dtype=float)
    curve = np.linspace(1, limits.max() * 1.05, 120)
    right.plot(curve, 1000 * curve / line.at(curve), color="C4")
    right.plot(limits, [run["per_s"] for run in record["batcher"]], "o", color="C1")
    right.set(xlim=(0, None), ylim=(0, None))
    right.set(xlabel="largest batch [requests]", ylabel="throughput [1/s]")


def check_line_by_other_means() -> None:
    """The closed form gives the line of a general least-squares solver, and its standard errors
    those of repeated noise.

    Source: `numpy.polyfit`; 2,000 noisy copies of a line with a known scatter.
    """
    sizes, times = _columns(_recorded())
    line = fit_line(sizes, times[1])
    checks.close(
        "α, β [ms]", [line.per_item, line.fixed], np.polyfit(sizes, times[1], 1), rtol=1e-9
    )
    rng = np.random.default_rng(1)
    truth = 0.1 * sizes + 2
    fits = [fit_line(sizes, truth + rng.normal(0, 0.3, sizes.size)) for _ in range(2000)]
    slopes = np.array([fit.per_item for fit in fits])
    errors = np.array([fit.per_item_error for fit in fits])
    ratio = float(np.sqrt(np.mean(errors**2)) / slopes.std())
    checks.inside("claimed over seen error of α", ratio, 0.95, 1.05)
    covered = np.abs(slopes - 0.1) <= STUDENT_T_975[10] * errors
    checks.inside("95% intervals that hold α", float(covered.mean()), 0.935, 0.965)


def check_batcher_lost_nothing() -> None:
    """Every request of the measurement was accepted once and answered once, in batches no larger
    than asked.

    Source: counts of callers and batcher in the record, on any machine.
    """
    for run in _recorded()["batcher"]:
        label = f"largest {run['largest']}"
        checks.equal(f"{label}: answered", run["answered"], run["requests"], kind="measured")
        checks.equal(f"{label}: accepted", run["accepted"], run["requests"], kind="measured")
        mean = run["requests"] / run["batches"]
        checks.inside(f"{label}: mean batch", mean, 1.0, run["largest"], kind="measured")


def check_batching_pays() -> None:
    """On the machine of the record, a larger batch takes less time per request, and the batcher
    serves more with batches than without.

    Source: medians and throughput in the record.
    """
    record = _recorded()
    sizes, times = _columns(record)
    each = times[1] / sizes
    checks.holds(
        "time per request, 128 against 1", each[-1] < each[0], got=each[-1], kind="measured"
    )
    rates = [run["per_s"] for run in record["batcher"]]
    checks.holds("throughput", max(rates[1:]) > rates[0], got=max(rates), kind="measured")


def check_bad_input_is_refused() -> None:
    """Two points, equal sizes and missing times name the argument."""
    checks.raises("two points", fit_line, [1, 2], [1, 2], match="batches must be of shape")
    checks.raises("one size", fit_line, [2, 2, 2], [1, 2, 3], match="batches must be different")
    checks.raises("NaN", fit_line, [1, 2, 3], [1, math.nan, 3], match="times must be finite")
