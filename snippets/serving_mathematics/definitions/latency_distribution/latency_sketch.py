"""Percentiles of a fleet come from adding histograms; buckets of equal ratio keep a relative error.

Bucket k holds the latencies in (γ^(k−1), γ^k] with γ = (1+α)/(1−α), and answers 2γ^k/(γ+1), which
is within the share α of everything in it. Histograms of several replicas or minutes add, bucket by
bucket, and the sum is the histogram of all their latencies: nothing is lost by merging. Averages of
percentiles have no such meaning.

Assumes: positive latencies; the same α everywhere.

Source: Masson, Rim and Lee (2019), DDSketch, without its bound on the number of buckets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.definitions.latency_distribution.latency_distribution import (
    quantile_interval,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_positive,
    require_in,
    require_positive,
    widen_fields,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def bucket_ratio(relative_error: float) -> float:
    """Ratio γ = (1+α)/(1−α) of neighbouring bucket bounds for a relative error α.

    relative_error: α in (0, 1). Raises ValueError outside this range.

    >>> bucket_ratio(0.5)
    3.0
    """
    relative_error = require_in("(0, 1)", relative_error=relative_error)
    return (1 + relative_error) / (1 - relative_error)


def _log_ratio(relative_error: float) -> float:
    """ln γ, also where γ is hardly above 1."""
    if relative_error < 1e-3:
        return 2 * math.atanh(relative_error)
    return math.log(bucket_ratio(relative_error))


@dataclass(frozen=True)
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
    rank = probability * (int(summary.counts.sum()) - 1)
    key = int(summary.keys[np.searchsorted(np.cumsum(summary.counts), rank, side="right")])
    ratio = bucket_ratio(summary.relative_error)
    return 2 * ratio**key / (ratio + 1)


def bucket_count(shortest: float, longest: float, relative_error: float = 0.01) -> int:
    """Most buckets that latencies between two bounds can occupy, ⌈ln(longest/shortest)/ln γ⌉ + 1.

    shortest, longest: 0 < shortest ≤ longest, one unit. relative_error: α in (0, 1). Raises
    ValueError outside these ranges.

    >>> bucket_count(1.0, 80.0, relative_error=0.5)
    5
    """
    longest = as_number(longest=longest)
    shortest = require_positive(shortest=shortest)
    require(shortest <= longest < math.inf, "longest", f"finite and ≥ {shortest}", longest)
    relative_error = require_in("(0, 1)", relative_error=relative_error)
    spread = math.log(longest) - math.log(shortest)
    return math.ceil(spread / _log_ratio(relative_error)) + 1


def native_bucket(latencies: npt.ArrayLike, schema: int) -> npt.NDArray[np.int64]:
    """Buckets of a Prometheus native histogram: index i holds (γ^(i−1), γ^i] with γ = 2^(2^−n).

    latencies: shape (n,), positive, n ≥ 1, any unit. schema: n, an integer from −4 to 8. Raises
    ValueError outside these ranges. Source: Prometheus, native histograms, standard schemas.

    >>> native_bucket([1.0, 1.5, 2.0, 3.0, 4.0], schema=0).tolist()
    [0, 1, 1, 2, 2]
    """
    schema = as_number(schema=schema)
    x = as_floats(latencies=latencies)
    require(x.ndim == 1 and x.size > 0, "latencies", "non-empty (n,)", x.shape)
    require_all_positive(latencies=x)
    require(schema in range(-4, 9), "schema", "an integer from -4 to 8", schema)
    mantissa, exponent = np.frexp(x)  # so that powers of two stay exact
    places = np.ceil((np.log2(mantissa) + exponent) * 2.0**schema)
    return np.asarray(places, dtype=np.int64)


def native_relative_error(schema: int) -> float:
    """Largest relative error of a value told by its bucket's middle, (γ−1)/(γ+1).

    schema: n, an integer from −4 to 8, with γ = 2^(2^−n). The same α as that of a sketch with this
    γ. Raises ValueError outside this range.

    >>> native_relative_error(0)  # γ = 2
    0.3333333333333333
    """
    schema = as_number(schema=schema)
    require(schema in range(-4, 9), "schema", "an integer from -4 to 8", schema)
    ratio = 2.0**2.0**-schema
    return float((ratio - 1) / (ratio + 1))


REPLICA_MEANS_MS = (10.0,) * 9 + (
    100.0,
)  # [ms] nine healthy replicas and a slow one, equal traffic
_PER_REPLICA = 4000  # simulated requests


def _fleet_quantile(probability: float) -> float:
    """Quantile [ms] of the mixture of exponential latencies, by bisection."""
    means = np.array(REPLICA_MEANS_MS)
    low, high = 0.0, 5000.0
    for _ in range(60):
        middle = (low + high) / 2
        slower = float(np.exp(-middle / means).mean())
        low, high = (middle, high) if slower > 1 - probability else (low, middle)
    return high


def _average_quantile(probability: float) -> float:
    """Average [ms] of the replicas' quantiles, −m·ln(1−q) each."""
    return -float(np.mean(REPLICA_MEANS_MS)) * math.log1p(-probability)


