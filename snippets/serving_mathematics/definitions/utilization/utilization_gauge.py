"""A gauge of "at least one kernel ran" saturates at a few erlangs, whatever the capacity.

A device with c slots that works whenever at least one slot is taken shows g = 1 − p_0. With
Poisson arrivals p_0 is near e^{−a}, so the gauge follows the offered load a and not ρ = a/c, and
g < 1 bounds the load from above: a ≤ −ln(1−g). How long ρ itself must be watched, and how long a
simulation must run before its interval can be trusted, is set by the relaxation time S/(1−√ρ)².

Assumes: Poisson arrivals, exponential service, one first-come-first-served queue, steady state;
without a queue (free slots for all) p_0 = e^{−a} for any distribution of service times.

Source: NVIDIA, NVML API reference, nvmlUtilization_t, for what the gauge shows; Erlang (1917) for
p_0; Abate and Whitt (1988) for the spectrum of M/M/1.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from serving_mathematics.core.queues.queue_simulator import BATCHES, simulate_mean_wait
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def any_busy(servers: int, offered_load: float) -> float:
    """Share of time at which at least one server of M/M/c is busy, 1 − p_0.

    servers: c. offered_load: a = λS [erlang], in [0, c). Raises ValueError outside these ranges.
    The terms a^k/k! are added on a logarithmic scale, so c in the thousands does not overflow.

    >>> round(any_busy(servers=1, offered_load=0.8), 12)
    0.8
    >>> round(any_busy(servers=2, offered_load=1.0), 12)
    0.666666666667
    """
    offered_load = as_number(offered_load=offered_load)
    servers = require_positive_integer(servers=servers)
    servers = require_in("[1, 1e7]", servers=servers)
    require(
        0 <= offered_load < servers,
        "offered_load",
        f"in [0, {servers}) for a stable queue",
        offered_load,
    )
    if offered_load == 0:
        return 0.0
    logs = np.cumsum(np.log(offered_load / np.arange(1, servers + 1)))  # ln a^k/k!, k = 1 … c
    logs[-1] -= math.log1p(-offered_load / servers)  # all states from c on
    peak = max(float(logs.max()), 0.0)
    busy = float(np.exp(logs - peak).sum())
    return busy / (busy + math.exp(-peak))


def most_load_behind(gauge: float) -> float:
    """Highest offered load at which at least one server is busy no more than a share g of the time.

    gauge: g in [0, 1). Returns −ln(1−g) [erlang], exact when no request ever waits; a queue keeps
    the gauge up, so with one the load is lower. Raises ValueError outside this range.

    >>> round(most_load_behind(0.5), 9)
    0.693147181
    """
    gauge = require_in("[0, 1)", gauge=gauge)
    return -math.log1p(-gauge)


def places_taken(share: float, growth: float) -> float:
    """Share of an engine's places that are taken at a share of its highest rate, x/(1 + g − gx).

    share: x in [0, 1]. growth: g ≥ 0, by how much a full step is longer than an empty one, over the
    empty one. With n places a step takes s + d·b with b of them taken, g = d·n/s, and finishes b
    requests; at the rate x·n/(s + d·n) it holds b = x·n/(1 + g − g·x) on average, while nobody
    waits. Raises ValueError outside these ranges.

    >>> places_taken(0.5, growth=2.0)
    0.25
    """
    share, growth = require_in("[0, 1]", share=share), require_non_negative(growth=growth)
    return share / (1 + growth * (1 - share))


def relaxation_time(utilization: float, mean_service_s: float) -> float:
    """Time constant with which an M/M/1 queue forgets its past, S/(1−√ρ)² [s].

    utilization: ρ in [0, 1). mean_service_s: S [s]. Raises ValueError outside these ranges.
    Source: Abate and Whitt (1988); the gap in the spectrum of the generator.

    >>> round(relaxation_time(utilization=0.25, mean_service_s=1.0), 12)
    4.0
    """
    utilization = require_in("[0, 1)", utilization=utilization)
    mean_service_s = require_positive(mean_service_s=mean_service_s)
    return mean_service_s * ((1 + math.sqrt(utilization)) / (1 - utilization)) ** 2


def interval_coverage(
    rng: np.random.Generator, utilization: float, customers: int, runs: int
) -> float:
    """Share of simulated M/M/1 runs whose 95% interval for the mean wait holds ρ/(1−ρ).

    utilization: ρ in (0, 1). customers: length of a run, at least 1000. runs: how many. Uses the
    queue simulator. Raises ValueError outside these ranges.

    >>> interval_coverage(np.random.default_rng(0), 0.3, customers=20_000, runs=5)
    1.0
    """
    customers = as_number(customers=customers)
    require_work(customers, customers=customers)
    utilization = require_in("(0, 1)", utilization=utilization)
    runs = require_positive_integer(runs=runs)
    runs = require_in("[1, 1e5]", runs=runs)
    exact, held = utilization / (1 - utilization), 0
    for _ in range(int(runs)):
        run = simulate_mean_wait(rng, utilization, customers=customers)
        held += abs(run.mean - exact) <= run.half_width
    return held / runs


COVERAGE_RUNS, COVERAGE_CUSTOMERS = 140, 20_000  # short runs, to show the effect


def _constants_per_batch(utilization: float, customers: int) -> float:
    """Length of a batch of the simulation in relaxation times."""
    return customers / BATCHES / utilization / relaxation_time(utilization, 1.0)


@functools.cache
def _coverages() -> dict[float, float]:
    """Shares of COVERAGE_RUNS runs whose interval holds the mean, by utilization."""
    rng = np.random.default_rng(61)
    return {r: interval_coverage(rng, r, COVERAGE_CUSTOMERS, COVERAGE_RUNS) for r in (0.5, 0.9)}


def example() -> SimpleNamespace:
    """Worked numbers of the chapter; shares as fractions, times in mean service times."""
    slots, held = 64, _coverages()
    half = {
        rho: 196 * math.sqrt(share * (1 - share) / COVERAGE_RUNS) for rho, share in held.items()
    }
    return SimpleNamespace(
        gauge_slots=slots,
        places_at_half=places_taken(0.5, 2.0),
        gauge_at_tenth=any_busy(slots, 0.1 * slots),
        gauge_at_nine_tenths=any_busy(slots, 0.9 * slots),
        load_at_99=most_load_behind(0.995),
        rho_at_99=most_load_behind(0.995) / slots,
        relaxation_at_80=relaxation_time(0.8, 1.0),
        relaxation_at_95=relaxation_time(0.95, 1.0),
        relaxation_at_95_min=relaxation_time(0.95, 0.1) / 60,  # for services of 100 ms
        coverage_runs=COVERAGE_RUNS,
        coverage_customers=COVERAGE_CUSTOMERS,
        coverage_at_50=held[0.5],
        coverage_at_50_ci=half[0.5],
        coverage_at_90=held[0.9],
        coverage_at_90_ci=half[0.9],
        batch_at_50=_constants_per_batch(0.5, COVERAGE_CUSTOMERS),
        batch_at_90=_constants_per_batch(0.9, COVERAGE_CUSTOMERS),
        batch_of_figure=_constants_per_batch(0.9, 700_000),
        batch_of_default=_constants_per_batch(0.9, 200_000),
    )


def figure_gauge(figure: Figure) -> None:
    """With 64 slots the gauge reads 99% at a fourteenth of the capacity, 100% from a twelfth on.

    Alt: Line chart of the share of time with at least one busy slot against utilization. For one
    slot it is the diagonal; for 8 slots it bends and reaches 98 percent at a utilization of 0.5;
    for 64 slots it rises almost vertically to 99 percent at 0.07 and stays at 100 percent.
    """
    axes = figure.subplots()
    rho = np.r_[0, np.geomspace(1e-4, 0.999, 120)]
    for slots, colour, x, y in (
        (1, "C4", 0.56, 0.48),
        (8, "C1", 0.24, 0.77),
        (64, "C0", 0.09, 0.93),
    ):
        shown = [any_busy(slots, r * slots) for r in rho]
        axes.plot(rho, shown, color=colour)
        axes.annotate(f"{slots} slot" + "s" * (slots > 1), (x, y), color=colour, va="center")
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1.03),
        xlabel="utilization ρ of the slots",
        ylabel="share of time with any slot busy",
    )


def check_gauge_of_one_server() -> None:
    """With one server the gauge is ρ, and with two it is 2ρ/(1+ρ).

    Source: balance equations of M/M/1 and M/M/2 by hand, p_0 = 1−ρ and (1−ρ)/(1+ρ).
    """
    rho = np.linspace(0.05, 0.95, 19)
    checks.close("c = 1", [any_busy(1, r) for r in rho], rho, rtol=1e-13)
    checks.close("c = 2", [any_busy(2, 2 * r) for r in rho], 2 * rho / (1 + rho), rtol=1e-13)


def check_gauge_saturates() -> None:
    """64 slots at 10% utilization keep the gauge at 99.8%, as the balance equations say.

    Source: stationary distribution of the birth–death chain, cut off at 400 requests and solved.
    """
    slots, load, states = 64, 6.4, 400
    up, down = np.full(states - 1, load), np.minimum(np.arange(1, states), slots)
    generator = np.diag(up, 1) + np.diag(down, -1)
    balance = (generator - np.diag(generator.sum(axis=1))).T
    balance[-1] = 1.0
    empty = float(np.linalg.solve(balance, np.eye(states)[-1])[0])
    checks.close("share of time with any busy", any_busy(slots, load), 1 - empty, rtol=1e-12)
    checks.close("slots without end", any_busy(slots, load), 1 - math.exp(-load), atol=1e-12)


def check_places_fill_late() -> None:
    """At half of its highest rate an engine has a quarter of its places taken, if a full step takes
    three times as long as an empty one.

    Source: the birth–death chain of Poisson arrivals and steps whose rate depends on the number in
    them, 64 places and 400 states, solved by its balance equations.
    """
    slots, growth = 64, 2.0
    batch = np.minimum(np.arange(1, 401), slots)
    rates = batch / (1 + growth * batch / slots)
    for share in (0.3, 0.5, 0.8):
        weights = np.r_[0.0, np.cumsum(np.log(share * rates[-1] / rates))]
        chances = np.exp(weights - weights.max())
        taken = float(chances[1:] @ batch / chances.sum()) / slots
        checks.close(f"at {share:.0%}", places_taken(share, growth), taken, rtol=0.05)


def check_gauge_bounds_the_load() -> None:
    """The load read off a gauge is never below the true one, and exact when slots are many.

    Source: any_busy over c and ρ, inverted.
    """
    pairs = [(c, c * r) for c in (1, 2, 8, 16) for r in (0.05, 0.2, 0.5, 0.8)]
    slack = [most_load_behind(any_busy(c, load)) / load for c, load in pairs]
    checks.holds("read off ≥ true load", min(slack) > 1 - 1e-9, got=min(slack))
    checks.close("256 slots, 3 erlangs", most_load_behind(any_busy(256, 3.0)), 3.0, rtol=1e-12)


def check_relaxation_time_is_the_spectral_gap() -> None:
    """At ρ = 0.5 the slowest mode of an M/M/1 queue decays in 11.66 service times.

    Source: second eigenvalue of the generator cut off at 150 requests, made symmetric; cutting off
    at K moves it by a relative (π/K)²√ρ/(1−√ρ)² or less.
    """
    rho, states = 0.5, 150
    diagonal = np.r_[rho, np.full(states - 2, 1 + rho), 1.0]
    side = np.full(states - 1, -math.sqrt(rho))
    gap = np.linalg.eigvalsh(np.diag(diagonal) + np.diag(side, 1) + np.diag(side, -1))[1]
    shift = (math.pi / states) ** 2 * math.sqrt(rho) / (1 - math.sqrt(rho)) ** 2
    checks.close("time constant", relaxation_time(rho, 1.0), 1 / float(gap), rtol=shift)
    checks.close(
        "by hand, 1/(1 − √½)²", relaxation_time(rho, 1.0), 6 + 4 * math.sqrt(2), rtol=1e-12
    )


def check_intervals_need_long_batches() -> None:
    """95% intervals hold the mean in 95% of the runs when a batch outlasts the queue's memory.

    Source: the exact mean ρ/(1−ρ); binomial standard errors of 140 runs. At ρ = 0.5 a batch is 107
    time constants long, at ρ = 0.9 less than two.
    """
    error, held = math.sqrt(0.95 * 0.05 / COVERAGE_RUNS), _coverages()
    long, short = held[0.5], held[0.9]
    checks.close("batches of 107 constants", long, 0.95, atol=3 * error, kind="simulation")
    checks.holds("batches of two constants: too few", short < 0.95 - 3 * error, got=short)


def check_bad_input_is_refused() -> None:
    """A saturated pool, a gauge at 100% and NaN are errors that name the argument."""
    checks.raises("a = c", any_busy, 4, 4.0, match="offered_load must be in [0, 4)")
    checks.raises("no server", any_busy, 0, 0.0, match="servers must be a positive integer, got 0")
    checks.raises("gauge at 100%", most_load_behind, 1.0, match="gauge must be in [0, 1), got 1.0")
    checks.raises("NaN", relaxation_time, math.nan, 1.0, match="utilization must be in [0, 1)")
