"""A window cuts sojourns at its edge, and the error of λW is half the mean squared sojourn over it.

In a load test that starts empty and is cut off at T, the requests still inside have spent λE[W²]/2
request-seconds there and will spend as much again (L = λW with each request weighted by its age,
whose integral is W²/2). Counted on whole sojourns λW overshoots the window's own L by λE[W²]/(2T),
counted on completed requests it falls short by as much: relative to L, (1 + C²)W/(2T) either way.

Assumes: Poisson arrivals or any others that have settled by T; the box need not be a queue.

Source: the edge effect of Kim and Whitt (2013); the closed form from H = λG, Brumelle (1971) and
Heyman and Stidham (1980), derived on the page.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.littles_law.littles_law import WindowAverages, window_averages
from serving_mathematics.core.queues.queue_simulator import MeanEstimate, fifo_waits, gamma_times
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import STUDENT_T_975
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_finite,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

REPLICATIONS = 200  # independent runs behind every interval of this module


def edge_error(mean_sojourn_s: float, sojourn_scv: float, window_s: float) -> float:
    """Relative error of λW at the end of a window of length T, (1 + C²)·W/(2T).

    mean_sojourn_s: W [s]. sojourn_scv: C², variance of the sojourns over W². window_s: T [s].
    Whole sojourns overestimate by it, completed ones underestimate; both when T is several times W.
    Raises ValueError unless W and T are positive and C² is non-negative.

    >>> edge_error(mean_sojourn_s=5.0, sojourn_scv=1.0, window_s=100.0)
    0.05
    """
    mean_sojourn_s = require_positive(mean_sojourn_s=mean_sojourn_s)
    sojourn_scv = require_non_negative(sojourn_scv=sojourn_scv)
    window_s = require_positive(window_s=window_s)
    return (1 + sojourn_scv) * mean_sojourn_s / (2 * window_s)


def window_for_error(mean_sojourn_s: float, sojourn_scv: float, relative_error: float) -> float:
    """Length of the window whose edge error is the one allowed, (1 + C²)·W/(2ε) [s].

    relative_error: ε in (0, 1). Other arguments and errors as for `edge_error`.

    >>> window_for_error(mean_sojourn_s=5.0, sojourn_scv=1.0, relative_error=0.01)
    500.0
    """
    relative_error = require_in("(0, 1)", relative_error=relative_error)
    return edge_error(mean_sojourn_s, sojourn_scv, relative_error)


def simulate_requests(
    rng: np.random.Generator, utilization: float, window_s: float, *, servers: int = 1
) -> tuple[FloatArray, FloatArray]:
    """Arrivals and departures of REPLICATIONS independent M/M/c queues that start empty.

    utilization: ρ in (0, 1). window_s: time to cover, in mean service times. servers: c.
    Returns two arrays of shape (REPLICATIONS, n), n far enough above the mean count that every run
    arrives beyond the window. Raises ValueError outside these ranges.
    """
    utilization = require_in("(0, 1)", utilization=utilization)
    window_s = require_positive(window_s=window_s)
    servers = require_positive_integer(servers=servers)
    rate = utilization * servers
    asked = REPLICATIONS * (rate * window_s + 20) * (1 + servers / 20)
    require_work(asked, window_s=window_s, servers=servers)
    size = (REPLICATIONS, int(rate * window_s + 8 * math.sqrt(rate * window_s)) + 20)
    arrivals = np.cumsum(gamma_times(rng, 1 / rate, 1.0, size), axis=1)
    services = gamma_times(rng, 1.0, 1.0, size)
    return arrivals, arrivals + fifo_waits(arrivals, services, servers) + services


def mean_over_replications(values: npt.ArrayLike) -> MeanEstimate:
    """Mean of REPLICATIONS independent values with its standard error and 95% confidence interval.

    values: one number per replication, shape (REPLICATIONS,). Raises ValueError on another shape or
    on values that are not finite.

    >>> mean_over_replications([1.0, 3.0] * 100).mean
    2.0
    """
    numbers = as_floats(values=values)
    require(numbers.shape == (REPLICATIONS,), "values", f"{REPLICATIONS} numbers", numbers.shape)
    require_all_finite(values=numbers)
    error = float(numbers.std(ddof=1)) / math.sqrt(REPLICATIONS)
    return MeanEstimate(float(numbers.mean()), error, STUDENT_T_975[199] * error)


RHO = 0.8  # utilization of the simulated queue: L = ρ/(1−ρ) = 4, W = 5 service times, C² = 1
WINDOWS = (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)  # window lengths [service times]


@functools.cache
def _windows(seed: int) -> list[WindowAverages]:
    """The window's averages of the same replications, for each of WINDOWS."""
    arrivals, departures = simulate_requests(np.random.default_rng(seed), RHO, max(WINDOWS))
    came = [int((arrivals.min(axis=0) < window).sum()) for window in WINDOWS]  # in any replication
    return [
        window_averages(arrivals[:, :count], departures[:, :count], 0.0, window)
        for window, count in zip(WINDOWS, came, strict=True)
    ]