def _replicas() -> list[npt.NDArray[np.float64]]:
    """Simulated latencies [ms] of each replica."""
    rng = np.random.default_rng(2019)
    return [rng.exponential(mean, _PER_REPLICA) for mean in REPLICA_MEANS_MS]


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    replicas = _replicas()
    merged = sketch(replicas[0])
    for latencies in replicas[1:]:
        merged = merge(merged, sketch(latencies))
    return SimpleNamespace(
        gamma_1_percent=bucket_ratio(0.01),
        buckets_to_an_hour=bucket_count(1e-3, 3600),
        native_3_error=100 * native_relative_error(3),
        native_3_gamma=2 ** (1 / 8),
        native_5_error=100 * native_relative_error(5),
        native_8_error=100 * native_relative_error(8),
        healthy_p99_ms=min(REPLICA_MEANS_MS) * math.log(100),
        slow_p99_ms=max(REPLICA_MEANS_MS) * math.log(100),
        fleet_p50_ms=_fleet_quantile(0.5),
        fleet_p99_ms=_fleet_quantile(0.99),
        average_p50_ms=_average_quantile(0.5),
        average_p99_ms=_average_quantile(0.99),
        merged_p99_ms=sketch_quantile(merged, 0.99),
        understated_factor=_fleet_quantile(0.99) / _average_quantile(0.99),
    )


def figure_averaged_percentiles(figure: Figure) -> None:
    """The average of ten replicas' percentiles is wrong everywhere: too high for the median, less
    than half of the p99.

    Nine replicas with exponential latencies of mean 10 ms and one of mean 100 ms, equal traffic.
    Points are ten sketches of 4000 simulated requests each, merged, with a relative error of 1%;
    bars are the 95% intervals that the ranks of all of them give.

    Alt: Latency against the share of slower requests, from one half down to one in a thousand, both
    axes logarithmic. The fleet's curve starts at 8 ms, below the average of the replicas' curves at
    13 ms, crosses it near p94 and is then far above: 230 against 88 ms at p99. Points of the merged
    sketch lie on the fleet's curve.
    """
    requests = np.concatenate(_replicas())
    merged = sketch(requests)
    axes = figure.subplots()
    slower = np.geomspace(0.5, 0.001, 60)
    axes.plot(slower, [_average_quantile(1 - p) for p in slower], color="C3")
    axes.plot(slower, [_fleet_quantile(1 - p) for p in slower], color="C0")
    points = np.array([0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002])
    ends = np.array([quantile_interval(requests, 1 - p) for p in points.tolist()])
    axes.vlines(points, *ends.T, color="C4", linewidth=1)
    found = [sketch_quantile(merged, 1 - p) for p in points.tolist()]
    axes.plot(points, found, "o", color="C0", ms=4)
    axes.annotate("fleet; points: merged sketches", (0.55, 260), color="C0")
    axes.annotate("average of percentiles", (0.004, 60), color="C3", ha="center")
    axes.set(xscale="log", yscale="log", xlim=(0.6, 0.0009))
    axes.set_xticks([0.5, 0.1, 0.01, 0.001], ["p50", "p90", "p99", "p99.9"])
    axes.set_yticks([10, 100], ["10", "100"])
    axes.set(xlabel="percentile", ylabel="latency [ms]")


def check_bucket_ratio() -> None:
    """At one percent neighbouring bounds differ by 2.02%.

    Source: 101/99, exact arithmetic.
    """
    checks.close("γ", bucket_ratio(0.01), 1.0202020, atol=5e-8)
    checks.close("γ", bucket_ratio(0.01), 101 / 99, rtol=1e-15)


def check_merging_loses_nothing() -> None:
    """Ten merged sketches are the sketch of all latencies, in any order.

    Source: the sketch of the concatenated latencies, bucket by bucket.
    """
    replicas = _replicas()
    whole = sketch(np.concatenate(replicas))
    for label, order in (("forwards", replicas), ("backwards", replicas[::-1])):
        merged = sketch(order[0])
        for latencies in order[1:]:
            merged = merge(merged, sketch(latencies))
        checks.holds(f"keys, {label}", np.array_equal(merged.keys, whole.keys))
        checks.holds(f"counts, {label}", np.array_equal(merged.counts, whole.counts))


