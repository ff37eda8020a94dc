"""A Markov-modulated Poisson process makes burstiness exact: its dispersion and its queue have
closed forms.

A hidden Markov chain with generator Q and stationary law π sets the rate λ_j while it is in phase
j. With D = (1π − Q)⁻¹ − 1π, the counts in windows of length t have I(t) = 1 + 2[πΛD − πΛD²(I −
e^{Qt})/t]λ/λ̄. Two phases with rates λ1, λ2, left at rates r1, r2, give I(t) = 1 + A(1 − (1 −
e^{−st})/(st)) with s = r1 + r2 and A = 2(λ1−λ2)²r1r2/(s²(λ1r2+λ2r1)). One exponential server in
front of it is a quasi-birth-death process, solved by the minimal R with Λ + R(Q − Λ − μ) + R²μ = 0.

Assumes: an irreducible chain in steady state, independent exponential service times, one
first-come-first-served server.

Source: Fischer and Meier-Hellstern (1993) and Gusella (1991) for the process; Latouche and
Ramaswami (1993) for the logarithmic reduction that finds R; Little (1961) for the step from the
mean number to the mean time.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate, batch_means, fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    as_numbers,
    require,
    require_positive,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

BURSTY_RATES = (10.0, 1.0)  # requests/s in the two phases of the chapter's example
BURSTY_LEAVES = (0.1, 0.05)  # 1/s: a burst lasts 10 s on average, the quiet between bursts 20 s


def switching_generator(leave_rates: tuple[float, float]) -> FloatArray:
    """Generator of the chain that leaves phase 1 at rate r1 and phase 2 at rate r2, shape (2, 2)
    [1/s].

    leave_rates: (r1, r2) [1/s], positive. Raises ValueError otherwise.

    >>> switching_generator((0.1, 0.05)).tolist()
    [[-0.1, 0.1], [0.05, -0.05]]
    """
    leave_rates = as_numbers(leave_rates=leave_rates)
    first, second = leave_rates
    require(
        0 < first < math.inf and 0 < second < math.inf,
        "leave_rates",
        "positive and finite",
        leave_rates,
    )
    return np.array([[-first, first], [second, -second]])


def _phases(
    rates: npt.ArrayLike, generator: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rates, generator and the chain's stationary law, refused unless they describe one process
    with arrivals.
    """
    intensity, q = as_floats(rates=rates), as_floats(generator=generator)
    require(
        intensity.ndim == 1 and intensity.size > 0,
        "rates",
        "a non-empty array in one dimension",
        intensity.shape,
    )
    require(
        np.all((intensity >= 0) & (intensity < math.inf)),
        "rates",
        "non-negative and finite",
        rates,
    )
    require(
        q.shape == (intensity.size,) * 2, "generator", f"of shape {(intensity.size,) * 2}", q.shape
    )
    require(
        np.all(np.isfinite(q))
        and np.all(q - np.diag(np.diag(q)) >= 0)
        and np.all(np.abs(q.sum(axis=1)) <= 1e-12 * np.abs(q).max()),
        "generator",
        "finite, with non-negative entries off the diagonal and rows that sum to zero",
        generator,
    )
    # Balance equations, one of them replaced by normalisation: full rank for one closed class.
    balance = np.vstack([q.T[1:], np.ones(intensity.size)])
    require(
        np.linalg.matrix_rank(balance) == intensity.size,
        "generator",
        "of one closed class of phases",
        generator,
    )
    law = np.linalg.solve(balance, np.eye(intensity.size)[-1])
    require(law @ intensity > 0, "rates", "positive in a phase that is visited", rates)
    return intensity, q, law


def mmpp_mean_rate(rates: npt.ArrayLike, generator: npt.ArrayLike) -> float:
    """Mean arrival rate λ̄ = πλ of a Markov-modulated Poisson process [1/s].

    rates: λ per phase [1/s], shape (m,). generator: Q [1/s], shape (m, m), rows summing to zero.
    Raises ValueError on negative rates, a matrix that is no generator, or several closed classes of
    phases.

    >>> round(mmpp_mean_rate((10.0, 1.0), [[-0.1, 0.1], [0.05, -0.05]]), 12)
    4.0
    """
    intensity, _, law = _phases(rates, generator)
    return float(law @ intensity)


