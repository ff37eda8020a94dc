"""A request that waits for n servers sees their worst, so a rare slow answer becomes the common
case.

One call is slow with probability p; of n independent calls at least one is slow with probability 1
− (1−p)^n. The slowest of n has distribution F^n, so its q-quantile is the q^(1/n)-quantile of one
call, and for exponential times its mean is the harmonic number H_n. When the n calls queue, they
share their arrivals and are no longer independent: two M/M/1 queues fed together answer after R_2 =
(12 − ρ)/8 · R_1 on average, R_1 = 1/(1 − ρ), and n of them after Nelson and Tantawi's interpolation
between H_n at ρ = 0 and heavy traffic.

Assumes: calls of one request start together and are all needed; independent calls, except in the
fork–join functions, which assume Poisson arrivals, exponential service with mean 1 and first come
first served at every server.

Source: Dean and Barroso (2013) for the fan-out; Flatto and Hahn (1984) and Nelson and Tantawi
(1988) for the fork–join means, as the LINE solver documents them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import (
    MeanEstimate,
    batch_means,
    fifo_waits,
    warm_up_length,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_non_negative,
    require_in,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEN_LATENCIES_MS = (42, 45, 47, 50, 52, 55, 61, 75, 110, 180)  # [ms] ten requests of one endpoint


@dataclass(frozen=True)
class TailSummary:
    """Mean, median and 95th percentile in the unit of the sample, and the share of requests faster
    than the mean.
    """

    mean: float
    median: float
    p95: float
    share_below_mean: float


def tail_summary(latencies: npt.ArrayLike) -> TailSummary:
    """Mean, percentiles (linear interpolation between order statistics) and the share of requests
    below the mean.

    latencies: shape (n,), one non-negative time each, n ≥ 1. Raises ValueError on an empty,
    negative or non-finite sample.

    >>> tail_summary([1.0, 1.0, 1.0, 9.0])
    TailSummary(mean=3.0, median=1.0, p95=7.8, share_below_mean=0.75)
    """
    values = as_floats(latencies=latencies)
    require(values.ndim == 1 and values.size > 0, "latencies", "non-empty (n,)", values.shape)
    require_all_non_negative(latencies=values)
    median, p95 = (round(float(q), 12) for q in np.quantile(values, [0.5, 0.95]))
    mean = float(values.mean())
    return TailSummary(mean, median, p95, float((values < mean).mean()))


def fan_out_slow_share(slow_probability: float, fan_out: int) -> float:
    """Share of requests with at least one slow call among n, 1 − (1−p)^n, also when p is tiny.

    slow_probability: p in [0, 1] of one call. fan_out: n ≥ 1 independent calls. Raises ValueError
    outside these ranges. Source: Dean and Barroso (2013).

    >>> fan_out_slow_share(slow_probability=0.5, fan_out=3)
    0.875
    """
    slow_probability = require_in("[0, 1]", slow_probability=slow_probability)
    fan_out = require_positive_integer(fan_out=fan_out)
    if slow_probability == 1:
        return 1.0
    return -math.expm1(fan_out * math.log1p(-slow_probability))


def leaf_level(probability: float, fan_out: int) -> float:
    """Level of one call's distribution at which the slowest of n has its q-quantile, q^(1/n).

    probability: q in (0, 1), for example 0.99 for the p99 of the whole request. fan_out: n ≥ 1
    independent calls. Raises ValueError outside these ranges. With a quantile function: Q_max(q) =
    Q(leaf_level(q, n)).

    >>> round(leaf_level(probability=0.25, fan_out=2), 12)
    0.5
    """
    probability = require_in("(0, 1)", probability=probability)
    fan_out = require_positive_integer(fan_out=fan_out)
    return math.exp(math.log(probability) / fan_out)


def mean_of_slowest(fan_out: int) -> float:
    """Mean of the largest of n independent exponential times of mean 1, the harmonic number H_n = 1
    + 1/2 + … + 1/n.

    fan_out: n ≥ 1. Raises ValueError otherwise. The gap from the (k−1)-th to the k-th answer is
    exponential with mean 1/(n−k+1), because that many calls still run.

    >>> round(mean_of_slowest(fan_out=3), 12)
    1.833333333333
    """
    fan_out = require_positive_integer(fan_out=fan_out)
    fan_out = require_in("[1, 1e7]", fan_out=fan_out)
    return math.fsum(1 / k for k in range(1, int(fan_out) + 1))


def fork_join_mean(fan_out: int, utilization: float) -> float:
    """Mean time until all n queues have answered a request sent to all of them, in mean service
    times.

    fan_out: n from 1 to 32; exact for 1 and 2, an approximation above. utilization: ρ in [0, 1) of
    each server. Returns [H_n/H_2 + (1 − H_n/H_2)·4ρ/11]·(12−ρ)/8/(1−ρ), and 1/(1−ρ) for one queue.
    Raises ValueError outside these ranges: its authors compared it with simulation up to n = 32.

    >>> fork_join_mean(fan_out=2, utilization=0.5)
    2.875
    """
    fan_out = as_number(fan_out=fan_out)
    require(
        fan_out % 1 == 0 and 1 <= fan_out <= 32,
        "fan_out",
        "an integer from 1 to 32",
        fan_out,
    )
    utilization = require_in("[0, 1)", utilization=utilization)
    single = 1 / (1 - utilization)
    if fan_out == 1:
        return single
    growth = mean_of_slowest(fan_out) / 1.5
    return (growth + (1 - growth) * 4 * utilization / 11) * (12 - utilization) / 8 * single


def simulate_fork_join(
    rng: np.random.Generator, fan_out: int, utilization: float, requests: int = 100_000
) -> MeanEstimate:
    """Simulated mean of the same time: n first-come-first-served queues, one Poisson stream,
    exponential service of mean 1.

    fan_out: n ≥ 1 queues. utilization: ρ in (0, 1). requests: length of the run, warm-up included,
    at least 1000. Returns the mean in mean service times with its batch-means interval. Raises
    ValueError outside these ranges.
    """
    requests = as_number(requests=requests)
    fan_out = require_positive_integer(fan_out=fan_out)
    utilization = require_in("(0, 1)", utilization=utilization)
    require(
        requests % 1 == 0 and requests >= 1000,
        "requests",
        "an integer of at least 1000",
        requests,
    )
    require_work(fan_out * requests, fan_out=fan_out, requests=requests)
    arrivals = np.cumsum(rng.exponential(1 / utilization, requests))
    slowest = np.zeros(requests)
    for _ in range(int(fan_out)):
        services = rng.exponential(1.0, requests)
        slowest = np.maximum(slowest, fifo_waits(arrivals, services) + services)
    return batch_means(slowest[warm_up_length(slowest) :])


def example() -> SimpleNamespace:
    """The numbers quoted in the text on fan-out."""
    sample = tail_summary(TEN_LATENCIES_MS)
    return SimpleNamespace(
        sample_mean_ms=sample.mean,
        sample_p50_ms=sample.median,
        sample_p95_ms=sample.p95,
        below_mean_percent=100 * sample.share_below_mean,
        ten_sample_slowest_percent=100 * fan_out_slow_share(0.1, 10),
        slow_of_100_percent=100 * fan_out_slow_share(0.01, 100),
        slow_of_2000_percent=100 * fan_out_slow_share(1e-4, 2000),
        leaf_percent_for_p99_of_100=100 * leaf_level(0.99, 100),
        median_leaf_percent=100 * leaf_level(0.5, 100),
        slowest_of_100=mean_of_slowest(100),
        median_of_100=-math.log1p(-leaf_level(0.5, 100)),
        p99_of_one=math.log(100),
        p99_of_100=-math.log1p(-leaf_level(0.99, 100)),
        two_queues=fork_join_mean(2, 0.8),
        two_independent=1.5 / 0.2,
        ten_queues=fork_join_mean(10, 0.8),
        ten_independent=mean_of_slowest(10) / 0.2,
    )


def figure_fan_out(figure: Figure) -> None:
    """What happens once in a hundred calls happens to most requests that make a hundred calls.

    The share of slow requests against the number of calls they wait for; the dots are the two cases
    of the text.

    Alt: Line chart with a logarithmic horizontal axis from 1 to 2000 calls. Four S-shaped curves,
    for slow probabilities of 5, 1, 0.1 and 0.01 percent, each shifted to the right of the one
    before. Dots mark 63 percent at 100 calls on the 1 percent curve and 18 percent at 2000 calls on
    the 0.01 percent curve.
    """
    axes = figure.subplots()
    calls = np.unique(np.geomspace(1, 2000, 160).round().astype(int))
    for probability, colour, x in (
        (0.05, "C3", 9),
        (0.01, "C1", 45),
        (0.001, "C0", 430),
        (1e-4, "C2", 1500),
    ):
        share = np.array([100 * fan_out_slow_share(probability, int(n)) for n in calls])
        axes.semilogx(calls, share, color=colour)
        y = 100 * fan_out_slow_share(probability, x)
        axes.annotate(
            f"p = {100 * probability:g}%",
            (x, y),
            xytext=(-7, 5),
            textcoords="offset points",
            color=colour,
            ha="right",
        )
    for probability, n in ((0.01, 100), (1e-4, 2000)):
        axes.plot(n, 100 * fan_out_slow_share(probability, n), "o", color="C5", clip_on=False)
    axes.set(
        xlim=(1, 2000),
        ylim=(0, 100),
        xlabel="calls that a request waits for [count]",
        ylabel="requests with a slow call [%]",
    )
    axes.minorticks_off()


def check_ten_latencies() -> None:
    """The mean of ten latencies lies 18 ms above their median, and seven of the ten are faster than
    it.

    Source: order statistics by hand: (52 + 55)/2, 110 + 0.55·70, and the sum 717.
    """
    sample = tail_summary(TEN_LATENCIES_MS)
    checks.close("p50 [ms]", sample.median, 53.5, atol=1e-9)
    checks.close("p95 [ms]", sample.p95, 148.5, atol=1e-9)
    checks.close("mean [ms]", sample.mean, 71.7, atol=1e-9)
    checks.close("mean − p50 [ms]", sample.mean - sample.median, 18.2, atol=1e-9)
    checks.close("share faster than the mean", sample.share_below_mean, 0.7, atol=1e-12)


def check_fan_out() -> None:
    """One slow call in a hundred makes 63% of 100-call requests slow, one in ten thousand 18% of
    2000-call requests.

    Source: Dean and Barroso (2013) print 63% and “almost one in five”; digits from exact fractions.
    """
    exact = float(1 - Fraction(99, 100) ** 100)
    checks.close("1 − 0.99^100", fan_out_slow_share(0.01, 100), 0.6339676587, atol=5e-11)
    checks.close("the same in exact fractions", fan_out_slow_share(0.01, 100), exact, rtol=1e-14)
    checks.close("1 − 0.9999^2000", fan_out_slow_share(1e-4, 2000), 0.1812774, atol=5e-8)
    checks.close("printed", fan_out_slow_share(0.01, 100), 0.63, atol=0.005, kind="published")


def check_slowest_of_many() -> None:
    """The slowest of 100 exponential calls takes 5.19 times the mean of one, and its median is one
    call's 99.3% point.

    Source: H_100; maxima of 100 drawn times, 20,000 requests.
    """
    rng = np.random.default_rng(7)
    checks.close("H_100", mean_of_slowest(100), 5.18737752, atol=5e-9)
    slowest = rng.exponential(1.0, (20_000, 100)).max(axis=1)
    checks.covers("mean of the slowest, drawn", batch_means(slowest), mean_of_slowest(100))
    for probability in (0.5, 0.99):
        quantile = -math.log1p(-leaf_level(probability, 100))
        below = batch_means((slowest <= quantile).astype(float))
        checks.covers(f"drawn share below the {probability} quantile", below, probability)


def check_two_queues_are_exact() -> None:
    """Two queues at ρ = 0.8 that share arrivals answer together after 7.0 service times, not after
    7.5.

    Source: (12 − ρ)/8/(1 − ρ) of Flatto and Hahn (1984), stated as exact by Nelson and Tantawi
    (1988); simulation of 700,000 requests; 1.5/(1 − ρ) for independent queues.
    """
    checks.close("R_2(0.8)", fork_join_mean(2, 0.8), 7.0, rtol=1e-12, kind="published")
    run = simulate_fork_join(np.random.default_rng(11), 2, 0.8, 700_000)
    checks.covers("simulated", run, 7.0)
    checks.holds(
        "its 95% interval excludes independence",
        run.mean + run.half_width < 7.5,
        got=f"{run.mean:.3f} ± {run.half_width:.3f}",
        kind="simulation",
    )


def check_many_queues_within_five_percent() -> None:
    """The approximation for more queues stays within 5% of simulation up to 32 queues, and is H_n
    when idle.

    Source: Nelson and Tantawi (1988) state a relative error below 5% for n ≤ 32.
    """
    rng = np.random.default_rng(12)
    for fan_out, utilization in ((32, 0.5), (8, 0.8)):
        run = simulate_fork_join(rng, fan_out, utilization, 84_000)
        slack = 3 * run.standard_error / run.mean
        checks.close(
            f"n = {fan_out}, ρ = {utilization}: over simulated",
            fork_join_mean(fan_out, utilization) / run.mean,
            1.0,
            atol=0.05 + slack,
            kind="published",
        )
    idle = [fork_join_mean(n, 0.0) for n in range(2, 33)]
    checks.close("ρ = 0", idle, [mean_of_slowest(n) for n in range(2, 33)], rtol=1e-14)


def check_bad_input_is_refused() -> None:
    """Probabilities outside [0, 1], fractional fan-out, saturated queues and empty samples are
    errors.
    """
    checks.raises(
        "NaN probability", fan_out_slow_share, math.nan, 3, match="slow_probability must be in"
    )
    checks.raises(
        "half a call", fan_out_slow_share, 0.1, 2.5, match="fan_out must be a positive integer"
    )
    checks.raises("q = 1", leaf_level, 1.0, 3, match="probability must be in (0, 1), got 1.0")
    checks.raises("33 queues", fork_join_mean, 33, 0.5, match="fan_out must be an integer from 1")
    checks.raises("ρ = 1", fork_join_mean, 2, 1.0, match="utilization must be in [0, 1), got 1.0")
    checks.raises("no latencies", tail_summary, [], match="latencies must be non-empty")
