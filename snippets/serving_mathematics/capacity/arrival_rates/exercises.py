"""Solutions: what a load test predicts, what a replica sees, how long to measure, what bursts and
sessions cost.

Each function answers one exercise of the chapter on arrival rates; the checks test it on inputs
that the text does not print.

Source: the chapter's modules; textbook results are named at the function.
"""

from __future__ import annotations

import bisect
import math
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.arrival_rates.arrival_models import (
    BURSTY_LEAVES,
    BURSTY_RATES,
    mmpp_dispersion,
    mmpp_gap_cv,
    mmpp_mean_rate,
    mmpp_mean_time,
    modulated_arrivals,
    switching_edges,
    switching_generator,
)
from serving_mathematics.capacity.arrival_rates.arrival_rates import dispersion_p_value
from serving_mathematics.capacity.arrival_rates.arrival_trace import RECORD, read_statistics
from serving_mathematics.capacity.arrival_rates.daily_cycle import peak_busy, peak_lag
from serving_mathematics.core.queues.queue_simulator import batch_means, fifo_waits, gamma_times
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive,
)

HINTS = {
    "routed_dispersion": (
        "Condition on the number of requests in the window and use the law of total variance: "
        "the mean of the binomial's variance plus the variance of its mean. Poisson traffic "
        "must come out as 1."
    ),
    "load_test_time": (
        "The generator and one exponential server form a GI/M/1 queue. Find the root of its "
        "equation below 1 by bisection: 1 is always a root too, and Newton's method likes to "
        "land there."
    ),
    "windows_to_detect": (
        "The test rejects above a quantile of chi-square; under dispersion I the statistic is I"
        " times as large. With n windows there are n − 1 degrees of freedom, which is where one"
        " window gets lost."
    ),
    "service_rate_for": (
        "`mmpp_mean_time` falls as the server gets faster, so bisect. Poisson arrivals would "
        "need the mean rate plus 1/target; bursts need more, so widen the bracket until it "
        "holds the answer."
    ),
    "measured_peak": (
        "Add the rate over the last S seconds for each measured duration and average over the "
        "sample. Averaging the durations first answers another question: the sinusoids of short"
        " and long jobs partly cancel."
    ),
}


def routed_dispersion(dispersion: float, share: float) -> float:
    """Dispersion of the requests that a random router sends to one replica, 1 + p(I − 1), for the
    same window.

    dispersion: I of the whole stream, ≥ 0. share: p in (0, 1], the part of the requests that the
    replica gets.
    Given N requests the replica gets a binomial number, whose variance is Np(1−p); the law of total
    variance does the rest. Raises ValueError outside these ranges.

    >>> routed_dispersion(dispersion=61.0, share=0.1)
    7.0
    """
    dispersion = require_non_negative(dispersion=dispersion)
    share = require_in("(0, 1]", share=share)
    return 1 + share * (dispersion - 1)


def load_test_time(burstiness: float, arrival_rate: float, service_rate: float) -> float:
    """Mean time in system that a load generator with gamma gaps of shape k sees at one exponential
    server [s].

    burstiness: k > 0; the gaps have CV² = 1/k. arrival_rate: λ [1/s]. service_rate: μ [1/s], above
    λ.
    GI/M/1: the time is exponential with mean 1/(μ(1−σ)), σ the root below 1 of σ = (1 +
    μ(1−σ)/(kλ))^{−k}.
    Raises ValueError outside these ranges.

    >>> round(load_test_time(burstiness=1.0, arrival_rate=4.0, service_rate=5.0), 9)
    1.0
    """
    service_rate = as_number(service_rate=service_rate)
    burstiness, arrival_rate = require_positive(burstiness=burstiness, arrival_rate=arrival_rate)
    require(
        arrival_rate < service_rate < math.inf,
        "service_rate",
        f"finite and above the arrival rate {arrival_rate:g}",
        service_rate,
    )
    low, high = (
        0.0,
        1.0,
    )  # the transform lies above the diagonal left of the root, and below right of it
    for _ in range(200):
        sigma = (low + high) / 2
        transform = math.exp(
            -burstiness * math.log1p(service_rate * (1 - sigma) / (burstiness * arrival_rate))
        )
        low, high = (sigma, high) if transform > sigma else (low, sigma)
    return 1 / (service_rate * (1 - low))


