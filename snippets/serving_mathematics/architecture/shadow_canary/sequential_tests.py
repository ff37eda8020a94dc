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
from dataclasses import dataclass
from statistics import NormalDist
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate, batch_means
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
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

LARGEST_LOG = 700.0  # logarithm of the largest ratio, where floats nearly end
CHUNK = 128  # observations that simulate_sprt draws at a time


def sprt_bounds(alpha: float, beta: float) -> tuple[float, float]:
    """Wald's bounds for the logarithm of the likelihood ratio: accept H₁ above, H₀ below.

    alpha, beta: wanted probabilities of accepting H₁ and H₀ wrongly, positive, sum below 1.
    Returns ln((1−β)/α) and ln(β/(1−α)). Raises ValueError outside these ranges.

    >>> [round(bound, 6) for bound in sprt_bounds(0.05, 0.2)]
    [2.772589, -1.558145]
    """
    beta = as_number(beta=beta)
    alpha = require_in("(0, 1)", alpha=alpha)
    require(0 < beta < 1 - alpha, "beta", "positive and below 1 − alpha", beta)
    return math.log((1 - beta) / alpha), math.log(beta / (1 - alpha))


def sprt_expected_samples(p0: float, p1: float, alpha: float, beta: float) -> tuple[float, float]:
    """Mean number of requests until the SPRT of two error rates stops, under H₀ and under H₁.

    p0, p1: error rates of the hypotheses, different, in (0, 1). alpha, beta: as in `sprt_bounds`.
    Mean of the stopped log ratio over its mean step, which ignores the overshoot. Raises ValueError
    outside these ranges.

    >>> [round(n, 1) for n in sprt_expected_samples(0.01, 0.02, 0.05, 0.2)]
    [430.1, 487.1]
    """
    p1, alpha, beta = as_number(p1=p1, alpha=alpha, beta=beta)
    p0 = require_in("(0, 1)", p0=p0)
    require(0 < p1 < 1 and p1 != p0, "p1", "in (0, 1) and different from p0", p1)
    upper, lower = sprt_bounds(alpha, beta)
    error, success = math.log(p1 / p0), math.log((1 - p1) / (1 - p0))
    under_h0 = (alpha * upper + (1 - alpha) * lower) / (p0 * error + (1 - p0) * success)
    under_h1 = ((1 - beta) * upper + beta * lower) / (p1 * error + (1 - p1) * success)
    return under_h0, under_h1


def fixed_samples(p0: float, p1: float, alpha: float, beta: float) -> float:
    """Requests that a one-sided test of the same two error rates needs, looked at once.

    Arguments and errors as for `sprt_expected_samples`; (z_{1−α}·√(p₀q₀) + z_{1−β}·√(p₁q₁))²/δ²,
    not rounded.

    >>> round(fixed_samples(0.01, 0.02, 0.05, 0.2), 1)
    792.4
    """
    p1, beta = as_number(p1=p1, beta=beta)
    p0 = require_in("(0, 1)", p0=p0)
    require(0 < p1 < 1 and p1 != p0, "p1", "in (0, 1) and different from p0", p1)
    alpha = require_in("(0, 1)", alpha=alpha)
    require(0 < beta < 1 - alpha, "beta", "positive and below 1 − alpha", beta)
    z_alpha, z_beta = -NormalDist().inv_cdf(alpha), -NormalDist().inv_cdf(beta)
    root = z_alpha * math.sqrt(p0 * (1 - p0)) + z_beta * math.sqrt(p1 * (1 - p1))
    return (root / (p1 - p0)) ** 2


@dataclass(frozen=True)
class SprtRuns:
    """Whether each run accepted H₁, and after how many requests, shape (runs,)."""

    accepted_h1: BoolArray
    samples: IntArray


