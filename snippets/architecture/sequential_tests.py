"""Looking early is free only for tests that were built for it.

Peeking: S_k = X₁ + … + X_k, stop when |S_k| > c_k·√k. The density of the S_k that go on obeys
g_{k+1}(s) = ∫ g_k(u)·φ(s − u) du over |u| ≤ c_k·√k; what is missing from the last integral has
stopped. Pocock: one c for all looks that makes this α. SPRT: stop when the logarithm of the
likelihood ratio leaves (ln(β/(1−α)), ln((1−β)/α)). mSPRT: the ratio averaged over effects
N(0, τ²), Λ = √(V/(V + nτ²))·exp(n²τ²δ̄²/(2V(V + nτ²))), ever exceeds 1/α with probability α at
most.

Assumes: independent observations; looks at equal intervals for the group tests; known variance;
two simple hypotheses for the SPRT, whose bounds ignore the overshoot.

Source: Armitage, McPherson and Rowe (1969); Pocock (1977); Wald (1945); Johari et al. (2017).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from snippets import checks
from snippets.definitions.queue_simulator import MeanEstimate, batch_means

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

NODES = 120  # Gauss–Legendre points between the bounds of a look
CHUNK = 256  # observations that simulate_sprt draws at a time


def _require(condition: bool | np.bool_, argument: str, rule: str, value: object) -> None:
    """Raise ValueError with the argument, the rule and the value unless the condition holds."""
    if not condition:
        raise ValueError(f"{argument} must be {rule}, got {value}")


@functools.cache
def _legendre() -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of Gauss–Legendre quadrature on [−1, 1]."""
    return np.polynomial.legendre.leggauss(NODES)


def crossing_probability(thresholds: Sequence[float], effect: float = 0.0) -> float:
    """Probability that |z| exceeds its threshold at one of several equally spaced looks.

    thresholds: one positive number per look, up to 200 looks. effect: mean of z at the last look,
    0 under the null hypothesis. Recursion over the looks with Gauss–Legendre quadrature. Raises
    ValueError outside these ranges.

    >>> round(crossing_probability([1.959964, 1.959964]), 6)
    0.083118
    """
    looks = len(thresholds)
    _require(1 <= looks <= 200, "thresholds", "1 to 200 numbers", looks)
    for c in thresholds:
        _require(0 < c <= 12, "thresholds", "in (0, 12]", c)
    _require(math.isfinite(effect), "effect", "finite", effect)
    step = effect / math.sqrt(looks)  # mean of one increment
    unit, weight = _legendre()
    before, mass = np.zeros(1), np.ones(1)  # nothing has happened yet: S₀ = 0
    for k, c in enumerate(thresholds, start=1):
        now = c * math.sqrt(k) * unit
        kernel = np.exp(-((now[:, None] - before[None, :] - step) ** 2) / 2)
        density = kernel @ mass / math.sqrt(2 * math.pi)
        before, mass = now, density * weight * c * math.sqrt(k)
    return 1.0 - float(mass.sum())


def pocock_constant(looks: int, alpha: float = 0.05) -> float:
    """The threshold for |z| that, used at each of K equally spaced looks, errs with probability α.

    looks: K, 1 to 200. alpha: in [0.0001, 0.5]. By bisection on `crossing_probability`. Raises
    ValueError outside these ranges.

    >>> round(pocock_constant(1), 5)
    1.95996
    """
    _require(1 <= looks <= 200 and looks % 1 == 0, "looks", "an integer from 1 to 200", looks)
    _require(1e-4 <= alpha <= 0.5, "alpha", "in [0.0001, 0.5]", alpha)
    low, high = 0.5, 8.0
    for _ in range(40):
        middle = (low + high) / 2
        too_often = crossing_probability([middle] * int(looks)) > alpha
        low, high = (middle, high) if too_often else (low, middle)
    return (low + high) / 2