def windows_to_detect(dispersion: float, false_alarm: float = 0.05, power: float = 0.9) -> int:
    """Windows of data that the dispersion test needs to find traffic of a given dispersion guilty.

    dispersion: I > 1 to be detected. false_alarm: level of the test, power: probability of
    detection, in (0, 1), power above false_alarm. Under I the statistic is taken as I times χ², and
    χ² quantiles are Wilson and Hilferty's.
    Raises ValueError outside these ranges.

    >>> windows_to_detect(dispersion=2.0)
    37
    """
    dispersion, power = as_number(dispersion=dispersion, power=power)
    require(1 < dispersion < math.inf, "dispersion", "finite and above 1", dispersion)
    false_alarm = require_in("(0, 1)", false_alarm=false_alarm)
    require(false_alarm < power < 1, "power", f"in ({false_alarm:g}, 1)", power)
    reject, detect = -NormalDist().inv_cdf(false_alarm), -NormalDist().inv_cdf(power)

    def detected(freedom: int) -> bool:
        spread = 2 / (9 * freedom)
        quantile, other = (1 - spread + z * math.sqrt(spread) for z in (reject, detect))
        return quantile**3 <= dispersion * other**3

    high = 1
    while not detected(high):
        high *= 2
    low = high // 2  # not detected, or 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if detected(middle) else (middle, high)
    return high + 1


def service_rate_for(target_time_s: float, rates: npt.ArrayLike, generator: npt.ArrayLike) -> float:
    """Slowest exponential server whose mean time in system stays within the target, for modulated
    arrivals [1/s].

    target_time_s: [s], positive. rates: of the Markov-modulated Poisson process in each phase
    [1/s], shape (m,). generator: of its phases [1/s], shape (m, m), rows summing to zero.
    Raises ValueError on a target that is not positive, and on rates or a generator that are none.

    >>> round(service_rate_for(1.0, (4.0, 4.0), [[-0.1, 0.1], [0.05, -0.05]]), 9)
    5.0
    """
    target_time_s = require_positive(target_time_s=target_time_s)
    mean_rate = mmpp_mean_rate(rates, generator)
    low, high = mean_rate, mean_rate + 1 / target_time_s  # Poisson arrivals would need `high`
    while mmpp_mean_time(rates, generator, high) > target_time_s:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if not low < middle < high:
            break
        slow = mmpp_mean_time(rates, generator, middle) > target_time_s
        low, high = (middle, high) if slow else (low, middle)
    return high


def measured_peak(
    durations_s: npt.ArrayLike, mean_rate: float, amplitude: float, period_s: float
) -> tuple[float, float]:
    """Peak of the mean number in progress, and its lag [s], for a sinusoidal rate and measured
    durations.

    durations_s: a sample of times in progress [s], positive, shape (n,). mean_rate: λ̄ [1/s].
    amplitude: A in [0, λ̄].
    period_s: [s]. A request is in progress at t when it came within its duration S before t, so the
    mean number is E∫λ over (t − S, t): λ̄E[S] plus a sinusoid of size A|z|/ω with z = 1 − E
    e^{−iωS}, late by π/2 − arg z.
    Raises ValueError outside these ranges. Source: Eick, Massey and Whitt (1993b).

    >>> peak, lag = measured_peak([0.5, 0.5], 100.0, 60.0, 24.0)
    >>> round(peak, 4), round(lag, 9)
    (79.9786, 0.25)
    """
    amplitude = as_number(amplitude=amplitude)
    durations = as_floats(durations_s=durations_s)
    require(
        durations.ndim == 1
        and durations.size > 0
        and np.all((durations > 0) & (durations < math.inf)),
        "durations_s",
        "positive and finite, in one dimension",
        durations_s,
    )
    mean_rate = require_positive(mean_rate=mean_rate)
    require(
        0 <= amplitude <= mean_rate, "amplitude", f"in [0, {mean_rate:g}], the mean rate", amplitude
    )
    period_s = require_positive(period_s=period_s)
    omega = 2 * math.pi / period_s
    z = complex(1 - np.exp(-1j * omega * durations).mean())
    peak = mean_rate * float(durations.mean()) + amplitude * abs(z) / omega
    return peak, (math.pi / 2 - math.atan2(z.imag, z.real)) / omega


