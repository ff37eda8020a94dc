"""Utilization sets the wait, and the wait explodes before the servers are full.

With arrival rate λ, mean service time S and c servers, ρ = λS/c. Poisson arrivals and exponential
service give the exact wait: P(W > 0) = C(c, a) by Erlang's formula with a = λS, and
P(W > t) = C(c, a)·e^{−(c−a)t/S}. One server is the case C(1, ρ) = ρ, whose response time is
exponential with mean S/(1−ρ).

Assumes: Poisson arrivals, exponential service, unlimited first-come-first-served queue, nobody
leaves, steady state.

Source: Erlang (1917); Kleinrock (1975), chapter 3; Gans, Koole and Mandelbaum (2003).
"""

from __future__ import annotations

import bisect
import functools
import heapq
import math
from fractions import Fraction
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.erlang import (
    erlang_b,
    erlang_c,
    max_utilization,
    mean_wait,
    response_quantile,
    utilization,
    wait_exceeds,
    wait_quantile,
)
from serving_mathematics.core.queues.long_runs import fast_waits
from serving_mathematics.core.queues.queue_simulator import (
    MeanEstimate,
    batch_means,
    simulate_mean_wait,
    warm_up_length,
)
from serving_mathematics.definitions.utilization.queue_approximations import (
    pollaczek_khinchine_wait,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require_in,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]


def sticky_break_even(replicas: int, utilization: float, places: int = 1) -> float:
    """Share of the service that a cache must leave for own queues to beat one queue for all.

    replicas: c. utilization: ρ in (0, 1) of them without the cache. places: k, requests that a
    replica serves at once. One queue sends a request to any replica and answers in R = S + W_q of
    M/M/ck; queues of their own keep callers where their cache is, M/M/k with the service xS if it
    leaves the share x. They are equal at x = R/(S + ρR) for k = 1, else at the root of a bisection.
    Raises ValueError outside these ranges.

    >>> round(sticky_break_even(1, 0.8), 12)  # one replica: the same queue
    1.0
    """
    replicas, places = require_positive_integer(replicas=replicas, places=places)
    replicas = require_in("[1, 1e7]", replicas=replicas)
    utilization = require_in("(0, 1)", utilization=utilization)
    places = require_in(f"[1, {1e7 / replicas:g}]", places=places)
    require_work(places * (replicas + 60 * (places > 1)), replicas=replicas, places=places)
    load = utilization * places
    response = 1 + mean_wait(load * replicas, 1.0, replicas * places)
    if places == 1:
        return response / (1 + utilization * response)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        own = middle + mean_wait(load, middle, places)
        low, high = (middle, high) if own < response else (low, middle)
    return high


def example() -> SimpleNamespace:
    """Answers to the exercises; waits in short service times."""
    separate, pooled = mean_wait(0.9, 1.0), mean_wait(9.0, 1.0, servers=10)
    one_teller, two_tellers = (mean_wait(5.8 / 3600, 600.0, servers=c) for c in (1, 2))
    return SimpleNamespace(
        wait_at_50=mean_wait(0.5, 1.0),
        wait_at_80=mean_wait(0.8, 1.0),
        wait_at_95=mean_wait(0.95, 1.0),
        p95_at_80=response_quantile(0.95, 0.8, 1.0),
        p99_at_80=response_quantile(0.99, 0.8, 1.0),
        idle_p99=response_quantile(0.99, 0.0, 1.0),
        max_rho_p99_10=max_utilization(0.99, 10.0),
        separate_wait=separate,
        pooled_wait=pooled,
        pooling_gain=separate / pooled,
        sticky_share=sticky_break_even(10, 0.9),
        sticky_saving=1 - sticky_break_even(10, 0.9),
        sticky_saving_eight=1 - sticky_break_even(10, 0.9, 8),
        sticky_saving_engine=1 - sticky_break_even(10, 0.9, 64),
        wait_at_80_engine=mean_wait(0.8 * 64, 1.0, servers=64),
        refused_at_64=erlang_b(64, 0.8 * 64),
        wait_share_pooled=erlang_c(10, 9.0),
        rho_tenth_one=_utilization_at_tenth(1),
        rho_tenth_ten=_utilization_at_tenth(10),
        rho_tenth_hundred=_utilization_at_tenth(100),
        teller_rho=utilization(5.8 / 3600, 600.0),
        one_teller_h=one_teller / 3600,
        two_tellers_min=two_tellers / 60,
        teller_gain=one_teller / two_tellers,
    )