def example() -> SimpleNamespace:
    """Numbers quoted in the text: M/M/1 at ρ = 0.8, where W = 5 and C² = 1, in service times."""
    windows = dict(zip(WINDOWS, _windows(22), strict=True))
    short, long = windows[100], mean_over_replications(windows[5000].truncated)
    full, truncated, completed = (
        mean_over_replications(values) for values in (short.full, short.truncated, short.completed)
    )
    return SimpleNamespace(
        edge_percent_at_20w=100 * edge_error(5.0, 1.0, 20 * 5.0),
        edge_percent_at_100w=100 * edge_error(5.0, 1.0, 100 * 5.0),
        window_for_1_percent_w=window_for_error(1.0, 1.0, 0.01),
        heavy_window_for_1_percent_w=window_for_error(1.0, 9.0, 0.01),
        chat_window_for_1_percent_min=window_for_error(8.0, 1.0, 0.01) / 60,
        full_at_100=full.mean,
        full_at_100_ci=full.half_width,
        truncated_at_100=truncated.mean,
        truncated_at_100_ci=truncated.half_width,
        completed_at_100=completed.mean,
        completed_at_100_ci=completed.half_width,
        truncated_at_5000=long.mean,
        truncated_at_5000_ci=long.half_width,
        warm_up_deficit=RHO / (1 - RHO) ** 3,
        edge_deficit=RHO * 2 * 5.0**2 / 2,
    )