def mmpp_dispersion(window_s: float, rates: npt.ArrayLike, generator: npt.ArrayLike) -> float:
    """Index of dispersion I(t) of the counts of a Markov-modulated Poisson process in windows of
    length t.

    window_s: t > 0 [s]; math.inf gives the limit. Other arguments and errors as for
    `mmpp_mean_rate`.

    >>> round(mmpp_dispersion(math.inf, (10.0, 1.0), [[-0.1, 0.1], [0.05, -0.05]]), 9)
    61.0
    """
    window_s = as_number(window_s=window_s)
    require(window_s > 0, "window_s", "positive", window_s)
    intensity, q, law = _phases(rates, generator)
    deviation = _deviation(q, law)
    weight = law * intensity @ deviation
    covariance = weight @ intensity
    if window_s < math.inf:
        started = np.eye(law.size) - _exponential(q * window_s)
        covariance -= weight @ deviation @ started @ intensity / window_s
    return float(1 + 2 * covariance / (law @ intensity))


def _exponential(matrix: FloatArray) -> FloatArray:
    """Matrix exponential: Taylor series of a matrix halved below norm 1/2, squared back."""
    halvings = max(0, math.ceil(math.log2(max(np.abs(matrix).sum(axis=1).max(), 1e-300))) + 1)
    scaled = matrix / 2.0**halvings
    total = term = np.eye(len(matrix))
    for k in range(1, 16):
        term = term @ scaled / k
        total = total + term
    for _ in range(halvings):
        total = total @ total
    return total


def mmpp_gap_cv(rates: npt.ArrayLike, generator: npt.ArrayLike) -> float:
    """Coefficient of variation of the gaps of a Markov-modulated Poisson process, from CV² =
    2λ̄·π(Λ−Q)⁻¹1 − 1.

    Arguments and errors as for `mmpp_mean_rate`.

    >>> round(mmpp_gap_cv((3.0, 3.0), [[-0.1, 0.1], [0.05, -0.05]]), 12)
    1.0
    """
    intensity, q, law = _phases(rates, generator)
    silence = np.linalg.solve(np.diag(intensity) - q, np.ones(law.size))  # mean time to an arrival
    return math.sqrt(2 * (law @ intensity) * (law @ silence) - 1)


def mmpp_mean_time(rates: npt.ArrayLike, generator: npt.ArrayLike, service_rate: float) -> float:
    """Mean time in system of MMPP/M/1 [s], by the matrix-geometric solution.

    service_rate: μ [1/s], above the mean arrival rate. Other arguments and errors as for
    `mmpp_mean_rate`. The minimal G of μ + (Q−Λ−μ)G + ΛG² = 0 comes from logarithmic reduction,
    whose error squares at every step; R = Λ(Λ+μ−Q−ΛG)⁻¹ and the idle law is π(I−R). Balance then
    gives the mean number by phase L: LQ = μ(π−π0) − πΛ and L(μ−Λ)1 = λ̄, and Little's law divides
    by λ̄.
    Source: Latouche and Ramaswami (1993).

    >>> round(mmpp_mean_time((4.0, 4.0), [[-0.1, 0.1], [0.05, -0.05]], service_rate=5.0), 12)
    1.0
    """
    service_rate = as_number(service_rate=service_rate)
    intensity, q, law = _phases(rates, generator)
    mean_rate = float(law @ intensity)
    require(
        mean_rate < service_rate < math.inf,
        "service_rate",
        f"finite and above the mean arrival rate {mean_rate:.6g}",
        service_rate,
    )
    identity = np.eye(law.size)
    leave = np.diag(intensity) + service_rate * identity - q
    up = np.linalg.solve(leave, np.diag(intensity))
    down = np.linalg.solve(leave, service_rate * identity)
    first_passage, reach = down, up  # the first grows to G
    while reach.max() > 1e-20:
        mixed = identity - up @ down - down @ up
        up, down = np.linalg.solve(mixed, up @ up), np.linalg.solve(mixed, down @ down)
        first_passage = first_passage + reach @ down
        reach = reach @ up
    r = np.diag(intensity) @ np.linalg.inv(leave - np.diag(intensity) @ first_passage)
    idle = law @ (identity - r)
    idle *= (1 - mean_rate / service_rate) / idle.sum()  # the sum is known; this helps near ρ = 1
    flow = service_rate * (law - idle) - law * intensity
    number = -flow @ _deviation(q, law)  # D solves this, as DQ = 1π − I
    number += law * (mean_rate - number @ (service_rate - intensity)) / (service_rate - mean_rate)
    return float(number.sum() / mean_rate)