def check_relative_error() -> None:
    """Every percentile of the sketch is within its relative error of the latency with that rank.

    Source: the sorted latencies, rank ⌊1 + q(n−1)⌋, at a thousand levels.
    """
    x = np.sort(np.concatenate(_replicas()))
    levels = np.linspace(0, 1, 1001)
    exact = x[np.floor(levels * (x.size - 1)).astype(int)]
    for error in (0.01, 0.1):
        summary = sketch(x, error)
        got = np.array([sketch_quantile(summary, q) for q in levels])
        worst = float(np.abs(got / exact - 1).max())
        checks.inside(f"worst error at {error:g}", worst, error / 2, error + 1e-12, kind="identity")
        checks.holds("buckets", summary.keys.size <= bucket_count(x[0], x[-1], error))


def check_averages_of_percentiles_are_wrong() -> None:
    """The average of ten p99s says 87.5 ms where the fleet's p99 is 230 ms, and the merged sketches
    agree with the fleet.

    Source: exponential quantiles, −m·ln 0.01; the mixture's survival at the root, exact;
    the merged p99 within its sampling error (1.96 → 3 standard errors) and the sketch's 1%.
    """
    fleet = _fleet_quantile(0.99)
    slower = 0.9 * math.exp(-fleet / 10) + 0.1 * math.exp(-fleet / 100)
    checks.close("share slower than the fleet's p99", slower, 0.01, atol=1e-12)
    # beyond 200 ms only the slow replica is left: 0.1·exp(−t/100) = 0.01
    checks.close("fleet p99 [ms]", fleet, 100 * math.log(10), atol=1e-3)
    average = (9 * 10 + 100) / 10 * math.log(100)
    checks.close("average of p99s [ms]", _average_quantile(0.99), average, rtol=1e-12)
    error = math.sqrt(0.01 * 0.99 / (10 * _PER_REPLICA)) / (0.01 / 100)
    merged = sketch_quantile(sketch(np.concatenate(_replicas())), 0.99)
    checks.close("merged p99 [ms]", merged, fleet, atol=3 * error, rtol=0.01, kind="simulation")


def check_native_histograms() -> None:
    """Native histograms of any two schemas add: the coarser one joins neighbouring buckets.

    Source: the specification's rule, (γ^(i−1), γ^i] with γ = 2^(2^−n), for 20,000 log-normal
    latencies and for bounds themselves, tried in exact powers; index ⌈i/2⌉ of the next schema.
    """
    rng = np.random.default_rng(41)
    latencies = np.r_[rng.lognormal(-3, 2, 20_000), 2.0 ** np.arange(-20, 20)]
    for schema in (0, 3, 5, 8):
        places = native_bucket(latencies, schema)
        ratio = 2.0**2.0**-schema
        inside = (latencies <= ratio**places * (1 + 1e-12)) & (
            latencies > ratio ** (places - 1.0) * (1 - 1e-12)
        )
        checks.holds(f"schema {schema}: inside its bucket", bool(np.all(inside)))
        coarser = native_bucket(latencies, schema - 1)
        checks.holds(f"schema {schema}, joined", bool(np.all(coarser == -(-places // 2))))
        middle = 2 * ratio**places / (ratio + 1)
        worst = float(np.abs(middle / latencies - 1).max())
        bound = native_relative_error(schema) * (1 + 1e-9)
        checks.inside(f"schema {schema}: worst error", worst, 0.0, bound, kind="identity")
    checks.close("error of schema 3 [%]", 100 * native_relative_error(3), 4.33, atol=5e-3)


def check_bad_input_is_refused() -> None:
    """Zero latencies, sketches of different errors and impossible probabilities are errors that
    name the argument."""
    checks.raises("zero", sketch, [0.0], match="latencies must be positive and finite")
    checks.raises("empty", sketch, [], match="latencies must be non-empty")
    checks.raises("error 1", bucket_ratio, 1.0, match="relative_error must be in (0, 1)")
    mixed = (sketch([1.0], 0.01), sketch([1.0], 0.02))
    checks.raises("mixed", merge, *mixed, match="other must be a sketch with error 0.01")
    checks.raises("q", sketch_quantile, mixed[0], 1.1, match="probability must be in [0, 1]")
    checks.raises("schema 9", native_bucket, [1.0], 9, match="schema must be an integer from -4")
    checks.raises("order", bucket_count, 2.0, 1.0, match="longest must be finite and ≥ 2.0")
