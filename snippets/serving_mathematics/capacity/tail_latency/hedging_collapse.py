"""Above half load a hedged fleet that is pushed past its tipping point stays there, and a small
fleet goes by itself.

With losers that run to their end, a fleet in which every request is hedged carries 2ρ. For ρ > 1/2
that is more than it can serve, so once most requests are late they stay late: the settled state of
`hedging_under_load` is only metastable. An outage pushes the fleet over, and in a small fleet
chance does. A budget of second copies, b per request, bounds the load at ρ(1 + b) < 1 and takes the
second state away.

Assumes: the model of `hedging_simulator`; an outage leaves the same work in front of every server
at time 0.

Source: Bronson and others (2021) for metastable failures; Finagle (2016), whose budget for retries
is the one used here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.tail_latency.hedging_simulator import (
    hedged_responses,
    poisson_workload,
)
from serving_mathematics.capacity.tail_latency.hedging_under_load import hedged_load, tipping_load
from serving_mathematics.core.queues.shares import NORMAL_975, Share, wilson_interval
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import STUDENT_T_975
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_shape,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

RHO = 0.6  # load of the worked example, first copies alone [1]
P95 = math.log(20) / (1 - RHO)  # unhedged p95 at that load [mean service times]
WINDOW = 25.0  # requests are averaged over this time before it is asked whether a fleet has tipped
TIMES = tuple(range(50, 601, 50))  # [mean service times]


def mean_response_by_time(
    arrival_times: npt.ArrayLike,
    responses: npt.ArrayLike,
    starts: npt.ArrayLike,
    ends: npt.ArrayLike,
) -> FloatArray:
    """Mean response of the requests that arrived in each time interval [start, end), for every
    fleet.

    arrival_times: sorted, shape (r, n). responses: same shape and unit. starts, ends: shape (k,),
    start below end. Returns means of shape (r, k). Raises ValueError on bad input, and where a
    fleet has no request in an interval.

    >>> arrivals, responses = [[0.0, 1.0, 5.0]], [[2.0, 4.0, 9.0]]
    >>> mean_response_by_time(arrivals, responses, starts=[0.0, 4.0], ends=[4.0, 8.0]).tolist()
    [[3.0, 9.0]]
    """
    arrivals, values = as_floats(arrival_times=arrival_times), as_floats(responses=responses)
    lows, highs = as_floats(starts=starts), as_floats(ends=ends)
    require(
        arrivals.ndim == 2 and np.all(np.diff(arrivals, axis=1) >= 0),
        "arrival_times",
        "sorted rows of shape (r, n)",
        arrivals,
    )
    require_shape(arrivals.shape, responses=values)
    require(
        lows.ndim == 1 and lows.shape == highs.shape and np.all(lows < highs),
        "ends",
        "above the starts, one for each",
        ends,
    )
    total = np.pad(np.cumsum(values, axis=1), ((0, 0), (1, 0)))
    means = np.empty((arrivals.shape[0], lows.size))
    for fleet, row in enumerate(arrivals):
        first, last = np.searchsorted(row, lows), np.searchsorted(row, highs)
        require(np.all(last > first), "starts", "of intervals with requests", starts)
        means[fleet] = (total[fleet, last] - total[fleet, first]) / (last - first)
    return means


def _tipped_shares(
    rng: np.random.Generator,
    settings: Sequence[tuple[float, float]],
    fleet: int,
    replications: int,
    times: FloatArray,
) -> list[list[Share]]:
    """For each setting of utilization and initial load, the share of fleets in which the requests
    of the WINDOW before each time took longer on average than the delay.

    Second copies leave at the unhedged p95; the servers start in the M/M/1 steady state of the
    initial load.
    """
    utilizations, loads = np.array(settings).T
    delays = np.log(20) / (1 - utilizations)
    requests = round(1.05 * utilizations.max() * fleet * times[-1]) + 100
    first, *others = [poisson_workload(rng, u, fleet, requests, replications) for u in utilizations]
    workload = first.beside(*others)
    load = np.repeat(loads, replications)[:, None]
    busy = rng.random((load.size, fleet)) < load
    work = np.where(busy, rng.exponential(1.0, busy.shape) / (1 - load), 0.0)
    delay = np.repeat(delays, replications)
    responses, _ = hedged_responses(workload, delay, initial_work=work)
    means = mean_response_by_time(workload.arrivals, responses, times - WINDOW, times)
    return [
        [wilson_interval(int(late), replications) for late in tipped.sum(axis=0)]
        for tipped in np.split(means > delay[:, None], len(settings))
    ]


@functools.cache
def _recoveries() -> dict[str, tuple[FloatArray, FloatArray]]:
    """Mean response and standard error, in bins of ten service times, of three policies after the
    outage.

    The same arrivals to 24 fleets of 20 servers; the outage leaves 15 service times of work in
    front of every server.
    """
    fleets, edges = 24, np.linspace(0, 240, 25)
    requests = round(1.1 * RHO * 20 * edges[-1])
    workload = poisson_workload(np.random.default_rng(71), RHO, 20, requests, fleets)
    responses, _ = hedged_responses(
        workload.beside(workload, workload),
        np.repeat([math.inf, P95, P95], fleets),
        budget=np.repeat([math.inf, math.inf, 0.05], fleets),
        initial_work=15.0,
    )
    found = {}
    for name, some in zip(("none", "fixed", "budget"), np.split(responses, 3), strict=True):
        means = mean_response_by_time(workload.arrivals, some, edges[:-1], edges[1:])
        found[name] = means.mean(axis=0), means.std(axis=0, ddof=1) / math.sqrt(fleets)
    return found


@functools.cache
def _tipped_by_time() -> dict[float, list[Share]]:
    """Share of tipped ten-server fleets by load, at TIMES after a start in the unhedged steady
    state.
    """
    rng, loads = np.random.default_rng(72), (0.6, 0.65, 0.7)
    settings = [(rho, rho) for rho in loads]
    shares = _tipped_shares(rng, settings, 10, 64, np.array(TIMES, dtype=float))
    return dict(zip(loads, shares, strict=True))


def example() -> SimpleNamespace:
    """The numbers quoted in the text on collapse."""
    ends = {name: means for name, (means, _) in _recoveries().items()}
    pm = {name: STUDENT_T_975[23] * errors for name, (_, errors) in _recoveries().items()}
    at_60, at_70 = (_tipped_by_time()[rho][-1] for rho in (0.6, 0.7))
    return SimpleNamespace(
        outage_none_end=float(ends["none"][-1]),
        outage_none_end_pm=float(pm["none"][-1]),  # half of the 95% interval over the fleets
        outage_fixed_end=float(ends["fixed"][-1]),
        outage_fixed_end_pm=float(pm["fixed"][-1]),
        outage_budget_end=float(ends["budget"][-1]),
        outage_budget_end_pm=float(pm["budget"][-1]),
        outage_budget_60=float(ends["budget"][6]),
        outage_budget_60_pm=float(pm["budget"][6]),
        outage_none_60=float(ends["none"][6]),
        outage_none_60_pm=float(pm["none"][6]),
        tipped_at_60=100 * at_60.share,
        tipped_at_60_low=100 * at_60.low,
        tipped_at_60_high=100 * at_60.high,
        tipped_at_70=100 * at_70.share,
        tipped_at_70_low=100 * at_70.low,
        tipped_at_70_high=100 * at_70.high,
        budget_limit=100 / 1.05,
    )


def figure_outage(figure: Figure) -> None:
    """After the same outage a hedged fleet never comes back, and a fleet with a hedge budget does.

    Mean response by time of arrival after every server stood still for 15 service times, at 60%
    load; 24 fleets of 20 servers, bands are 95% confidence intervals. Second copies leave at the
    unhedged p95; the budget allows 5%.

    Alt: Line chart of mean response over 240 service times after an outage. All lines start near
    14. Without hedging and with a budget the response falls to 3 within 60 service times; with
    unlimited hedging it rises steadily to about 45.
    """
    axes = figure.subplots()
    times = np.linspace(5, 235, 24)
    for name, label, place, colour in (
        ("fixed", "second copy at the p95", (128, 33), "C3"),
        ("budget", "the same, at most 5% of requests", (60, 7.5), "C2"),
        ("none", "no second copy", (24, -0.2), "C4"),
    ):
        means, errors = _recoveries()[name]
        axes.plot(times, means, color=colour)
        low, high = means - 1.96 * errors, means + 1.96 * errors
        axes.fill_between(times, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.annotate(label, place, color=colour, ha="right" if name == "fixed" else "left")
    axes.set(
        xlim=(0, 240),
        ylim=(-2, 50),
        xlabel="time since the outage [mean service times]",
        ylabel="mean response\n[mean service times]",
    )


def figure_tipped_fleets(figure: Figure) -> None:
    """Ten servers tip over by chance at loads where a large fleet stays settled.

    Share of 64 fleets of ten servers that have tipped, by time since a start in the unhedged steady
    state; second copies at the unhedged p95, bands are 95% Wilson intervals. A large fleet has a
    steady state at all three loads.

    Alt: Line chart of the share of tipped fleets against time from 0 to 600 service times, for
    loads of 60, 65 and 70 percent. At 60 percent it stays within a few percent of 0. The others
    rise, the higher the load the faster, to about 30 percent at 70 percent load.
    """
    axes = figure.subplots()
    for (rho, shares), colour in zip(_tipped_by_time().items(), ("C0", "C1", "C3"), strict=True):
        axes.plot([0, *TIMES], [0, *(100 * s.share for s in shares)], color=colour)
        low, high = ([100 * getattr(s, end) for s in shares] for end in ("low", "high"))
        axes.fill_between(TIMES, low, high, color=colour, alpha=0.15, linewidth=0)
        height = max(100 * shares[-1].share, 1.0)  # above the axis
        axes.annotate(f"{rho:.0%} load", (605, height), color=colour, va="center")
    axes.set(
        xlim=(0, 700),
        ylim=(0, 50),
        xlabel="time since the start [mean service times]",
        ylabel="fleets tipped over [%]",
    )


def check_tipping_load_by_simulation() -> None:
    """Fleets of 50 servers at 60% load that start below the tipping load of 91% return, and above
    it they do not.

    Source: the unstable solution of the fixed point, bracketed by simulated fleets that start at
    85% and at 97%.
    """
    checks.close("tipping load", tipping_load(RHO, P95), 0.9132, atol=5e-5)
    rng, settings = np.random.default_rng(73), [(RHO, 0.85), (RHO, 0.97)]
    below, above = _tipped_shares(rng, settings, 50, 16, np.array([40.0]))
    checks.close("tipped from 85%", below[0].share, 0.0, kind="simulation")
    checks.close("tipped from 97%", above[0].share, 1.0, kind="simulation")


def check_hedging_sustains_an_outage() -> None:
    """An outage of 15 service times at 60% load is over after 240 without hedging and with a 5%
    budget, not with hedging.

    Source: 24 simulated fleets of 20 servers; the steady M/M/1 mean of 2.5, reached without
    hedging.
    """
    ends = {name: (means[-1], errors[-1]) for name, (means, errors) in _recoveries().items()}
    mean, error = ends["none"]
    checks.inside("no hedging", mean, 2.5 - 3 * error, 2.5 + 3 * error)
    mean, error = ends["budget"]
    checks.holds(
        "budget: back below 4",
        mean + 3 * error < 4,
        got=f"{mean:.2f} ± {error:.2f}",
        kind="simulation",
    )
    mean, error = ends["fixed"]
    start = _recoveries()["fixed"][0][0]
    checks.holds(
        "hedged: above its start",
        mean - 3 * error > start,
        got=f"{mean:.1f} > {start:.1f}",
        kind="simulation",
    )


def check_small_fleets_tip_by_chance() -> None:
    """At 70% load, where a large fleet is settled, ten servers tip within 600 service times in a
    good part of the cases.

    Source: 64 simulated fleets, lower end of the 95% interval; at 60% load fewer.
    """
    settled = hedged_load(0.7, math.log(20) / 0.3)
    checks.inside("large fleet: settled load", settled, 0.7, 0.8, kind="identity")
    at_70, at_60 = _tipped_by_time()[0.7][-1], _tipped_by_time()[0.6][-1]
    checks.inside("share tipped at 70%, lower end", at_70.low, 0.1, 1.0)
    checks.holds(
        "more than at 60%",
        at_70.low > at_60.high,
        got=f"{at_70.low:.2f} > {at_60.high:.2f}",
        kind="simulation",
    )


def check_wilson_interval() -> None:
    """The interval's ends are the shares at which the count is 1.96 standard errors away.

    Source: the quadratic (k/n − p)² = z²p(1−p)/n evaluated at both ends.
    """
    for successes, trials in ((3, 24), (17, 100), (99, 100)):
        interval = wilson_interval(successes, trials)
        for end in (interval.low, interval.high):
            distance = (successes / trials - end) ** 2 * trials / (end * (1 - end))
            checks.close(f"z² at {end:.3f}", distance, NORMAL_975**2, rtol=1e-9)


def check_bad_input_is_refused() -> None:
    """Counts above the trials, intervals that run backwards and empty intervals are errors."""
    checks.raises("5 of 4", wilson_interval, 5, 4, match="successes must be an integer from 0 to 4")
    checks.raises("0 of 0", wilson_interval, 0, 0, match="trials must be a positive integer")
    for label, start, end, match in (
        ("backwards", 2.0, 1.0, "ends must be above the starts"),
        ("NaN", math.nan, 1.0, "ends must be above the starts"),
        ("nobody came", 2.0, 3.0, "starts must be of intervals with requests"),
    ):
        checks.raises(
            label, mean_response_by_time, [[0.0, 1.0]], [[1.0, 1.0]], [start], [end], match=match
        )