def simulate_sprt(
    rng: np.random.Generator,
    true_rate: float,
    p0: float,
    p1: float,
    alpha: float,
    beta: float,
    runs: int,
) -> SprtRuns:
    """Run the SPRT of two error rates on simulated requests until each run has stopped.

    true_rate: error rate of the simulated requests, in (0, 1). runs: independent runs, at least 1.
    Others and errors as for `sprt_expected_samples`.
    """
    p1 = as_number(p1=p1)
    true_rate, p0 = require_in("(0, 1)", true_rate=true_rate, p0=p0)
    require(0 < p1 < 1 and p1 != p0, "p1", "in (0, 1) and different from p0", p1)
    runs = require_positive_integer(runs=runs)
    require_work(200 * runs, runs=runs)
    upper, lower = sprt_bounds(alpha, beta)
    error, success = math.log(p1 / p0), math.log((1 - p1) / (1 - p0))
    accepted, samples = np.zeros(runs, dtype=bool), np.zeros(runs, dtype=np.int64)
    active, total = np.arange(runs), np.zeros(runs)
    while active.size:
        failed = rng.random((active.size, CHUNK)) < true_rate
        paths = total[active, None] + np.cumsum(np.where(failed, error, success), axis=1)
        outside = (paths >= upper) | (paths <= lower)
        stopped = outside.any(axis=1)
        first = np.where(stopped, outside.argmax(axis=1), CHUNK - 1)
        samples[active] += first + 1
        total[active] = paths[np.arange(active.size), first]
        accepted[active[stopped]] = total[active[stopped]] >= upper
        active = active[~stopped]
    return SprtRuns(accepted, samples)


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


