"""Two releases are compared by the interval of a difference, and streams by more than one latency.

Resampling n latencies with replacement makes their k-th smallest the J-th smallest of the sample,
with J = ⌈n·Beta(k, n−k+1)⌉. So the bootstrap of a quantile needs one draw and no sorting, and the
difference of two independent ones gives an interval. Two 95% intervals that overlap are no such
thing: with equal releases they are apart in about 0.6% of the cases, not in 5%. A stream has a
time to first token, a time per output token (the mean of its gaps) and every gap; their
percentiles answer different questions.

Assumes: independent latencies, with ten or more beyond the quantile in each sample; blocks of
dependent ones that are long against the memory of the queue.

Source: Schenker and Gentleman (2001) for what overlap means; NVIDIA NIM for the latencies of a
stream.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import fifo_waits
from serving_mathematics.definitions.latency_distribution.latency_distribution import quantile_ranks
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_numbers,
    require,
    require_all_non_negative,
    require_in,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]


def quantile_difference(
    rng: np.random.Generator,
    old: npt.ArrayLike,
    new: npt.ArrayLike,
    probability: float,
    confidence: float = 0.95,
    draws: int = 4000,
) -> tuple[float, float]:
    """Interval of the new release's quantile minus the old one's, in the unit of the latencies.

    old, new: latencies, shapes (n,) and (m,), non-negative, not empty. probability: q in (0, 1).
    confidence: c in (0, 1). draws: bootstrap differences, of which the middle share c is returned.
    The quantile is the ⌈nq⌉-th smallest. Raises ValueError outside these ranges.

    >>> quantile_difference(np.random.default_rng(0), [5.0, 5.0], [7.0, 7.0, 7.0], 0.5)
    (2.0, 2.0)
    """
    old, new = as_numbers(old=old, new=new)
    probability, confidence = require_in("(0, 1)", probability=probability, confidence=confidence)
    draws = require_positive_integer(draws=draws)
    require_work(draws, draws=draws)
    resampled = []
    for name, latencies in (("old", old), ("new", new)):
        x = np.asarray(latencies, dtype=float)
        require(x.ndim == 1 and x.size > 0, name, "non-empty (n,)", x.shape)
        require_all_non_negative(**{name: x})
        rank = max(1, math.ceil(round(x.size * probability, 9)))
        places = np.ceil(x.size * rng.beta(rank, x.size - rank + 1, int(draws))).astype(int)
        resampled.append(np.sort(x, kind="stable")[np.clip(places, 1, x.size) - 1])
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(resampled[1] - resampled[0], tails)
    return float(low), float(high)


def block_interval(
    rng: np.random.Generator,
    latencies: npt.ArrayLike,
    blocks: int,
    probability: float,
    confidence: float = 0.95,
    draws: int = 300,
) -> tuple[float, float]:
    """Interval of a quantile of dependent latencies, by resampling whole blocks of them.

    latencies: shape (n,), non-negative, in the order of arrival. blocks: b, 2 to n of equal length,
    each long against the memory of the queue, such as days; what is left over at the end is not
    used. probability: q in (0, 1). confidence: c in (0, 1). draws: resamples, of which the middle
    share c is returned. Raises ValueError outside these ranges.

    >>> block_interval(np.random.default_rng(0), [1.0, 1.0, 1.0, 5.0, 5.0, 5.0], 2, 0.5)
    (1.0, 5.0)
    """
    x = as_floats(latencies=latencies)
    require(x.ndim == 1 and x.size > 1, "latencies", "of shape (n,), n ≥ 2", x.shape)
    require_all_non_negative(latencies=x)
    blocks, draws = require_positive_integer(blocks=blocks, draws=draws)
    require(2 <= blocks <= x.size, "blocks", f"in [2, {x.size}]", blocks)
    probability, confidence = require_in("(0, 1)", probability=probability, confidence=confidence)
    require_work(draws * (x.size + 200), draws=draws, latencies=x.size)
    parts = x[: x.size // int(blocks) * int(blocks)].reshape(int(blocks), -1)
    rank = max(1, math.ceil(round(parts.size * probability, 9))) - 1
    found = [
        np.partition(parts[rng.integers(0, blocks, int(blocks))].ravel(), rank)[rank]
        for _ in range(int(draws))
    ]
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def gap_percentiles(gaps_s: npt.ArrayLike, probability: float) -> tuple[float, float, float]:
    """One quantile of all gaps, of the requests' mean gaps (TPOT), and of their longest gaps [s].

    gaps_s: time from token to token, shape (requests, tokens − 1), non-negative, not empty.
    probability: q in [0, 1]. Raises ValueError outside these ranges.

    >>> gap_percentiles([[1.0, 1.0, 4.0], [1.0, 1.0, 1.0]], 0.5)  # medians of 6 gaps, 2 requests
    (1.0, 1.5, 2.5)
    """
    gaps = as_floats(gaps_s=gaps_s)
    require(gaps.ndim == 2 and gaps.size > 0, "gaps_s", "non-empty (requests, gaps)", gaps.shape)
    require_all_non_negative(gaps_s=gaps)
    probability = require_in("[0, 1]", probability=probability)
    kinds = (gaps, gaps.mean(axis=1), gaps.max(axis=1))
    all_gaps, tpot, longest = (float(np.quantile(kind, probability)) for kind in kinds)
    return all_gaps, tpot, longest


COUNT, SLOWER = 4000, 1.15  # latencies of each release, and the true ratio of their p99
STEP_S, PAUSE_S, PAUSES, ANSWER = 0.020, 1.0, 0.002, 201  # a pause at one gap in 500; tokens
RUNS = 280


def _decisions(rng: np.random.Generator, ratios: Sequence[float], runs: int) -> FloatArray:
    """Shares of simulated pairs with a difference found, by its interval, and by intervals that do
    not overlap, and of intervals that hold the true difference; shape (ratios, 3). The pairs are
    the same for every ratio."""
    p99 = math.exp(2.3263478740408408)  # of the log-normal with σ = 1
    found, ranks = np.zeros((runs, len(ratios), 3)), quantile_ranks(COUNT, 0.99)
    first, last = (ranks.lower or 1) - 1, (ranks.upper or COUNT) - 1
    for run in range(runs):
        old, same = np.sort(rng.lognormal(size=(2, COUNT)))
        for place, ratio in enumerate(ratios):
            new, true = ratio * same, (ratio - 1) * p99
            low, high = quantile_difference(rng, old, new, 0.99, draws=1000)
            apart = old[last] < new[first] or new[last] < old[first]
            found[run, place] = (not low <= 0 <= high, apart, low <= true <= high)
    return np.asarray(found.mean(axis=0))


@functools.cache
def _streams() -> tuple[float, float, float, float]:
    """The p99 of gaps, TPOT and longest gaps [s] of 20,000 simulated streams, of 20 ms each and now
    and then a second, and the share of streams with such a pause."""
    rng = np.random.default_rng(77)
    gaps = np.where(rng.random((20_000, ANSWER - 1)) < PAUSES, PAUSE_S, STEP_S)
    return *gap_percentiles(gaps, 0.99), float((gaps.max(axis=1) == PAUSE_S).mean())


BUSY, BUSY_COUNT, BLOCKS, BUSY_RUNS = 0.8, 20_000, 20, 100  # a server, and how long it is watched


@functools.cache
def _held_by_dependent() -> tuple[float, float]:
    """Shares of runs of a server that is 80% busy whose interval holds its p99, ln 100/(1 − ρ), as
    if latencies were independent, and by blocks."""
    rng, true = np.random.default_rng(74), math.log(100) / (1 - BUSY)
    ranks, held = quantile_ranks(BUSY_COUNT, 0.99), np.zeros((BUSY_RUNS, 2))
    for run in range(BUSY_RUNS):
        arrivals = np.cumsum(rng.exponential(1 / BUSY, BUSY_COUNT + 4000))
        services = rng.exponential(1.0, arrivals.size)
        latencies = (fifo_waits(arrivals, services) + services)[4000:]
        ordered = np.sort(latencies)
        alone = ordered[(ranks.lower or 1) - 1], ordered[(ranks.upper or BUSY_COUNT) - 1]
        blocks = block_interval(rng, latencies, BLOCKS, 0.99, draws=200)
        held[run] = [low < true < high for low, high in (alone, blocks)]
    return float(held[:, 0].mean()), float(held[:, 1].mean())


@functools.cache
def _slower_and_equal() -> FloatArray:
    """The decisions of RUNS pairs, with a slower release and with two that are alike."""
    return _decisions(np.random.default_rng(71), (SLOWER, 1.0), RUNS)


def example() -> SimpleNamespace:
    """Numbers quoted in the text; shares in percent, times in milliseconds."""
    slower, equal = _slower_and_equal()
    gaps, tpot, longest, _ = _streams()
    alone, blocks = _held_by_dependent()
    return SimpleNamespace(
        busy_percent=100 * BUSY,
        busy_count=BUSY_COUNT,
        busy_blocks=BLOCKS,
        busy_held=100 * alone,
        busy_held_by_blocks=100 * blocks,
        release_count=COUNT,
        release_runs=RUNS,
        slower_percent=100 * (SLOWER - 1),
        found_by_difference=100 * slower[0],
        found_by_overlap=100 * slower[1],
        equal_by_difference=100 * equal[0],
        equal_by_overlap=100 * equal[1],
        decision_half_width=196 * math.sqrt(0.25 / RUNS),
        gap_p99_ms=1000 * gaps,
        tpot_p99_ms=1000 * tpot,
        longest_p99_ms=1000 * longest,
        paused_percent=100 * (1 - (1 - PAUSES) ** (ANSWER - 1)),
        answer_tokens=ANSWER,
        step_ms=1000 * STEP_S,
        pause_ms=1000 * PAUSE_S,
    )


def figure_power(figure: Figure) -> None:
    """Waiting until two intervals are apart misses slower releases that their difference shows.

    Share of simulated pairs of releases whose p99 is found to differ, against how much slower the
    new one is; 4,000 log-normal latencies each, 280 pairs at 0 and 15%, and 105 pairs at the other
    points, with 95% intervals.

    Alt: Two rising curves of detected share against slowdown from 0 to 50 percent. By the interval
    of the difference it begins near 5 percent and passes one half at 18 percent; by intervals that
    do not overlap it begins near 0 and passes one half at about 28 percent.
    """
    axes = figure.subplots()
    others, pairs = (1.08, 1.24, 1.35, 1.5), 105
    found = np.vstack([_slower_and_equal(), _decisions(np.random.default_rng(72), others, pairs)])
    ratios, runs = np.array([SLOWER, 1.0, *others]), np.array([RUNS] * 2 + [pairs] * len(others))
    order = np.argsort(ratios)
    slower, shares, runs = 100 * (ratios[order] - 1), 100 * found[order], runs[order]
    for column, colour, text, spot in (
        (0, "C0", "interval of\nthe difference", (16, 68)),
        (1, "C3", "intervals apart", (27, 40)),
    ):
        share = shares[:, column]
        half = 1.96 * np.sqrt(np.maximum(share * (100 - share), 50) / runs)
        axes.errorbar(slower, share, half, fmt="o-", color=colour)
        axes.annotate(text, spot, color=colour, ha="right" if column == 0 else "left")
    axes.set(
        xlim=(-1, 52),
        ylim=(0, 102),
        xlabel="p99 of the new release slower by [%]",
        ylabel="found to differ [% of pairs]",
    )


def check_bootstrap_without_resampling() -> None:
    """One beta draw has the distribution of the k-th smallest of a resample.

    Source: 20,000 resamples of 50 latencies, drawn with replacement and sorted; the largest gap of
    the two distribution functions against its 99.9% bound for two samples.
    """
    rng, count, rank, draws = np.random.default_rng(73), 50, 45, 20_000
    sorted_ones = np.sort(rng.integers(1, count + 1, (draws, count)), axis=1)[:, rank - 1]
    beta_ones = np.ceil(count * rng.beta(rank, count - rank + 1, draws)).astype(int)
    one, other = (
        np.cumsum(np.bincount(x, minlength=count + 1)) / draws for x in (sorted_ones, beta_ones)
    )
    bound = 1.95 * math.sqrt(2 / draws)
    gap = float(np.abs(one - other).max())
    checks.inside("largest gap of F", gap, 0.0, bound, kind="simulation")


def check_difference_covers() -> None:
    """95% intervals of the difference of two p99s hold it in about 95% of the pairs.

    Source: 280 simulated pairs of releases; three binomial standard errors, and one point for the
    grid of order statistics.
    """
    for ratio, decisions in zip((SLOWER, 1.0), _slower_and_equal(), strict=True):
        error = math.sqrt(0.95 * 0.05 / RUNS)
        label, held = f"ratio {ratio:g}", float(decisions[2])
        checks.close(label, held, 0.95, atol=3 * error + 0.01, kind="simulation")


def check_dependent_latencies_need_blocks() -> None:
    """On one busy server the interval of independent latencies holds the p99 in few of the runs,
    that of blocks in most.

    Source: M/M/1 at 80%, whose p99 is ln 100/(1 − ρ) services; 100 runs of 20,000 requests.
    """
    alone, blocks = _held_by_dependent()
    error = 3 * math.sqrt(0.25 / BUSY_RUNS)
    checks.inside("held, as if independent", alone, 0.0, 0.5 - error, kind="simulation")
    checks.inside("held by blocks", blocks, 0.5 + error, 1.0, kind="simulation")


def check_overlap_is_no_test() -> None:
    """Intervals that do not overlap find a slower release less often than their difference does.

    Source: Schenker and Gentleman (2001): two independent means with equal standard errors are
    apart with probability 2·(1 − Φ(1.96·√2)) = 0.0056 when they are equal, not 0.05.
    """
    nominal = math.erfc(1.959963984540054 * math.sqrt(2) / math.sqrt(2))
    checks.close("apart when equal, normal", nominal, 0.0056, atol=5e-5, kind="published")
    slower, equal = _slower_and_equal()
    checks.inside("apart when equal, p99", float(equal[1]), 0.0, 0.03, kind="simulation")
    error = math.sqrt(0.5 / RUNS)
    checks.holds(
        "found by difference, more than by overlap",
        float(slower[0] - slower[1]) > 3 * error,
        got=slower[:2].tolist(),
        kind="simulation",
    )


def check_percentiles_of_a_stream() -> None:
    """With a pause at one gap in 500, the p99 of gaps is the step, and a third of answers pause.

    Source: binomial number of pauses in 200 gaps: P(0) = 0.998²⁰⁰, and its 99th percentile 2, so
    that TPOT is (198·20 + 2·1000)/200 = 29.8 ms; 20,000 simulated answers.
    """
    all_gaps, tpot, longest, paused = _streams()
    checks.close("p99 of gaps [s]", all_gaps, 0.020, rtol=1e-12)
    checks.close("p99 of TPOT [s]", tpot, 0.0298, rtol=1e-9)
    checks.close("p99 of the longest gap [s]", longest, 1.0, rtol=1e-12)
    exact = 1 - 0.998**200
    error = math.sqrt(exact * (1 - exact) / 20_000)
    checks.close("answers with a pause", paused, exact, atol=3 * error, kind="simulation")


def check_bad_input_is_refused() -> None:
    """Empty releases, NaN, certainty and flat gaps are errors that name the argument."""
    rng = np.random.default_rng(0)
    checks.raises("no latencies", quantile_difference, rng, [], [1.0], 0.9, match="old must be")
    checks.raises("NaN", quantile_difference, rng, [1.0], [math.nan], 0.9, match="new must be")
    checks.raises("q = 1", quantile_difference, rng, [1], [1], 1.0, match="probability must be in")
    checks.raises("one block", block_interval, rng, [1.0, 2.0], 1, 0.5, match="blocks must be in")
    checks.raises("one row", gap_percentiles, [1.0], 0.5, match="gaps_s must be non-empty")
