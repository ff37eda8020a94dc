"""Second copies are load, and load makes requests late: hedging on a fixed delay feeds on itself.

In a large fleet every server sees Poisson arrivals of first and second copies together, at ρ' = ρ(1
+ h), and a share h = e^{−(1−ρ')d} of the first copies is still unanswered after d. The smallest
solution ρ' of

    ρ' = ρ·(1 + e^{−(1−ρ')d})

is the load that a fleet settles at. Up to ρ = 1/2 there is always one. Above, there are two or
none: between them lies the tipping point, and below the delay at which they meet, (1−ρ)d = 1 +
ln(ρd), there is no steady state at all. A delay at a fixed percentile q of the unhedged response
has no steady state beyond ρ = 1/(1 + (1−q)·e·ln(1/(1−q))), 71% for the p95, while a delay that
follows the percentile adds a share 1−q of load and no more.

Assumes: exponential service with mean 1, independent copies, random servers, losers that run on,
and many servers, so that the state of one says nothing about that of another; the simulator has the
same model with few servers.

Source: derived in the chapter from the M/M/1 response; Bronson and others (2021) for the
bistability; Vulimiri and others (2013) study the case d = 0.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.tail_latency.hedging_simulator import (
    hedged_responses,
    poisson_workload,
    quantile_estimate,
)
from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_number, require, require_in

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where an increasing function crosses zero between low and high, by bisection."""
    for _ in range(100):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (low, middle) if function(middle) > 0 else (middle, high)
    return high


def smallest_stable_delay(utilization: float) -> float:
    """Fixed delay that must be exceeded for a steady state: 0 below ρ = 1/2, else the larger root
    of (1−ρ)d = 1 + ln(ρd).

    utilization: ρ in [0, 1), first copies alone. Returns d in mean service times. Raises ValueError
    outside the range. At this delay the curve ρ(1 + e^{−(1−x)d}) touches the diagonal.

    >>> smallest_stable_delay(0.5)
    2.0
    """
    utilization = require_in("[0, 1)", utilization=utilization)
    if utilization < 0.5:
        return 0.0
    spare = 1 - utilization
    low = high = 1 / spare  # where the left side minus the right is smallest
    while spare * high < 1 + math.log(utilization * high):
        high *= 2
    return _root(lambda d: spare * d - 1 - math.log(utilization * d), low, high)


def hedged_load(utilization: float, delay: float) -> float:
    """Load ρ' of every server, first and second copies, that a large fleet settles at.

    utilization: ρ in [0, 1), first copies alone. delay: d ≥ 0 [mean service times], infinite for no
    hedging. Raises ValueError outside these ranges and where there is no steady state.

    >>> round(hedged_load(0.3, delay=0.0), 12)
    0.6
    """
    utilization, delay = as_number(utilization=utilization, delay=delay)
    shortest = smallest_stable_delay(utilization)
    rule = f"above {shortest:.6g} for a steady state" if shortest else "non-negative"
    require(delay > shortest or (shortest == 0 and delay == 0), "delay", rule, delay)
    if delay == math.inf:
        return utilization
    # x − ρ(1 + e^{−(1−x)d}) is negative at ρ and rises up to `turn`.
    turn = 1.0
    if utilization * delay > 1:
        turn = 1 - math.log(utilization * delay) / delay
    return _root(lambda x: x - utilization * (1 + math.exp((x - 1) * delay)), utilization, turn)


def tipping_load(utilization: float, delay: float) -> float:
    """Load above which a large fleet cannot return: the other solution of the same equation, 1 at ρ
    ≤ 1/2.

    utilization: ρ in [0, 1). delay: d with a steady state [mean service times]. Raises ValueError
    as `hedged_load`.

    >>> round(tipping_load(0.6, delay=7.5), 4)
    0.9134
    """
    utilization, delay = as_number(utilization=utilization, delay=delay)
    hedged_load(utilization, delay)  # refuses what has no steady state
    if utilization <= 0.5 or delay == math.inf:
        return 1.0
    turn = 1 - math.log(utilization * delay) / delay
    return _root(lambda x: utilization * (1 + math.exp((x - 1) * delay)) - x, turn, 1.0)


