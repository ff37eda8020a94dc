"""The textbook's engine has one place: its wait explodes before it is full.

With arrival rate λ, mean service time S and c servers, ρ = λS/c. Poisson arrivals and exponential
service give the exact wait: P(W > 0) = C(c, a) by Erlang's formula with a = λS, and
P(W > t) = C(c, a)·e^{−(c−a)t/S}. One server is the case C(1, ρ) = ρ, whose response time is
exponential with mean S/(1−ρ).

Assumes: Poisson arrivals, exponential service, unlimited first-come-first-served queue, nobody
leaves, steady state.

Source: Erlang (1917); Kleinrock (1975), chapter 3.
"""

from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.core.queues.erlang import (
    erlang_c,
    mean_wait,
    response_quantile,
    wait_exceeds,
)
from serving_mathematics.core.queues.queue_simulator import (
    simulate_mean_wait,
)
from serving_mathematics.core.queues.variability import pollaczek_khinchine_wait
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure


def example() -> SimpleNamespace:
    """Numbers quoted in the text, in service times."""
    return SimpleNamespace(
        wait_at_80=mean_wait(0.8, 1.0),
        p99_at_80=response_quantile(0.99, 0.8, 1.0),
        wait_at_80_of_64=mean_wait(0.8 * 64, 1.0, servers=64),
        share_of_14=erlang_c(14, 10.0),  # of arrivals, who wait
    )


def figure_hockey_stick(figure: Figure) -> None:
    """The wait turns upward long before ρ = 1, and variability decides how early.

    The exact mean of one server with Poisson arrivals (M/G/1); in print, points are simulations.
    Cₛ² is the variance of the service time over its squared mean.

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
    axes.set(xlim=(0, 1), ylim=(0, 20), yticks=range(0, 21, 5))
    axes.set(xlabel="utilization ρ", ylabel="mean wait [service times]")


def slider_hockey_stick() -> dict[str, Any]:
    """Move the load, and see what one more percentage point costs."""
    rho, scv = np.round(np.arange(0.01, 0.975, 0.01), 2), [0.0, 0.5, 1.0, 2.0, 4.0, 8.0]
    waits = [[pollaczek_khinchine_wait(r, c) for c in scv] for r in rho]
    more = [
        [pollaczek_khinchine_wait(r + 0.01, c) - wait for c, wait in zip(scv, row, strict=True)]
        for r, row in zip(rho, waits, strict=True)
    ]
    mean = {"label": "mean wait", "unit": "service times"}
    return {
        "controls": [
            {"label": "utilization", "values": rho, "text": "ρ = {:.2f}", "start": 0.8},
            {"label": "variability of service", "values": scv, "text": "Cₛ² = {:g}", "start": 1.0},
        ],
        "panels": [
            {
                "kind": "load",
                "x": {"label": "utilization ρ", "unit": "", "range": (0, 1)},
                "y": mean | {"range": (0, 20)},
                "curves": [mean | {"values": waits, "decimals": 2}],
            }
        ],
        "readouts": [{"label": "more", "unit": "", "values": more, "decimals": 2}],
        "reading": "At {utilization} and {variability of service} the mean wait is {mean wait}, and"
        " one more percentage point of load adds {more}.",
    }


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


def check_response_time_at_80_percent() -> None:
    """At ρ = 0.8, the M/M/1 response takes 5 service times on average, 15 at p95 and 23 at p99.

    Source: mean S/(1−ρ), and quantiles of an exponential with that mean.
    """
    checks.close("mean", mean_wait(0.8, 1.0) + 1, 5.0, rtol=1e-12)
    checks.close("p95", response_quantile(0.95, 0.8, 1.0), 14.97866, atol=5e-6)
    checks.close("p99", response_quantile(0.99, 0.8, 1.0), 23.02585, atol=5e-6)