def sprt_bounds(alpha: float, beta: float) -> tuple[float, float]:
    """Wald's bounds for the logarithm of the likelihood ratio: accept H₁ above, H₀ below.

    alpha, beta: wanted probabilities of accepting H₁ and H₀ wrongly, positive, sum below 1.
    Returns ln((1−β)/α) and ln(β/(1−α)). Raises ValueError outside these ranges.

    >>> [round(bound, 6) for bound in sprt_bounds(0.05, 0.2)]
    [2.772589, -1.558145]
    """
    _require(0 < alpha < 1, "alpha", "in (0, 1)", alpha)
    _require(0 < beta < 1 - alpha, "beta", "positive and below 1 − alpha", beta)
    return math.log((1 - beta) / alpha), math.log(beta / (1 - alpha))


def sprt_expected_samples(p0: float, p1: float, alpha: float, beta: float) -> tuple[float, float]:
    """Mean number of requests until the SPRT of two error rates stops, under H₀ and under H₁.

    p0, p1: error rates of the hypotheses, different, in (0, 1). alpha, beta: as in `sprt_bounds`.
    Mean of the stopped log ratio over its mean step, which ignores the overshoot. Raises ValueError
    outside these ranges.

    >>> [round(n, 1) for n in sprt_expected_samples(0.01, 0.02, 0.05, 0.2)]
    [430.1, 487.1]
    """
    _require(0 < p0 < 1, "p0", "in (0, 1)", p0)
    _require(0 < p1 < 1 and p1 != p0, "p1", "in (0, 1) and different from p0", p1)
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
    _require(0 < p0 < 1, "p0", "in (0, 1)", p0)
    _require(0 < p1 < 1 and p1 != p0, "p1", "in (0, 1) and different from p0", p1)
    _require(0 < alpha < 1, "alpha", "in (0, 1)", alpha)
    _require(0 < beta < 1 - alpha, "beta", "positive and below 1 − alpha", beta)
    z_alpha, z_beta = NormalDist().inv_cdf(1 - alpha), NormalDist().inv_cdf(1 - beta)
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
    _require(0 < true_rate < 1, "true_rate", "in (0, 1)", true_rate)
    _require(0 < p0 < 1, "p0", "in (0, 1)", p0)
    _require(0 < p1 < 1 and p1 != p0, "p1", "in (0, 1) and different from p0", p1)
    _require(1 <= runs < math.inf and runs % 1 == 0, "runs", "a positive integer", runs)
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
    Raises ValueError outside these ranges. Source: Johari et al. (2017), as documented by
    Stenberg's mixtureSPRT.

    >>> float(msprt_ratio(100, 0.3, 1.0, 0.1).round(6))
    18.028637
    """
    n, delta = np.asarray(count, dtype=float), np.asarray(mean_difference, dtype=float)
    _require(n.size > 0 and ((n > 0) & (n < math.inf)).all(), "count", "positive", count)
    _require(np.isfinite(delta).all(), "mean_difference", "finite", mean_difference)
    _require(0 < variance < math.inf, "variance", "positive", variance)
    _require(0 < mixing_variance < math.inf, "mixing_variance", "positive", mixing_variance)
    spread = variance + n * mixing_variance
    exponent = n**2 * mixing_variance * delta**2 / (2 * variance * spread)
    ratio: FloatArray = np.sqrt(variance / spread) * np.exp(np.minimum(exponent, 700.0))
    return ratio


def always_valid_p(ratios: npt.ArrayLike) -> FloatArray:
    """p-values that hold at every look: the smallest 1/Λ so far, at most 1.

    ratios: Λ after each observation along the last axis, positive. Returns the same shape. Raises
    ValueError on other values.

    >>> always_valid_p([0.5, 4.0, 2.0, 8.0]).tolist()
    [1.0, 0.25, 0.25, 0.125]
    """
    values = np.asarray(ratios, dtype=float)
    valid = (
        values.ndim >= 1 and values.size > 0 and (values > 0).all() and (values < math.inf).all()
    )
    _require(valid, "ratios", "positive and finite", ratios)
    p: FloatArray = np.minimum.accumulate(np.minimum(1.0, 1.0 / values), axis=-1)
    return p


@dataclass(frozen=True)
class Example:
    """Numbers quoted in the text."""

    two_looks_percent: float
    five_looks_percent: float
    twenty_looks_percent: float
    hundred_looks_percent: float
    pocock_five: float
    pocock_level_percent: float
    pocock_power_percent: float
    pocock_more_percent: float
    pocock_mean_percent: float
    sprt_upper: float
    sprt_lower: float
    sprt_h0: float
    sprt_h1: float
    sprt_fixed: float
    sprt_alpha_percent: float
    sprt_beta_percent: float
    sprt_exact_h0: float
    sprt_exact_h1: float
    msprt_lambda: float
    msprt_p: float
    fixed_p: float
    looks_found: str
    pocock_found: str
    alpha_found: str
    beta_found: str
    mixture_found: str


def example() -> Example:
    """The numbers quoted in the text."""
    single = NormalDist().inv_cdf(0.975)
    planned = single + NormalDist().inv_cdf(0.8)
    five = pocock_constant(5)
    low, high = planned, 2 * planned
    for _ in range(30):
        middle = (low + high) / 2
        weak = crossing_probability([five] * 5, middle) < 0.8
        low, high = (middle, high) if weak else (low, middle)
    going = [1 - crossing_probability([five] * k, high * math.sqrt(k / 5)) for k in range(1, 5)]
    upper, lower = sprt_bounds(0.05, 0.2)
    h0, h1 = sprt_expected_samples(0.01, 0.02, 0.05, 0.2)
    false, exact_h0 = _sprt_exactly(0.01)
    power, exact_h1 = _sprt_exactly(0.02)
    ratio = float(msprt_ratio(100, 0.3, 1.0, 0.1))
    return Example(
        two_looks_percent=100 * crossing_probability([single] * 2),
        five_looks_percent=100 * crossing_probability([single] * 5),
        twenty_looks_percent=100 * crossing_probability([single] * 20),
        hundred_looks_percent=100 * crossing_probability([single] * 100),
        pocock_five=five,
        pocock_level_percent=200 * NormalDist().cdf(-five),
        pocock_power_percent=100 * crossing_probability([five] * 5, planned),
        pocock_more_percent=100 * ((high / planned) ** 2 - 1),
        pocock_mean_percent=100 * (1 + sum(going)) / 5 * (high / planned) ** 2,
        sprt_upper=upper,
        sprt_lower=lower,
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
def _simulated_errors() -> dict[str, MeanEstimate]:
    """Simulated error rates of every test of this module, with their 95% intervals: five looks at
    the 5% level and with Pocock's threshold, the SPRT's two, a thousand looks of the mixture test
    and as many of the plain one.
    """
    rng = np.random.default_rng(17)
    z = np.abs(np.cumsum(rng.standard_normal((20_000, 5)), axis=1)) / np.sqrt(np.arange(1, 6))
    single = NormalDist().inv_cdf(0.975)
    accepted = [
        simulate_sprt(rng, rate, 0.01, 0.02, 0.05, 0.2, 10_000).accepted_h1 for rate in (0.01, 0.02)
    ]
    count = np.arange(1, 1001)
    sums = np.cumsum(rng.standard_normal((4000, 1000)), axis=1)
    p = always_valid_p(msprt_ratio(count, sums / count, 1.0, 0.1))[:, -1]
    errors = {
        "looks": (z > single).any(axis=1),
        "pocock": (z > pocock_constant(5)).any(axis=1),
        "alpha": accepted[0],
        "beta": ~accepted[1],
        "mixture": p <= 0.05,
        "plain": (np.abs(sums) > single * np.sqrt(count)).any(axis=1),
    }
    return {name: batch_means(wrong.astype(float)) for name, wrong in errors.items()}


@functools.cache
def _sprt_exactly(rate: float) -> tuple[float, float]:
    """Probability of accepting H₁ and mean requests of the SPRT of 1% against 2%, request by
    request over the number of errors of the runs that go on.
    """
    upper, lower = sprt_bounds(0.05, 0.2)
    error, success = math.log(2.0), math.log(0.98 / 0.99)
    mass, accepted, mean = np.zeros(150), 0.0, 0.0
    mass[0] = 1.0
    errors = np.arange(150)
    for n in range(1, 12_001):
        going = float(mass.sum())
        if going < 1e-9:
            break
        mean += going
        mass *= 1 - rate
        mass[1:] += mass[:-1] * (rate / (1 - rate))
        ratio = errors * error + (n - errors) * success
        accepted += float(mass[ratio >= upper].sum())
        mass[(ratio >= upper) | (ratio <= lower)] = 0.0
    return accepted, mean


def figure_sequential_paths() -> Figure:
    """The sequential test stops when the evidence is in, mostly long before the fixed test would.

    Twelve simulated canaries, six with 1% of errors (blue) and six with 2% (red). Every error
    lifts the logarithm of the likelihood ratio by ln 2, every success lowers it a little.

    Alt: Saw-tooth paths of the log likelihood ratio against requests from 0 to 1300 between two
    horizontal bounds at 2.77 and minus 1.56. Most paths leave the bounds before the vertical line
    at 792 requests, where the fixed test would decide; blue ones mostly below, red ones above.
    """
    rng = np.random.default_rng(15)
    figure = Figure(layout="constrained")
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
    return figure


def figure_peeking() -> Figure:
    """Looking at a 5% test twenty times makes it a 25% test; tests built for looking stay at 5%.

    Curves are the recursion of Armitage, McPherson and Rowe. Points are 10,000 simulated canaries
    without any difference, with 95% confidence intervals; the mixture test is looked at after
    every observation, τ² = V/10.

    Alt: Line chart of the probability of at least one false alarm against the number of looks
    from 1 to 200 on a logarithmic axis. The curve of the plain test rises from 5 percent through
    14 at five looks and 25 at twenty to 42 at two hundred, with simulated points on it. Pocock's
    points lie at 5 percent at every number of looks. The points of the mixture test rise slowly
    from 0 to 2 percent.
    """
    rng = np.random.default_rng(16)
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    single = NormalDist().inv_cdf(0.975)
    looks = np.unique(np.geomspace(1, 200, 24).astype(int))
    axes.plot(looks, [100 * crossing_probability([single] * int(k)) for k in looks], color="C3")
    sums = np.cumsum(rng.standard_normal((10_000, 200)), axis=1)
    count = np.arange(1, 201)
    z = np.abs(sums) / np.sqrt(count)
    mixture = msprt_ratio(count, sums / count, 1.0, 0.1) >= 20.0
    points = [1, 2, 5, 10, 20, 50, 100, 200]
    for k in points:
        alarms = {"C3": (z[:, :k] > single).any(axis=1), "C2": mixture[:, :k].any(axis=1)}
        if k in (1, 5, 20, 100):
            alarms["C0"] = (z[:, :k] > pocock_constant(k)).any(axis=1)
        for colour, alarm in alarms.items():
            share = float(alarm.mean())
            half = 196 * math.sqrt(share * (1 - share) / alarm.size)
            axes.errorbar(k, 100 * share, half, fmt="o", color=colour)
    axes.axhline(5.0, color="C0")
    for text, x, y, colour, side in (
        ("5% at every look", 14, 27, "C3", "right"),
        ("Pocock", 200, 6.2, "C0", "right"),
        ("mixture test", 42, 1.2, "C2", "right"),
    ):
        axes.annotate(text, (x, y), color=colour, ha=side)
    axes.set(xscale="log", xlim=(0.9, 230), ylim=(0, 45))
    axes.set_xticks(
        [1, 2, 5, 10, 20, 50, 100, 200], ["1", "2", "5", "10", "20", "50", "100", "200"]
    )
    axes.minorticks_off()
    axes.set(xlabel="looks at the data", ylabel="false alarms [%]")
    return figure


def check_peeking() -> None:
    """Two looks at the 5% level err in 8.3% of the cases, five in 14.2%, a hundred in 37%.

    Source: for two looks the integral of the bivariate normal density on a grid; Wetterslev,
    Jakobsen and Gluud (2017), table 1, after Armitage, McPherson and Rowe (1969); 20,000 simulated
    sequences of five looks.
    """
    single = NormalDist().inv_cdf(0.975)
    checks.close("2 looks", crossing_probability([single] * 2), 0.083118, atol=5e-7)
    checks.close("5 looks", crossing_probability([single] * 5), 0.141689, atol=5e-7)
    u = np.linspace(-single, single, 20_001)
    inside = [
        NormalDist().cdf(single * math.sqrt(2) - x) - NormalDist().cdf(-single * math.sqrt(2) - x)
        for x in u
    ]
    density = np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
    stayed = np.trapezoid(density * inside, u)
    checks.close("2 looks, integral", crossing_probability([single] * 2), 1 - stayed, atol=1e-8)
    for looks, percent in ((2, 8), (5, 14), (20, 25), (100, 37)):
        got = 100 * crossing_probability([single] * looks)
        checks.close(f"{looks} looks [%]", got, percent, atol=0.5, kind="published")
    checks.covers("5 looks, simulated", _simulated_errors()["looks"], 0.141689)


def check_pocock() -> None:
    """Five looks with Pocock's threshold 2.413 err in 5% of the cases together.

    Source: Pocock (1977), as tabulated by Wikipedia, “Pocock boundary”: nominal levels .0294,
    .0221, .0182 and .0158; 20,000 simulated sequences with and without an effect.
    """
    checks.close("c for 5 looks", pocock_constant(5), 2.41318, atol=5e-6)
    for looks, level in ((2, 0.0294), (3, 0.0221), (4, 0.0182), (5, 0.0158)):
        got = 2 * NormalDist().cdf(-pocock_constant(looks))
        checks.close(f"level at each of {looks} looks", got, level, atol=5e-5, kind="published")
    checks.covers("false alarms, simulated", _simulated_errors()["pocock"], 0.05)
    steps = 2.8 / math.sqrt(5) + np.random.default_rng(18).standard_normal((20_000, 5))
    z, five = np.cumsum(steps, axis=1) / np.sqrt(np.arange(1, 6)), pocock_constant(5)
    power = batch_means((np.abs(z) > five).any(axis=1).astype(float))
    checks.covers("power, simulated", power, crossing_probability([five] * 5, effect=2.8))


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
    request; 10,000 simulated runs under each hypothesis.
    """
    (false, mean_h0), (power, mean_h1) = _sprt_exactly(0.01), _sprt_exactly(0.02)
    checks.close("false alarms, exact", false, 0.05, atol=0.011)
    checks.close("misses, exact", 1 - power, 0.2, atol=0.002)
    checks.covers("false alarms, simulated", _simulated_errors()["alpha"], false)
    checks.covers("misses, simulated", _simulated_errors()["beta"], 1 - power)
    rng = np.random.default_rng(19)
    for label, rate, mean in (("H₀", 0.01, mean_h0), ("H₁", 0.02, mean_h1)):
        samples = simulate_sprt(rng, rate, 0.01, 0.02, 0.05, 0.2, 5000).samples
        checks.covers(f"requests under {label}", batch_means(samples.astype(float)), mean)
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

    Source: Ville's inequality, of which the first 1,000 looks use up a part; 4,000 simulated runs.
    """
    rate = _simulated_errors()["mixture"]
    top = rate.mean + 3 * rate.standard_error
    checks.inside("false alarms, three standard errors up", top, 0.01, 0.05)
    plain = _simulated_errors()["plain"].mean
    checks.inside("false alarms of the plain test", plain, 0.45, 0.6)


def check_bad_input_is_refused() -> None:
    """No looks, impossible error rates, equal hypotheses and negative ratios are errors."""
    checks.raises("no looks", crossing_probability, [], match="thresholds must be 1 to 200 numbers")
    checks.raises("half a look", pocock_constant, 2.5, match="looks must be an integer")
    checks.raises(
        "α + β = 1", sprt_bounds, 0.5, 0.5, match="beta must be positive and below 1 − alpha"
    )
    checks.raises(
        "equal", fixed_samples, 0.1, 0.1, 0.05, 0.2, match="p1 must be in (0, 1) and diff"
    )
    checks.raises("Λ < 0", always_valid_p, [1.0, -1.0], match="ratios must be positive and finite")
    checks.raises("n = 0", msprt_ratio, 0, 0.1, 1.0, 1.0, match="count must be positive")
