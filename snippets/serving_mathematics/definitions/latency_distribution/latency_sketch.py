"""Percentiles of a fleet come from adding histograms; buckets of equal ratio keep a relative error.

Bucket k holds the latencies in (γ^(k−1), γ^k] with γ = (1+α)/(1−α), and answers 2γ^k/(γ+1), which
is within the share α of everything in it. Histograms of several replicas or minutes add, bucket by
bucket, and the sum is the histogram of all their latencies: nothing is lost by merging. Averages of
percentiles have no such meaning.

Assumes: positive latencies; the same α everywhere.

Source: Masson, Rim and Lee (2019), DDSketch, without its bound on the number of buckets.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_positive,
    require_in,
    widen_fields,
)

FloatArray = npt.NDArray[np.float64]


def _bucket_ratio(relative_error: float) -> float:
    """Ratio γ = (1+α)/(1−α) of neighbouring bucket bounds for a relative error α."""
    return (1 + relative_error) / (1 - relative_error)


def _log_ratio(relative_error: float) -> float:
    """ln γ, also where γ is hardly above 1."""
    if relative_error < 1e-3:
        return 2 * math.atanh(relative_error)
    return math.log(_bucket_ratio(relative_error))


@dataclass(frozen=True, eq=False)
class LatencySketch:
    """Log histogram: relative error α, keys of the buckets in use (rising, shape (m,)) and how many
    latencies each holds. Raises ValueError on anything else."""

    relative_error: float
    keys: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuse what no sketch looks like."""
        widen_fields(self)
        require_in("(0, 1)", relative_error=self.relative_error)
        keys, counts = np.asarray(self.keys), np.asarray(self.counts)
        rising = keys.ndim == 1 and keys.size > 0 and bool(np.all(np.diff(keys) > 0))
        require(rising and keys.dtype.kind == "i", "keys", "rising integers", self.keys)
        held = counts.shape == keys.shape and counts.dtype.kind == "i" and bool(np.all(counts > 0))
        require(held, "counts", f"positive integers of shape {keys.shape}", self.counts)
        object.__setattr__(self, "keys", keys.astype(np.int64))  # of its own
        object.__setattr__(self, "counts", counts.astype(np.int64))


def sketch(latencies: npt.ArrayLike, relative_error: float = 0.01) -> LatencySketch:
    """Log histogram of latencies: the key of a latency x is ⌈log x / log γ⌉.

    latencies: shape (n,), positive, n ≥ 1, any unit. relative_error: α in [10⁻¹⁵, 1). Raises
    ValueError outside these ranges.

    >>> sketch([1.0, 2.0, 3.0, 10.0], relative_error=0.5).keys.tolist()
    [0, 1, 3]
    """
    x = as_floats(latencies=latencies)
    require(x.ndim == 1 and x.size > 0, "latencies", "non-empty (n,)", x.shape)
    require_all_positive(latencies=x)
    relative_error = require_in("(0, 1)", relative_error=relative_error)
    require(relative_error >= 1e-15, "relative_error", "at least 1e-15", relative_error)
    log_ratio = _log_ratio(relative_error)
    keys = np.ceil(np.log(x) / log_ratio).astype(np.int64)
    lowest = keys.min()
    if keys.max() - lowest < x.size:  # then to count in place takes less than to sort
        counts = np.bincount((keys - lowest).astype(np.intp))
        used = np.flatnonzero(counts)
        return LatencySketch(relative_error, used + lowest, counts[used])
    return LatencySketch(relative_error, *np.unique(keys, return_counts=True))


def merge(one: LatencySketch, other: LatencySketch) -> LatencySketch:
    """Sketch of the latencies of both, as if one sketch had seen them all.

    one, other: of the same relative error. Raises ValueError when they differ.

    >>> one = LatencySketch(0.5, keys=np.array([0, 1]), counts=np.array([1, 4]))
    >>> other = LatencySketch(0.5, keys=np.array([1, 3]), counts=np.array([2, 5]))
    >>> merge(one, other).counts.tolist()
    [1, 6, 5]
    """
    same = one.relative_error == other.relative_error
    require(same, "other", f"a sketch with error {one.relative_error}", other.relative_error)
    keys, place = np.unique(np.concatenate([one.keys, other.keys]), return_inverse=True)
    counts = np.zeros(keys.size, dtype=np.int64)
    np.add.at(counts, place, np.concatenate([one.counts, other.counts]))
    return LatencySketch(one.relative_error, keys, counts)


def sketch_quantile(summary: LatencySketch, probability: float) -> float:
    """The q-quantile of the sketched latencies, within the relative error, in their unit.

    summary: a sketch. probability: q in [0, 1]. Answers 2γ^k/(γ+1) for the bucket of the latency of
    rank ⌊1 + q(n−1)⌋. Raises ValueError on a probability outside the range.

    >>> summary = LatencySketch(0.5, keys=np.array([0, 3]), counts=np.array([3, 1]))
    >>> sketch_quantile(summary, 0.5), sketch_quantile(summary, 1.0)
    (0.5, 13.5)
    """
    probability = require_in("[0, 1]", probability=probability)
    rank = round(probability * (int(summary.counts.sum()) - 1), 9)  # 29 of 0.29·100
    key = int(summary.keys[np.searchsorted(np.cumsum(summary.counts), rank, side="right")])
    ratio = _bucket_ratio(summary.relative_error)
    return 2 * ratio**key / (ratio + 1)


def _native_error(schema: int) -> float:
    """Relative error of a native histogram of Prometheus, whose γ is 2^(2^−n) for the schema n."""
    ratio = 2.0**2.0**-schema
    return float((ratio - 1) / (ratio + 1))


