"""A second copy of the slow requests cuts the tail by much and adds little, while copies are
independent and load is low.

A hedged request sends a second copy when the first has not answered after a delay d, and takes the
first answer. With independent copies P(T > t) = F̄(t)·F̄(t−d), and a share F̄(d) of requests sends
the second copy. If the loser is cancelled, the two copies occupy servers for ∫_0^d F̄(t) dt +
2∫_d^∞ F̄(t)·F̄(t−d) dt on average, which can even be less than one copy alone. What is slow about
the request itself stays slow in the copy: if a share s of the variance of ln T belongs to the
request, the copies are independent only given that part.

Assumes: the copies go to different servers, the second copy does not slow anybody down (see
`hedging_under_load` for that), and cancellation is instant and free.

Source: Dean and Barroso (2013), hedged requests; Joshi, Soljanin and Wornell (2015) for the cost of
cancelled copies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_finite,
    require_in,
    require_positive,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

GAUSS_POINTS = 48  # nodes per panel; the tests find the same integrals with half of them


def lognormal_survival(time: float, log_sd: float = 1.0) -> float:
    """P(T > t) for a lognormal time with median 1 and standard deviation σ of its logarithm.

    time: t in medians; 1 for t ≤ 0. log_sd: σ > 0. Raises ValueError on NaN or a σ outside its
    range.

    >>> lognormal_survival(1.0)
    0.5
    """
    time = require_finite(time=time)
    log_sd = require_positive(log_sd=log_sd)
    return 0.5 * math.erfc(math.log(time) / log_sd / math.sqrt(2)) if time > 0 else 1.0


def hedged_survival(time: float, delay: float, survival: Callable[[float], float]) -> float:
    """P(T > t) of a request whose second copy leaves after d, with independent copies:
    F̄(t)·F̄(t−d).

    time: t. delay: d ≥ 0, infinite for no second copy. survival: F̄ of one copy, in the same unit
    of time. Raises ValueError outside these ranges. Source: Dean and Barroso (2013) for the policy.

    >>> hedged_survival(3.0, delay=1.0, survival=lambda t: 1 / t if t > 1 else 1.0)
    0.16666666666666666
    """
    delay = as_number(delay=delay)
    time = require_finite(time=time)
    require(delay >= 0, "delay", "non-negative", delay)
    return survival(time) * survival(time - delay) if time > delay else survival(time)


def hedged_quantile(probability: float, delay: float, survival: Callable[[float], float]) -> float:
    """Time that the share q of hedged requests stays within, by bisection to the last digits.

    probability: q in (0, 1). delay: d ≥ 0, infinite for no hedging. survival: F̄ of one copy,
    falling from 1 to 0. Raises ValueError outside these ranges.

    >>> round(hedged_quantile(0.75, delay=0.0, survival=lambda t: math.exp(-max(t, 0.0))), 9)
    0.693147181
    """
    probability = require_in("(0, 1)", probability=probability)
    low, high = 0.0, 1.0
    while hedged_survival(high, delay, survival) > 1 - probability:
        low, high = high, 2 * high
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        late = hedged_survival(middle, delay, survival) > 1 - probability
        low, high = (middle, high) if late else (low, middle)
    return high


def server_time(delay: float, survival: Callable[[float], float]) -> float:
    """Mean time that the copies of one request occupy servers when the loser is cancelled at the
    first answer.

    delay: d ≥ 0, infinite for no hedging. survival: F̄ of one copy; its mean must be finite.
    Returns ∫_0^d F̄(t) dt + 2∫_d^∞ F̄(t)·F̄(t−d) dt, by Gauss–Legendre quadrature on doubling
    panels up to a survival of 1e-14. Raises ValueError on a negative delay. Without cancellation it
    is E[S]·(1 + F̄(d)).

    >>> round(server_time(delay=0.7, survival=lambda t: math.exp(-max(t, 0.0))), 9)
    1.0
    """
    delay = as_number(delay=delay)
    require(delay >= 0, "delay", "non-negative", delay)
    nodes, weights = np.polynomial.legendre.leggauss(GAUSS_POINTS)
    total, start, width = 0.0, 0.0, 2.0**-10
    while hedged_survival(start, delay, survival) > 1e-14:
        end = start + width
        if start < delay < end:
            end = delay
        copies = 1 if end <= delay else 2
        times = start + (nodes + 1) / 2 * (end - start)
        values = [hedged_survival(float(t), delay, survival) for t in times]
        total += copies * (end - start) / 2 * float(weights @ values)
        width = 2.0**-10 if end == delay else 2 * width
        start = end
    return total


def shared_cause_survival(
    time: float, delay: float, request_share: float, log_sd: float = 1.0
) -> float:
    """P(T > t) of a hedged lognormal request when part of the slowness belongs to the request, not
    to the server.

    ln T = σ(√s·R + √(1−s)·V): R is the request's and the same for both copies, V the server's and
    drawn anew. time: t in medians. delay: d ≥ 0. request_share: s in [0, 0.999]. log_sd: σ > 0.
    Raises ValueError outside these ranges. Averages over R by the trapezoidal rule with a step of
    at most w = √((1−s)/s), the width of the server's part in units of the request's; the error
    falls like e^{−2π²(w/step)²}. With s = 0 the copies are independent.

    >>> round(shared_cause_survival(1.0, delay=0.0, request_share=0.0), 9)
    0.25
    """
    request_share = require_in("[0, 0.999]", request_share=request_share)
    log_sd = require_positive(log_sd=log_sd)
    own_sd = log_sd * math.sqrt(1 - request_share)
    step = min(0.5, math.sqrt((1 - request_share) / max(request_share, 1e-9)))
    nodes = step * np.arange(-math.ceil(8.5 / step), math.ceil(8.5 / step) + 1)
    weights = step / math.sqrt(2 * math.pi) * np.exp(-(nodes**2) / 2)
    factors = np.exp(-log_sd * math.sqrt(request_share) * nodes)  # cancel the request's part
    time, delay = require_finite(time=time, delay=delay)
    total = 0.0
    for factor, weight in zip(factors.tolist(), weights.tolist(), strict=True):
        total += weight * hedged_survival(
            time * factor, delay * factor, lambda t: lognormal_survival(t, own_sd)
        )
    return total


def _exponential(time: float) -> float:
    """Survival of the exponential time of mean 1."""
    return math.exp(-max(time, 0.0))


def _quantile(probability: float, survival: Callable[[float], float]) -> float:
    """Quantile of one copy."""
    return hedged_quantile(probability, math.inf, survival)


def _relative_p99(share: float, survival: Callable[[float], float]) -> float:
    """The p99 over the unhedged p99 when this share of requests sends a second copy."""
    delay = _quantile(1 - share, survival) if share < 1 else 0.0
    return hedged_quantile(0.99, delay, survival) / _quantile(0.99, survival)


def _shared_cause_p99(delay: float, request_share: float) -> float:
    """The p99 with a shared cause, by the secant method between logarithms of time and survival."""

    def late(log_time: float) -> float:
        return math.log(100 * shared_cause_survival(math.exp(log_time), delay, request_share))

    before, now = math.log(6.0), math.log(8.0)
    value_before, value = late(before), late(now)
    while abs(now - before) > 1e-9 and value != value_before:
        step = value * (now - before) / (value - value_before)
        before, value_before, now = now, value, now - step
        value = late(now)
    return math.exp(now)


def example() -> SimpleNamespace:
    """The numbers quoted in the text on hedging; delay at the p95 unless the name says so."""
    normal_95 = _quantile(0.95, lognormal_survival)
    alone, hedged = (
        _quantile(0.99, lognormal_survival),
        hedged_quantile(0.99, normal_95, lognormal_survival),
    )
    exponential = hedged_quantile(0.99, math.log(20), _exponential)

    def steady(time: float) -> float:
        return lognormal_survival(time, 0.25)

    def cut(request_share: float) -> float:
        return 100 * (1 - _shared_cause_p99(normal_95, request_share) / alone)

    return SimpleNamespace(
        exponential_alone=math.log(100),
        exponential_hedged=exponential,
        exponential_cut=100 * (1 - exponential / math.log(100)),
        lognormal_alone=alone,
        lognormal_hedged=hedged,
        lognormal_cut=100 * (1 - hedged / alone),
        lognormal_hedged_at_median=hedged_quantile(0.99, 1.0, lognormal_survival),
        hedged_2_percent_cut=100
        * (
            1
            - hedged_quantile(0.99, _quantile(0.98, lognormal_survival), lognormal_survival) / alone
        ),
        work_lognormal=100 * (server_time(1.0, lognormal_survival) / math.exp(0.5) - 1),
        work_steady=100 * (server_time(1.0, steady) / math.exp(0.25**2 / 2) - 1),
        shared_half_cut=cut(0.5),
        shared_most_cut=cut(0.9),
        product_of_tails_percent=100 * 0.05 * 0.05,
        half_shared_tail_percent=100 * shared_cause_survival(normal_95, 0.0, 0.5),
        half_shared_over_product=shared_cause_survival(normal_95, 0.0, 0.5) / 0.05**2,
    )


def figure_hedge_tradeoff(figure: Figure) -> None:
    """The first percent of extra requests buys most of the shorter tail, if the times vary much.

    The p99 as a fraction of the unhedged p99 against the share of requests that send a second copy,
    as the delay goes from the p99 (left) to zero (right); dots mark the delay at the p95.
    Independent copies, no effect on load.

    Alt: Line chart of relative p99 against extra requests from 1 to 100 percent on a square-root
    axis. All curves start at 1. The lognormal with sigma 1.5 falls to 0.44 at five percent and to
    0.2 in the end, sigma 1 to 0.65 and 0.35, the exponential to 0.83 and 0.5; the steady lognormal
    with sigma 0.25 stays near 1 until almost everything is sent twice.
    """
    axes = figure.subplots()
    shares = np.concatenate(
        [
            np.linspace(0.01, 0.1, 14),
            np.linspace(0.12, 0.9, 14),
            1 - np.geomspace(0.09, 1e-4, 10),
            [1.0],
        ]
    )
    curves: list[tuple[str, Callable[[float], float], str, float]] = [
        ("lognormal σ = 0.25", lambda t: lognormal_survival(t, 0.25), "C2", -0.08),
        ("exponential", _exponential, "C0", 0.04),
        ("lognormal σ = 1", lognormal_survival, "C1", 0.03),
        ("lognormal σ = 1.5", lambda t: lognormal_survival(t, 1.5), "C3", -0.08),
    ]
    for label, survival, colour, lift in curves:
        values = [_relative_p99(share, survival) for share in shares]
        axes.plot(np.sqrt(100 * shares), values, color=colour)
        axes.plot(math.sqrt(5), _relative_p99(0.05, survival), "o", color=colour)
        axes.annotate(
            label, (math.sqrt(60), _relative_p99(0.6, survival) + lift), color=colour, ha="center"
        )
    ticks = [1, 5, 10, 20, 50, 100]
    axes.set_xticks(np.sqrt(ticks), [f"{tick}" for tick in ticks])
    axes.set(
        xlim=(1, 10),
        ylim=(0, 1.02),
        xlabel="extra requests [%]",
        ylabel="p99 over unhedged p99 [ratio]",
    )


def figure_shared_cause(figure: Figure) -> None:
    """A copy cannot outrun what is slow about the request itself.

    The p99 of a lognormal time hedged at its p95 and at its median, against the share of the
    variance of ln T that both copies have in common. Points are quantiles of 140,000 drawn pairs.

    Alt: Line chart of relative p99 against the shared share from 0 to 1. The curve for hedging at
    the p95 rises from 0.65 to 1, that for hedging at the median from 0.40 to 1, slowly at first and
    steeply near 1. Points lie on the curves.
    """
    normals = np.random.default_rng(31).standard_normal((3, 140_000))
    axes = figure.subplots()
    alone = _quantile(0.99, lognormal_survival)
    shares = 1 - np.linspace(1, 0.07, 12) ** 2
    for label, delay, colour, place in (
        ("second copy at the p95", _quantile(0.95, lognormal_survival), "C0", (0.02, 0.6)),
        ("at the median", 1.0, "C1", (0.03, 0.33)),
    ):
        axes.plot(shares, [_shared_cause_p99(delay, s) / alone for s in shares], color=colour)
        some = (0.0, 0.25, 0.5, 0.75, 0.9)
        drawn = [np.quantile(_hedged_pairs(normals, share, delay), 0.99) for share in some]
        axes.plot(some, np.divide(drawn, alone), "o", color=colour)
        axes.annotate(label, place, color=colour)
    axes.axhline(1.0, color="C4", linestyle=":", linewidth=1.2)
    axes.annotate("no second copy", (0.03, 1.02), color="C4")
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1.12),
        xlabel="share of the variance of ln T that is the request's own [1]",
        ylabel="p99 over unhedged p99 [ratio]",
    )


def _hedged_pairs(normals: FloatArray, request_share: float, delay: float) -> FloatArray:
    """Hedged response times by the definition of the shared cause, from normal numbers of shape
    (3, pairs)."""
    own = normals[:2] * math.sqrt(1 - request_share)
    first, second = np.exp(own + math.sqrt(request_share) * normals[2])
    return np.asarray(np.minimum(first, second + delay))


def check_hedging_at_the_p95() -> None:
    """A second copy of the slowest 5% takes the exponential p99 from 4.6 to 3.8 means, the
    lognormal from 10.2 to 6.7 medians.

    Source: solving F̄(t)·F̄(t−d) = 0.01 with F̄(d) = 0.05; by hand (ln 100 + ln 20)/2 for the
    exponential. Dean and Barroso (2013) print the extra load of about 5%.
    """
    delay = _quantile(0.95, _exponential)
    checks.close("exponential p99", _quantile(0.99, _exponential), 4.60517, atol=5e-6)
    hedged = hedged_quantile(0.99, delay, _exponential)
    checks.close("hedged", hedged, 3.80045, atol=5e-6)
    checks.close("by hand", hedged, (math.log(100) + math.log(20)) / 2, rtol=1e-12)
    delay = _quantile(0.95, lognormal_survival)
    checks.close("lognormal p99", _quantile(0.99, lognormal_survival), 10.24047, atol=5e-6)
    checks.close("hedged", hedged_quantile(0.99, delay, lognormal_survival), 6.66658, atol=5e-6)
    checks.close("extra requests", lognormal_survival(delay), 0.05, rtol=1e-9, kind="published")


def check_drawn_hedged_requests() -> None:
    """Of 400,000 drawn requests with lognormal copies, 1% exceed the computed p99, and 5% send a
    second copy.

    Source: min(T₁, d + T₂) drawn from its definition.
    """
    rng = np.random.default_rng(17)
    delay = _quantile(0.95, lognormal_survival)
    first, second = rng.lognormal(0.0, 1.0, (2, 400_000))
    late = np.minimum(first, delay + second) > hedged_quantile(0.99, delay, lognormal_survival)
    checks.covers("share beyond the p99", batch_means(late.astype(float)), 0.01)
    checks.covers("share hedged", batch_means((first > delay).astype(float)), 0.05)


def check_cost_with_cancellation() -> None:
    """Cancelled at the first answer, a second copy of an exponential time costs no work, of a
    heavier one it saves work, and of a steadier one it costs.

    Source: 1 for the exponential at any delay; two copies of c + Exp at once take 2c + 1; two of a
    mixture of exponentials take 2E[min], by hand; drawn copies for the lognormal. Joshi, Soljanin
    and Wornell (2015): log-convex survival gains, log-concave loses.
    """
    for delay in (0.0, 0.5, 3.0):
        cost = server_time(delay, _exponential)
        checks.close(f"exponential, delay {delay:g}", cost, 1.0, rtol=1e-11)
    alone = server_time(math.inf, lognormal_survival)
    checks.close("lognormal, no second copy", alone, math.exp(0.5), rtol=1e-9)
    steady = server_time(0.0, lambda t: _exponential(t - 1.0))
    checks.close("1 + Exp (mean 2), two copies at once", steady, 3.0, rtol=1e-6)
    heavy = server_time(0.0, lambda t: 0.9 * _exponential(2 * t) + 0.1 * _exponential(t / 5))
    expected = 2 * (0.81 / 4 + 2 * 0.09 / 2.2 + 0.01 / 0.4)
    checks.close("90% Exp(2), 10% Exp(1/5) (mean 0.95)", heavy, expected, rtol=1e-9)
    checks.holds("saves work", heavy < 0.95, got=heavy)
    rng = np.random.default_rng(18)
    for log_sd in (1.0, 0.25):
        first, second = rng.lognormal(0.0, log_sd, (2, 200_000))
        end = np.minimum(first, 1.0 + second)
        drawn = batch_means(end + np.maximum(end - 1.0, 0.0))
        cost = server_time(1.0, lambda t, s=log_sd: lognormal_survival(t, s))  # type: ignore[misc]
        checks.covers(f"lognormal σ = {log_sd:g}, delay at the median", drawn, cost)


def check_shared_cause() -> None:
    """When half of the variance is the request's own, hedging at the p95 cuts the p99 by 20%
    instead of 35%.

    Source: 280,000 drawn pairs beyond the computed p99; the independent case in closed form.
    """
    delay = _quantile(0.95, lognormal_survival)
    alone = _quantile(0.99, lognormal_survival)
    checks.close("independent copies", _shared_cause_p99(delay, 0.0), 6.66658, atol=5e-6)
    rng = np.random.default_rng(19)
    for share in (0.5, 0.9):
        p99 = _shared_cause_p99(delay, share)
        late = _hedged_pairs(rng.standard_normal((3, 280_000)), share, delay) > p99
        checks.covers(f"share beyond the p99, s = {share}", batch_means(late.astype(float)), 0.01)
    checks.close("cut at s = 0.5", 1 - _shared_cause_p99(delay, 0.5) / alone, 0.2021, atol=5e-5)
    checks.close(
        "almost identical copies", _shared_cause_p99(delay, 0.999) / alone, 1.0, atol=0.001
    )


def check_bad_input_is_refused() -> None:
    """Negative delays, a probability of 1 and copies that are one and the same are errors."""
    checks.raises("d < 0", hedged_survival, 1.0, -1.0, _exponential, match="delay must be non-")
    checks.raises("NaN delay", server_time, math.nan, _exponential, match="delay must be non-")
    checks.raises("q = 1", hedged_quantile, 1.0, 1.0, _exponential, match="probability must be in")
    checks.raises("σ = 0", lognormal_survival, 1.0, 0.0, match="log_sd must be positive")
    checks.raises(
        "s = 1", shared_cause_survival, 1.0, 1.0, 1.0, match="request_share must be in [0"
    )
