"""Deciding as the evidence comes in, request by request.

SPRT: stop when the logarithm of the likelihood ratio of two error rates leaves (ln(β/(1−α)),
ln((1−β)/α)). mSPRT: the ratio averaged over effects N(0, τ²), Λ = √(V/(V + nτ²))·exp(n²τ²δ̄²/(2V(V
+ nτ²))), ever exceeds 1/α with probability α at most.

Assumes: independent observations; known variance; two simple hypotheses for the SPRT, whose bounds
ignore the overshoot.

Source: Wald (1945); Johari et al. (2017).
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    as_numbers,
    require,
    require_all_finite,
    require_all_positive,
    require_in,
    require_positive,
)

FloatArray = npt.NDArray[np.float64]

LARGEST_LOG = 700.0  # logarithm of the largest ratio, where floats nearly end


def _sprt_bounds(alpha: float, beta: float) -> tuple[float, float]:
    """Wald's bounds for the logarithm of the likelihood ratio: accept H₁ above, H₀ below.

    alpha, beta: wanted probabilities of accepting H₁ and H₀ wrongly, positive, sum below 1.
    Returns ln((1−β)/α) and ln(β/(1−α)). Raises ValueError outside these ranges.

    >>> [round(bound, 6) for bound in _sprt_bounds(0.05, 0.2)]
    [2.772589, -1.558145]
    """
    beta = as_number(beta=beta)
    alpha = require_in("(0, 1)", alpha=alpha)
    require(0 < beta < 1 - alpha, "beta", "positive and below 1 − alpha", beta)
    return math.log((1 - beta) / alpha), math.log(beta / (1 - alpha))


def _sprt_expected_samples(p0: float, p1: float, alpha: float, beta: float) -> tuple[float, float]:
    """Mean number of requests until the SPRT of two error rates stops, under H₀ and under H₁.

    p0, p1: error rates of the hypotheses, different, in (0, 1). alpha, beta: as in `_sprt_bounds`.
    Mean of the stopped log ratio over its mean step, which ignores the overshoot. Raises ValueError
    outside these ranges.
    """
    p1, alpha, beta = as_number(p1=p1, alpha=alpha, beta=beta)
    p0 = require_in("(0, 1)", p0=p0)
    require(0 < p1 < 1 and p1 != p0, "p1", "in (0, 1) and different from p0", p1)
    upper, lower = _sprt_bounds(alpha, beta)
    error, success = math.log(p1 / p0), math.log((1 - p1) / (1 - p0))
    under_h0 = (alpha * upper + (1 - alpha) * lower) / (p0 * error + (1 - p0) * success)
    under_h1 = ((1 - beta) * upper + beta * lower) / (p1 * error + (1 - p1) * success)
    return under_h0, under_h1


def msprt_ratio(
    count: npt.ArrayLike, mean_difference: npt.ArrayLike, variance: float, mixing_variance: float
) -> FloatArray:
    """Likelihood ratio of “some effect, drawn from N(0, τ²)” against “no effect”.

    count: n, positive. mean_difference: δ̄, mean of n observations of the difference, same shape or
    one that broadcasts. variance: V of one observation, positive. mixing_variance: τ², positive.
    Ratios beyond e^700 are e^700. Raises ValueError outside these ranges. Source: Johari et al.
    (2017), as documented by Stenberg's mixtureSPRT.

    >>> float(msprt_ratio(100, 0.3, 1.0, 0.1).round(6))
    18.028637
    """
    count, mean_difference = as_numbers(count=count, mean_difference=mean_difference)
    count = require_all_positive(count=count)
    mean_difference = require_all_finite(mean_difference=mean_difference)
    n, delta = as_floats(count=count), as_floats(mean_difference=mean_difference)
    require(n.size > 0, "count", "not empty", n.shape)
    variance = require_positive(variance=variance)
    mixing_variance = require_positive(mixing_variance=mixing_variance)
    spread = variance + n * mixing_variance
    exponent = n**2 * mixing_variance * delta**2 / (2 * variance * spread)
    log_ratio = exponent + np.log(variance / spread) / 2
    ratio: FloatArray = np.exp(np.minimum(log_ratio, LARGEST_LOG))
    return ratio


def _always_valid_p(ratios: npt.ArrayLike) -> FloatArray:
    """p-values that hold at every look: the smallest 1/Λ so far, at most 1.

    ratios: Λ after each observation along the last axis, positive. Returns the same shape. Raises
    ValueError on other values.

    >>> _always_valid_p([0.5, 4.0, 2.0, 8.0]).tolist()
    [1.0, 0.25, 0.25, 0.125]
    """
    values = as_floats(ratios=ratios)
    valid = (
        values.ndim >= 1 and values.size > 0 and (values > 0).all() and (values < math.inf).all()
    )
    require(valid, "ratios", "positive and finite", ratios)
    p: FloatArray = np.minimum.accumulate(np.minimum(1.0, 1.0 / values), axis=-1)
    return p


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    h0, h1 = _sprt_expected_samples(0.01, 0.02, 0.05, 0.2)
    _, (exact_h0, exact_h1) = _sprt_exactly()
    return SimpleNamespace(
        sprt_h0=h0,
        sprt_h1=h1,
        sprt_exact_h0=exact_h0,
        sprt_exact_h1=exact_h1,
    )


def _fixed_samples(p0: float, p1: float, alpha: float, beta: float) -> float:
    """Requests that a one-sided test of the same two error rates needs, looked at once."""
    z_alpha, z_beta = -NormalDist().inv_cdf(alpha), -NormalDist().inv_cdf(beta)
    root = z_alpha * math.sqrt(p0 * (1 - p0)) + z_beta * math.sqrt(p1 * (1 - p1))
    return float((root / (p1 - p0)) ** 2)


@functools.cache
def _sprt_exactly() -> tuple[list[float], list[float]]:
    """Probability of accepting H₁ and mean requests of the SPRT of 1% against 2%, each at 1% and
    at 2% of errors, request by request over the number of errors of the runs that go on.
    """
    upper, lower = _sprt_bounds(0.05, 0.2)
    error, success = math.log(2.0), math.log(0.98 / 0.99)
    ends, means = [], []
    for rate in (0.01, 0.02):
        mass, fewest, n, accepted, mean = [1.0], 0, 0, 0.0, 0.0  # mass: by errors, from the fewest
        while (going := sum(mass)) > 1e-12:
            mean += going
            n += 1
            stay = [(1 - rate) * share for share in mass]
            mass = [a + rate * b for a, b in zip((*stay, 0.0), (0.0, *mass), strict=True)]
            most = fewest + len(mass) - 1
            if most * error + (n - most) * success >= upper:
                accepted += mass.pop()
            if fewest * error + (n - fewest) * success <= lower:
                del mass[0]
                fewest += 1
        ends.append(accepted)
        means.append(mean)
    return ends, means


def check_sprt_bounds() -> None:
    """To tell 1% of errors from 2% the SPRT takes about 430 or 487 requests, a fixed test 792.

    Source: the R package SPRT prints 2.772589 and −1.558145 for α = .05, β = .2; Wald's formula
    with the divergences of the two hypotheses written out in numbers; √ by hand for 792.4.
    """
    upper, lower = _sprt_bounds(0.05, 0.2)
    checks.close("upper bound", upper, 2.772589, atol=5e-7, kind="published")
    checks.close("lower bound", lower, -1.558145, atol=5e-7, kind="published")
    checks.close("both, to 7 digits", [upper, lower], [2.7725887, -1.5581446], atol=5e-8)
    h0, h1 = _sprt_expected_samples(0.01, 0.02, 0.05, 0.2)
    divergence_h0 = 0.01 * math.log(0.5) + 0.99 * math.log(0.99 / 0.98)
    divergence_h1 = 0.02 * math.log(2) + 0.98 * math.log(0.98 / 0.99)
    checks.close("requests under H₀", h0, 430.089, atol=5e-4)
    checks.close("requests under H₁", h1, 487.130, atol=5e-4)
    by_hand_h0 = (0.95 * math.log(0.95 / 0.2) - 0.05 * math.log(16)) / divergence_h0
    by_hand_h1 = (0.8 * math.log(16) - 0.2 * math.log(4.75)) / divergence_h1
    checks.close("by divergences", [h0, h1], [by_hand_h0, by_hand_h1], rtol=1e-12)
    fixed = _fixed_samples(0.01, 0.02, 0.05, 0.2)
    checks.close("fixed test", fixed, 792.4, atol=0.05)


def check_sprt_error_rates() -> None:
    """The SPRT errs about as rarely as it promises, 4.0% and 20.1%, and takes 3% and 10% longer
    than Wald's formula, which ignores the overshoot.

    Source: the exact distribution of the number of errors among the runs that go on, request by
    request; 1,500 simulated runs of 3,000 requests under each hypothesis; Wald's inequalities.
    """
    (false, power), means = _sprt_exactly()
    checks.close("false alarms, exact", false, 0.05, atol=0.011)
    checks.close("misses, exact", 1 - power, 0.2, atol=0.002)
    upper, lower = _sprt_bounds(0.05, 0.2)
    rng = np.random.default_rng(21)
    for rate, accepts, mean in zip((0.01, 0.02), (false, power), means, strict=True):
        steps = np.where(rng.random((1500, 3000)) < rate, math.log(2.0), math.log(0.98 / 0.99))
        paths = np.cumsum(steps, axis=1)
        outside = (paths >= upper) | (paths <= lower)
        first = outside.argmax(axis=1)
        above = paths[np.arange(1500), first] >= upper
        checks.covers(f"accepts 2%, at {rate:.0%}", batch_means(above.astype(float)), accepts)
        checks.covers(f"requests at {rate:.0%}", batch_means(first + 1.0), mean)
    checks.inside("Wald's inequality, α'/(1 − β')", false / power, 0.0, 0.05 / 0.8)
    checks.inside("Wald's inequality, β'/(1 − α')", (1 - power) / (1 - false), 0.0, 0.2 / 0.95)


def check_mixture_ratio() -> None:
    """A mean difference of 0.3 after 100 observations of variance 1 gives Λ = 18.03 and an
    always-valid p of 0.055, where a single look would give 0.003.

    Source: the likelihood ratio averaged over effects N(0, 0.1) on a grid; 2Φ(−3).
    """
    ratio = float(msprt_ratio(100, 0.3, 1.0, 0.1))
    checks.close("Λ", ratio, 18.028637, atol=5e-7)
    checks.close("p", _always_valid_p([ratio])[0], 0.0554673, atol=5e-8)
    effects = np.linspace(-4, 4, 80_001)
    prior = np.exp(-(effects**2) / 0.2) / math.sqrt(0.2 * math.pi)
    likelihood = np.exp(100 * (0.3 * effects - effects**2 / 2))
    checks.close("Λ, averaged", ratio, np.trapezoid(prior * likelihood, effects), rtol=1e-9)
    checks.close("p of one look", 2 * NormalDist().cdf(-0.3 * 10), 0.0026998, atol=5e-8)


def check_mixture_error_rate() -> None:
    """Looked at after each of 600 observations, the mixture test raises a false alarm in less
    than 5% of the runs, where a plain test does in half of them.

    Source: Ville's inequality, of which the first 600 looks use up a part; 2,800 simulated runs.
    """
    rng, count = np.random.default_rng(22), np.arange(1, 601)
    sums = np.cumsum(rng.standard_normal((2800, 600)), axis=1)
    p = _always_valid_p(msprt_ratio(count, sums / count, 1.0, 0.1))[:, -1]
    rate = batch_means((p <= 0.05).astype(float))
    top = rate.mean + 3 * rate.standard_error
    checks.inside("false alarms, three standard errors up", top, 0.01, 0.05)
    plain = float(((np.abs(sums) / np.sqrt(count)).max(axis=1) > 1.959964).mean())
    checks.inside("false alarms of the plain test", plain, 0.4, 0.6)


def check_bad_input_is_refused() -> None:
    """Impossible error rates, equal hypotheses and negative ratios are errors."""
    checks.raises(
        "α + β = 1", _sprt_bounds, 0.5, 0.5, match="beta must be positive and below 1 − alpha"
    )
    told = "p1 must be in (0, 1) and diff"
    checks.raises("equal", _sprt_expected_samples, 0.1, 0.1, 0.05, 0.2, match=told)
    checks.raises("Λ < 0", _always_valid_p, [1.0, -1.0], match="ratios must be positive and finite")
    checks.raises("n = 0", msprt_ratio, 0, 0.1, 1.0, 1.0, match="count must be positive")