REPLICAS, HOT, COOL = 8, 0.95, 0.7  # of chat machines; load of the hot one, and of the others
_PER_REPLICA = 4000  # requests of each


@functools.cache
def _replicas(hot: float, cool: float) -> tuple[FloatArray, ...]:
    """First tokens [s] of each replica, the hot one first, as often as each is asked."""
    found = []
    for number in range(REPLICAS):
        load = cool if number else hot
        requests = round(_PER_REPLICA * load)
        rate, rng = load * CHAT.ceiling_per_s, np.random.default_rng([20, number])
        found.append(run_engine(CHAT, rate, requests + 500, rng).ttft_s[500:])
    return tuple(found)


def _average(replicas: Sequence[FloatArray], probability: float) -> float:
    """Average of the replicas' quantiles [s]."""
    return float(np.mean([np.quantile(each, probability) for each in replicas]))


def _merged(replicas: Sequence[FloatArray]) -> LatencySketch:
    """Their sketches, merged."""
    return functools.reduce(merge, [sketch(each) for each in replicas])


def example() -> SimpleNamespace:
    """The numbers quoted in the text; times in milliseconds."""
    replicas = _replicas(HOT, COOL)
    return SimpleNamespace(
        native_3_error=100 * _native_error(3),
        hot_percent=100 * HOT,
        cool_percent=100 * COOL,
        average_p99_ms=1000 * _average(replicas, 0.99),
        fleet_p99_ms=1000 * float(np.quantile(np.concatenate(replicas), 0.99)),
        merged_p99_ms=1000 * sketch_quantile(_merged(replicas), 0.99),
    )


def figure_averaged_percentiles(figure: Figure) -> None:
    """The average of the replicas' percentiles hides the hot replica, and merged histograms do not.

    First tokens of eight simulated chat machines, one of which gets more load than the others, in
    one draw. Points are their histograms, merged, with a relative error of a hundredth.

    Alt: First token against the percentile, from p50 to p99.9. Two curves agree up to about p90;
    from there the fleet's curve rises above that of the averages. Points lie on the fleet's curve.
    """
    axes = figure.subplots()
    figure.set_size_inches(5.8, 2.9)
    replicas = _replicas(HOT, COOL)
    everyone, merged = np.concatenate(replicas), _merged(replicas)
    slower = np.geomspace(0.5, 0.001, 60)
    axes.plot(slower, [1000 * _average(replicas, 1 - p) for p in slower.tolist()], color="C3")
    axes.plot(slower, 1000 * np.quantile(everyone, 1 - slower), color="C0")
    points = [0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002]
    axes.plot(points, [1000 * sketch_quantile(merged, 1 - p) for p in points], "o", ms=4)
    axes.annotate("fleet; points: merged", (0.03, 640), color="C0", ha="right")
    axes.annotate("average of percentiles", (0.004, 300), color="C3", ha="center")
    axes.set(xscale="log", yscale="log", xlim=(0.6, 0.0009))
    axes.set_xticks([0.5, 0.1, 0.01, 0.001], ["p50", "p90", "p99", "p99.9"])
    axes.set_yticks([100, 200, 500, 1000], ["100", "200", "500", "1,000"])
    axes.set(xlabel="percentile", ylabel="first token [ms]")
    axes.minorticks_off()


def check_relative_error() -> None:
    """Every percentile of the sketch is within its relative error of the latency with that rank.

    Source: the sorted latencies, rank ⌊1 + q(n−1)⌋, at a thousand levels.
    """
    x = np.sort(np.concatenate(_replicas(HOT, COOL)))
    levels = np.linspace(0, 1, 1001)
    exact = x[np.floor(levels * (x.size - 1)).astype(int)]
    for error in (0.01, 0.1):
        summary = sketch(x, error)
        got = np.array([sketch_quantile(summary, q) for q in levels])
        worst = float(np.abs(got / exact - 1).max())
        checks.inside(f"worst error at {error:g}", worst, error / 2, error + 1e-12, kind="identity")


def check_averages_of_percentiles_are_wrong() -> None:
    """With a hot replica, the average of the p99s is below the fleet's p99, at other loads too, and
    merged sketches give the fleet's; most slow requests are the hot replica's. With equal replicas
    the average is right to within a twentieth.

    Source: the requests of all replicas.
    """
    for hot, cool in ((HOT, COOL), (0.9, 0.5)):
        replicas = _replicas(hot, cool)
        fleet = float(np.quantile(np.concatenate(replicas), 0.99))
        share = _average(replicas, 0.99) / fleet
        checks.inside(f"{hot} and {cool}: average over fleet", share, 0, 0.8)
        merged = sketch_quantile(_merged(replicas), 0.99)
        checks.close(f"{hot} and {cool}: merged [s]", merged, fleet, rtol=0.02, kind="simulation")
        slow = [float((each > fleet).sum()) for each in replicas]
        checks.inside(f"{hot} and {cool}: of the hot one", slow[0] / sum(slow), 0.5, 1)
    even = _replicas(COOL, COOL)
    fleet = float(np.quantile(np.concatenate(even), 0.99))
    checks.close("equal replicas [s]", _average(even, 0.99), fleet, rtol=0.05, kind="simulation")


def check_native_error() -> None:
    """A native histogram with eight buckets per doubling is right to within a twenty-third.

    Source: (γ − 1)/(γ + 1) with γ = 2^(1/8), by hand; the sketch of that error has the same ratio.
    """
    checks.close("error of schema 3 [%]", 100 * _native_error(3), 4.33, atol=5e-3)
    checks.close("ratio", _bucket_ratio(_native_error(3)), 2 ** (1 / 8), rtol=1e-12)