def _utilization_at_tenth(servers: int) -> float:
    """The ρ at which the mean wait of M/M/c is a tenth of a service time, on a grid of 0.001."""
    rho = np.linspace(0.001, 0.999, 999)
    above = bisect.bisect(rho, 0.1, key=lambda r: mean_wait(r * servers, 1.0, servers))
    around = rho[above - 1 : above + 1]
    return float(np.interp(0.1, [mean_wait(r * servers, 1.0, servers) for r in around], around))


def figure_hockey_stick(figure: Figure) -> None:
    """The wait turns upward long before ρ = 1, and variability decides how early.

    Curves are the exact M/G/1 mean. Points are simulations of 140,000 customers, 700,000 from
    ρ = 0.9 on, with 95% confidence intervals.

    Alt: Line chart of mean wait against utilization from 0.05 to 0.95 for service variability 0, 1
    and 4. All three curves are flat at first and rise steeply towards 1; the more variable the
    service, the earlier. Simulated points lie on them.
    """
    rng = np.random.default_rng(20)
    axes = figure.subplots()
    rho = np.linspace(0.05, 0.955, 200)
    for scv, colour in ((4.0, "C3"), (1.0, "C0"), (0.0, "C2")):
        axes.plot(rho, rho / (1 - rho) * (1 + scv) / 2, color=colour)
        points = [0.3, 0.5, 0.7, 0.8, *{1.0: [0.9], 0.0: [0.95]}.get(scv, [])]  # in the picture
        runs = [
            simulate_mean_wait(rng, p, service_scv=scv, customers=700_000 if p >= 0.9 else 140_000)
            for p in points
        ]
        axes.errorbar(
            points, [r.mean for r in runs], [r.half_width for r in runs], fmt="o", color=colour
        )
    for text, x, y, colour, side in (
        ("very variable service, $C_s^2=4$", 0.81, 14.5, "C3", "right"),
        ("exponential, $C_s^2=1$", 1.0, 21.0, "C0", "right"),
        ("constant, $C_s^2=0$", 1.0, 0.8, "C2", "right"),
    ):
        axes.annotate(text, (x, y), color=colour, ha=side, va="center", annotation_clip=False)
    axes.set(xlim=(0, 1), ylim=(0, 20), xlabel="utilization ρ", ylabel="mean wait [service times]")


def slider_hockey_stick() -> dict[str, Any]:
    """Move the load, and see what the next percentage point costs."""
    rho, scv = np.round(np.arange(0.01, 0.975, 0.01), 2), [0.0, 0.5, 1.0, 2.0, 4.0, 8.0]
    waits = [[pollaczek_khinchine_wait(r, c) for c in scv] for r in rho]
    more = [
        [pollaczek_khinchine_wait(r + 0.01, c) - wait for c, wait in zip(scv, row, strict=True)]
        for r, row in zip(rho, waits, strict=True)
    ]
    return {
        "controls": [
            {"label": "utilization", "values": rho, "text": "ρ = {:.2f}", "start": 0.8},
            {"label": "variability of service", "values": scv, "text": "Cₛ² = {:g}", "start": 1.0},
        ],
        "x": {"label": "utilization ρ", "unit": "", "range": (0, 1)},
        "y": {"label": "mean wait", "unit": "service times", "range": (0, 20)},
        "curves": [{"label": "mean wait", "unit": "service times", "values": waits, "decimals": 2}],
        "readouts": [{"label": "more", "unit": "", "values": more, "decimals": 2}],
        "reading": "At {utilization} and {variability of service} the mean wait is {mean wait}, and"
        " one more percentage point of load adds {more}.",
    }


