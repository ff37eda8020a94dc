"""One word, several numbers: what each reading of a term in common use gives for the same thing.

TPOT is the mean over requests of each one's mean gap, ITL is every gap: Σ_r (g̅_r)/R against
Σ_r Σ_i g_ri/Σ_r n_r. A
gamma gap of shape k has C_a² = 1/k, one of coefficient of variation c has c², one of dispersion I
has I, and one of Goh and Barabási's B has ((1+B)/(1−B))². A quantile of buckets is interpolated
within the bucket that holds its rank. MFU is 2NX/π. Goodput counts answers in time at a given load,
or is the highest load at which a share of them is in time: for an exponential response of rate
μ − λ, λ(1 − e^{−(μ−λ)τ}) and μ − ln(1/(1−q))/τ. Availability is a share of requests or of slices of
time.

Assumes: what the chapters assume whose functions are called for the worked numbers.

Source: vLLM, benchmarks/serve.py, for TPOT, ITL and burstiness; AIPerf, Arrival patterns; Goh and
Barabási (2008) for B; Prometheus, histogram_quantile; Chowdhery et al. (2022) for MFU; AIPerf and
Zhong et al. (2024) for goodput; Grafana for both availabilities.
"""

# In one piece: a page of pairs that have nothing in common but the page: a function of some lines
# for each, its numbers and its check.

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Literal

import numpy as np
import numpy.typing as npt

from serving_mathematics.architecture.streaming.streaming import end_to_end_s, tpot_conventions
from serving_mathematics.capacity.overload_control.overload_control import fifo_goodput
from serving_mathematics.core.hardware.roofline import (
    CONTEXT,
    H100_BANDWIDTH,
    H100_PEAK,
    LLAMA_7B_KV,
    LLAMA_7B_PARAMETERS,
    decode_step_time,
)
from serving_mathematics.core.queues.variability import gamma_arrivals_wait
from serving_mathematics.definitions.latency_distribution.latency_distribution import TEN_MS
from serving_mathematics.intuition.failure_budgets.failure_budgets import (
    DAY,
    MINUTE,
    burn_rate,
    exhaustion_time,
)
from serving_mathematics.optimization.caching.caching import GIB, how_many_fit, kv_bytes_per_token
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_in,
    require_non_negative,
    require_positive,
)

Reading = Literal["shape", "variation", "dispersion", "goh-barabasi"]

H100_SPARSE_PEAK = 1978.9e12  # [FLOP/s] bf16 with 2:4 sparsity, SXM; Lockwood, H100
DEFINITIONS = (  # of a sample quantile, 1 to 9 of Hyndman and Fan, by their names in numpy
    *("inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf"),
    *("hazen", "weibull", "linear", "median_unbiased", "normal_unbiased"),
)
BUCKETS_MS = (50.0, 100.0, 250.0)  # [ms] upper bounds of the example's histogram
SLOTS = 48  # of the example's engine, whose caches of CONTEXT tokens fit beside the weights
OUTAGE_MIN = 42.0  # [min] downtime of the example's February
GOODPUT = (100.0, 0.1, 80.0, 0.9)  # μ [1/s], deadline [s], load [1/s], share in time; an example
THOUGHT = (0.4, 0.02, 1500)  # TTFT [s], TPOT [s], hidden tokens of the example's answer
SPECULATED = (8.72, 292.29)  # median ITL [ms], output tokens/s of one stream; SGLang 12064
CACHED = (150_383, 149_936)  # prompt tokens, of which cached; LiteLLM 22984
SLICES = ((10, 10), (10, 10), (10, 10), (10, 10), (20, 40))  # good of all; Grafana's example


@dataclass(frozen=True)
class MeanPace:
    """Two means of the gaps between the tokens of several streams [s]."""

    tpot_s: float  # over requests: each stream's mean gap counts once
    itl_s: float  # over gaps: each gap counts once, so that long answers weigh more


