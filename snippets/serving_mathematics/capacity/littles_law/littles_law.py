"""The mean number inside any box is the rate of arrivals times the mean time inside: L = λW.

Request i is inside during [A_i, D_i), so the number inside is N(t) = Σ 1{A_i ≤ t < D_i}. Summed
over time, the area under N(t) is L·T; summed over requests, it is n·W; with λ = n/T the two sums of
one area are the law. In a window [s, e) the law is exact when every request counts with the time
that it spends inside the window, (min(D_i, e) − max(A_i, s))⁺.

Assumes: nothing but a box whose entries and exits are both seen. In the limit of a long window:
that λ and W exist.

Source: Little (1961); Stidham (1974) for the proof on one sample path; Kim and Whitt (2013) for
finite windows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_finite,
    require_finite,
    require_non_negative,
    require_positive,
    require_shape,
)

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WindowAverages:
    """What a log shows of a window, as mean numbers in flight; arrays when it has replications."""

    in_flight: FloatArray  # the area under N(t) over the window length: the truth about the window
    truncated: FloatArray  # λW over the arrivals in the window, each cut off at its end
    full: FloatArray  # λW over the same arrivals with the whole of their sojourns
    completed: FloatArray  # XW over those of them that also left within the window


def mean_in_flight(arrival_rate: float, mean_sojourn_s: float) -> float:
    """Mean number of requests inside a box, L = λW.

    arrival_rate: λ, requests that enter the box [1/s]. mean_sojourn_s: W, mean time that they spend
    in it [s]. Raises ValueError on a negative or infinite argument.

    >>> mean_in_flight(arrival_rate=20.0, mean_sojourn_s=1.5)
    30.0
    """
    arrival_rate, mean_sojourn_s = require_non_negative(
        arrival_rate=arrival_rate, mean_sojourn_s=mean_sojourn_s
    )
    return arrival_rate * mean_sojourn_s


def number_in_system(
    arrival_times: npt.ArrayLike, departure_times: npt.ArrayLike, at: npt.ArrayLike
) -> npt.NDArray[np.int64]:
    """Number of requests inside at each of many instants, N(t) = #{A_i ≤ t} − #{D_i ≤ t}.

    arrival_times, departure_times: A_i and D_i ≥ A_i [s], shape (n,), in any order; math.inf for a
    request that has not left. at: instants t [s], any shape. Two binary searches per instant, so a
    million requests on a grid take milliseconds. Returns counts in the shape of `at`. Raises
    ValueError on mismatched shapes, a departure before its arrival, or NaN.

    >>> number_in_system([0, 1, 2, 3], [4, 5, 6, 9], at=[0.0, 3.5, 4.0, 9.0]).tolist()
    [1, 4, 3, 0]
    """
    arrivals, departures = _sojourns(arrival_times, departure_times)
    require(arrivals.ndim == 1, "arrival_times", "of shape (n,)", arrivals.shape)
    instants = as_floats(at=at)
    require(not np.any(np.isnan(instants)), "at", "free of NaN", instants)
    entered = np.searchsorted(np.sort(arrivals), instants, side="right")
    left = np.searchsorted(np.sort(departures), instants, side="right")
    return np.asarray(entered - left, dtype=np.int64)


def time_in_window(
    arrival_times: npt.ArrayLike, departure_times: npt.ArrayLike, start_s: float, end_s: float
) -> FloatArray:
    """Time that each request spends inside both the box and the window, (min(D, e) − max(A, s))⁺
    [s].

    arrival_times, departure_times: as for `number_in_system`, or (r, n) for r replications. Returns
    the same shape; the sum over requests is the area under N(t). Raises ValueError as
    `number_in_system`, and when the window is empty.

    >>> time_in_window([0, 1, 2, 3], [4, 5, 6, 9], start_s=0.0, end_s=6.0).tolist()
    [4.0, 4.0, 4.0, 3.0]
    """
    start_s, end_s = as_number(start_s=start_s, end_s=end_s)
    arrivals, departures = _sojourns(arrival_times, departure_times)
    require_finite(start_s=start_s)
    require(start_s < end_s < math.inf, "end_s", f"finite and above {start_s}", end_s)
    inside = np.minimum(departures, end_s) - np.maximum(arrivals, start_s)
    return np.asarray(np.maximum(inside, 0.0))


def window_averages(
    arrival_times: npt.ArrayLike, departure_times: npt.ArrayLike, start_s: float, end_s: float
) -> WindowAverages:
    """What happened in a window, and the three values of λW that a log of it can give.

    arrival_times, departure_times: as for `time_in_window`. A request belongs to the window when it
    arrived in [s, e). Returns means per replication, or 0-d arrays for one path: completed ≤
    truncated ≤ full, in_flight exceeds truncated by what was already inside when the window opened,
    and all of them agree when the box is empty at both ends. Raises ValueError as `time_in_window`.

    >>> log = window_averages([0, 1, 2, 3], [4, 5, 6, 9], start_s=0.0, end_s=6.0)
    >>> float(log.in_flight), float(log.truncated), float(log.full), float(log.completed)
    (2.5, 2.5, 3.0, 2.0)
    """
    start_s, end_s = as_number(start_s=start_s, end_s=end_s)
    arrivals, departures = _sojourns(arrival_times, departure_times)
    inside = time_in_window(arrivals, departures, start_s, end_s)
    length = end_s - start_s
    arrived = (arrivals >= start_s) & (arrivals < end_s)
    left = arrived & (departures <= end_s)
    return WindowAverages(
        in_flight=inside.sum(axis=-1) / length,
        truncated=np.where(arrived, inside, 0.0).sum(axis=-1) / length,
        full=(departures - arrivals).sum(axis=-1, where=arrived) / length,
        completed=np.where(left, inside, 0.0).sum(axis=-1) / length,
    )


def _sojourns(
    arrival_times: npt.ArrayLike, departure_times: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Both times as arrays of one shape, refused unless each request leaves after it came."""
    arrivals = as_floats(arrival_times=arrival_times)
    departures = as_floats(departure_times=departure_times)
    require(
        arrivals.ndim in (1, 2) and arrivals.size > 0,
        "arrival_times",
        "a non-empty (n,) or (r, n) array",
        arrivals.shape,
    )
    require_shape(arrivals.shape, departure_times=departures)
    require_all_finite(arrival_times=arrivals)
    require(departures >= arrivals, "departure_times", "at or after arrival", departures)
    return arrivals, departures


