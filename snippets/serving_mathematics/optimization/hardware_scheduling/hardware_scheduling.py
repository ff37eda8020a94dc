"""Who runs next decides the mean response: in order of arrival everybody waits for the long
requests, shortest first nearly nobody does.

One server, Poisson arrivals at rate λ, sizes S, ρ = λE[S], and ρ(x) = λE[S; S ≤ x] the load of the
requests up to size x. Mean response of a request of size x:

    in order of arrival     x + λE[S²]/(2(1 − ρ))
    shortest job first      x + λE[S²]/(2(1 − ρ(x))²), the running one is not interrupted
    shortest remaining      ∫₀ˣ dt/(1 − ρ(t)) + λ(E[S²; S ≤ x] + x²P(S > x))/(2(1 − ρ(x))²)

With predicted sizes, ρ(x) becomes the load of what is predicted no larger.

Assumes: one request at a time, sizes independent of arrivals, preemption is free, steady state.

Source: Schrage and Miller (1966) for shortest remaining, in the form of Bansal and Harchol-Balter
(2001); Cobham (1954), with one class for each size, for shortest job first.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.queues.size_based import (
    EXPONENTIAL,
    GRID_STEP,
    LOAD,
    UNEVEN,
    Sizes,
    mean_response,
    predicted_sjf_mean,
    response_by_size,
)
from serving_mathematics.support import checks


def example() -> SimpleNamespace:
    """Numbers quoted in the text: uneven sizes at 80% load, in seconds."""
    x = np.geomspace(0.01, 60, 4000)
    in_order, shortest = (response_by_size(name, x, LOAD, UNEVEN) for name in ("fcfs", "srpt"))
    even = response_by_size("srpt", x, 0.9, EXPONENTIAL)
    shared = 1 / (1 - LOAD)
    worst = int(np.argmax(shortest / x))
    loses = x[int(np.argmax(shortest / x > shared))]
    hurt = x[int(np.argmax(shortest > in_order))]
    table = [
        [mean_response(policy, rate, EXPONENTIAL) for policy in ("fcfs", "sjf", "srpt")]
        for rate in (0.5, 0.9)
    ]
    at_load = [mean_response(policy, LOAD, EXPONENTIAL) for policy in ("fcfs", "sjf")]
    uneven = [mean_response(policy, LOAD, UNEVEN) for policy in ("fcfs", "sjf", "srpt")]
    short = [float(response_by_size(name, 0.1, LOAD, UNEVEN)) / 0.1 for name in ("fcfs", "srpt")]
    return SimpleNamespace(
        load_percent=100 * LOAD,
        fcfs_mean=uneven[0],
        sjf_mean=uneven[1],
        srpt_mean=uneven[2],
        fcfs_half=table[0][0],
        sjf_half=table[0][1],
        srpt_half=table[0][2],
        fcfs_90=table[1][0],
        sjf_90=table[1][1],
        srpt_90=table[1][2],
        short_fcfs_slowdown=short[0],
        short_srpt_slowdown=short[1],
        shared_slowdown=shared,
        worst_srpt_slowdown=float(shortest[worst] / x[worst]),
        worst_size=float(x[worst]),
        losing_percent=100 * float(UNEVEN.above(loses)),
        hurt_percent=100 * float(UNEVEN.above(hurt)),
        predicted_half_error=predicted_sjf_mean(LOAD, UNEVEN, 0.5),
        predicted_unit_error=predicted_sjf_mean(LOAD, UNEVEN, 1.0),
        largest_penalty_percent=100 * float(np.max(0.1 * even / x) - 1),
        even_gain_percent=100 * (1 - at_load[1] / at_load[0]),
        uneven_gain_percent=100 * (1 - uneven[1] / uneven[0]),
    )


def check_exponential_means() -> None:
    """With exponential sizes the mean response at half load is 2, 1.7127 and 1.4254 service times
    in order of arrival, shortest first and shortest remaining first; at 90% it is 10, 4.1969 and
    3.5521.

    Source: 1/(1 − ρ) for M/M/1; for the others the integrals with ρ(x) = ρ(1 − (1 + x)e^{−x})
    written out, on 400,000 equal steps, residence as ∫ P(S > t)/(1 − ρ(t)) dt.
    """
    step = 1e-4
    x = step * (np.arange(400_000) + 0.5)
    tail = np.exp(-x)
    for rate, shortest, remaining in ((0.5, 1.7127, 1.4254), (0.9, 4.1969, 3.5521)):
        fcfs, sjf, srpt = (mean_response(p, rate, EXPONENTIAL) for p in ("fcfs", "sjf", "srpt"))
        room = 1 - rate * (1 - (1 + x) * tail)
        waits = rate * (2 - (2 + 2 * x) * tail) / (2 * room**2)  # x²P(S > x) cancels
        checks.close(f"ρ = {rate}, in order of arrival", fcfs, 1 / (1 - rate), rtol=1e-6)
        checks.close(f"ρ = {rate}, shortest first", sjf, shortest, atol=5e-5)
        expected = 1 + rate * step * float(np.sum(tail / room**2))
        checks.close(f"ρ = {rate}, shortest first, steps", sjf, expected, rtol=1e-6)
        checks.close(f"ρ = {rate}, shortest remaining", srpt, remaining, atol=5e-5)
        expected = step * float(np.sum(tail / room + waits * tail))
        checks.close(f"ρ = {rate}, shortest remaining, steps", srpt, expected, rtol=1e-6)


def check_nobody_loses_up_to_half_load() -> None:
    """Up to half load every size is faster with the shortest remaining first than if all shared the
    server equally; at 90% the largest exponential requests are slower.

    Source: Bansal and Harchol-Balter (2001), the theorem that all can win for ρ ≤ 1/2, and
    x/(1 − ρ) for processor sharing; three distributions, 2,000 sizes each.
    """
    x = np.geomspace(1e-3, 2e3, 2000)
    very_uneven = Sizes((0.99, 0.01), (0.5, 50.5))
    for name, sizes in (("even", EXPONENTIAL), ("uneven", UNEVEN), ("very uneven", very_uneven)):
        worst = np.max(0.5 * response_by_size("srpt", x, 0.5, sizes) / x)
        checks.inside(f"{name}: largest ratio at ρ = 0.5", worst, 0, 1, kind="published")
    worst = np.max(0.1 * response_by_size("srpt", x, 0.9, EXPONENTIAL) / x)
    checks.inside("even: largest ratio at ρ = 0.9", worst, 1, 2, kind="identity")


def check_waiting_is_only_moved() -> None:
    """Shortest first moves waiting from short requests to long ones: weighted by size, the mean
    wait stays what it is in order of arrival.

    Source: Kleinrock's conservation law, E[S·W] = E[S]·λE[S²]/(2(1 − ρ)).
    """
    for name, sizes in (("even", EXPONENTIAL), ("uneven", UNEVEN)):
        x = sizes.log_grid()
        wait = response_by_size("sjf", x, LOAD, sizes) - x
        weighted = GRID_STEP * float(np.sum(x * wait * sizes.density(x) * x))
        expected = LOAD * sizes.moment(2) / (2 * (1 - LOAD))
        checks.close(f"{name} sizes: E[S·W]", weighted, expected, rtol=1e-6)


def check_errors_lie_between_two_orders() -> None:
    """Without error predicted sizes give shortest first; the larger the error, the nearer to the
    order of arrival.

    Source: `mean_response` on either side.
    """
    for name, sizes in (("even", EXPONENTIAL), ("uneven", UNEVEN)):
        shortest, in_order = (mean_response(p, LOAD, sizes) for p in ("sjf", "fcfs"))
        means = [predicted_sjf_mean(LOAD, sizes, e) for e in (0.0, 0.05, 0.5, 1.0, 2.0, 5.0, 20.0)]
        checks.close(f"{name} sizes: no error", means[0], shortest, rtol=1e-4)
        checks.close(f"{name} sizes: 5% error", means[1], shortest, rtol=3e-3)
        rising = bool(np.all(np.diff([*means, in_order]) > 0))
        checks.holds(f"{name} sizes: rising to the order of arrival", rising, got=means)


def check_whole_jobs_on_many_devices() -> None:
    """On many devices the order decides the end: m(m − 1) jobs of 1 before one of m take 2m − 1
    instead of m, and 5, 5, 4, 4, 3, 3, 3 longest first on three devices 11 instead of 9.

    Source: Graham (1966) and (1969), by the scheduler of the batch-serving chapter.
    """
    from serving_mathematics.core.queues.list_scheduling import (
        list_schedule,
        lpt_schedule,
        optimal_makespan,
    )

    for m in (3, 5, 8):
        jobs = [1.0] * (m * (m - 1)) + [float(m)]
        checks.close(f"m = {m}: in this order", list_schedule(jobs, m).makespan, 2 * m - 1)
        checks.close(f"m = {m}: longest first", lpt_schedule(jobs, m).makespan, m)
    for devices, tight, longest, best in (
        (3, [5.0, 5, 4, 4, 3, 3, 3], 11, 9),
        (2, [3.0, 3, 2, 2, 2], 7, 6),
    ):
        got = lpt_schedule(tight, devices).makespan
        checks.close(f"{devices} devices: longest first", got, longest, kind="published")
        checks.close(f"{devices} devices: optimum", optimal_makespan(tight, devices), best)


def check_bad_input_is_refused() -> None:
    """Saturated servers, unknown policies, sizes of 0 and shares that do not add up are errors."""
    checks.raises("ρ = 1", mean_response, "sjf", 1.0, EXPONENTIAL, match="arrival_rate must be in")
    checks.raises("lifo", response_by_size, "lifo", 1.0, 0.5, EXPONENTIAL, match="policy must be")
    checks.raises("x = 0", response_by_size, "sjf", 0.0, 0.5, EXPONENTIAL, match="size_s must be")
    checks.raises("shares", Sizes, (0.5, 0.4), (1.0, 2.0), match="shares must be numbers that sum")
    checks.raises("NaN mean", Sizes, (1.0,), (math.nan,), match="means must be non-empty, positive")
    checks.raises("ε < 0", predicted_sjf_mean, 0.5, EXPONENTIAL, -1.0, match="log_error must be in")