def mean_pace(streams_s: Sequence[npt.ArrayLike]) -> MeanPace:
    """Mean TPOT and mean ITL of the same streams.

    streams_s: arrival times of the tokens of each stream [s], at least one stream, each of shape
    (N,) with N ≥ 2, not decreasing. Raises ValueError on anything else.

    >>> mean_pace([[0.0, 1.0, 2.0], [0.0, 4.0]])
    MeanPace(tpot_s=2.5, itl_s=2.0)
    """
    gaps = [np.diff(np.atleast_1d(as_floats(streams_s=stream))) for stream in streams_s]
    require(len(gaps) > 0, "streams_s", "at least one stream", streams_s)
    for steps in gaps:
        sound = steps.ndim == 1 and steps.size > 0 and np.all((steps >= 0) & (steps < math.inf))
        require(sound, "streams_s", "two or more sorted, finite times in each stream", steps)
    every = np.concatenate(gaps)
    return MeanPace(float(np.mean([steps.mean() for steps in gaps])), float(every.mean()))


def bucket_quantile(bounds: npt.ArrayLike, counts: npt.ArrayLike, probability: float) -> float:
    """Quantile of a histogram as PromQL interpolates it, in the unit of the bounds.

    bounds: upper bounds of the buckets, increasing, from 0 on, the last may be math.inf, shape
    (k,). counts: values in each bucket (not cumulative), shape (k,), not all zero. probability: q
    in [0, 1]. The rank q·n is interpolated linearly within its bucket, whose lower end is 0 for the
    first; in a bucket without an upper end the answer is its lower end. Raises ValueError on other
    input.

    >>> bucket_quantile([10.0, 20.0], counts=[1, 1], probability=0.75)
    15.0
    """
    upper, held = as_floats(bounds=bounds), as_floats(counts=counts)
    ordered = upper.ndim == 1 and upper.size > 0 and np.all(np.diff(upper) > 0)
    require(ordered and upper[0] >= 0, "bounds", "an increasing series from 0 on", bounds)
    require(held.shape == upper.shape, "counts", f"of shape {upper.shape}", counts)
    require((held >= 0) & (held < math.inf), "counts", "non-negative and finite", counts)
    require(held.sum() > 0, "counts", "not all zero", counts)
    probability = require_in("[0, 1]", probability=probability)
    below = np.concatenate(([0.0], np.cumsum(held)))
    rank = probability * below[-1]
    bucket = int(np.searchsorted(below[1:], rank))
    low = upper[bucket - 1] if bucket else 0.0
    if math.isinf(upper[bucket]):
        return float(low)
    share = (rank - below[bucket]) / held[bucket] if held[bucket] else 0.0
    return float(low + share * (upper[bucket] - low))


def gap_scv(burstiness: float, reading: Reading) -> float:
    """Squared coefficient of variation of independent gaps, C_a², that a “burstiness” stands for.

    burstiness: the number. reading: "shape" of a gamma distribution (> 0, 1/k), "variation", the
    coefficient itself (≥ 0, squared), "dispersion" of counts in long windows (≥ 0, as it is), or
    "goh-barabasi", B = (σ − μ)/(σ + μ) in [−1, 1). 1 is Poisson in the first three, 0 in the last.
    Raises ValueError outside these ranges.

    >>> [gap_scv(0.5, how) for how in ("shape", "variation", "dispersion", "goh-barabasi")]
    [2.0, 0.25, 0.5, 9.0]
    """
    if reading == "shape":
        burstiness = require_positive(burstiness=burstiness)
        return 1 / burstiness
    if reading == "goh-barabasi":
        burstiness = require_in("[-1, 1)", burstiness=burstiness)
        return ((1 + burstiness) / (1 - burstiness)) ** 2
    require(reading in ("variation", "dispersion"), "reading", "one of the four readings", reading)
    burstiness = require_non_negative(burstiness=burstiness)
    return burstiness**2 if reading == "variation" else burstiness


def model_flops_utilization(tokens_per_s: float, parameters: float, peak_flops: float) -> float:
    """Share of a device's peak arithmetic that a model's tokens need, MFU = 2NX/π.

    tokens_per_s: X ≥ 0, read and written [1/s]. parameters: N > 0. peak_flops: π > 0, dense
    [FLOP/s]. Attention, which the source counts, is left out. More than 1 says that one of the
    three is wrong. Raises ValueError outside these ranges.

    >>> model_flops_utilization(tokens_per_s=100.0, parameters=7e9, peak_flops=1.4e14)
    0.01
    """
    tokens_per_s = require_non_negative(tokens_per_s=tokens_per_s)
    parameters, peak_flops = require_positive(parameters=parameters, peak_flops=peak_flops)
    return 2 * parameters * tokens_per_s / peak_flops