def edge_error(mean_sojourn_s: float, sojourn_scv: float, window_s: float) -> float:
    """Relative error of λW at the end of a window of length T, (1 + C²)·W/(2T).

    mean_sojourn_s: W [s]. sojourn_scv: C², variance of the sojourns over W². window_s: T [s]. Of a
    test that starts empty: whole sojourns overestimate by it, completed ones underestimate, where T
    is several times W. Raises ValueError unless W and T are positive and C² is non-negative.

    >>> edge_error(mean_sojourn_s=5.0, sojourn_scv=1.0, window_s=100.0)
    0.05
    """
    mean_sojourn_s, window_s = require_positive(mean_sojourn_s=mean_sojourn_s, window_s=window_s)
    sojourn_scv = require_non_negative(sojourn_scv=sojourn_scv)
    return (1 + sojourn_scv) * mean_sojourn_s / (2 * window_s)


def example() -> SimpleNamespace:
    """Numbers quoted in the text: a service at 20 requests a second, and a window's edge."""
    return SimpleNamespace(
        service_in_flight=mean_in_flight(18.0, 5.0),
        edge_percent_at_20w=100 * edge_error(1.0, 1.0, 20.0),
    )


def check_twenty_per_second() -> None:
    """Twenty requests per second that take 1.5 s each keep 30 in flight.

    Source: 20 × 1.5, and a regular stream counted: arrivals every 0.05 s, each 1.5 s long.
    """
    arrivals = np.arange(0, 60, 0.05)
    counted = number_in_system(arrivals, arrivals + 1.5, [10.01, 20.02, 30.03])
    checks.close("λW", mean_in_flight(20.0, 1.5), 30.0)
    checks.close("in flight at three instants", counted, [30, 30, 30])


def check_both_sums_agree() -> None:
    """On any log and any window, the area under N(t) is the sum of the times that requests spend in
    the window.

    Source: the sum over time (levels of N) against the sum over requests, on random logs in random
    order.
    """
    rng = np.random.default_rng(7)
    arrivals = rng.uniform(0, 50, 400)
    departures = arrivals + rng.pareto(1.5, 400)  # some are still inside long after the window
    times = np.concatenate((arrivals, departures))
    for start, end in ((0.0, 50.0), (12.3, 12.9), (30.0, 80.0)):
        edges = np.unique(np.clip(times, start, end))
        by_time = float(number_in_system(arrivals, departures, edges[:-1]) @ np.diff(edges))
        by_request = time_in_window(arrivals, departures, start, end).sum()
        checks.close(f"area in [{start}, {end})", by_time, by_request, rtol=1e-12)


def check_edge_of_a_test_from_empty() -> None:
    """In tests of an engine that start empty, the end makes λW too high with whole stays and too
    low with completed ones, by as much as the formula says.

    Source: 60 tests of the book's chat machine at 60% load, cut at twelve mean sojourns; three
    standard errors. C² is that of the same sojourns.
    """
    rate = 0.6 * CHAT.ceiling_per_s
    run = run_engine(CHAT, rate, 30_000, np.random.default_rng(8))
    stays = (run.completion_s - run.arrival_s)[5_000:]
    mean, scv = float(stays.mean()), float(stays.var() / stays.mean() ** 2)
    length, over, under = 12 * mean, [], []
    for number in range(60):
        rng = np.random.default_rng([8, number])
        test = run_engine(CHAT, rate, round(1.6 * rate * length), rng)
        seen = window_averages(test.arrival_s, test.completion_s, 0.0, length)
        over.append(float(seen.full - seen.truncated))
        under.append(float(seen.truncated - seen.completed))
    expected = edge_error(mean, scv, length) * rate * mean
    for label, found in (("whole sojourns", over), ("completed ones", under)):
        error = 3 * float(np.std(found, ddof=1)) / math.sqrt(len(found))
        checks.close(label, float(np.mean(found)), expected, atol=error, kind="simulation")