def figure_pooling(figure: Figure) -> None:
    """Ten servers behind one queue run hotter at the same wait than ten queues of one.

    Exact means of M/M/c. The dotted line marks a wait of a tenth of a service time.

    Alt: Line chart of mean wait on a logarithmic axis against utilization for one, two, ten and one
    hundred pooled servers. At any utilization more servers wait less. A dotted line marks a wait of
    one tenth of a service time: one server reaches it at 9 percent, one hundred at 95 percent.
    """
    axes = figure.subplots()
    rho = np.linspace(0.02, 0.99, 100)
    for servers, colour, x, side, shift in (
        (1, "C3", 0.30, "right", (-6, 4)),
        (2, "C1", 0.20, "left", (8, -10)),
        (10, "C0", 0.56, "left", (8, -8)),
        (100, "C2", 0.83, "right", (-10, -4)),
    ):
        axes.semilogy(rho, [mean_wait(r * servers, 1.0, servers) for r in rho], color=colour)
        axes.annotate(
            f"{servers} server" + "s" * (servers > 1),
            (x, mean_wait(x * servers, 1.0, servers)),
            xytext=shift,
            textcoords="offset points",
            color=colour,
            ha=side,
        )
    axes.axhline(0.1, color="C4", linestyle=":", linewidth=1.2)
    axes.set(
        xlim=(0, 1),
        ylim=(1e-3, 100),
        xlabel="utilization ρ of each server",
        ylabel="mean wait [service times]",
    )
    axes.minorticks_off()


def slider_pooling() -> dict[str, Any]:
    """Put more servers behind one queue, and raise the load to the same wait."""
    rho, servers = np.round(np.arange(0.02, 0.995, 0.01), 2), [1, 2, 5, 10, 20, 50, 100]
    return {
        "controls": [
            {
                "label": "utilization of each server",
                "values": rho,
                "text": "ρ = {:.2f}",
                "start": 0.8,
            },
            {"label": "servers behind one queue", "values": servers, "text": "c = {}", "start": 10},
        ],
        "x": {"label": "utilization ρ of each server", "unit": "", "range": (0, 1)},
        "y": {
            "label": "mean wait",
            "unit": "service times",
            "log": True,
            "range": (1e-3, 100),
            "limit": {"at": 0.1, "label": "a tenth of a service time"},
        },
        "curves": [
            {
                "label": "mean wait",
                "unit": "service times",
                "values": [[mean_wait(r * c, 1.0, c) for c in servers] for r in rho],
                "decimals": 3,
            }
        ],
        "readouts": [
            {
                "label": "late",
                "unit": "%",
                "values": [[100 * erlang_c(c, r * c) for c in servers] for r in rho],
            }
        ],
        "reading": "At {utilization of each server} and {servers behind one queue} the mean wait"
        " is {mean wait}, and {late} of the requests wait at all.",
    }


@functools.cache
def _pooled_waits() -> FloatArray:
    """Waits of 280,000 customers at ten servers behind one queue, 90% busy."""
    rng = np.random.default_rng(5)
    arrivals = np.cumsum(rng.exponential(1 / 9, 280_000))
    return fast_waits(arrivals, rng.exponential(1.0, arrivals.size), servers=10)


def _pooled_run() -> MeanEstimate:
    """Their mean."""
    waits = _pooled_waits()
    return batch_means(waits[warm_up_length(waits) :])