def rate_at_objective(service_rate: float, deadline_s: float, share: float) -> float:
    """Highest load of an M/M/1 server at which a share of its answers is in time [1/s].

    service_rate: μ [1/s]. deadline_s: τ [s]. share: q in (0, 1). The response is exponential with
    rate μ − λ, so λ = μ − ln(1/(1−q))/τ, and 0 where even an idle server is too slow. Raises
    ValueError outside these ranges.

    >>> round(rate_at_objective(service_rate=100.0, deadline_s=0.1, share=0.9), 2)
    76.97
    """
    service_rate, deadline_s = require_positive(service_rate=service_rate, deadline_s=deadline_s)
    share = require_in("(0, 1)", share=share)
    return max(0.0, service_rate + math.log1p(-share) / deadline_s)


@dataclass(frozen=True)
class Availability:
    """Two shares of the same record."""

    of_requests: float  # good over all
    of_time: float  # mean over the slices of each one's share


def availability(good: npt.ArrayLike, total: npt.ArrayLike) -> Availability:
    """Availability by requests, and by slices of time of which each counts once.

    good, total: requests in each slice, 0 ≤ good ≤ total, shape (n,). Slices without requests count
    as good. Raises ValueError on other input, or without any request.

    >>> availability([10, 0], [10, 90])
    Availability(of_requests=0.1, of_time=0.5)
    """
    fine, every = as_floats(good=good), as_floats(total=total)
    counted = every.ndim == 1 and every.size > 0 and np.all((every >= 0) & (every < math.inf))
    require(counted and every.sum() > 0, "total", "counts, not all zero", total)
    inside = fine.shape == every.shape and bool(np.all((fine >= 0) & (fine <= every)))
    require(inside, "good", "counts up to the total", good)
    shares = np.divide(fine, every, out=np.ones_like(fine), where=every > 0)
    return Availability(float(fine.sum() / every.sum()), float(shares.mean()))


def _streams() -> list[npt.NDArray[np.float64]]:
    """Two answers whose first token comes after 0.5 s: 11 tokens 100 ms apart, 1001 10 ms apart."""
    steps = ((0.1, 11), (0.01, 1001))
    return [np.asarray(0.5 + step * np.arange(n), dtype=np.float64) for step, n in steps]


def _bucket_p95_ms() -> float:
    """The p95 of the ten latencies when only their histogram was kept [ms]."""
    counts = np.bincount(np.searchsorted(BUCKETS_MS, TEN_MS))  # a value on a bound lies below it
    return bucket_quantile(BUCKETS_MS, counts, 0.95)