def example() -> SimpleNamespace:
    """Worked numbers of the text: the bursty stream, the same gaps shuffled, and false alarms."""
    q = switching_generator(BURSTY_LEAVES)
    trace = read_statistics(RECORD.read_text(encoding="utf-8"))
    k = 1 / mmpp_gap_cv(BURSTY_RATES, q) ** 2
    return SimpleNamespace(
        matched_k=k,
        matched_time_s=load_test_time(k, 4.0, 5.0),
        replica_dispersion=routed_dispersion(trace.dispersion[trace.windows_s.index(60)], 0.1),
        windows_for_trace=windows_to_detect(trace.dispersion_within_minutes),
        minutes_for_trace=windows_to_detect(trace.dispersion_within_minutes) / 60,
        bursty_server_rate=service_rate_for(1.0, BURSTY_RATES, q),
        constant_lag_min=measured_peak([1800.0], 1.0, 0.5, 86_400.0)[1] / 60,
    )


def check_load_test() -> None:
    """The load test's mean is Poisson's at k = 1, the root of a quadratic at k = 2, and what a
    simulation gives at k = 0.3.

    Source: M/M/1; σ(1 + μ(1−σ)/(2λ))² = 1 has the root 1, leaving σ² − (1 + 4λ/μ)σ + 4λ²/μ² = 0;
    280,000 requests.
    """
    checks.close("k = 1", load_test_time(1.0, 7.0, 9.0), 0.5, rtol=1e-9)
    x = 3.0 / 4.0
    sigma = ((1 + 4 * x) - math.sqrt((1 + 4 * x) ** 2 - 16 * x**2)) / 2
    checks.close("k = 2", load_test_time(2.0, 3.0, 4.0), 1 / (4 * (1 - sigma)), rtol=1e-9)
    rng = np.random.default_rng(51)
    arrivals = np.cumsum(gamma_times(rng, 1 / 3, 1 / 0.3, 280_000))
    services = rng.exponential(1 / 4.5, 280_000)
    simulated = batch_means(fifo_waits(arrivals, services) + services)
    checks.covers("k = 0.3, simulated", simulated, load_test_time(0.3, 3.0, 4.5))


def check_router() -> None:
    """Routed at random, a Markov-modulated stream is one with all its rates scaled, whose
    dispersion is known.

    Source: mmpp_dispersion with rates p·λ.
    """
    q = switching_generator((0.3, 0.02))
    for window, share in ((5.0, 0.25), (200.0, 0.9), (math.inf, 0.05)):
        whole = mmpp_dispersion(window, (20.0, 3.0), q)
        scaled = mmpp_dispersion(window, (20.0 * share, 3.0 * share), q)
        checks.close(f"share {share}", routed_dispersion(whole, share), scaled, rtol=1e-10)


def check_windows_suffice() -> None:
    """With as many windows as the answer says, simulated bursts are caught as often as was asked,
    and with two fewer χ² falls short.

    Source: 1400 logs of negative binomial counts with mean 20 and the dispersion asked about;
    binomial standard error, and two percentage points for the approximation. For 2k degrees of
    freedom P(χ² > x) is the probability of fewer than k events of a Poisson process until x/2.
    """

    def caught_by(windows: int, dispersion: float) -> float:
        half = (windows - 1) // 2
        low, high = 0.0, 10.0 * windows
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if above(middle, half) > 0.05 else (low, middle)
        return above(high / dispersion, half)

    def above(x: float, half: int) -> float:
        return math.fsum(
            math.exp(j * math.log(x / 2) - x / 2 - math.lgamma(j + 1)) for j in range(half)
        )

    for dispersion, power in ((1.5, 0.8), (3.0, 0.9)):
        odd = windows_to_detect(dispersion, power=power) // 2 * 2 + 1
        enough = [caught_by(n, dispersion) >= power for n in (odd - 2, odd)]
        checks.equal(f"{odd - 2} and {odd} windows, exactly", enough, [False, True])
    rng = np.random.default_rng(52)
    for dispersion, power in ((1.5, 0.8), (1.3, 0.95)):
        windows = windows_to_detect(dispersion, power=power)
        counts = rng.negative_binomial(20 / (dispersion - 1), 1 / dispersion, (1400, windows))
        counts = counts[
            np.argsort(-counts.var(axis=1) / counts.mean(axis=1))
        ]  # the guiltiest first
        caught = bisect.bisect(counts, 0.05, key=dispersion_p_value) / len(counts)
        margin = 0.02 + 3 * math.sqrt(power * (1 - power) / 1400)
        checks.inside(f"caught at I = {dispersion}", caught, power - margin, power + margin)


