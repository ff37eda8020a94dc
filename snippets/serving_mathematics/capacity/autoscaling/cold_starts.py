"""Start-up: what piles up while new replicas start, and what a set-up for every busy period costs.

During D seconds at load λ on c₀ replicas of rate μ a backlog (λ − c₀μ)·D collects; c₁ replicas
drain it at c₁μ − λ. One server that is switched off when idle and set up by the next arrival adds
(2E[I] + λE[I²])/(2(1 + λE[I])) to its mean response time, which is E[I] when the set-up time I is
exponential.

Assumes: fluid flow for the backlog; for the set-up one server, Poisson arrivals, first come first
served. Nobody leaves.

Source: balance of flows; Welch (1964), with the decomposition of Fuhrmann and Cooper (1985).
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def cold_start(
    arrival_rate: float, replica_rate: float, replicas: int, startup_s: float, replicas_after: int
) -> tuple[float, float]:
    """Backlog when new replicas become ready, and the time they need to drain it: (λ − c₀μ)⁺·D and
    backlog/(c₁μ − λ).

    arrival_rate: λ [1/s]. replica_rate: μ, what one replica completes [1/s]. replicas: c₀, working
    from the start. startup_s: D [s], from the rise of load to readiness, reaction included.
    replicas_after: c₁ from then on. Returns (backlog [requests], drain time [s]) of the fluid,
    which starts without a queue. Raises ValueError on input outside these ranges or when c₁μ ≤ λ,
    where nothing drains.

    >>> cold_start(15.0, replica_rate=1.0, replicas=10, startup_s=60.0, replicas_after=20)
    (300.0, 60.0)
    """
    arrival_rate = require_non_negative(arrival_rate=arrival_rate)
    replica_rate = require_positive(replica_rate=replica_rate)
    replicas = require_non_negative_integer(replicas=replicas)
    replicas_after, startup_s = require_non_negative(
        replicas_after=replicas_after, startup_s=startup_s
    )
    spare = replicas_after * replica_rate - arrival_rate
    require(
        replicas_after % 1 == 0 and 0 < spare < math.inf,
        "replicas_after",
        f"an integer above arrival_rate/replica_rate = {arrival_rate / replica_rate:.6g}",
        replicas_after,
    )
    backlog = max(0.0, arrival_rate - replicas * replica_rate) * startup_s
    return backlog, backlog / spare


def setup_response_time(
    arrival_rate: float,
    mean_service_s: float,
    mean_setup_s: float,
    *,
    service_scv: float = 1.0,
    setup_scv: float = 1.0,
) -> float:
    """Mean response time of one server that is switched off when idle and set up again by the next
    arrival [s].

    arrival_rate: λ [1/s]. mean_service_s: S [s]. mean_setup_s: E[I] [s], 0 for a server that stays
    on. service_scv, setup_scv: squared coefficients of variation, so that E[I²] = E[I]²(1 +
    setup_scv). Raises ValueError on input outside these ranges or λS ≥ 1.
    Source: Welch (1964); Fuhrmann and Cooper (1985) for the decomposition used in the text.

    >>> setup_response_time(arrival_rate=0.5, mean_service_s=1.0, mean_setup_s=3.0)
    5.0
    """
    arrival_rate = require_non_negative(arrival_rate=arrival_rate)
    mean_service_s = require_positive(mean_service_s=mean_service_s)
    mean_setup_s, service_scv, setup_scv = require_non_negative(
        mean_setup_s=mean_setup_s, service_scv=service_scv, setup_scv=setup_scv
    )
    rho = arrival_rate * mean_service_s
    require(rho < 1, "arrival_rate·mean_service_s", "below 1 for a stable queue", rho)
    wait = rho / (1 - rho) * (1 + service_scv) / 2 * mean_service_s
    second_moment = mean_setup_s**2 * (1 + setup_scv)
    setup = (2 * mean_setup_s + arrival_rate * second_moment) / (
        2 * (1 + arrival_rate * mean_setup_s)
    )
    return mean_service_s + wait + setup


def example() -> SimpleNamespace:
    """Worked numbers of start-up; the unit is in the name, setup_* are mean responses [s]."""
    backlog, drain = cold_start(150.0, 10.0, 10, 120.0, 18)
    return SimpleNamespace(
        backlog=backlog,
        drain_s=drain,
        drain_s_tight=cold_start(150.0, 10.0, 10, 120.0, 16)[1],
        newcomer_wait_s=backlog / (18 * 10.0),
        always_on_s=setup_response_time(0.8, 1.0, 0.0),
        setup_s=setup_response_time(0.8, 1.0, 10.0),
        setup_constant_s=setup_response_time(0.8, 1.0, 10.0, setup_scv=0.0),
    )


def figure_cold_start(figure: Figure) -> None:
    """Two minutes without new replicas cost minutes more: the last few replicas decide how long the
    backlog stays.

    Load jumps from 100 to 150 requests a second on ten replicas of 10 a second; new ones serve
    after 120 s.

    Alt: Line chart of backlog against time since the jump. The backlog climbs in a straight line to
    6000 requests at 120 seconds, then falls: with 24 replicas it is gone after 187 seconds, with 18
    after 320, with 16 only after 720.
    """
    axes = figure.subplots()
    for after, colour, label_at in (
        (24, "C2", (48, 900)),
        (18, "C0", (282, 1500)),
        (16, "C3", (450, 3000)),
    ):
        backlog, drain = cold_start(150.0, 10.0, 10, 120.0, after)
        axes.plot([120, 120 + drain], [backlog, 0], color=colour)
        axes.annotate(f"{after} replicas", label_at, color=colour)
    axes.plot([0, 120], [0, 6000], color="C4")
    axes.annotate("10 replicas, the rest starting", (118, 6150), color="C4")
    axes.set(
        xlim=(0, 750), ylim=(0, 6900), xlabel="time since the jump [s]", ylabel="backlog [requests]"
    )


def slider_cold_start() -> dict[str, Any]:
    """Start replicas faster, or order more of them, and see which ends the backlog sooner."""
    startups, orders, peaks = (
        np.arange(0.0, 305.0, 10.0),
        [16, 17, 18, 20, 22, 24, 28, 32],
        [120, 150],
    )
    runs = np.array(
        [
            [[cold_start(peak, 10.0, 10, d, after) for peak in peaks] for after in orders]
            for d in startups
        ]
    )
    backlog, drain = runs[..., 0], runs[..., 1]
    rates = 10.0 * np.array(orders)[:, None]
    return {
        "controls": [
            {"label": "start-up", "values": startups, "text": "D = {:g} s", "start": 120},
            {"label": "replicas afterwards", "values": orders, "text": "{} replicas", "start": 18},
            {"label": "load after the jump", "values": peaks, "text": "{}/s", "start": 150},
        ],
        "x": {"label": "start-up time", "unit": "s"},
        "y": {"label": "jump to empty queue", "unit": "s", "range": (0, 1200)},
        "curves": [
            {
                "label": "until empty",
                "unit": "s",
                "values": startups[:, None, None] + drain,
                "decimals": 0,
            }
        ],
        "readouts": [
            {"label": "backlog", "unit": "requests", "values": backlog, "decimals": 0},
            {"label": "wait", "unit": "s", "values": backlog / rates, "decimals": 0},
        ],
        "reading": "With {start-up}, {replicas afterwards} and {load after the jump} arriving:"
        " {backlog} wait when the new replicas are ready, the next one for {wait}, and the queue is"
        " empty {until empty} after the jump.",
    }


def check_cold_start_backlog() -> None:
    """Fifty requests a second too many for two minutes leave 6000, which 18 replicas need 200 s to
    clear.

    Source: by hand, (150 − 100)·120 and 6000/(180 − 150); Euler's method on the fluid in steps of a
    tenth of a second.
    """
    backlog, drain = cold_start(150.0, 10.0, 10, 120.0, 18)
    checks.close("backlog [requests]", backlog, 6000.0)
    checks.close("drain [s]", drain, 200.0)
    queue, top, clock = 0.0, 0.0, 0.0
    while clock < 120 or queue > 0:
        queue = max(0.0, queue + 0.1 * (150 - (100 if clock < 120 - 1e-9 else 180)))
        top, clock = max(top, queue), clock + 0.1
    checks.close("highest fluid level", top, backlog, rtol=1e-9)
    checks.close("fluid gone at [s]", clock, 120 + drain, atol=0.2)


def _simulated_setup(rng: np.random.Generator, setup_scv: float) -> MeanEstimate:
    """Mean response of 560 independent servers with λ = 0.8, S = 1, E[I] = 10, over customers 500
    to 1500.
    """
    lanes, customers, warm_up = 560, 1500, 500
    wait, total = np.full(lanes, 10.0), np.zeros(lanes)
    for i in range(customers):
        service = rng.exponential(1.0, lanes)
        if i >= warm_up:
            total += wait + service
        left = wait + service - rng.exponential(1.25, lanes)  # work that the next arrival finds
        setup = rng.exponential(10.0, lanes) if setup_scv else 10.0
        wait = np.where(left > 0, left, setup)
    means = total / (customers - warm_up)
    error = float(means.std(ddof=1)) / math.sqrt(lanes)
    return MeanEstimate(float(means.mean()), error, 1.96 * error)


def check_setup_adds_its_mean() -> None:
    """An exponential set-up of 10 s on average triples the 5 s response at ρ = 0.8 to 15 s; a
    constant one adds 5.6 s.

    Source: Welch (1964), by hand 1/(μ−λ) + E[I] and (20 + 80)/18; simulation of Lindley's recursion
    with a set-up whenever the server is found idle, 560 independent replications, their standard
    error.
    """
    checks.close("no set-up", setup_response_time(0.8, 1.0, 0.0), 5.0, rtol=1e-12)
    checks.close("exponential set-up", setup_response_time(0.8, 1.0, 10.0), 15.0, rtol=1e-12)
    constant = setup_response_time(0.8, 1.0, 10.0, setup_scv=0.0)
    checks.close("constant set-up", constant, 5 + 100 / 18, rtol=1e-12)
    rng = np.random.default_rng(1964)
    checks.covers("exponential, simulated", _simulated_setup(rng, 1.0), 15.0)
    checks.covers("constant, simulated", _simulated_setup(rng, 0.0), constant)


def check_bad_input_is_refused() -> None:
    """Fleets that never drain, saturated servers and negative delays are errors."""
    checks.raises(
        "fleet too small to drain",
        cold_start,
        150.0,
        10.0,
        10,
        120.0,
        15,
        match="replicas_after must be an integer above arrival_rate/replica_rate = 15, got 15",
    )
    checks.raises(
        "negative delay",
        cold_start,
        15.0,
        1.0,
        10,
        -1.0,
        20,
        match="startup_s must be non-negative",
    )
    checks.raises(
        "saturated server",
        setup_response_time,
        1.0,
        1.0,
        1.0,
        match="below 1 for a stable queue, got 1.0",
    )