def loaded_quantile(probability: float, utilization: float, delay: float) -> float:
    """Quantile of the hedged response in a large fleet, at the load that hedging itself creates.

    probability: q in (0, 1). utilization, delay: as for `hedged_load`. Returns mean service times:
    with spare capacity 1 − ρ' = θ it solves e^{−θt} = 1 − q up to d, and e^{−θ(2t−d)} = 1 − q after
    it.

    >>> round(loaded_quantile(0.99, utilization=0.5, delay=math.inf), 5)
    9.21034
    """
    utilization = as_number(utilization=utilization)
    probability = require_in("(0, 1)", probability=probability)
    alone = -math.log1p(-probability) / (1 - hedged_load(utilization, delay))
    return alone if alone <= delay else (alone + delay) / 2


def highest_load_for_percentile(percentile: float) -> float:
    """Utilization beyond which hedging at this percentile of the unhedged response has no steady
    state.

    percentile: q in (0, 1), measured before hedging was switched on. Returns 1/(1 +
    (1−q)·e·ln(1/(1−q))) where that is above 1/2, else 1/2. Raises ValueError outside the range.

    >>> round(highest_load_for_percentile(0.95), 4)
    0.7107
    """
    percentile = require_in("(0, 1)", percentile=percentile)
    scale = -math.log1p(-percentile)
    if scale <= 1:
        return 0.5
    return 1 / (1 + (1 - percentile) * math.e * scale)


def break_even_load(percentile: float, probability: float) -> float:
    """Utilization up to which hedging at this percentile of the unhedged response lowers the
    quantile q.

    percentile: p in (0, 1) of the delay. probability: q above p. Returns (1−κ)/(1−κ+e^{−κP}) with P
    = ln(1/(1−p)), Q = ln(1/(1−q)) and κ = Q/(2Q−P), where hedged and unhedged quantile are equal;
    where κ is below 1 − 1/P, that would be at the tipping load, and hedging gains as long as there
    is a steady state: κ = 1 − 1/P. Raises ValueError outside these ranges.

    >>> round(break_even_load(percentile=0.95, probability=0.99), 4)
    0.7045
    """
    probability = as_number(probability=probability)
    percentile = require_in("(0, 1)", percentile=percentile)
    rule = f"in ({percentile}, 1)"
    require(percentile < probability < 1, "probability", rule, probability)
    delay, target = -math.log1p(-percentile), -math.log1p(-probability)
    ratio = max(target / (2 * target - delay), 1 - 1 / delay)
    return (1 - ratio) / (1 - ratio + math.exp(-ratio * delay))


def tracked_quantile(probability: float, utilization: float, hedged_share: float) -> float:
    """Quantile of the hedged response when the delay follows the percentile, so that a fixed share
    is hedged.

    probability: q in (0, 1). hedged_share: b in (0, 1), for example 0.05 for a delay at the current
    p95. utilization: ρ ≥ 0 with ρ(1 + b) < 1. Returns mean service times. Raises ValueError outside
    these ranges.

    >>> round(tracked_quantile(0.99, utilization=0.0, hedged_share=0.05), 5)
    3.80045
    """
    utilization = as_number(utilization=utilization)
    probability, hedged_share = require_in(
        "(0, 1)", probability=probability, hedged_share=hedged_share
    )
    rule = f"in [0, {1 / (1 + hedged_share):.6g}) for a stable queue"
    require(0 <= utilization < 1, "utilization", rule, utilization)
    load = utilization * (1 + hedged_share)
    require(load < 1, "utilization", rule, utilization)
    alone, delay = -math.log1p(-probability), -math.log(hedged_share)
    return (alone if alone <= delay else (alone + delay) / 2) / (1 - load)


