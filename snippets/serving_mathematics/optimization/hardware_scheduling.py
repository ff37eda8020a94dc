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
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics import checks
from serving_mathematics.require import (
    as_floats,
    require,
    require_in,
    require_non_negative,
    widen_fields,
)

FloatArray = npt.NDArray[np.float64]

GRID_STEP = 0.01  # of ln x, for integrals over sizes
LOAD = 0.8  # ρ of the worked numbers


@dataclass(frozen=True)
class Sizes:
    """Sizes that are exponential with one of several means: a mixture from steady to very uneven.

    shares: of the requests, positive, summing to 1. means: their mean sizes [s], positive. Raises
    ValueError on anything else.

    >>> sizes = Sizes(shares=(0.5, 0.5), means=(1.0, 3.0))
    >>> sizes.moment(1), sizes.moment(2)
    (2.0, 10.0)
    """

    shares: tuple[float, ...]
    means: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what is not a mixture."""
        widen_fields(self)
        for name in ("shares", "means"):
            values = getattr(self, name)
            fine = len(values) > 0 and all(0 < value < math.inf for value in values)
            require(fine, name, "non-empty, positive and finite", values)
        together = math.isclose(sum(self.shares), 1, abs_tol=1e-9)
        require(together, "shares", "numbers that sum to 1", self.shares)
        size = len(self.shares)
        require(len(self.means) == size, "means", f"as many as the {size} shares", self.means)

    def moment(self, order: int) -> float:
        """E[S^order], of order 1 or 2."""
        terms = zip(self.shares, self.means, strict=True)
        return float(sum(share * order * mean**order for share, mean in terms))

    def above(self, x: FloatArray) -> FloatArray:
        """P(S > x)."""
        terms = zip(self.shares, self.means, strict=True)
        return np.asarray(sum(share * np.exp(-x / mean) for share, mean in terms))

    def moment_below(self, x: FloatArray, order: int) -> FloatArray:
        """E[S^order; S ≤ x], of order 1 or 2; what is larger counts as 0."""
        total: FloatArray = np.zeros_like(x)
        for share, mean in zip(self.shares, self.means, strict=True):
            u = x / mean
            missing = u + 1 if order == 1 else u**2 + 2 * u + 2
            total += share * mean**order * (order - missing * np.exp(-u))
        return total

    def log_grid(self) -> FloatArray:
        """Sizes at equal steps of ln x that hold all but a billionth of the work."""
        low, high = math.log(min(self.means) * 1e-7), math.log(max(self.means) * 45)
        return np.asarray(np.exp(np.arange(low, high, GRID_STEP)))

    def density(self, x: FloatArray) -> FloatArray:
        """Density of S at x [1/s]."""
        terms = zip(self.shares, self.means, strict=True)
        return np.asarray(sum(share / mean * np.exp(-x / mean) for share, mean in terms))

    def draw(self, rng: np.random.Generator, requests: int) -> FloatArray:
        """Independent sizes [s], shape (requests,)."""
        return rng.exponential(rng.choice(self.means, requests, p=self.shares))


EXPONENTIAL = Sizes((1.0,), (1.0,))
UNEVEN = Sizes((0.9, 0.1), (0.5, 5.5))  # mean 1 s, squared coefficient of variation 5.5


def response_by_size(
    policy: str, size_s: npt.ArrayLike, arrival_rate: float, sizes: Sizes
) -> FloatArray:
    """Mean response of requests of given sizes [s]: what others make them wait, and their service.

    policy: "fcfs", "sjf" or "srpt". size_s: x > 0 [s], any shape. arrival_rate: λ ≥ 0 [1/s], with
    λ times the mean size below 1. sizes: of all requests. Raises ValueError outside these ranges.

    >>> response_by_size("fcfs", [0.5, 2.0], arrival_rate=0.5, sizes=Sizes((1.0,), (1.0,))).tolist()
    [1.5, 3.0]
    """
    require(policy in ("fcfs", "sjf", "srpt"), "policy", "fcfs, sjf or srpt", policy)
    x = as_floats(size_s=size_s)
    require(x.size > 0 and np.all((x > 0) & (x < math.inf)), "size_s", "positive and finite", x)
    arrival_rate = require_non_negative(arrival_rate=arrival_rate)
    stable = arrival_rate * sizes.moment(1) < 1
    require(stable, "arrival_rate", f"in [0, {1 / sizes.moment(1):g})", arrival_rate)
    residual = arrival_rate * sizes.moment(2) / 2
    if policy == "fcfs":
        return x + residual / (1 - arrival_rate * sizes.moment(1))
    room = 1 - arrival_rate * sizes.moment_below(x, 1)
    if policy == "sjf":
        return x + residual / room**2
    nodes, weights = np.polynomial.legendre.leggauss(64)
    u = (nodes + 1) / 2  # t = xu³ puts most nodes where small requests crowd
    t = x[..., None] * u**3
    stretch = 3 * u**2 / (1 - arrival_rate * sizes.moment_below(t, 1))
    residence = x * (stretch @ weights) / 2
    ahead = sizes.moment_below(x, 2) + x**2 * sizes.above(x)
    return residence + arrival_rate * ahead / (2 * room**2)


def mean_response(policy: str, arrival_rate: float, sizes: Sizes) -> float:
    """Mean response of all requests [s], by integrating over their sizes on a grid of ln x.

    Arguments and errors as for `response_by_size`.

    >>> round(mean_response("fcfs", 0.5, Sizes((1.0,), (1.0,))), 6)
    2.0
    """
    x = sizes.log_grid()
    responses = response_by_size(policy, x, arrival_rate, sizes)
    return float(GRID_STEP * np.sum(responses * sizes.density(x) * x))


def predicted_sjf_mean(arrival_rate: float, sizes: Sizes, log_error: float) -> float:
    """Mean response [s] when the shortest predicted request runs next and is not interrupted.

    arrival_rate, sizes: as for `response_by_size`. log_error: ε in [0, 20], standard
    deviation of ln(predicted/true), a normal error that does not depend on the size. The load of
    what is predicted no larger takes the place of ρ(x). Raises ValueError outside these ranges.
    Source: Mitzenmacher (2019), shortest predicted job first.

    >>> round(predicted_sjf_mean(0.5, Sizes((1.0,), (1.0,)), log_error=0.0), 4)
    1.7127
    """
    log_error = require_in("[0, 20]", log_error=log_error)
    arrival_rate = require_non_negative(arrival_rate=arrival_rate)
    stable = arrival_rate * sizes.moment(1) < 1
    require(stable, "arrival_rate", f"in [0, {1 / sizes.moment(1):g})", arrival_rate)
    x = sizes.log_grid()
    share = GRID_STEP * sizes.density(x) * x  # of the requests, in each cell of ln x
    work = share * x
    if log_error > 0:
        reach = math.ceil(8 * log_error / GRID_STEP)
        kernel = np.exp(-((GRID_STEP / log_error * np.arange(-reach, reach + 1)) ** 2) / 2)
        kernel /= kernel.sum()
        share, work = np.convolve(share, kernel), np.convolve(work, kernel)
    load = arrival_rate * (np.cumsum(work) - work / 2)
    waits = arrival_rate * sizes.moment(2) / 2 * float(np.sum(share / (1 - load) ** 2))
    return sizes.moment(1) + waits


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
    from serving_mathematics.architecture.batch_serving import (
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