def _written(batch: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Tokens a second of the chapter on latency and cost's engine: Llama 2 7B on one H100."""
    parameters, kv = LLAMA_7B_PARAMETERS, LLAMA_7B_KV * CONTEXT
    return batch / decode_step_time(
        batch, parameters, 2 * parameters, kv, H100_PEAK, H100_BANDWIDTH
    )


def _any_inside(load: float) -> float:
    """Share of time with a request inside, at a share of the most tokens that the example's engine
    writes: requests come as a Poisson process, and leave as fast as so many get their tokens."""
    written = _written(np.arange(1.0, SLOTS + 1))
    weights = np.cumprod(load * written[-1] / written)
    weights[-1] /= 1 - load  # all states from there on
    return float(1 - 1 / (1 + weights.sum()))


def _waits() -> dict[str, float]:
    """Mean waits [service times] at 80% load for a burstiness of 0.5 in each reading."""
    readings: tuple[Reading, ...] = ("shape", "variation", "dispersion", "goh-barabasi")
    return {how: gamma_arrivals_wait(0.8, gap_scv(0.5, how)) for how in readings}


# In one piece: a line for each number that the page quotes.
def example() -> SimpleNamespace:
    """Numbers quoted in the text, in the unit that the name says."""
    pace, waits = mean_pace(_streams()), _waits()
    with_ttft = [tpot_conventions(0.5, float(s[-1]), s.size).with_ttft_s for s in _streams()]
    short = tpot_conventions(0.5, 0.75, 11)
    opt = kv_bytes_per_token(40, 40, 128)
    burn = burn_rate(1.0, 0.999)
    minutes = {d: exhaustion_time(burn, d * DAY) / MINUTE for d in (28, 30, 31)}
    every_p95 = [
        float(np.quantile(TEN_MS, 0.95, method=method))  # type: ignore[call-overload]
        for method in DEFINITIONS
    ]
    load, most = 0.1, float(_written(np.array([SLOTS]))[0])
    mfu = model_flops_utilization(most, LLAMA_7B_PARAMETERS, H100_PEAK)
    rate, deadline, offered, share = GOODPUT
    first, gap, hidden = THOUGHT
    both = availability(*zip(*SLICES, strict=True))
    return SimpleNamespace(
        good_offered=offered,
        good_at_load=fifo_goodput(offered, rate, deadline),
        good_share_percent=100 * share,
        good_highest=rate_at_objective(rate, deadline, share),
        thought_first_s=first,
        thought_tokens=hidden,
        thought_answer_s=first + hidden * gap,
        chunk_gap_ms=SPECULATED[0],
        chunk_pace_ms=1000 / SPECULATED[1],
        tokens_in=1000,
        tokens_out=250,
        total_tokens_per_s=4 * 1250,
        output_tokens_per_s=4 * 250,
        cached_prompt=CACHED[0],
        cached_new=CACHED[0] - CACHED[1],
        cached_factor=CACHED[0] / (CACHED[0] - CACHED[1]),
        by_requests_percent=100 * both.of_requests,
        by_time_percent=100 * both.of_time,
        pace_tpot_ms=1000 * pace.tpot_s,
        pace_itl_ms=1000 * pace.itl_s,
        pace_with_ttft_ms=1000 * float(np.mean(with_ttft)),
        short_gap_ms=1000 * short.per_gap_s,
        short_implied_ms=1000 * short.per_token_s,
        short_implied_percent=100 * (1 - short.per_token_s / short.per_gap_s),
        excess_g_percent=100 * (GIB / 1e9 - 1),
        slots_gib=how_many_fit(12 * GIB, opt),
        slots_gb=how_many_fit(12e9, opt),
        peak_dense_tflops=H100_PEAK / 1e12,
        peak_sparse_tflops=H100_SPARSE_PEAK / 1e12,
        achieved_tflops=400.0,
        mfu_dense_percent=100 * 400e12 / H100_PEAK,
        mfu_sparse_percent=100 * 400e12 / H100_SPARSE_PEAK,
        minutes_30_days=minutes[30],
        minutes_28_days=minutes[28],
        minutes_31_days=minutes[31],
        outage_min=OUTAGE_MIN,
        p95_linear_ms=every_p95[6],
        p95_rank_ms=every_p95[0],
        p95_buckets_ms=_bucket_p95_ms(),
        p95_least_ms=min(every_p95),
        scv_shape=gap_scv(0.5, "shape"),
        scv_variation=gap_scv(0.5, "variation"),
        scv_dispersion=gap_scv(0.5, "dispersion"),
        scv_goh=gap_scv(0.5, "goh-barabasi"),
        wait_shape=waits["shape"],
        wait_variation=waits["variation"],
        wait_dispersion=waits["dispersion"],
        wait_goh=waits["goh-barabasi"],
        engine_slots=SLOTS,
        engine_load_percent=100 * load,
        engine_gauge_percent=100 * _any_inside(load),
        engine_mfu_percent=100 * load * mfu,
        engine_full_mfu_percent=100 * mfu,
    )


def figure_factors(figure: Figure) -> None:
    """What mixing two readings of each term costs in the examples of this page, as a factor.

    Alt: Dot plot with one row per term on a logarithmic axis from 1 to 700. N or N − 1, GB or GiB,
    the month and goodput lie between 1.07 and 1.11, availability at 1.2, the definition of p95 at
    1.47, dense or sparse peak at 2, chunks or tokens at 2.5, all tokens or output at 5, TPOT or ITL
    at 5.1, GPU utilization at 6.7, per replica or GPU at 8, burstiness at about 10, the first token
    of a reasoning model at 76, and prompts with cached tokens at 336.
    """
    numbers = example()
    rows = (
        ("TPOT or ITL", numbers.pace_tpot_ms / numbers.pace_itl_ms),
        ("N or N − 1, solved for TPOT", numbers.short_gap_ms / numbers.short_implied_ms),
        ("GB or GiB", 1 + numbers.excess_g_percent / 100),
        ("dense or sparse peak", numbers.peak_sparse_tflops / numbers.peak_dense_tflops),
        ("31 days or 28", numbers.minutes_31_days / numbers.minutes_28_days),
        ("definition of p95", numbers.p95_buckets_ms / numbers.p95_least_ms),
        ("burstiness", numbers.wait_goh / numbers.wait_variation),
        ("GPU utilization", numbers.engine_gauge_percent / numbers.engine_load_percent),
        ("goodput", numbers.good_highest / numbers.good_at_load),
        ("availability by time or requests", numbers.by_time_percent / numbers.by_requests_percent),
        ("gap of chunks or of tokens", numbers.chunk_gap_ms / numbers.chunk_pace_ms),
        ("all tokens or output", numbers.total_tokens_per_s / numbers.output_tokens_per_s),
        ("per replica or per GPU", 8.0),
        ("first token or first of the answer", numbers.thought_answer_s / numbers.thought_first_s),
        ("prompt tokens with cached ones", numbers.cached_factor),
    )
    figure.set_size_inches(5.8, 5.4)
    axes = figure.subplots()
    places, factors = range(len(rows)), [factor for _, factor in rows]
    axes.hlines(places, 1, factors, color="C0", linewidth=1.2)
    axes.plot(factors, places, "o", color="C0")
    for place, factor in enumerate(factors):
        text = f"{factor:.2f}" if factor < 2.5 else f"{factor:.{0 if factor > 20 else 1}f}"
        axes.annotate(text, (factor, place), xytext=(7, 0), textcoords="offset points", va="center")
    axes.set(xscale="log", xlim=(1, 700), ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(places, [label for label, _ in rows])
    axes.set_xticks([1, 3, 10, 30, 100, 300], ["1", "3", "10", "30", "100", "300"])
    axes.minorticks_off()
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="one reading over the other", ylabel="term")


def check_mean_over_requests_or_over_gaps() -> None:
    """Ten gaps of 100 ms and a thousand of 10 ms are 55 ms over requests and 10.9 ms over gaps.

    Source: (100 + 10)/2 and (10·100 + 1000·10)/1010 ms by hand, as vLLM's `mean_tpot_ms` and
    `mean_itl_ms` average; equal lengths, for which the two agree.
    """
    pace = mean_pace(_streams())
    checks.close("mean TPOT [ms]", 1000 * pace.tpot_s, 55.0, rtol=1e-12)
    checks.close("mean ITL [ms]", 1000 * pace.itl_s, 11_000 / 1010, rtol=1e-12)
    equal = mean_pace([[0.0, 1.0, 3.0], [0.0, 2.0, 9.0]])
    checks.close("equal lengths", equal.tpot_s, equal.itl_s, rtol=1e-12)


def check_one_token_too_many() -> None:
    """TTFT + N·TPOT is one TPOT above the total, and solved for TPOT it is low by 1/N.

    Source: the chapter Streaming's functions against each other, N from 2 to 1000.
    """
    counts = (2, 11, 101, 1000)
    totals = [end_to_end_s(0.5, 0.025, n) for n in counts]
    above = [0.5 + 0.025 * n - total for n, total in zip(counts, totals, strict=True)]
    checks.close("excess of the total [s]", above, [0.025] * 4, rtol=1e-9)
    pace = [tpot_conventions(0.5, total, n) for n, total in zip(counts, totals, strict=True)]
    low = [1 - each.per_token_s / each.per_gap_s for each in pace]
    checks.close("share by which TPOT is low", low, [1 / n for n in counts], rtol=1e-9)


def check_binary_prefixes() -> None:
    """The 12 GB printed for a cache are GiB, which are 7.37% more.

    Source: 1,073,741,824 bytes by hand; Kwon et al. (2023), table 1: 12 GB and 15.7K slots.
    """
    checks.close("GiB over GB [%]", example().excess_g_percent, 7.3741824, rtol=1e-12)
    slots = how_many_fit(12 * GIB, kv_bytes_per_token(40, 40, 128))
    checks.close("slots in 12 GiB", slots, 15_700, atol=50, kind="published")


def check_sparsity_doubles_the_peak() -> None:
    """The peak “with sparsity” is twice the dense one, and halves every utilization made from it.

    Source: NVIDIA's H100 data sheet as resellers reprint it, 1,979 TFLOP/s, “1/2 lower without
    sparsity”; 400/989.4 and 400/1978.9 by hand.
    """
    checks.close("sparse [TFLOP/s]", H100_SPARSE_PEAK / 1e12, 1979, atol=0.5, kind="published")
    checks.close("sparse / dense", H100_SPARSE_PEAK / H100_PEAK, 2.0, rtol=1e-3, kind="published")
    numbers = example()
    checks.close("of the dense peak [%]", numbers.mfu_dense_percent, 40.43, atol=5e-3)
    checks.close("of the sparse peak [%]", numbers.mfu_sparse_percent, 20.21, atol=5e-3)


def check_two_goodputs() -> None:
    """At the highest load that keeps 90% in time, 90% are, and more load gives more answers in
    time before it gives fewer.

    Source: the goodput of `overload_control` at that load; 100 − 10·ln 10 by hand.
    """
    highest = rate_at_objective(100.0, 0.1, 0.9)
    checks.close("highest load [1/s]", highest, 76.97415, atol=5e-6)
    checks.close("in time there [1/s]", fifo_goodput(highest, 100.0, 0.1), 0.9 * highest, rtol=1e-9)
    checks.equal("an objective that an idle server misses", rate_at_objective(10.0, 0.1, 0.9), 0.0)


def check_availability() -> None:
    """Four good slices and a busy one that is half good are 75% of the requests and 90% of the
    time.

    Source: Grafana's time-based SLI examples; 60 of 80 and 4.5 of 5.
    """
    both = availability(*zip(*SLICES, strict=True))
    got = [both.of_requests, both.of_time]
    checks.close("of requests, of time", got, [0.75, 0.9], rtol=1e-12, kind="published")


def check_gap_of_chunks() -> None:
    """Chunks of a speculating engine come 8.72 ms apart while tokens come every 3.4 ms.

    Source: SGLang pull request 12064: 292.29 tokens a second are 1000/292.29 ≈ 3.42 ms, and 3.20 ms
    is the median that its correction reports.
    """
    numbers = example()
    checks.close("pace [ms]", numbers.chunk_pace_ms, 3.42, atol=5e-3, kind="published")
    checks.close("corrected median [ms]", numbers.chunk_pace_ms, 3.20, rtol=0.1, kind="published")


def check_months() -> None:
    """Three nines allow 40.3, 43.2 or 44.6 minutes, according to the month, and 42 keep one of them
    but not the other.

    Source: a thousandth of the minutes, in integers.
    """
    numbers = example()
    checks.close("30 days [min]", numbers.minutes_30_days, 30 * 1440 / 1000, rtol=1e-9)
    checks.close("28 days [min]", numbers.minutes_28_days, 28 * 1440 / 1000, rtol=1e-9)
    checks.close("31 days [min]", numbers.minutes_31_days, 31 * 1440 / 1000, rtol=1e-9)
    lies = numbers.minutes_28_days < OUTAGE_MIN < numbers.minutes_30_days
    checks.holds("the outage lies between", lies, got=OUTAGE_MIN)


def check_sample_quantiles() -> None:
    """The nearest rank is a measured value, and numpy's default lies between two.

    Source: definitions 1 and 7 of the ten latencies by hand.
    """
    checks.close("nearest rank [ms]", example().p95_rank_ms, 180.0, rtol=1e-12)
    checks.close("linear [ms]", example().p95_linear_ms, 110 + 0.55 * 70, rtol=1e-12)


def check_quantile_of_buckets() -> None:
    """A quantile read off buckets can exceed every value that was put into them.

    Source: ClickHouse's documented example of the PromQL rule, 0.35 at the median of 6, 5, 3 and 5
    values up to 0, 0.5, 1 and ∞; the ten latencies by hand, 100 + 150·(9.5 − 8)/2 ms.
    """
    median = bucket_quantile([0.0, 0.5, 1.0, math.inf], [6, 5, 3, 5], 0.5)
    checks.close("ClickHouse", median, 0.35, rtol=1e-12, kind="published")
    checks.close("p95 of the ten [ms]", _bucket_p95_ms(), 212.5, rtol=1e-12)
    checks.holds("more than the slowest", _bucket_p95_ms() > max(TEN_MS), got=max(TEN_MS))


def check_burstiness_by_reading() -> None:
    """A burstiness of 0.5 is a C_a² of 2, 0.25, 0.5 or 9, and at Poisson all four readings agree.

    Source: the definitions: gamma gaps drawn with numpy for the shape, C_a² of 200,000 of them with
    the standard error of 40 batches; B = (σ − μ)/(σ + μ) put back in; M/M/1 waits 4.
    """
    gaps = np.random.default_rng(8).gamma(0.5, 2.0, (40, 5000))
    scv = gaps.var(axis=1) / gaps.mean(axis=1) ** 2
    error = float(scv.std(ddof=1)) / math.sqrt(scv.size)
    got = gap_scv(0.5, "shape")
    checks.close("shape, simulated", float(scv.mean()), got, atol=4 * error, kind="simulation")
    sigma = math.sqrt(gap_scv(0.5, "goh-barabasi"))
    checks.close("B of σ = 3, μ = 1", (sigma - 1) / (sigma + 1), 0.5, rtol=1e-12)
    neutral = [gap_scv(1.0, how) for how in ("shape", "variation", "dispersion")]
    waits = [gamma_arrivals_wait(0.8, scv) for scv in (*neutral, gap_scv(0.0, "goh-barabasi"))]
    checks.close("waits at Poisson", waits, [4.0] * 4, rtol=1e-9)


def check_three_utilizations() -> None:
    """At a tenth of the tokens that it can write an engine of 48 places shows 67%; with all of them
    taken its caches and weights fit into the device.

    Source: stationary distribution of the number inside, cut off at 200 requests and solved;
    2·N·B over π times the bytes of weights and caches over β, by hand.
    """
    numbers, states = example(), np.arange(200.0)  # which 32 bits hold, times bytes
    inside = np.minimum(states, 48)
    held_bytes = 2 * 6_738_415_616 + inside * 2048 * 524_288
    written = inside * 3.35e12 / held_bytes
    up, down = np.full(states.size - 1, 0.1 * written[48]), written[1:]
    balance = np.diag(up, -1) + np.diag(down, 1)
    balance -= np.diag(balance.sum(axis=0))
    balance[-1] = 1.0
    shares = np.linalg.solve(balance, np.eye(states.size)[-1])
    checks.close("gauge [%]", numbers.engine_gauge_percent, 100 * (1 - shares[0]), rtol=1e-9)
    full = 100 * 2 * 6_738_415_616 * written / 989.4e12
    checks.close("MFU [%]", numbers.engine_mfu_percent, float(shares @ full), rtol=1e-6)
    checks.close("MFU with all places [%]", numbers.engine_full_mfu_percent, full[48], rtol=1e-9)
    checks.inside("bytes with all places, of 80 GB", held_bytes[48] / 80e9, 0.5, 0.9)


def check_bad_input_is_refused() -> None:
    """One token, unknown readings and empty histograms name the argument."""
    checks.raises("one token", mean_pace, [[0.5]], match="streams_s must be two or more")
    checks.raises("empty", bucket_quantile, [1.0], [0], 0.5, match="counts must be not all zero")
    checks.raises("B = 1", gap_scv, 1.0, "goh-barabasi", match="burstiness must be in [-1, 1)")
    checks.raises("reading", gap_scv, 1.0, "cv", match="reading must be one of the four readings")