def example() -> SimpleNamespace:
    """The numbers quoted in the text on hedging under load; second copies leave at the unhedged
    p95.
    """
    p95 = math.log(20) / 0.4
    percentiles = np.linspace(0.9, 0.989, 90)
    break_even = [100 * break_even_load(float(p), 0.99) for p in percentiles]
    cliff = smallest_stable_delay(0.9)
    return SimpleNamespace(
        p95_at_60=p95,
        p99_alone_at_60=math.log(100) / 0.4,
        p99_hedged_at_60=loaded_quantile(0.99, 0.6, p95),
        load_at_60=100 * hedged_load(0.6, p95),
        extra_at_60=100 * (hedged_load(0.6, p95) / 0.6 - 1),
        tip_at_60=100 * tipping_load(0.6, p95),
        cliff_at_60=smallest_stable_delay(0.6),
        cliff_at_80=smallest_stable_delay(0.8),
        p95_at_80=math.log(20) / 0.2,
        cliff_extra_at_90=100 * (hedged_load(0.9, cliff * (1 + 1e-9)) / 0.9 - 1),
        highest_for_p95=100 * highest_load_for_percentile(0.95),
        highest_for_p99=100 * highest_load_for_percentile(0.99),
        break_even_p95=100 * break_even_load(0.95, 0.99),
        band_p95=100 * (highest_load_for_percentile(0.95) - break_even_load(0.95, 0.99)),
        break_even_best=max(break_even),
        best_percentile=100 * float(percentiles[int(np.argmax(break_even))]),
        tracked_limit=100 / 1.05,
        tracked_break_even=100 * _tracked_break_even(0.05),
        twice_break_even=100 / 3,
        twice_at_40=loaded_quantile(0.99, 0.4, 0.0),
        alone_at_40=loaded_quantile(0.99, 0.4, math.inf),
    )


def _tracked_break_even(hedged_share: float) -> float:
    """Utilization up to which the p99 gains when the delay follows the percentile."""
    return _root(
        lambda rho: tracked_quantile(0.99, rho, hedged_share) - math.log(100) / (1 - rho),
        0.0,
        0.999 / (1 + hedged_share),
    )