def check_erlang_c_recursion() -> None:
    """The recursion gives Erlang's defining sum at any size, and a call centre's service level.

    Source: the sum over a^k/k! as Erlang (1917) defines it, evaluated in exact fractions.
    """
    for servers, load in ((14, 10), (50, 45)):
        terms = [Fraction(load**k, math.factorial(k)) for k in range(servers + 1)]
        waiting = terms[-1] * Fraction(servers, servers - load)
        exact = float(waiting / (sum(terms[:-1]) + waiting))
        checks.close(f"C({servers}, {load})", erlang_c(servers, load), exact, rtol=1e-13)
    level = 1 - wait_exceeds(20.0, 10 / 180, 180.0, servers=14)
    checks.close(
        "14 agents, 180 s calls, a = 10: answered within 20 s", level, 0.8883500192, atol=5e-11
    )


def check_erlang_b() -> None:
    """Ten servers turn away 1% at 4.461 erlangs, whatever the distribution of service.

    Source: the tables of Erlang's loss formula; Erlang's sum in exact fractions; 140,000 arrivals
    at ten servers without a queue, with constant service.
    """
    checks.close("B(10, 4.461)", erlang_b(10, 4.461), 0.01, atol=5e-6, kind="published")
    terms = [Fraction(60**k, math.factorial(k)) for k in range(51)]
    exact = float(terms[-1] / sum(terms))
    checks.close("B(50, 60)", erlang_b(50, 60.0), exact, rtol=1e-13)
    rng = np.random.default_rng(21)
    free, refused = [0.0] * 10, np.zeros(140_000)
    for n, now in enumerate(np.cumsum(rng.exponential(1 / 8, 140_000)).tolist()):
        if free[0] > now:
            refused[n] = 1.0
        else:
            heapq.heapreplace(free, now + 1.0)
    checks.covers("constant service, a = 8", batch_means(refused), erlang_b(10, 8.0))


def check_one_queue_or_a_cache() -> None:
    """Ten replicas with a cache of their own beat one queue at 90% if it saves a third of the work.

    With 64 places each, a fortieth is enough.

    Source: M/M/1 with the shorter service against M/M/10, on both sides of the break-even; 280,000
    simulated requests for each. M/M/64 against M/M/640 by the waits of both.
    """
    for places, saved in ((8, 0.147), (16, 0.095), (64, 0.027)):
        left = sticky_break_even(10, 0.9, places)
        checks.close(f"saved, {places} places", 1 - left, saved, atol=5e-4)
        alone = left + mean_wait(0.9 * places, left, servers=places)
        shared = 1 + mean_wait(9.0 * places, 1.0, servers=10 * places)
        checks.close(f"break-even, {places} places", alone, shared, rtol=1e-12)
    share = sticky_break_even(10, 0.9)
    pooled = 1 + mean_wait(9.0, 1.0, servers=10)
    checks.close("break-even", share + mean_wait(0.9, share), pooled, rtol=1e-12)
    rng, one = np.random.default_rng(23), _pooled_run()
    for left, sticky_wins in ((0.5, True), (0.9, False)):
        own = simulate_mean_wait(rng, 0.9 * left, customers=280_000)
        mean, error = left * (1 + own.mean), 3 * (left * own.half_width + one.half_width)
        wins = mean + error < 1 + one.mean if sticky_wins else mean - error > 1 + one.mean
        checks.holds(f"cache leaves {left:.0%}: own queues win is {sticky_wins}", wins, got=mean)


def check_single_server_is_the_special_case() -> None:
    """With one server Erlang C is ρ, and the mean wait is ρS/(1−ρ).

    Source: Kleinrock (1975), section 3.2.
    """
    rho = np.linspace(0.05, 0.95, 19)
    checks.close("C(1, ρ)", [erlang_c(1, r) for r in rho], rho, atol=1e-14)
    checks.close("mean wait", [mean_wait(r, 1.0) for r in rho], rho / (1 - rho), rtol=1e-13)


def check_response_time_at_80_percent() -> None:
    """At ρ = 0.8 the M/M/1 response takes 5 service times on average, 15 at p95 and 23 at p99.

    Source: mean S/(1−ρ), and quantiles of an exponential with that mean.
    """
    checks.close("mean", mean_wait(0.8, 1.0) + 1, 5.0, rtol=1e-12)
    checks.close("p95", response_quantile(0.95, 0.8, 1.0), 14.97866, atol=5e-6)
    checks.close("p99", response_quantile(0.99, 0.8, 1.0), 23.02585, atol=5e-6)