def always_valid_p(ratios: npt.ArrayLike) -> FloatArray:
    """p-values that hold at every look: the smallest 1/Λ so far, at most 1.

    ratios: Λ after each observation along the last axis, positive. Returns the same shape. Raises
    ValueError on other values.

    >>> always_valid_p([0.5, 4.0, 2.0, 8.0]).tolist()
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
    upper, lower = sprt_bounds(0.05, 0.2)
    h0, h1 = sprt_expected_samples(0.01, 0.02, 0.05, 0.2)
    (false, power), (exact_h0, exact_h1) = _sprt_exactly()
    ratio = float(msprt_ratio(100, 0.3, 1.0, 0.1))
    return SimpleNamespace(
        sprt_upper=upper,
        sprt_lower=lower,
        sprt_error_step=math.log(0.02 / 0.01),
        sprt_h0=h0,
        sprt_h1=h1,
        sprt_fixed=fixed_samples(0.01, 0.02, 0.05, 0.2),
        sprt_alpha_percent=100 * false,
        sprt_beta_percent=100 * (1 - power),
        sprt_exact_h0=exact_h0,
        sprt_exact_h1=exact_h1,
        msprt_lambda=ratio,
        msprt_p=1 / ratio,
        fixed_p=2 * NormalDist().cdf(-3.0),
        **{
            f"{name}_found": f"{100 * rate.mean:.1f} ± {100 * rate.half_width:.1f}"
            for name, rate in _simulated_errors().items()
            if name != "plain"
        },
    )


@functools.cache
def _simulated_runs() -> list[SprtRuns]:
    """7,000 runs of the SPRT of 1% against 2%, at 1% and at 2% of errors."""
    rng = np.random.default_rng(21)
    return [simulate_sprt(rng, rate, 0.01, 0.02, 0.05, 0.2, 7_000) for rate in (0.01, 0.02)]


@functools.cache
def _simulated_errors() -> dict[str, MeanEstimate]:
    """Simulated error rates with their 95% intervals: the SPRT's two, and those of a thousand looks
    at the mixture test and at a plain test at the 5% level.
    """
    rng, count = np.random.default_rng(22), np.arange(1, 1001)
    accepted = [runs.accepted_h1 for runs in _simulated_runs()]
    looks: list[tuple[BoolArray, BoolArray]] = []
    for _ in range(7):  # of 400 runs each
        sums = np.cumsum(rng.standard_normal((400, 1000)), axis=1)
        p = always_valid_p(msprt_ratio(count, sums / count, 1.0, 0.1))[:, -1]
        looks.append((p <= 0.05, (np.abs(sums) / np.sqrt(count)).max(axis=1) > 1.959964))
    mixture, plain = (np.concatenate(wrong) for wrong in zip(*looks, strict=True))
    errors = {"alpha": accepted[0], "beta": ~accepted[1], "mixture": mixture, "plain": plain}
    return {name: batch_means(wrong.astype(float)) for name, wrong in errors.items()}


@functools.cache
def _sprt_exactly() -> tuple[list[float], list[float]]:
    """Probability of accepting H₁ and mean requests of the SPRT of 1% against 2%, each at 1% and
    at 2% of errors, request by request over the number of errors of the runs that go on.
    """
    upper, lower = sprt_bounds(0.05, 0.2)
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


def figure_sequential_paths(figure: Figure) -> None:
    """The sequential test stops when the evidence is in, mostly long before the fixed test would.

    Twelve simulated canaries, six with 1% of errors (blue) and six with 2% (red). Every error
    lifts the logarithm of the likelihood ratio by ln 2, every success lowers it a little.

    Alt: Saw-tooth paths of the log likelihood ratio against requests from 0 to 1300 between two
    horizontal bounds at 2.77 and minus 1.56. Most paths leave the bounds before the vertical line
    at 792 requests, where the fixed test would decide; blue ones mostly below, red ones above.
    """
    rng = np.random.default_rng(15)
    axes = figure.subplots()
    upper, lower = sprt_bounds(0.05, 0.2)
    steps = math.log(0.98 / 0.99), math.log(2.0)
    for rate, colour in ((0.01, "C0"), (0.02, "C3")):
        for _ in range(6):
            path = np.cumsum(np.where(rng.random(1300) < rate, steps[1], steps[0]))
            outside = (path >= upper) | (path <= lower)
            end = int(outside.argmax()) + 1 if outside.any() else path.size
            shown = np.unique(np.concatenate((np.arange(0, end, 6), [end - 1])))
            axes.plot(shown + 1, path[shown], color=colour, linewidth=1.1, alpha=0.85)
            if outside.any():
                axes.plot(end, path[end - 1], "o", color=colour, markersize=5)
    for bound in (upper, lower):
        axes.axhline(bound, color="C4", linestyle="--", linewidth=1.2)
    axes.axvline(fixed_samples(0.01, 0.02, 0.05, 0.2), color="C4", linestyle=":", linewidth=1.2)
    for text, x, y in (
        ("stop: 2% of errors", 1290, upper + 0.2),
        ("stop: 1% of errors", 1290, lower - 0.55),
    ):
        axes.annotate(text, (x, y), ha="right", color="C4")
    axes.annotate("fixed test", (805, -1.2), color="C4")
    axes.set(xlim=(0, 1300), ylim=(-2.6, 4.2))
    axes.set(xlabel="requests to the canary", ylabel="log likelihood ratio")


def check_sprt_bounds() -> None:
    """To tell 1% of errors from 2% the SPRT takes about 430 or 487 requests, a fixed test 792.

    Source: the R package SPRT prints 2.772589 and −1.558145 for α = .05, β = .2; Wald's formula
    with the divergences of the two hypotheses written out in numbers; √ by hand for 792.4.
    """
    upper, lower = sprt_bounds(0.05, 0.2)
    checks.close("upper bound", upper, 2.772589, atol=5e-7, kind="published")
    checks.close("lower bound", lower, -1.558145, atol=5e-7, kind="published")
    checks.close("both, to 7 digits", [upper, lower], [2.7725887, -1.5581446], atol=5e-8)
    h0, h1 = sprt_expected_samples(0.01, 0.02, 0.05, 0.2)
    divergence_h0 = 0.01 * math.log(0.5) + 0.99 * math.log(0.99 / 0.98)
    divergence_h1 = 0.02 * math.log(2) + 0.98 * math.log(0.98 / 0.99)
    checks.close("requests under H₀", h0, 430.089, atol=5e-4)
    checks.close("requests under H₁", h1, 487.130, atol=5e-4)
    by_hand_h0 = (0.95 * math.log(0.95 / 0.2) - 0.05 * math.log(16)) / divergence_h0
    by_hand_h1 = (0.8 * math.log(16) - 0.2 * math.log(4.75)) / divergence_h1
    checks.close("by divergences", [h0, h1], [by_hand_h0, by_hand_h1], rtol=1e-12)
    fixed = fixed_samples(0.01, 0.02, 0.05, 0.2)
    checks.close("fixed test", fixed, 792.4, atol=0.05)


def check_sprt_error_rates() -> None:
    """The SPRT errs about as rarely as it promises, 4.0% and 20.1%, and takes 3% and 10% longer
    than Wald's formula, which ignores the overshoot.

    Source: the exact distribution of the number of errors among the runs that go on, request by
    request; 7,000 simulated runs under each hypothesis.
    """
    (false, power), (mean_h0, mean_h1) = _sprt_exactly()
    checks.close("false alarms, exact", false, 0.05, atol=0.011)
    checks.close("misses, exact", 1 - power, 0.2, atol=0.002)
    checks.covers("false alarms, simulated", _simulated_errors()["alpha"], false)
    checks.covers("misses, simulated", _simulated_errors()["beta"], 1 - power)
    for label, runs, mean in zip(("H₀", "H₁"), _simulated_runs(), (mean_h0, mean_h1), strict=True):
        checks.covers(f"requests under {label}", batch_means(runs.samples.astype(float)), mean)
    checks.inside("Wald's inequality, α'/(1 − β')", false / power, 0.0, 0.05 / 0.8)
    checks.inside("Wald's inequality, β'/(1 − α')", (1 - power) / (1 - false), 0.0, 0.2 / 0.95)


def check_mixture_ratio() -> None:
    """A mean difference of 0.3 after 100 observations of variance 1 gives Λ = 18.03 and an
    always-valid p of 0.055, where a single look would give 0.003.

    Source: the likelihood ratio averaged over effects N(0, 0.1) on a grid; 2Φ(−3).
    """
    ratio = float(msprt_ratio(100, 0.3, 1.0, 0.1))
    checks.close("Λ", ratio, 18.028637, atol=5e-7)
    checks.close("p", always_valid_p([ratio])[0], 0.0554673, atol=5e-8)
    effects = np.linspace(-4, 4, 80_001)
    prior = np.exp(-(effects**2) / 0.2) / math.sqrt(0.2 * math.pi)
    likelihood = np.exp(100 * (0.3 * effects - effects**2 / 2))
    checks.close("Λ, averaged", ratio, np.trapezoid(prior * likelihood, effects), rtol=1e-9)
    checks.close("p of one look", 2 * NormalDist().cdf(-0.3 * 10), 0.0026998, atol=5e-8)


def check_mixture_error_rate() -> None:
    """Looked at after each of 1,000 observations, the mixture test raises a false alarm in less
    than 5% of the runs.

    Source: Ville's inequality, of which the first 1,000 looks use up a part; 2,800 simulated runs.
    """
    rate = _simulated_errors()["mixture"]
    top = rate.mean + 3 * rate.standard_error
    checks.inside("false alarms, three standard errors up", top, 0.01, 0.05)
    plain = _simulated_errors()["plain"].mean
    checks.inside("false alarms of the plain test", plain, 0.45, 0.6)


def check_bad_input_is_refused() -> None:
    """Impossible error rates, equal hypotheses and negative ratios are errors."""
    checks.raises(
        "α + β = 1", sprt_bounds, 0.5, 0.5, match="beta must be positive and below 1 − alpha"
    )
    checks.raises(
        "equal", fixed_samples, 0.1, 0.1, 0.05, 0.2, match="p1 must be in (0, 1) and diff"
    )
    checks.raises("Λ < 0", always_valid_p, [1.0, -1.0], match="ratios must be positive and finite")
    checks.raises("n = 0", msprt_ratio, 0, 0.1, 1.0, 1.0, match="count must be positive")