def _deviation(q: FloatArray, law: FloatArray) -> FloatArray:
    """The deviation matrix D = (1π − Q)⁻¹ − 1π, which is ∫(e^{Qu} − 1π)du over u > 0."""
    equilibrium = np.outer(np.ones(law.size), law)
    return np.asarray(np.linalg.inv(equilibrium - q) - equilibrium)


def modulated_arrivals(
    rng: np.random.Generator, edges_s: npt.ArrayLike, rates: npt.ArrayLike
) -> FloatArray:
    """Arrivals of a Poisson process whose rate is constant between edges, by the change of time
    Λ(t).

    edges_s: increasing times [s], shape (n + 1,). rates: rate between one edge and the next [1/s],
    shape (n,).
    A unit-rate process read on the clock Λ(t) = ∫λ is the process wanted, exactly. Returns sorted
    times [s].
    Raises ValueError on edges that do not increase, negative rates or mismatched shapes.

    >>> times = modulated_arrivals(np.random.default_rng(0), [0.0, 5.0, 6.0], [0.0, 100.0])
    >>> bool(times.min() > 5.0), 70 < times.size < 130
    (True, True)
    """
    edges, intensity = as_floats(edges_s=edges_s), as_floats(rates=rates)
    require(
        edges.ndim == 1
        and edges.size >= 2
        and np.all(np.isfinite(edges))
        and np.all(np.diff(edges) > 0),
        "edges_s",
        "at least two finite, increasing times",
        edges,
    )
    require(intensity.shape == (edges.size - 1,), "rates", f"of shape {(edges.size - 1,)}", rates)
    require(
        np.all((intensity >= 0) & (intensity < math.inf)), "rates", "non-negative and finite", rates
    )
    clock = np.concatenate([[0.0], np.cumsum(intensity * np.diff(edges))])
    require(clock[-1] <= 1e9, "rates", "a thousand million requests at most", clock[-1])
    unit_times = _uniform_in_order(rng, rng.poisson(clock[-1]), clock[-1])
    return np.asarray(np.interp(unit_times, clock, edges))


def _uniform_in_order(rng: np.random.Generator, count: int, end: float) -> FloatArray:
    """Uniform places from 0 to an end, sorted: sums of exponential gaps over the sum of all."""
    sums = np.cumsum(rng.standard_exponential(count + 1))
    return np.asarray(sums[:-1] * (end / sums[-1]))