def check_server_for_bursts() -> None:
    """The server that was asked for gives the target time, exactly and in a simulation.

    Source: M/M/1 needs λ + 1/T; mmpp_mean_time at the answer; one run of 42,000 s.
    """
    q = switching_generator((0.2, 0.3))
    flat = service_rate_for(0.25, (6.0, 6.0), q)
    checks.close("Poisson", flat, 6.0 + 1 / 0.25, rtol=1e-9)
    rate = service_rate_for(0.8, (9.0, 2.0), q)
    checks.close("time at the answer [s]", mmpp_mean_time((9.0, 2.0), q, rate), 0.8, rtol=1e-9)
    rng = np.random.default_rng(53)
    edges, phases = switching_edges(rng, (0.2, 0.3), 42_000.0)
    arrivals = modulated_arrivals(rng, edges, np.array([9.0, 2.0])[phases])
    services = rng.exponential(1 / rate, arrivals.size)
    checks.covers("simulated [s]", batch_means(fifo_waits(arrivals, services) + services), 0.8)


def check_measured_peak() -> None:
    """Constant durations lag by half of themselves, exponential ones as the chapter says, and any
    by direct integration.

    Source: ∫ of the sinusoid by hand, 2A·sin(ωS/2)/ω; peak_busy and peak_lag on a sample of 200,000
    quantiles; the mean number at 20,000 times of the day for durations of 1, 2 and 9 h.
    """
    peak, lag = measured_peak([2.0] * 3, 10.0, 4.0, 24.0)
    omega = 2 * math.pi / 24
    checks.close("constant: lag [h]", lag, 1.0, rtol=1e-12)
    checks.close("constant: peak", peak, 20 + 8 / omega * math.sin(omega), rtol=1e-12)
    levels = (np.arange(200_000) + 0.5) / 200_000
    sample = -3.0 * np.log1p(-levels)
    peak, lag = measured_peak(sample, 10.0, 4.0, 24.0)
    checks.close("exponential: peak", peak, peak_busy(10.0, 4.0, 24.0, 3.0), rtol=1e-4)
    checks.close("exponential: lag [h]", lag, peak_lag(24.0, 3.0), rtol=1e-4)
    durations, time = np.array([1.0, 2.0, 9.0]), np.linspace(0, 24, 20_001)[:, None]
    clock = 10 * time - 4 * np.cos(omega * time) / omega
    before = 10 * (time - durations) - 4 * np.cos(omega * (time - durations)) / omega
    number = (clock - before).mean(axis=1)
    peak, lag = measured_peak(durations, 10.0, 4.0, 24.0)
    checks.close("three durations: peak", peak, number.max(), rtol=1e-6)
    checks.close("three durations: lag [h]", lag, time[number.argmax(), 0] - 6, atol=1.3e-3)


def check_bad_input_is_refused() -> None:
    """No burstiness, no share, nothing to detect, no target and no durations are errors."""
    checks.raises("k = 0", load_test_time, 0.0, 4.0, 5.0, match="burstiness must be positive")
    checks.raises(
        "saturated", load_test_time, 1.0, 5.0, 5.0, match="service_rate must be finite and above"
    )
    checks.raises("share above 1", routed_dispersion, 2.0, 1.5, match="share must be in (0, 1]")
    checks.raises("Poisson", windows_to_detect, 1.0, match="dispersion must be finite and above 1")
    checks.raises(
        "no target",
        service_rate_for,
        0.0,
        BURSTY_RATES,
        switching_generator(BURSTY_LEAVES),
        match="target_time_s must be positive",
    )
    checks.raises(
        "no durations", measured_peak, [], 1.0, 0.5, 24.0, match="durations_s must be positive"
    )