def figure_window_convergence(figure: Figure) -> None:
    """Whole sojourns count too much, completed ones too little, and both errors die as one over T.

    Above: 200 simulated load tests of an M/M/1 at ρ = 0.8 that start empty, mean estimate with 95%
    confidence intervals; cut sojourns give what was really in flight, and even that stays below its
    long-run value of 4 until the warm-up is diluted. Below: the distance from what was in flight,
    relative to it, against (1 + C²)W/(2T).

    Alt: Two charts over window length from 5 to 5000 service times, logarithmic. Above, three
    curves with error bars rise from near zero to 4: whole sojourns highest, cut sojourns in the
    middle, completed sojourns lowest; they merge beyond 1000. Below, on logarithmic axes, the
    relative errors of the outer two fall along a straight dashed line from about 0.4 at 10 to 0.001
    at 5000.
    """
    figure.set_size_inches(5.8, 5.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    windows = _windows(22)
    for name, text, colour, shift in (
        ("full", "whole sojourns", "C1", 1.06),
        ("truncated", "cut at the window: in flight", "C0", 1.0),
        ("completed", "completed only", "C2", 1 / 1.06),
    ):
        runs = [mean_over_replications(getattr(window, name)) for window in windows]
        means, bars = [run.mean for run in runs], [run.half_width for run in runs]
        above.errorbar(np.multiply(WINDOWS, shift), means, bars, fmt="o-", color=colour, label=text)
    for name, sign, colour in (("full", 1, "C1"), ("completed", -1, "C2")):
        off = [
            sign * np.mean(getattr(w, name) - w.truncated) / np.mean(w.truncated) for w in windows
        ]
        below.loglog(WINDOWS, off, "o", color=colour)
    below.loglog(WINDOWS, [edge_error(5.0, 1.0, w) for w in WINDOWS], "--", color="C4")
    below.annotate("(1 + C²)W/(2T)", (330, 0.022), color="C4", ha="left")
    above.axhline(RHO / (1 - RHO), color="C4", linestyle=":", linewidth=1.4)
    above.annotate("long run: 4", (5, 4.06), color="C4", ha="left", va="bottom")
    above.legend(loc="lower right")
    above.set(ylim=(0, 4.6), ylabel="λW [requests]")
    below.set(ylabel="relative error [1]")
    for axes in (above, below):
        axes.set_xlabel("window length T [service times]")
        axes.minorticks_off()
    above.xaxis.label.set_visible(False)  # the axis is shared and labelled below


def check_edge_error_is_half_the_squared_sojourn() -> None:
    """At the end of a load test, those inside have spent λE[W²]/2 and have as much before them.

    Source: H = λG with the age of each request as its weight; M/M/1 at ρ = 0.8 has exponential
    sojourns of mean 5, so λE[W²]/2 = 0.8 × 50/2 = 20. Each of 200 replications is cut off at five
    moments between 500 and 1,500 service times and its five values averaged.
    """
    arrivals, departures = simulate_requests(np.random.default_rng(4), RHO, 1500.0)
    ends = (500.0, 750.0, 1000.0, 1250.0, 1500.0)
    logs = [window_averages(arrivals, departures, 0.0, end) for end in ends]
    to_come = [(log.full - log.truncated) * end for log, end in zip(logs, ends, strict=True)]
    spent = [(log.truncated - log.completed) * end for log, end in zip(logs, ends, strict=True)]
    checks.covers(
        "still to be spent [request·service times]",
        mean_over_replications(np.mean(to_come, axis=0)),
        20.0,
    )
    checks.covers("already spent", mean_over_replications(np.mean(spent, axis=0)), 20.0)
    checks.close("the same as a relative error", edge_error(5.0, 1.0, 1500.0) * 4 * 1500, 20.0)


def check_edge_error_with_four_servers() -> None:
    """The edge error needs no single server: an M/M/4 loses λE[W²]/2 too.

    Source: 200 replications of an M/M/4 at ρ = 0.8; E[W²] is measured on the sojourns of the later
    half of the same runs, so the comparison is of paired differences.
    """
    arrivals, departures = simulate_requests(np.random.default_rng(6), RHO, 400.0, servers=4)
    log = window_averages(arrivals, departures, 0.0, 300.0)
    settled = (arrivals > 100) & (arrivals < 400)
    squares = np.where(settled, (departures - arrivals) ** 2, 0.0).sum(axis=1) / 300
    gap = mean_over_replications((log.full - log.truncated) * 300 - squares / 2)
    checks.covers("still to be spent − λE[W²]/2", gap, 0.0)


def check_warm_up_is_not_an_edge_error() -> None:
    """From an empty start the window's own L lacks ρ/(1−ρ)³ request-service times of the long run.

    Source: Poisson's equation of the birth–death chain, solved on its first 300 states; at ρ = 0.8
    the deficit is 100, five times the edge error.
    """
    states = np.arange(300)
    steps = np.diag(np.full(299, RHO), 1) + np.diag(np.ones(299), -1)
    generator = steps - np.diag(steps.sum(axis=1))
    stationary = (1 - RHO) * RHO**states
    excess = states - stationary @ states
    deficit = np.linalg.solve(generator - np.outer(np.ones(300), stationary), excess)[0]
    checks.close("deficit at ρ = 0.8", RHO / (1 - RHO) ** 3, deficit, rtol=1e-9)


def check_window_for_error_inverts() -> None:
    """For one percent with exponential sojourns the window must hold a hundred of them.

    Source: (1 + 1)/(2 × 0.01) = 100, and the inversion of the edge error.
    """
    checks.close("window over W", window_for_error(1.0, 1.0, 0.01), 100.0, rtol=1e-15)
    window = window_for_error(3.0, 2.5, 0.004)
    checks.close("error at that window", edge_error(3.0, 2.5, window), 0.004, rtol=1e-14)


def check_bad_input_is_refused() -> None:
    """Windows without length, negative variability, saturated queues and lost runs are errors."""
    checks.raises("T = 0", edge_error, 5.0, 1.0, 0.0, match="window_s must be positive and finite")
    checks.raises(
        "C² = −1", edge_error, 5.0, -1.0, 9.0, match="sojourn_scv must be non-negative and finite"
    )
    checks.raises("ε = NaN", window_for_error, 5.0, 1.0, math.nan, match="relative_error must be")
    checks.raises(
        "ρ = 1",
        simulate_requests,
        np.random.default_rng(0),
        1.0,
        10.0,
        match="utilization must be in (0, 1)",
    )
    checks.raises(
        "one run", mean_over_replications, [1.0], match=f"values must be {REPLICATIONS} numbers"
    )