@functools.cache
def _simulated_delays() -> list[tuple[float, float, FloatArray]]:
    """Responses of fleets of 100 servers, (ρ, d, responses of shape (r, n)), started at the load of
    the formula.
    """
    rng = np.random.default_rng(61)
    settings = [(0.3, d) for d in (2.0, 3.5, 5.0)]
    settings += [(0.5, d) for d in (3.5, 6.0, 9.0)] + [(0.6, d) for d in (7.5, 10.0, 13.0)]
    lanes, fleet, requests = 17, 100, 6000
    runs = []
    workloads = [poisson_workload(rng, rho, fleet, requests, lanes) for rho, _ in settings]
    load = np.repeat([hedged_load(rho, d) for rho, d in settings], lanes)[:, None]
    busy = rng.random((load.size, fleet)) < load
    responses, _ = hedged_responses(
        workloads[0].beside(*workloads[1:]),
        np.repeat([d for _, d in settings], lanes),
        initial_work=np.where(busy, rng.exponential(1.0, busy.shape) / (1 - load), 0.0),
    )
    for i, (rho, delay) in enumerate(settings):
        runs.append((rho, delay, responses[i * lanes : (i + 1) * lanes, requests // 4 :]))
    return runs


def figure_hedge_delay(figure: Figure) -> None:
    """The busier the fleet, the later the second copy must leave, and too early is not slower but
    unstable.

    Above: p99 with hedging over p99 without. Below: second copies as a share of requests. Lines are
    the fixed point for a large fleet, points simulations of 100 servers with 95% confidence
    intervals, crosses the shortest delay that has a steady state; no fleet can settle in the shaded
    region.

    Alt: Two line charts over the delay from 0 to 16 mean service times, for loads of 30, 50, 60 and
    70 percent. Above, the 30 percent curve starts at 0.88, dips to 0.72 at delay 2 and returns to
    1; the others come down steeply from above 1, from delay 2, 5.5 and 9.7 on, to 0.83, 0.88 and
    0.93. Below, the extra requests fall from 100 percent towards 1 percent; the curves of the
    higher loads begin at crosses on the edge of a shaded region.
    """
    figure.set_size_inches(5.8, 6.2)
    upper, lower = figure.subplots(2, 1)
    for rho, colour in ((0.3, "C2"), (0.5, "C0"), (0.6, "C1"), (0.7, "C3")):
        alone = math.log(100) / (1 - rho)
        start = smallest_stable_delay(rho) * (1 + 1e-6)
        delays = start + (16 - start) * np.linspace(0, 1, 45) ** 2
        if rho == 0.5:
            delays = delays[1:]
        upper.plot(delays, [loaded_quantile(0.99, rho, d) / alone for d in delays], color=colour)
        extra = [100 * (hedged_load(rho, d) / rho - 1) for d in delays]
        lower.semilogy(delays, extra, color=colour)
        if rho > 0.5:
            upper.plot(start, loaded_quantile(0.99, rho, start) / alone, "X", color=colour)
            lower.plot(start, extra[0], "X", color=colour)
    for rho, colour in ((0.3, "C2"), (0.5, "C0"), (0.6, "C1")):
        alone = math.log(100) / (1 - rho)
        found = [(d, quantile_estimate(r, 0.99)) for at, d, r in _simulated_delays() if at == rho]
        places, means, bars = zip(
            *((d, p99.mean / alone, p99.half_width / alone) for d, p99 in found), strict=True
        )
        upper.errorbar(places, means, bars, fmt="o", color=colour)
    rhos = np.linspace(0.5001, 0.85, 40)
    edge = [smallest_stable_delay(rho) * (1 + 1e-9) for rho in rhos]
    top = [100 * (hedged_load(rho, d) / rho - 1) for rho, d in zip(rhos, edge, strict=True)]
    lower.fill_between([0, *edge], [100, *top], 300, color="C3", alpha=0.15, linewidth=0)
    lower.annotate("no steady state", (9, 90), color="C3", ha="center")
    upper.axhline(1.0, color="C4", linestyle=":", linewidth=1.2)
    upper.annotate("no second copy", (0.2, 1.012), color="C4")
    for axes, places in (
        (upper, ((0.7, 0.93), (3.0, 1.12), (5.9, 1.12), (10.2, 1.08))),
        (lower, ((0.3, 8), (3.2, 55), (6.0, 30), (10.3, 14))),
    ):
        for (x, y), text, colour in zip(
            places, ("30% load", "50%", "60%", "70%"), ("C2", "C0", "C1", "C3"), strict=True
        ):
            axes.annotate(text, (x, y), color=colour, va="center")
    axis = "delay of the second copy [mean service times]"
    upper.set(xlim=(0, 16), ylim=(0.7, 1.2), xlabel=axis, ylabel="p99 over unhedged p99\n[ratio]")
    lower.set(xlim=(0, 16), ylim=(0.5, 200), xlabel=axis, ylabel="extra requests [%]")
    lower.set_yticks([1, 10, 100], ["1", "10", "100"])


def slider_hedge_delay() -> dict[str, Any]:
    """Send the second copy earlier, until it stops paying, and then until the fleet collapses."""
    delays, loads = np.arange(0, 20.5, 0.5), [0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    ratio, p99, extra, busy = (
        np.full((delays.size, len(loads)), None, dtype=object) for _ in range(4)
    )
    for (i, j), _ in np.ndenumerate(ratio):
        rho, delay = loads[j], float(delays[i])
        if delay > smallest_stable_delay(rho) or (delay == 0 and rho < 0.5):
            load = hedged_load(rho, delay)
            p99[i, j] = loaded_quantile(0.99, rho, delay)
            ratio[i, j] = p99[i, j] / loaded_quantile(0.99, rho, math.inf)
            extra[i, j], busy[i, j] = 100 * (load / rho - 1), 100 * load
    return {
        "controls": [
            {
                "label": "delay of the copy",
                "values": delays,
                "text": "{:g} service times",
                "start": 7.5,
            },
            {"label": "load without copies", "values": loads, "text": "{:.0%} load", "start": 0.6},
        ],
        "x": {"label": "delay of the second copy", "unit": "mean service times"},
        "y": {
            "label": "p99 over unhedged p99",
            "unit": "ratio",
            "range": (0.6, 1.4),
            "limit": {"at": 1, "label": "no second copy"},
        },
        "curves": [{"label": "ratio", "unit": "", "values": ratio, "decimals": 2}],
        "readouts": [
            {"label": "p99", "unit": "service times", "values": p99},
            {"label": "extra", "unit": "%", "values": extra},
            {"label": "busy", "unit": "%", "values": busy},
        ],
        "reading": "With a second copy after {delay of the copy} at {load without copies},"
        " {extra} of the requests are sent twice, the servers are {busy} busy, and the p99 is"
        " {p99}: {ratio} times what it is without.",
        "absent": "So early there is no steady state: the copies overload the servers that they"
        " were to relieve.",
    }


def figure_hedging_map(figure: Figure) -> None:
    """Hedging on a fixed delay pays in a bounded region, whose lower edge runs along the cliff.

    For a large fleet with exponential service and copies that run to their end. The line is a delay
    at the unhedged p95.

    Alt: Map of delay from 1 to 100 mean service times, logarithmic, against load from 0 to 100
    percent. A region where the p99 gains covers loads up to 80 percent, narrowing upwards to the
    right. Below it lies a thin region of loss, and below that, from 50 percent load on, the region
    without a steady state. The line of the p95 enters it at 71 percent.
    """
    figure.set_size_inches(5.8, 4.0)
    axes = figure.subplots()
    percentiles = 0.99 - np.geomspace(0.8, 1e-7, 200)  # of the delay, denser towards the top
    even = np.array([break_even_load(float(p), 0.99) for p in percentiles])
    delays = -np.log1p(-percentiles) / (1 - even)
    axes.fill_betweenx(delays, 100 * even, color="C2", alpha=0.3, linewidth=0)
    rhos = np.linspace(0.002, 0.998, 250)
    edge = np.linspace(0.5, 0.99, 100)
    cliff = [smallest_stable_delay(rho) for rho in edge]
    axes.fill_between(
        100 * np.append(edge, 1), [*cliff, 1e3], 1, color="C3", alpha=0.25, linewidth=0
    )
    axes.plot(100 * rhos, math.log(20) / (1 - rhos), color="C0")
    axes.set_yscale("log")
    axes.annotate("p99 gains", (20, 1.6), color="C2", ha="center")
    axes.annotate("no steady state", (79, 2.6), color="C3", ha="center")
    axes.annotate("p99 loses", (88, 62), color="C4", ha="right")
    axes.annotate("delay at the p95", (3, 2.55), color="C0")
    axes.set_yticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
    axes.set(
        xlim=(0, 100),
        ylim=(1, 100),
        xlabel="load without second copies [%]",
        ylabel="delay of the second copy\n[mean service times]",
    )


def check_simulated_fleets_settle_at_the_fixed_point() -> None:
    """In fleets of 100 servers under nine loads and delays, 1% of requests exceed the p99 of the
    fixed point.

    Source: simulation of every copy, which knows nothing of the fixed point but the load it starts
    at; all fleets together.
    """
    late = np.concatenate(
        [(r > loaded_quantile(0.99, rho, d)).mean(axis=1) for rho, d, r in _simulated_delays()]
    )
    error = float(late.std(ddof=1)) / math.sqrt(late.size)
    pooled = MeanEstimate(float(late.mean()), error, 1.96 * error)
    checks.covers("share beyond the p99", pooled, 0.01)


def check_fixed_points_solve_the_equation() -> None:
    """Settled and tipping load both solve ρ' = ρ(1 + e^{−(1−ρ')d}), and where they meet the delay
    is the shortest.

    Source: the equation evaluated at the results; iteration from below; the tangent condition
    ρd·e^{−(1−x)d} = 1.
    """
    for rho, delay in ((0.3, 0.0), (0.49, 0.7), (0.6, 7.5), (0.8, 19.0)):
        iterated = rho
        for _ in range(20_000):
            iterated = rho * (1 + math.exp(-(1 - iterated) * delay))
        checks.close(f"ρ = {rho}, d = {delay:g}", hedged_load(rho, delay), iterated, rtol=1e-9)
    upper = tipping_load(0.6, 7.5)
    checks.close("tipping load", 0.6 * (1 + math.exp(-(1 - upper) * 7.5)), upper, rtol=1e-12)
    shortest = smallest_stable_delay(0.8)
    checks.close("(1−ρ)d at the cliff", 0.2 * shortest, 1 + math.log(0.8 * shortest), rtol=1e-12)
    touching = hedged_load(0.8, shortest * (1 + 1e-12))
    slope = 0.8 * shortest * math.exp(-(1 - touching) * shortest)
    checks.close("slope there", slope, 1.0, atol=1e-4)


def check_sending_everything_twice() -> None:
    """Two copies at once that run to their end pay below a third of the load, and have no steady
    state from half of it.

    Source: ln 100/(2(1−2ρ)) against ln 100/(1−ρ), by hand.
    """
    for rho in (0.2, 1 / 3, 0.45):
        twice = loaded_quantile(0.99, rho, 0.0) * (1 - rho) / math.log(100)
        checks.close(
            f"p99 over unhedged, ρ = {rho:.4g}", twice, (1 - rho) / (2 - 4 * rho), rtol=1e-9
        )
    checks.close("break-even", loaded_quantile(0.99, 1 / 3, 0.0), 1.5 * math.log(100), rtol=1e-12)


def check_percentile_delays_have_a_limit() -> None:
    """A delay at the p95 that was measured before hedging lowers the p99 up to 70.5% load and has
    no steady state from 71.1%.

    Source: root of hedged = unhedged p99 by bisection against the closed form; the cliff at the
    same delay.
    """
    limit = highest_load_for_percentile(0.95)
    checks.close("limit", limit, 1 / (1 + 0.05 * math.e * math.log(20)), rtol=1e-14)
    cliff = smallest_stable_delay(limit)
    checks.close("cliff there is the p95", cliff, math.log(20) / (1 - limit), rtol=1e-7)

    def loss(rho: float) -> float:
        alone = math.log(100) / (1 - rho)
        return loaded_quantile(0.99, rho, math.log(20) / (1 - rho)) - alone

    even = _root(loss, 0.5, limit - 1e-6)
    checks.close("break-even", break_even_load(0.95, 0.99), even, rtol=1e-9)
    checks.close("by hand", even, 0.7045, atol=5e-5)


def check_tracked_delay_adds_its_share_and_no_more() -> None:
    """A delay that follows the p95 adds 5% of load at any load, is stable up to 95.2%, and pays up
    to 77.8%.

    Source: the fixed point at the delay that the percentile has at load 1.05ρ; equating the p99s by
    hand.
    """
    for rho in (0.3, 0.6):
        delay = math.log(20) / (1 - 1.05 * rho)
        checks.close(f"load at ρ = {rho}", hedged_load(rho, delay), 1.05 * rho, rtol=1e-9)
        followed = tracked_quantile(0.99, rho, 0.05)
        checks.close(f"p99 at ρ = {rho}", followed, loaded_quantile(0.99, rho, delay), rtol=1e-9)
    both, twice = math.log(100) + math.log(20), 2 * math.log(100)
    even = (twice - both) / (1.05 * twice - both)
    checks.close("break-even", _tracked_break_even(0.05), even, rtol=1e-9)
    checks.close("idle", tracked_quantile(0.99, 0.0, 0.05), 3.80045, atol=5e-6)


def check_bad_input_is_refused() -> None:
    """Delays without a steady state, saturated loads and percentiles of 1 are errors."""
    checks.raises("too early", hedged_load, 0.8, 15.0, match="delay must be above 18.4632 for a")
    checks.raises("half, at once", hedged_load, 0.5, 0.0, match="delay must be above 2 for a")
    checks.raises("d < 0", hedged_load, 0.3, -1.0, match="delay must be non-negative, got -1.0")
    checks.raises("ρ = 1", smallest_stable_delay, 1.0, match="utilization must be in [0, 1)")
    checks.raises("NaN q", loaded_quantile, math.nan, 0.3, 1.0, match="probability must be in (0,")
    checks.raises("p = 1", highest_load_for_percentile, 1.0, match="percentile must be in (0, 1)")
    checks.raises("p ≥ q", break_even_load, 0.99, 0.95, match="probability must be in (0.99, 1)")
    checks.raises("full", tracked_quantile, 0.99, 0.96, 0.05, match="for a stable queue, got 0.96")
