"""Saving progress costs time, and so does repeating what was not saved: the best interval between
checkpoints is about √(2δM).

A stretch of work τ and its checkpoint δ must pass without a failure. With failures at random
moments, M apart on average, and R to restart, a stretch takes M·e^{R/M}(e^{(τ+δ)/M} − 1) on
average, so that work T takes

    T·M·e^{R/M}(e^{(τ+δ)/M} − 1)/τ,

least where 1 − τ/M = e^{−(τ+δ)/M}. Young's √(2δM) is the solution for δ ≪ M.

Assumes: failures are a Poisson process, which also strikes during checkpoints and restarts; all
unsaved work is lost; the last stretch ends with a checkpoint too.

Source: Young (1974); Daly (2006), whose three published optima are checked; the mean is derived on
the page.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_non_negative,
    require_positive,
)

MIN_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
SHARD_S = 2 * MIN_S  # δ of the worked numbers: the start of an engine
RESTART_S = 3 * MIN_S  # R of the worked numbers
WORK_S = DAY_S  # T of the worked numbers


def young_interval_s(checkpoint_s: float, failure_gap_s: float) -> float:
    """Young's interval √(2δM), from the start of one stretch of work to its checkpoint [s].

    checkpoint_s: δ > 0, time to save. failure_gap_s: M > 0, mean time between failures. Raises
    ValueError outside these ranges. Source: Young (1974).

    >>> young_interval_s(checkpoint_s=5 * 60, failure_gap_s=24 * 3600) / 60
    120.0
    """
    checkpoint_s, failure_gap_s = require_positive(
        checkpoint_s=checkpoint_s, failure_gap_s=failure_gap_s
    )
    return math.sqrt(2 * checkpoint_s * failure_gap_s)


def best_interval_s(checkpoint_s: float, failure_gap_s: float) -> float:
    """The interval with the least expected time, the root x = τ/M of e^{x + δ/M}(1 − x) = 1 [s].

    Arguments and errors as for `young_interval_s`. Found by bisection: the left side falls from
    e^{δ/M} at 0 to 0 at 1. The time to restart does not move it.

    >>> round(best_interval_s(checkpoint_s=5 * 60, failure_gap_s=24 * 3600) / 60, 1)
    116.7
    """
    checkpoint_s, failure_gap_s = require_positive(
        checkpoint_s=checkpoint_s, failure_gap_s=failure_gap_s
    )
    low, high = 0.0, 1.0
    for _ in range(100):
        x = (low + high) / 2
        if x < 1 and x + math.log1p(-x) + checkpoint_s / failure_gap_s > 0:
            low = x
        else:
            high = x
    return low * failure_gap_s


def expected_completion_s(
    work_s: float,
    interval_s: float,
    checkpoint_s: float,
    failure_gap_s: float,
    restart_s: float = 0.0,
) -> float:
    """Mean time to finish work with a checkpoint after every stretch of it [s].

    work_s: T > 0. interval_s: τ in (0, T], work in a stretch; the last one may be shorter.
    checkpoint_s: δ ≥ 0. failure_gap_s: M > 0. restart_s: R ≥ 0, after each failure, and again when
    it is struck itself. Infinite where it exceeds the largest number. Raises ValueError outside
    these ranges.

    >>> round(expected_completion_s(100.0, 50.0, 0.0, failure_gap_s=50.0), 3)
    171.828
    """
    interval_s = as_number(interval_s=interval_s)
    work_s = require_positive(work_s=work_s)
    require(0 < interval_s <= work_s, "interval_s", f"in (0, {work_s}]", interval_s)
    checkpoint_s = require_non_negative(checkpoint_s=checkpoint_s)
    failure_gap_s = require_positive(failure_gap_s=failure_gap_s)
    restart_s = require_non_negative(restart_s=restart_s)
    whole = math.floor(work_s / interval_s)
    rest = work_s - whole * interval_s
    if rest <= 1e-12 * work_s:
        rest = 0.0
    try:
        stretch = math.expm1((interval_s + checkpoint_s) / failure_gap_s)
        last = math.expm1((rest + checkpoint_s) / failure_gap_s) if rest else 0.0
        return failure_gap_s * math.exp(restart_s / failure_gap_s) * (whole * stretch + last)
    except OverflowError:
        return math.inf


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""

    return SimpleNamespace(
        interval_day_min=best_interval_s(SHARD_S, DAY_S) / MIN_S,
        interval_spot_min=best_interval_s(SHARD_S, 2 * HOUR_S) / MIN_S,
        excess_day_percent=max(_excess_percent(factor, DAY_S) for factor in (0.5, 2.0)),
        excess_spot_percent=max(_excess_percent(factor, 2 * HOUR_S) for factor in (0.5, 2.0)),
    )


def _excess_percent(factor: float, gap_s: float) -> float:
    """How much longer all takes at a factor of the best interval [%]."""
    best = best_interval_s(SHARD_S, gap_s)
    least, taken = (math.expm1((x + SHARD_S) / gap_s) / x for x in (best, factor * best))
    return 100 * (taken / least - 1)


def check_young() -> None:
    """Five minutes to save and a failure a day: save every two hours.

    Source: by hand √(2 · 5 · 1440) = 120 minutes.
    """
    checks.close("√(2δM) [min]", young_interval_s(300.0, DAY_S) / 60, 120.0)


def check_best_interval() -> None:
    """The best interval is 117, 57 and 9.1 minutes for M of 24 hours, 6 hours and 15 minutes.

    Source: Daly (2006), captions of figures 3 to 5, with δ = 5 min and R = 10 min; Lambert's W by
    Newton's method, τ/M = 1 + W(−e^{−1−δ/M}).
    """
    for gap_s, minutes, digits in ((DAY_S, 117, 0.5), (DAY_S / 4, 57, 0.5), (900.0, 9.1, 0.1)):
        best, label = best_interval_s(300.0, gap_s), f"M = {gap_s / 3600:g} h"
        checks.close(f"{label} [min]", best / 60, minutes, atol=digits, kind="published")
        w = 0.0 - math.exp(-1 - 300.0 / gap_s)
        for _ in range(60):
            w -= (w * math.exp(w) + math.exp(-1 - 300.0 / gap_s)) / (math.exp(w) * (1 + w))
        checks.close(f"{label}, Lambert's W", best, gap_s * (1 + w), rtol=1e-9)


def check_a_factor_hardly_matters() -> None:
    """Who takes M, a day or two hours, for a fifth shorter or longer than it is, loses less than a
    quarter of a percentage point; half and twice the best make all 1.3% longer at a kill a day, and
    4 to 5% at one in two hours.

    Source: the exact mean of a stretch, at the interval that is best for the wrong M.
    """
    for gap_s in (DAY_S, 2 * HOUR_S):
        best = best_interval_s(SHARD_S, gap_s)

        def loss(interval_s: float, gap_s: float = gap_s) -> float:
            return gap_s * math.expm1((interval_s + SHARD_S) / gap_s) / interval_s

        for wrong in (0.8, 1.2):
            more = 100 * (loss(best_interval_s(SHARD_S, wrong * gap_s)) - loss(best))
            label = f"M = {gap_s / 3600:g} h, taken for {wrong:g} of it [points]"
            checks.inside(label, more, -1e-9, 0.05 if gap_s == DAY_S else 0.25)
        for factor in (0.5, 2.0):
            more = 100 * (loss(factor * best) - loss(best))
            longer = more / loss(best)
            label = f"M = {gap_s / 3600:g} h, {factor:g} of the best [%]"
            checks.inside(label, longer, *((1.25, 1.35) if gap_s == DAY_S else (4.0, 4.6)))
            checks.close(label, _excess_percent(factor, gap_s), longer, rtol=1e-9)


def check_simulated_completion() -> None:
    """Simulated jobs take as long as the formula says, also with a short last stretch and with
    failures during restarts; with failures that cluster, they take hardly longer.

    Source: 2,000 simulated jobs in which failures strike a clock; Weibull gaps of shape 0.6.
    """
    rng = np.random.default_rng(4)
    for label, arguments in (
        ("a failure a day", (5 * DAY_S, 2 * HOUR_S, 300.0, DAY_S, 600.0)),
        ("short last stretch", (10.5, 2.0, 0.3, 6.0, 0.5)),
        ("restarts that fail", (20.0, 5.0, 1.0, 4.0, 3.0)),
    ):
        run = _simulated(rng, *arguments)
        checks.covers(label, run, expected_completion_s(*arguments))
    told = expected_completion_s(WORK_S, 4000.0, SHARD_S, DAY_S, RESTART_S)
    mean = _simulated(rng, WORK_S, 4000.0, SHARD_S, DAY_S, RESTART_S, shape=0.6).mean
    checks.close("clustered", mean, told, rtol=0.03, kind="simulation")


def _simulated(
    rng: np.random.Generator,
    work_s: float,
    interval_s: float,
    checkpoint_s: float,
    failure_gap_s: float,
    restart_s: float,
    shape: float = 1.0,
) -> MeanEstimate:
    """Mean time to finish of 2,000 jobs, whose failures come after Weibull gaps."""
    runs = 2000
    scale = failure_gap_s / math.gamma(1 + 1 / shape)
    done, clock, owed = np.zeros(runs), np.zeros(runs), np.zeros(runs)
    working = np.arange(runs)
    while working.size:
        gap = scale * rng.weibull(shape, working.size)
        left, step = work_s - done[working], interval_s + checkpoint_s
        stretches = np.ceil(left / interval_s - 1e-9)
        needed = owed[working] + left + stretches * checkpoint_s
        saved = np.floor(np.maximum(0.0, gap - owed[working]) / step) * interval_s
        finished = gap >= needed
        clock[working] += np.where(finished, needed, gap)
        done[working] += np.where(finished, left, saved)
        owed[working] = restart_s
        working = working[~finished]
    error = float(clock.std(ddof=1)) / math.sqrt(runs)
    return MeanEstimate(float(clock.mean()), error, 1.96 * error)


def check_no_checkpoint() -> None:
    """Without checkpoints, five days of work with a failure a day take 148 days.

    Source: M·e^{R/M}(e^{T/M} − 1) by hand with R = 10 min; limits for rare failures.
    """
    taken = expected_completion_s(5 * DAY_S, 5 * DAY_S, 0.0, DAY_S, 600.0) / DAY_S
    checks.close("days", taken, math.exp(1 / 144) * (math.exp(5) - 1), rtol=1e-12)
    rare = expected_completion_s(100.0, 10.0, 1.0, 1e9, 5.0)
    checks.close("hardly any failure", rare, 110.0, rtol=1e-6)


def check_bad_input_is_refused() -> None:
    """Checkpoints for nothing, failures without end and intervals beyond the work name the
    argument."""
    checks.raises("δ = 0", young_interval_s, 0.0, 1.0, match="checkpoint_s must be positive")
    checks.raises("M = ∞", young_interval_s, 1.0, math.inf, match="failure_gap_s must be positive")
    checks.raises("NaN", best_interval_s, math.nan, 1.0, match="checkpoint_s must be positive")
    checks.raises("τ > T", expected_completion_s, 1.0, 2.0, 0.1, 1.0, match="interval_s must be in")
    told = "restart_s must"
    checks.raises("R", expected_completion_s, 1.0, 1.0, 0.1, 1.0, -1.0, match=told)
