"""Saving progress costs time, and so does repeating what was not saved: the best interval between
checkpoints is about √(2δM).

A stretch of work τ and its checkpoint δ must pass without a failure. With failures at random
moments, M apart on average, and R to restart, a stretch takes M·e^{R/M}(e^{(τ+δ)/M} − 1) on
average, so that work T takes

    T·M·e^{R/M}(e^{(τ+δ)/M} − 1)/τ,

least where 1 − τ/M = e^{−(τ+δ)/M}. Young's √(2δM) and Daly's series are the solution for δ ≪ M.

Assumes: failures are a Poisson process, which also strikes during checkpoints and restarts; all
unsaved work is lost; the last stretch ends with a checkpoint too.

Source: Young (1974); Daly (2006), whose three published optima are checked; the mean is derived on
the page.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_non_negative,
    require_positive,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIN_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
CHECKPOINT_S = 5 * MIN_S  # δ of the worked numbers
RESTART_S = 10 * MIN_S  # R of the worked numbers
WORK_S = 20 * DAY_S  # T of the worked numbers
MOST_FAILURES = 100_000  # in a simulated run


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


def daly_interval_s(checkpoint_s: float, failure_gap_s: float) -> float:
    """Daly's interval √(2δM)·(1 + √ξ/3 + ξ/9) − δ with ξ = δ/2M [s], and M where δ ≥ 2M.

    Arguments and errors as for `young_interval_s`. Source: Daly (2006).

    >>> round(daly_interval_s(checkpoint_s=5 * 60, failure_gap_s=24 * 3600) / 60, 1)
    116.7
    """
    checkpoint_s, failure_gap_s = require_positive(
        checkpoint_s=checkpoint_s, failure_gap_s=failure_gap_s
    )
    share = checkpoint_s / (2 * failure_gap_s)
    if share >= 1:
        return failure_gap_s
    series = 1 + math.sqrt(share) / 3 + share / 9
    return math.sqrt(2 * checkpoint_s * failure_gap_s) * series - checkpoint_s


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


def simulate_completion(
    rng: np.random.Generator,
    work_s: float,
    interval_s: float,
    checkpoint_s: float,
    failure_gap_s: float,
    restart_s: float = 0.0,
    *,
    shape: float = 1.0,
    runs: int = 400,
) -> MeanEstimate:
    """Mean time to finish, played through many times, with the standard error of independent runs
    [s].

    Arguments as for `expected_completion_s`. shape: of the Weibull gaps between failures, whose
    mean stays M; 1 is exponential, below 1 failures come in clusters. Each gap is drawn when the
    last failure strikes and runs on through work, checkpoints and restarts. runs: at least 10.
    Raises ValueError outside these ranges, and where MOST_FAILURES are to be expected and more.
    """
    failure_gap_s, runs = as_number(failure_gap_s=failure_gap_s, runs=runs)
    shape = require_positive(shape=shape)
    require(shape >= 0.01, "shape", "at least 0.01", shape)  # then the gaps have a mean
    require(runs % 1 == 0 and runs >= 10, "runs", "an integer of at least 10", runs)
    require_work(runs, runs=runs)
    whole = expected_completion_s(work_s, interval_s, checkpoint_s, failure_gap_s, restart_s)
    fewer = f"such that fewer than {MOST_FAILURES} failures are to be expected"
    require(whole / failure_gap_s < MOST_FAILURES, "failure_gap_s", fewer, failure_gap_s)
    scale = failure_gap_s / math.gamma(1 + 1 / shape)
    done, clock = np.zeros(runs), np.zeros(runs)
    owed = np.zeros(runs)  # of a restart that was not completed
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


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    best = best_interval_s(CHECKPOINT_S, DAY_S)

    def loss(interval_s: float, gap_s: float = DAY_S) -> float:
        taken = expected_completion_s(WORK_S, interval_s, CHECKPOINT_S, gap_s, RESTART_S)
        return 100 * (taken / WORK_S - 1)

    def excess(interval_s: float) -> float:
        return loss(interval_s) - loss(best)

    clustered = simulate_completion(
        np.random.default_rng(2), WORK_S, best, CHECKPOINT_S, DAY_S, RESTART_S, shape=0.6
    )
    return SimpleNamespace(
        young_min=young_interval_s(CHECKPOINT_S, DAY_S) / MIN_S,
        daly_min=daly_interval_s(CHECKPOINT_S, DAY_S) / MIN_S,
        best_min=best / MIN_S,
        hostile_young_min=young_interval_s(CHECKPOINT_S, HOUR_S / 4) / MIN_S,
        hostile_daly_min=daly_interval_s(CHECKPOINT_S, HOUR_S / 4) / MIN_S,
        hostile_best_min=best_interval_s(CHECKPOINT_S, HOUR_S / 4) / MIN_S,
        overhead_percent=loss(best),
        young_excess_percent=excess(young_interval_s(CHECKPOINT_S, DAY_S)),
        half_excess_percent=excess(best / 2),
        twice_excess_percent=excess(best * 2),
        rare_percent=loss(DAY_S),
        never_days=expected_completion_s(5 * DAY_S, 5 * DAY_S, 0.0, DAY_S, RESTART_S) / DAY_S,
        shard_young_s=young_interval_s(2.0, DAY_S),
        clustered_percent=100 * (clustered.mean / WORK_S - 1),
    )


def figure_completion(figure: Figure) -> None:
    """Too many checkpoints and too few both cost time; a factor of two either way costs little.

    Twenty days of work, five minutes for a checkpoint, ten to restart. Lines are the exact means,
    points simulated jobs with 95% confidence intervals, crosses Young's intervals.

    Alt: Line chart of the time lost in percent of the work against the checkpoint interval from 8
    minutes to 24 hours on a logarithmic axis. With a failure a day on average the curve falls from
    65% to 10% at two hours and rises to 74% at a day. With a failure every six hours the minimum
    is 22% at one hour, and 100% is passed at seven. Simulated points lie on both lines, Young's
    intervals at both minima.
    """
    rng = np.random.default_rng(31)
    axes = figure.subplots()
    interval = np.geomspace(8 * MIN_S, DAY_S, 80)
    for gap_s, colour, text, place in (
        (DAY_S, "C0", "a failure a day", (2.4, 3.0)),
        (DAY_S / 4, "C1", "every six hours", (0.85, 44.0)),
    ):

        def loss(seconds: float) -> float:
            return 100 * (seconds / WORK_S - 1)

        exact = [
            loss(expected_completion_s(WORK_S, x, CHECKPOINT_S, gap_s, RESTART_S)) for x in interval
        ]
        axes.plot(interval / HOUR_S, exact, color=colour)
        points = []
        for hours in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0):
            run = simulate_completion(
                rng, WORK_S, hours * HOUR_S, CHECKPOINT_S, gap_s, RESTART_S, runs=140
            )
            if loss(run.mean) < 100:
                points.append((hours, loss(run.mean), 100 * run.half_width / WORK_S))
        places, losses, halves = np.array(points).T
        axes.errorbar(places, losses, halves, fmt="o", color=colour, markersize=4)
        young = young_interval_s(CHECKPOINT_S, gap_s)
        there = loss(expected_completion_s(WORK_S, young, CHECKPOINT_S, gap_s, RESTART_S))
        axes.plot(young / HOUR_S, there, "X", color="C5", markersize=9)
        axes.annotate(text, place, color=colour)
    axes.set(xscale="log", ylim=(0, 100), xticks=[0.25, 0.5, 1, 2, 4, 8, 24])
    axes.set_xticklabels(["¼", "½", "1", "2", "4", "8", "24"])
    axes.minorticks_off()
    axes.set(xlabel="work between checkpoints τ [h]", ylabel="time lost [% of the work]")


def check_young() -> None:
    """Five minutes to save and a failure a day: save every two hours.

    Source: by hand √(2 · 5 · 1440) = 120 minutes.
    """
    checks.close("√(2δM) [min]", young_interval_s(300.0, DAY_S) / 60, 120.0)


def check_daly_published() -> None:
    """Daly's interval is 117, 57 and 9.1 minutes for M of 24 hours, 6 hours and 15 minutes.

    Source: Daly (2006), captions of figures 3 to 5, with δ = 5 min and R = 10 min.
    """
    for gap_s, minutes, digits in ((DAY_S, 117, 0.5), (DAY_S / 4, 57, 0.5), (900.0, 9.1, 0.05)):
        got = daly_interval_s(300.0, gap_s) / 60
        checks.close(f"M = {gap_s / 3600:g} h", got, minutes, atol=digits, kind="published")


def check_best_interval() -> None:
    """The exact best interval is where the mean time is least, and Daly's series is within 0.1% of
    it unless a checkpoint takes a third of M.

    Source: the least of the mean times on a grid around it; Lambert's W by Newton's method,
    τ/M = 1 + W(−e^{−1−δ/M}).
    """
    for gap_s in (DAY_S, DAY_S / 4, HOUR_S / 4):
        best = best_interval_s(300.0, gap_s)
        grid = best * np.linspace(0.9, 1.1, 2001)
        taken = np.expm1((grid + 300.0) / gap_s) / grid
        label = f"M = {gap_s / 3600:g} h"
        checks.close(label, best, grid[taken.argmin()], rtol=1.1e-4)
        w = 0.0 - math.exp(-1 - 300.0 / gap_s)
        for _ in range(60):
            w -= (w * math.exp(w) + math.exp(-1 - 300.0 / gap_s)) / (math.exp(w) * (1 + w))
        checks.close(f"{label}, Lambert's W", best, gap_s * (1 + w), rtol=1e-9)
        tolerance = 0.001 if gap_s > HOUR_S else 0.01
        checks.close(f"{label}, Daly", daly_interval_s(300.0, gap_s), best, rtol=tolerance)


def check_simulated_completion() -> None:
    """Simulated jobs take as long as the formula says, also with a short last stretch and with
    failures during restarts.

    Source: 2,000 to 4,000 simulated jobs in which failures strike a clock.
    """
    rng = np.random.default_rng(4)
    for label, arguments in (
        ("a failure a day", (WORK_S, 2 * HOUR_S, CHECKPOINT_S, DAY_S, RESTART_S)),
        ("short last stretch", (10.5, 2.0, 0.3, 6.0, 0.5)),
        ("restarts that fail", (20.0, 5.0, 1.0, 4.0, 3.0)),
    ):
        run = simulate_completion(rng, *arguments, runs=2_000)
        checks.covers(label, run, expected_completion_s(*arguments))


def check_no_checkpoint() -> None:
    """Without checkpoints, five days of work with a failure a day take 148 days.

    Source: M·e^{R/M}(e^{T/M} − 1) by hand with R = 10 min; limits for rare failures.
    """
    taken = expected_completion_s(5 * DAY_S, 5 * DAY_S, 0.0, DAY_S, RESTART_S) / DAY_S
    checks.close("days", taken, math.exp(1 / 144) * (math.exp(5) - 1), rtol=1e-12)
    rare = expected_completion_s(100.0, 10.0, 1.0, 1e9, 5.0)
    checks.close("hardly any failure", rare, 110.0, rtol=1e-6)


def check_bad_input_is_refused() -> None:
    """Checkpoints for nothing, failures without end and intervals beyond the work name the
    argument."""
    checks.raises("δ = 0", young_interval_s, 0.0, 1.0, match="checkpoint_s must be positive")
    checks.raises("M = ∞", daly_interval_s, 1.0, math.inf, match="failure_gap_s must be positive")
    checks.raises("NaN", best_interval_s, math.nan, 1.0, match="checkpoint_s must be positive")
    checks.raises("τ > T", expected_completion_s, 1.0, 2.0, 0.1, 1.0, match="interval_s must be in")
    rng = np.random.default_rng(0)
    checks.raises("R", simulate_completion, rng, 1.0, 1.0, 0.1, 1.0, -1.0, match="restart_s must")