def switching_edges(
    rng: np.random.Generator, leave_rates: tuple[float, float], horizon_s: float
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """A path of the two-phase chain in steady state: its edges, from 0 to the horizon, and the
    phase between them.

    leave_rates: (r1, r2) [1/s], positive. horizon_s: length of the path [s].
    Returns edges [s], shape (n + 1,), and phases 0 or 1, shape (n,). Raises ValueError outside
    these ranges.

    >>> edges, phases = switching_edges(np.random.default_rng(3), (0.1, 0.05), 50.0)
    >>> edges[0].item(), edges[-1].item(), phases[:2].tolist()
    (0.0, 50.0, [1, 0])
    """
    leave_rates = as_numbers(leave_rates=leave_rates)
    first, second = leave_rates
    require(
        0 < first < math.inf and 0 < second < math.inf,
        "leave_rates",
        "positive and finite",
        leave_rates,
    )
    horizon_s = require_positive(horizon_s=horizon_s)
    cycles = horizon_s * first * second / (first + second)
    require_work(cycles, horizon_s=horizon_s)
    phase = int(rng.random() < first / (first + second))  # phase 2 holds r1/(r1+r2) of the time
    switches = np.empty(0)
    elapsed = 0.0
    while elapsed < horizon_s:  # in blocks of whole on–off cycles
        block = int(cycles) + 8
        stays = rng.exponential((1 / np.array([first, second]))[[phase, 1 - phase]], (block, 2))
        switches = np.concatenate([switches, elapsed + np.cumsum(stays)])
        elapsed = float(switches[-1])
    inside = switches[switches < horizon_s]
    edges = np.concatenate([[0.0], inside, [horizon_s]])
    return edges, (phase + np.arange(edges.size - 1)) % 2


def batch_dispersion(sizes: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Index of dispersion of requests that come in batches at Poisson times, E[B²]/E[B], the same
    for every window.

    sizes: batch sizes, positive integers, shape (n,). probabilities: of each size, summing to 1,
    shape (n,).
    Raises ValueError on other sizes or probabilities.

    >>> batch_dispersion([1, 5], [0.5, 0.5])
    4.333333333333333
    """
    size, weight = as_floats(sizes=sizes), as_floats(probabilities=probabilities)
    require(
        size.ndim == 1
        and size.size > 0
        and np.all((size >= 1) & (size < math.inf))
        and np.all(size == np.floor(size)),
        "sizes",
        "positive integers in one dimension",
        sizes,
    )
    require(
        weight.shape == size.shape and np.all(weight >= 0) and bool(abs(weight.sum() - 1) <= 1e-9),
        "probabilities",
        f"non-negative, of shape {size.shape} and summing to 1",
        probabilities,
    )
    return float(weight @ size**2 / (weight @ size))


def example() -> SimpleNamespace:
    """Worked numbers of the two-phase example: rates 10/s and 1/s, stays of 10 s and 20 s, service
    at 5/s.
    """
    q = switching_generator(BURSTY_LEAVES)
    cv = mmpp_gap_cv(BURSTY_RATES, q)
    return SimpleNamespace(
        mmpp_rate=mmpp_mean_rate(BURSTY_RATES, q),
        mmpp_limit=mmpp_dispersion(math.inf, BURSTY_RATES, q),
        mmpp_at_1s=mmpp_dispersion(1.0, BURSTY_RATES, q),
        mmpp_at_10s=mmpp_dispersion(10.0, BURSTY_RATES, q),
        mmpp_cv=cv,
        mmpp_cv_squared=cv**2,
        mmpp_time_s=mmpp_mean_time(BURSTY_RATES, q, 5.0),
        poisson_time_s=1 / (5.0 - 4.0),
        mmpp_time_above_peak_s=mmpp_mean_time(BURSTY_RATES, q, 12.0),
        poisson_time_above_peak_s=1 / (12.0 - 4.0),
    )


def _simulated_time(
    rng: np.random.Generator, service_rate: float, horizon_s: float
) -> MeanEstimate:
    """Mean time in system of the two-phase example from one long run, by batch means."""
    edges, phases = switching_edges(rng, BURSTY_LEAVES, horizon_s)
    arrivals = modulated_arrivals(rng, edges, np.array(BURSTY_RATES)[phases])
    services = rng.exponential(1 / service_rate, arrivals.size)
    times = fifo_waits(arrivals, services) + services
    return batch_means(times[arrivals > horizon_s / 50])


def figure_delay_by_utilization(figure: Figure) -> None:
    """At the same mean rate and the same server, bursts that last seconds cost tens of times the
    Poisson delay.

    Arrivals at 4/s on average, in bursts at 10/s; the server's speed sets the utilization. Lines
    are exact, points are simulations with 95% confidence intervals. The bursty delay comes down
    only where the server outruns the burst.

    Alt: Line chart of mean time in system against utilization from 0.2 to 0.95 on a logarithmic
    axis. The Poisson curve stays below one second until 0.8. The bursty curve leaves it at 0.4,
    where the server is as fast as the burst, and is at 26 seconds at 0.8. Simulated points lie on
    both curves.
    """
    rng = np.random.default_rng(21)
    q = switching_generator(BURSTY_LEAVES)
    axes = figure.subplots()
    rho = np.linspace(0.2, 0.95, 46)
    axes.semilogy(rho, [mmpp_mean_time(BURSTY_RATES, q, 4 / r) for r in rho], color="C1")
    axes.semilogy(rho, rho / 4 / (1 - rho), color="C0")
    points = np.array([0.3, 0.5, 0.8])
    runs = [_simulated_time(rng, 4 / r, 42_000.0) for r in points]
    axes.errorbar(points, [r.mean for r in runs], [r.half_width for r in runs], fmt="o", color="C1")
    axes.axvline(0.4, color="C4", linestyle=":", linewidth=1.2)
    axes.annotate("bursty, $I(\\infty)=61$", (0.42, 22.0), color="C1", ha="left")
    axes.annotate("Poisson, $I=1$", (0.62, 0.22), color="C0", ha="left")
    axes.annotate("server as fast\nas the burst", (0.41, 0.045), color="C4", ha="left", va="bottom")
    axes.set(
        xlim=(0.2, 0.97),
        ylim=(0.04, 300),
        xlabel="utilization ρ",
        ylabel="mean time in system [s]",
    )


def figure_burst_length(figure: Figure) -> None:
    """Bursts hurt when they outlast the queue's patience: short ones average out, long ones become
    an overload.

    Rates of 10/s for a third of the time and 1/s for the rest, always 4/s on average; only the
    length of the bursts changes. Behind 5/s a burst is an overload and the delay grows with its
    length; behind 12/s it is not, and the delay levels off at the average of two Poisson queues.

    Alt: Line chart of mean time in system against the mean length of a burst from 0.01 to 1000
    seconds, both axes logarithmic. For a server of 5 per second the curve starts at the Poisson
    value of one second and rises in a straight line beyond a burst of one second. For a server of
    12 per second it rises from 0.13 seconds to 0.43 and stays there.
    """
    axes = figure.subplots()
    burst = np.geomspace(0.01, 1000, 36)
    for service_rate, colour in ((5.0, "C1"), (12.0, "C2")):
        times = [
            mmpp_mean_time(BURSTY_RATES, switching_generator((1 / b, 0.5 / b)), service_rate)
            for b in burst
        ]
        axes.loglog(burst, times, color=colour)
        axes.axhline(1 / (service_rate - 4), color="C0", linestyle=":", linewidth=1.2)
    axes.annotate("server 5/s", (18, 90), color="C1", ha="right")
    axes.annotate("server 12/s", (4, 0.42), color="C2", ha="right", va="bottom")
    axes.annotate("Poisson, server 5/s", (950, 1.08), color="C0", ha="right", va="bottom")
    axes.annotate("Poisson, server 12/s", (950, 0.118), color="C0", ha="right", va="top")
    axes.set(
        xlim=(0.01, 1000),
        ylim=(0.04, 5000),
        xlabel="mean length of a burst [s]",
        ylabel="mean time in system [s]",
    )
    axes.minorticks_off()


def check_two_phase_closed_form() -> None:
    """Two phases at 10/s and 1/s: mean rate 4/s, dispersion 29.9 in windows of 10 s and 61 in the
    limit.

    Source: I(t) = 1 + A(1 − (1 − e^{−st})/(st)), A = 2(λ1−λ2)²r1r2/(s²(λ1r2+λ2r1)): Fischer and
    Meier-Hellstern (1993).
    """
    (a, b), (r1, r2) = BURSTY_RATES, BURSTY_LEAVES
    q, s = switching_generator(BURSTY_LEAVES), r1 + r2
    excess = 2 * (a - b) ** 2 * r1 * r2 / (s**2 * (a * r2 + b * r1))
    checks.close("mean rate [1/s]", mmpp_mean_rate(BURSTY_RATES, q), 4.0, rtol=1e-13)
    limit = mmpp_dispersion(math.inf, BURSTY_RATES, q)
    checks.close("I(∞)", limit, 61.0, rtol=1e-12)
    checks.close("I(10 s)", mmpp_dispersion(10.0, BURSTY_RATES, q), 29.925206, atol=5e-7)
    windows = np.array([0.01, 0.3, 1.0, 60.0, 3600.0, 1e6])
    closed = 1 + excess * (1 + np.expm1(-s * windows) / (s * windows))
    general = [mmpp_dispersion(w, BURSTY_RATES, q) for w in windows]
    checks.close("I(t), matrix against closed form", general, closed, rtol=1e-9)


def check_dispersion_of_counts() -> None:
    """Counted in a simulated stream, windows of 10 s have the dispersion that the formula says.

    Source: 32 independent runs of 6000 s; a run of k windows estimates k/(k−1)·(I(w) − I(kw)/k),
    not I(w).
    """
    rng, q = np.random.default_rng(31), switching_generator(BURSTY_LEAVES)
    estimates = []
    for _ in range(32):
        edges, phases = switching_edges(rng, BURSTY_LEAVES, 6000.0)
        times = modulated_arrivals(rng, edges, np.array(BURSTY_RATES)[phases])
        counts = np.bincount((times / 10).astype(np.int64), minlength=600)
        estimates.append(counts.var(ddof=1) / counts.mean())
    error = float(np.std(estimates, ddof=1) / math.sqrt(32))
    long_window = mmpp_dispersion(6000.0, BURSTY_RATES, q)
    expected = 600 / 599 * (mmpp_dispersion(10.0, BURSTY_RATES, q) - long_window / 600)
    checks.covers("I(10 s)", MeanEstimate(float(np.mean(estimates)), error, 0.0), expected)


def check_bursts_against_poisson() -> None:
    """Behind a server of 5/s the bursty stream spends 26 s in the system, a Poisson stream of the
    same rate 1 s.

    Source: generating function P(z)[Q + (z−1)Λ + (1/z−1)μ] = π0·μ(1/z−1), whose root inside (0, 1)
    gives the idle law π0.
    """
    rates, q, mu = np.array(BURSTY_RATES), switching_generator(BURSTY_LEAVES), 5.0
    exact = mmpp_mean_time(rates, q, mu)
    checks.close("mean time in system [s]", exact, 26.15996, atol=5e-6)
    poisson = mmpp_mean_time((4.0, 4.0), q, mu)
    checks.close("equal phases are M/M/1, 1/(μ−λ) [s]", poisson, 1.0, rtol=1e-12)

    def kernel(z: float) -> FloatArray:
        return q + np.diag((z - 1) * rates + (1 / z - 1) * mu)

    low, high = 1e-6, 1 - 1e-6  # det is positive at 0+, and negative just below its root at 1
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.linalg.det(kernel(middle)) > 0 else (low, middle)
    null = np.linalg.svd(kernel(low))[2][-1]
    idle = np.linalg.solve(np.array([[1.0, 1.0], null]), [1 - 4 / mu, 0.0])
    law = np.array([1 / 3, 2 / 3])
    # P'(1)Q = μ(π−π0) − πΛ fixes P'(1) up to a multiple of π, which P'(1)(λ−μ) = −4 fixes.
    slope = (mu * (law - idle) - law * rates) @ np.linalg.pinv(q)
    slope += law * (-4.0 - slope @ (rates - mu)) / (law @ (rates - mu))
    checks.close("the same by generating function [s]", exact, slope.sum() / 4, rtol=1e-9)


def check_bursts_by_simulation() -> None:
    """A simulated queue with bursty arrivals agrees with the matrix-geometric mean.

    Source: one run of 175,000 s, 700,000 requests; standard error from 32 batches.
    """
    simulated = _simulated_time(np.random.default_rng(22), 5.0, 175_000.0)
    exact = mmpp_mean_time(BURSTY_RATES, switching_generator(BURSTY_LEAVES), 5.0)
    checks.covers("mean time in system [s]", simulated, exact)


def check_fast_and_slow_limits() -> None:
    """Very short bursts give the Poisson delay; very long ones, if the server outruns them, the mix
    of two queues.

    Source: M/M/1 at the mean rate; the average of λ/(μ−λ) over the phases, divided by the mean
    rate.
    """
    fast = mmpp_mean_time(BURSTY_RATES, switching_generator((1e6, 0.5e6)), 5.0)
    checks.close("bursts of 1 µs behind 5/s [s]", fast, 1.0, rtol=1e-4)
    slow = mmpp_mean_time(BURSTY_RATES, switching_generator((1e-7, 0.5e-7)), 12.0)
    mixed = (10 / (12 - 10) / 3 + 1 / (12 - 1) * 2 / 3) / 4
    checks.close("bursts of 10⁷ s behind 12/s [s]", slow, mixed, rtol=1e-4)


def check_gaps_see_less_than_counts() -> None:
    """The gaps of the bursty stream have CV² = 4.4, its counts a dispersion of 61: gaps forget
    their order.

    Source: CV² = 1 + 2r1r2(λ1−λ2)²/(s²(λ1λ2+λ1r2+λ2r1)), which follows from the Laplace transform
    of the gap by hand.
    """
    (a, b), (r1, r2) = BURSTY_RATES, BURSTY_LEAVES
    closed = 1 + 2 * r1 * r2 * (a - b) ** 2 / ((r1 + r2) ** 2 * (a * b + a * r2 + b * r1))
    squared = mmpp_gap_cv(BURSTY_RATES, switching_generator(BURSTY_LEAVES)) ** 2
    checks.close("CV² of the gaps", squared, closed, rtol=1e-12)
    checks.close("its value by hand", squared, 1 + 0.81 / (0.0225 * 10.6), rtol=1e-12)


def check_batches() -> None:
    """Requests that come in batches have dispersion E[B²]/E[B] in every window.

    Source: simulated batches of 1 to 4, windows of one batch and of twenty on average, 40,000 and
    2000 of them.
    """
    rng, sizes, odds = np.random.default_rng(5), np.array([1, 2, 4]), np.array([0.5, 0.3, 0.2])
    expected = batch_dispersion(sizes, odds)
    checks.close("by hand: 4.9/1.9", expected, 4.9 / 1.9, rtol=1e-13)
    for batches, windows in ((1, 40_000), (20, 2000)):
        times = rng.uniform(0, windows, rng.poisson(batches * windows))
        counts = np.bincount(times.astype(int), rng.choice(sizes, times.size, p=odds), windows)
        per_run = counts.reshape(20, -1)  # twenty independent stretches
        runs = per_run.var(axis=1, ddof=1) / counts.mean()
        error = float(runs.std(ddof=1) / math.sqrt(20))
        checks.covers(f"windows of {batches}", MeanEstimate(float(runs.mean()), error, 0), expected)


def check_bad_input_is_refused() -> None:
    """Saturated servers, matrices that are no generator, negative rates and NaN are errors that
    name the argument.
    """
    q = switching_generator(BURSTY_LEAVES)
    checks.raises(
        "saturated",
        mmpp_mean_time,
        BURSTY_RATES,
        q,
        4.0,
        match="service_rate must be finite and above the mean arrival rate 4, got 4.0",
    )
    checks.raises(
        "rows that do not sum to zero",
        mmpp_mean_rate,
        BURSTY_RATES,
        [[-0.1, 0.2], [0.05, -0.05]],
        match="generator must be finite, with non-negative entries off the diagonal",
    )
    checks.raises(
        "two chains in one matrix",
        mmpp_mean_rate,
        BURSTY_RATES,
        np.zeros((2, 2)),
        match="generator must be of one closed class",
    )
    checks.raises(
        "NaN rate",
        mmpp_dispersion,
        1.0,
        (math.nan, 1.0),
        q,
        match="rates must be non-negative and finite",
    )
    checks.raises(
        "no leaving", switching_generator, (0.0, 1.0), match="leave_rates must be positive"
    )
    checks.raises(
        "edges backwards",
        modulated_arrivals,
        np.random.default_rng(0),
        [1.0, 0.0],
        [1.0],
        match="edges_s must be at least two finite, increasing times",
    )
    checks.raises(
        "probabilities above 1",
        batch_dispersion,
        [1, 2],
        [0.5, 0.6],
        match="probabilities must be non-negative, of shape (2,) and summing to 1",
    )