def check_load_limit_inverts_the_quantile() -> None:
    """A server that must answer 99% within ten service times may be 54% busy, and then just does.

    Source: inversion of the quantile; 1 − ln(100)/10.
    """
    limit = max_utilization(0.99, 10.0)
    checks.close("ρ limit", limit, 0.5394830, atol=5e-8)
    checks.close("p99 at the limit", response_quantile(0.99, limit, 1.0), 10.0, rtol=1e-12)


def check_wait_quantile_inverts_erlangs_tail() -> None:
    """The wait that one in a hundred exceeds at ten servers, 90% busy, is what one in a hundred
    exceed; at eight servers of which half are busy, nobody's p90 waits.

    Source: Erlang's tail; ln(C/0.01) by hand; 280,000 simulated customers.
    """
    p99 = wait_quantile(0.99, 9.0, 1.0, servers=10)
    checks.close("p99 of the wait", p99, math.log(100 * erlang_c(10, 9.0)), rtol=1e-12)
    checks.close("exceed it", wait_exceeds(p99, 9.0, 1.0, servers=10), 0.01, rtol=1e-12)
    checks.equal("p90, eight servers, half busy", wait_quantile(0.9, 4.0, 1.0, servers=8), 0.0)
    late = batch_means((_pooled_waits()[20_000:] > p99).astype(float))
    checks.covers("exceed it, simulated", late, 0.01)


def check_pooling() -> None:
    """One queue for ten servers waits thirteen times less than ten queues at the same ρ = 0.9.

    Source: M/M/1 and M/M/10 means; simulated M/M/10 of 280,000 customers.
    """
    checks.close("ten queues of one", mean_wait(0.9, 1.0), 9.0, rtol=1e-12)
    checks.close("one queue of ten", mean_wait(9.0, 1.0, servers=10), 0.66873152, atol=5e-9)
    checks.covers("one queue of ten, simulated", _pooled_run(), mean_wait(9.0, 1.0, servers=10))


def check_second_teller() -> None:
    """One teller at 97% makes customers wait five hours; a second brings it to three minutes.

    Source: 5.8 customers an hour, 10 minutes each, as told by Cook (2008): ρS/(1−ρ) by hand, and
    M/M/2 in closed form ρ²S/(1−ρ²).
    """
    checks.close("one teller [h]", mean_wait(5.8 / 3600, 600.0) / 3600, 4.8333, atol=5e-5)
    rho = 5.8 / 12
    two = mean_wait(5.8 / 3600, 600.0, servers=2) / 60
    checks.close("two tellers [min]", two, 3.0482, atol=5e-5)
    checks.close("two tellers, closed form", two, 10 * rho**2 / (1 - rho**2), rtol=1e-12)
    hours = mean_wait(5.8 / 3600, 600.0) / 3600
    checks.close("Cook: “nearly five hours”", hours, 5.0, rtol=0.05, kind="published")
    checks.close("Cook: “about 3 minutes”", two, 3.0, rtol=0.05, kind="published")


def check_bad_input_is_refused() -> None:
    """Saturated queues, negative rates, NaN and half servers are errors that name the argument."""
    checks.raises("ρ = 1.2", utilization, 1.2, 1.0, match="below 1 for a stable queue, got 1.2")
    checks.raises(
        "negative rate", mean_wait, -1.0, 1.0, match="arrival_rate must be non-negative and finite"
    )
    checks.raises("NaN load", erlang_c, 3, math.nan, match="offered_load must be in [0, 3)")
    checks.raises(
        "half a server", erlang_c, 1.5, 1.0, match="servers must be a positive integer, got 1.5"
    )
    checks.raises(
        "impossible target",
        max_utilization,
        0.99,
        4.0,
        match="slowdown must be finite and above 4.605",
    )
