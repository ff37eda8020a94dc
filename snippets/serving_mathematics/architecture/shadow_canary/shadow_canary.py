"""A shadow answers the same requests as the version in production; a canary answers others.

Paired: d_i = y_i − x_i, mean d̄ ± t·s/√n. For right and wrong answers only the discordant pairs
count: of b + c of them, b newly wrong, and b is Binomial(b + c, ½) when both versions are equally
good (McNemar). Unpaired: (z_{1−α/2}·√(2p̄q̄) + z_{power}·√(p₀q₀ + p₁q₁))²/δ² requests in each arm,
and a canary with the share f of the traffic needs (1/f + 1/(1−f))/4 times the total of an even
split.

Assumes: pairs are independent of one another; differences of means near normal for t; a fixed
number of requests, looked at once.

Source: McNemar (1947); Connor (1987); the other sizes follow from equal variances of two means.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from itertools import product
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.classifiers.digits_classifier import (
    Classifier,
    cross_entropy_gradient,
    load_digits,
    train_classifier,
)
from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_in,
    require_shape,
    require_work,
)

FloatArray = npt.NDArray[np.float64]

BASELINE_QUALITY = (0.72, 0.73, 0.71, 0.74, 0.72)  # one metric on five evaluation sets
CANDIDATE_QUALITY = (0.74, 0.75, 0.73, 0.76, 0.75)  # the same sets, the new version
FLIP = 0.05  # e of the worked numbers: a verdict in twenty comes out as the other one


@functools.cache
def _legendre() -> tuple[FloatArray, FloatArray]:
    """64 nodes and weights of Gauss–Legendre quadrature on [−1, 1]."""
    return np.polynomial.legendre.leggauss(64)


def student_quantile(probability: float, degrees: float) -> float:
    """Quantile of Student's t distribution to five digits or more, without scipy.

    probability: in [0.0005, 0.9995]. degrees: degrees of freedom, in [1, 1e6]. With t = √ν·tan θ
    the distribution function is ½ + C·∫₀^θ cos^{ν−1}, here by Gauss–Legendre; Newton's method from
    the normal quantile, which lies on the safe side of a concave function. Raises ValueError
    outside the ranges.

    >>> round(student_quantile(0.975, degrees=4), 5)
    2.77645
    """
    degrees = as_number(degrees=degrees)
    probability = require_in("[0.0005, 0.9995]", probability=probability)
    require(1 <= degrees <= 1e6, "degrees", "in [1, 1e6]", degrees)
    upper = max(probability, 1 - probability)
    scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(math.pi)
    nodes, weights = _legendre()
    t = NormalDist().inv_cdf(upper)
    for _ in range(40):
        theta = math.atan(t / math.sqrt(degrees))
        angles = theta * (nodes + 1) / 2
        below = 0.5 + scale * theta / 2 * float(weights @ np.cos(angles) ** (degrees - 1))
        density = scale / math.sqrt(degrees) * math.cos(theta) ** (degrees + 1)
        t += (upper - below) / density
    return math.copysign(t, probability - 0.5)


@dataclass(frozen=True)
class PairedDifference:
    """Mean of candidate − baseline over pairs, its standard error and its confidence interval."""

    mean: float
    standard_error: float
    low: float
    high: float


def paired_difference(
    baseline: npt.ArrayLike, candidate: npt.ArrayLike, confidence: float = 0.95
) -> PairedDifference:
    """Student's interval for the mean of candidate − baseline on the same items.

    baseline, candidate: one value per item in the same order, shape (n,), n ≥ 2, not all
    differences equal. confidence: in (0, 0.999]. Raises ValueError on other shapes and non-finite
    values.

    >>> paired_difference([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).mean
    2.0
    """
    x, y = as_floats(baseline=baseline), as_floats(candidate=candidate)
    require(x.ndim == 1 and x.size >= 2, "baseline", "a sequence of at least two", x.shape)
    require_shape(x.shape, candidate=y)
    require(np.isfinite(x).all(), "baseline", "finite", baseline)
    require(np.isfinite(y).all(), "candidate", "finite", candidate)
    confidence = require_in("(0, 0.999]", confidence=confidence)
    differences = y - x
    error = float(differences.std(ddof=1)) / math.sqrt(x.size)
    require(error > 0, "candidate", "different from the baseline by more than a constant", y)
    mean = float(differences.mean())
    half = student_quantile((1 + confidence) / 2, x.size - 1) * error
    return PairedDifference(mean, error, mean - half, mean + half)


def mcnemar_exact(newly_wrong: int, newly_right: int) -> float:
    """Two-sided p-value for “both versions are equally often right”, from the discordant pairs.

    newly_wrong: requests that only the baseline answered rightly. newly_right: requests that only
    the candidate did. Twice the probability that Binomial(n, ½) is at most the smaller one, at
    most 1. Raises ValueError unless both are counts.

    >>> mcnemar_exact(newly_wrong=0, newly_right=5)
    0.0625
    """
    newly_wrong, newly_right = as_number(newly_wrong=newly_wrong, newly_right=newly_right)
    for name, count in (("newly_wrong", newly_wrong), ("newly_right", newly_right)):
        require(0 <= count < math.inf and count % 1 == 0, name, "a count", count)
    require_work(min(newly_wrong, newly_right), newly_wrong=newly_wrong, newly_right=newly_right)
    pairs, smaller = int(newly_wrong + newly_right), int(min(newly_wrong, newly_right))
    if pairs <= 10_000:
        term = math.comb(pairs, smaller) / (1 << pairs)  # of the binomial sum, the largest
    else:  # the same by logarithms, to eight digits for a million pairs
        ways = math.lgamma(pairs + 1) - math.lgamma(smaller + 1) - math.lgamma(pairs - smaller + 1)
        term = math.exp(ways - pairs * math.log(2))
    total = term
    for k in range(smaller, 0, -1):
        term = term * k / (pairs - k + 1)
        total += term
        if term < 1e-17 * total:
            break
    return min(1.0, 2 * total)


def shadow_pairs(
    newly_wrong_share: float, newly_right_share: float, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Pairs that a shadow needs before McNemar's test finds the difference with this power.

    newly_wrong_share, newly_right_share: shares of all requests, not both 0, different, sum at
    most 1. alpha: two-sided level. power: in (0, 1). Rounds up (z_{1−α/2}·√ψ +
    z_{power}·√(ψ − δ²))²/δ², ψ the sum of the shares and δ their difference. Raises ValueError
    outside these ranges. Source: Connor (1987), as coded by Greenwell (2017).

    >>> shadow_pairs(0.05, 0.45)
    23
    """
    newly_right_share = as_number(newly_right_share=newly_right_share)
    newly_wrong_share = require_in("[0, 1]", newly_wrong_share=newly_wrong_share)
    wrong, right = newly_wrong_share, newly_right_share
    require(0 <= right <= 1 - wrong, "newly_right_share", "in [0, 1 − newly_wrong_share]", right)
    require(wrong != right, "newly_right_share", "different from newly_wrong_share", right)
    alpha, power = require_in("(0, 1)", alpha=alpha, power=power)
    z_alpha, z_power = -NormalDist().inv_cdf(alpha / 2), NormalDist().inv_cdf(power)
    discordant, delta = wrong + right, wrong - right
    root = z_alpha * math.sqrt(discordant) + z_power * math.sqrt(discordant - delta**2)
    return math.ceil((root / delta) ** 2)


def noisy_shares(
    newly_wrong_share: float, newly_right_share: float, flip: float
) -> tuple[float, float]:
    """Shares of discordant pairs when sampling or a judge flips verdicts by chance.

    newly_wrong_share, newly_right_share: shares w and r that the versions differ by in truth, sum
    at most 1. flip: e in [0, 0.5], probability that a verdict, right or wrong, comes out as the
    other one, independently for both versions. Of a pair that agrees, one verdict flips with
    probability 2e(1 − e), either way. Returns w(1 − e)² + re² + (1 − w − r)e(1 − e) and the same
    with w and r exchanged. Raises ValueError outside these ranges.

    >>> noisy_shares(0.0, 0.0, flip=0.5)  # A against A, by tossed coins
    (0.25, 0.25)
    """
    newly_right_share = as_number(newly_right_share=newly_right_share)
    newly_wrong_share = require_in("[0, 1]", newly_wrong_share=newly_wrong_share)
    wrong, right = newly_wrong_share, newly_right_share
    require(0 <= right <= 1 - wrong, "newly_right_share", "in [0, 1 − newly_wrong_share]", right)
    flip = require_in("[0, 0.5]", flip=flip)
    by_chance = (1 - wrong - right) * flip * (1 - flip)
    kept, turned = (1 - flip) ** 2, flip**2
    return wrong * kept + right * turned + by_chance, right * kept + wrong * turned + by_chance


def samples_per_arm(
    baseline_rate: float, candidate_rate: float, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Requests in each of two equal arms to tell two rates apart, looked at once.

    baseline_rate, candidate_rate: different, in (0, 1). alpha: two-sided level. power: in (0, 1).
    Rounds up; the test pools the two rates under the null hypothesis. Raises ValueError outside
    these ranges.

    >>> samples_per_arm(0.4, 0.6)
    97
    """
    baseline_rate, candidate_rate = require_in(
        "(0, 1)", baseline_rate=baseline_rate, candidate_rate=candidate_rate
    )
    different = candidate_rate != baseline_rate
    require(different, "candidate_rate", "different from baseline_rate", candidate_rate)
    alpha, power = require_in("(0, 1)", alpha=alpha, power=power)
    z_alpha, z_power = -NormalDist().inv_cdf(alpha / 2), NormalDist().inv_cdf(power)
    pooled = (baseline_rate + candidate_rate) / 2
    separate = baseline_rate * (1 - baseline_rate) + candidate_rate * (1 - candidate_rate)
    root = z_alpha * math.sqrt(2 * pooled * (1 - pooled)) + z_power * math.sqrt(separate)
    return math.ceil((root / (candidate_rate - baseline_rate)) ** 2)


def allocation_cost(canary_share: float) -> float:
    """Total requests that an uneven split needs, over those of an even one: (1/f + 1/(1−f))/4.

    canary_share: f, share of the requests that the canary answers, in (0, 1). The variance of a
    difference of two means is proportional to 1/f + 1/(1−f). Raises ValueError outside the range.

    >>> round(allocation_cost(0.2), 12)
    1.5625
    """
    canary_share = require_in("(0, 1)", canary_share=canary_share)
    return (1 / canary_share + 1 / (1 - canary_share)) / 4


@dataclass(frozen=True)
class _Shadow:
    """Answers of two models to the same held-out digits, counted."""

    newly_wrong: int
    newly_right: int
    baseline_wrong: int
    images: int


@functools.cache
def _trained() -> Classifier:
    """The baseline: 64 hidden units, fitted to the training digits."""
    train = load_digits().train
    gradient = cross_entropy_gradient(train.labels)
    return train_classifier(train.pixels, gradient, 64, np.random.default_rng(0))


def _shadow_of_rounded_weights(bits: int) -> _Shadow:
    """A candidate with weights of few bits shadows the baseline on validation and test digits."""
    baseline, digits, steps = _trained(), load_digits(), 2 ** (bits - 1) - 1
    rounded = []
    for weights, bias in baseline.layers:
        scale = float(np.abs(weights).max()) / steps
        rounded.append((np.round(weights / scale) * scale, bias))
    old, new = (
        np.concatenate(
            [
                model.logits(part.pixels).argmax(axis=1) == part.labels
                for part in (digits.validation, digits.test)
            ]
        )
        for model in (baseline, Classifier(tuple(rounded)))
    )
    return _Shadow(int((old & ~new).sum()), int((~old & new).sum()), int((~old).sum()), len(old))


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    quality = paired_difference(BASELINE_QUALITY, CANDIDATE_QUALITY)
    variances = [float(np.var(x, ddof=1)) for x in (BASELINE_QUALITY, CANDIDATE_QUALITY)]
    shadow = _shadow_of_rounded_weights(4)
    n, wrong, right = shadow.images, shadow.newly_wrong, shadow.newly_right
    old, loss = shadow.baseline_wrong / n, (wrong - right) / n
    new = old + loss
    return SimpleNamespace(
        quality_difference=quality.mean,
        quality_error=quality.standard_error,
        quality_low=quality.low,
        quality_high=quality.high,
        unpaired_error=math.sqrt(sum(variances) / 5),
        rounded_wrong=wrong,
        rounded_right=right,
        rounded_images=n,
        rounded_old_wrong=shadow.baseline_wrong,
        rounded_new_wrong=shadow.baseline_wrong + wrong - right,
        rounded_p=mcnemar_exact(wrong, right),
        rounded_loss_percent=100 * loss,
        canary_error_percent=100 * math.sqrt((old * (1 - old) + new * (1 - new)) / n),
        shadow_error_percent=100 * math.sqrt(((wrong + right) / n - loss**2) / n),
        rounded_pairs=shadow_pairs(wrong / n, right / n),
        flip_percent=100 * FLIP,
        same_version_percent=100 * sum(noisy_shares(0.0, 0.0, FLIP)),
        noisy_pairs=shadow_pairs(*noisy_shares(wrong / n, right / n, FLIP)),
        noisy_canary=2 * samples_per_arm(*(x * (1 - 2 * FLIP) + FLIP for x in (old, new))),
        rounded_canary=2 * samples_per_arm(old, new),
        errors_per_arm=samples_per_arm(0.001, 0.002),
        cost_at_5=allocation_cost(0.05),
        harmed_percent_at_5=100 * 0.05 * allocation_cost(0.05) / 0.5,
        cost_at_1=allocation_cost(0.01),
        shadow_if_independent=shadow_pairs(0.002 * 0.999, 0.001 * 0.998),
    )


def check_paired_quality() -> None:
    """On five paired sets the new version gains 0.022 with a standard error of 0.002, far from 0.

    Source: differences .02, .02, .02, .02, .03 by hand; Student's table, 2.776 for 97.5% and 4
    degrees of freedom; the two-sample error without pairing.
    """
    got = paired_difference(BASELINE_QUALITY, CANDIDATE_QUALITY)
    checks.close("mean difference", got.mean, 0.022, atol=1e-12)
    checks.close("standard error", got.standard_error, 0.002, atol=1e-12)
    checks.close("t for 4 d.f.", student_quantile(0.975, 4), 2.776, atol=5e-4, kind="published")
    checks.close("low", got.low, 0.022 - 2.776 * 0.002, atol=2e-6)
    checks.close("high", got.high, 0.022 + 2.776 * 0.002, atol=2e-6)
    spread = [float(np.var(x, ddof=1)) for x in (BASELINE_QUALITY, CANDIDATE_QUALITY)]
    checks.close(
        "unpaired over paired error", math.sqrt(sum(spread) / 5) / 0.002, 3.6056, atol=5e-5
    )


def check_a_differs_from_a() -> None:
    """When one verdict in twenty flips by chance, A differs from A in 9.5% of the pairs, the
    difference of two versions shrinks by a tenth, and a shadow needs the pairs of the formula.

    Source: 200,000 simulated pairs with verdicts flipped one by one; for the power 4,000 simulated
    shadows of that many pairs.
    """
    rng = np.random.default_rng(23)
    wrong, right, flip = 0.02, 0.01, 0.05
    kinds = rng.random(200_000)
    old = (kinds < wrong) | (kinds > 0.5)
    new = np.where(kinds < wrong + right, ~old, old)
    seen_old, seen_new = (x ^ (rng.random(x.size) < flip) for x in (old, new))
    shares = noisy_shares(wrong, right, flip)
    lost, won = seen_old & ~seen_new, ~seen_old & seen_new
    for name, got, share in (("lost", lost, shares[0]), ("won", won, shares[1])):
        checks.covers(f"{name}: share of the pairs", batch_means(got.astype(float)), share)
    checks.close("difference", shares[0] - shares[1], 0.9 * (wrong - right), rtol=1e-12)
    again = old ^ (rng.random(old.size) < flip)
    differs = batch_means((seen_old != again).astype(float))
    checks.covers("A against A", differs, sum(noisy_shares(0.0, 0.0, flip)))
    pairs = shadow_pairs(*shares)
    counts = rng.multinomial(pairs, [*shares, 1 - sum(shares)], 4_000)
    z = (counts[:, 0] - counts[:, 1]) / np.sqrt(counts[:, 0] + counts[:, 1])
    power = batch_means((np.abs(z) > NormalDist().inv_cdf(0.975)).astype(float))
    checks.inside("power of such shadows", power.mean, 0.77, 0.83, kind="simulation")


def check_noise_shrinks_the_advantage() -> None:
    """With exact verdicts the shadow of the rounded classifier needs a seventh of a canary's
    requests, with one verdict in twenty flipped two fifths: still fewer, but no longer by much.

    Source: both sizes from their own formulas, with the shares and the rates as they are seen.
    """
    shadow = _shadow_of_rounded_weights(4)
    n, wrong, right = shadow.images, shadow.newly_wrong, shadow.newly_right
    old = shadow.baseline_wrong / n
    new = old + (wrong - right) / n
    for flip, low, high in ((0.0, 0.1, 0.2), (FLIP, 0.35, 0.5)):
        pairs = shadow_pairs(*noisy_shares(wrong / n, right / n, flip))
        canary = 2 * samples_per_arm(*(x * (1 - 2 * flip) + flip for x in (old, new)))
        checks.inside(f"e = {flip:g}: pairs over requests", pairs / canary, low, high)


def check_student_interval_covers() -> None:
    """With five pairs, Student's 95% interval holds the true difference in 95% of runs; ±1.96
    standard errors only in 88%.

    Source: 20,000 simulated sets of five normal differences; P(|t₄| ≤ 1.96) from the closed form
    for 4 degrees of freedom, sin θ·(1 + ½cos²θ) with tan θ = 1.96/2.
    """
    rng = np.random.default_rng(11)
    differences = rng.normal(0.3, 1.0, (20_000, 5))
    errors = differences.std(axis=1, ddof=1) / math.sqrt(5)
    distance = np.abs(differences.mean(axis=1) - 0.3) / errors
    for label, limit, expected in (
        ("Student", student_quantile(0.975, 4), 0.95),
        ("± 1.96", 1.96, _t4_inside(1.96)),
    ):
        covered = batch_means((distance <= limit).astype(float))
        checks.covers(f"coverage, {label}", covered, expected)


def _t4_inside(limit: float) -> float:
    """P(|t| ≤ limit) for 4 degrees of freedom."""
    theta = math.atan(limit / 2)
    return math.sin(theta) * (1 + math.cos(theta) ** 2 / 2)


def check_mcnemar() -> None:
    """The exact p-value counts the assignments of the discordant pairs that are as lopsided.

    Source: all 2^n assignments listed one by one.
    """
    for wrong, right in ((7, 1), (2, 9), (5, 5), (0, 0)):
        n = wrong + right
        lopsided = [
            abs(2 * sum(signs) - n) >= abs(wrong - right) for signs in product((0, 1), repeat=n)
        ]
        checks.close(f"{wrong} against {right}", mcnemar_exact(wrong, right), np.mean(lopsided))


def check_canary_size() -> None:
    """To see an error rate double from 0.1% to 0.2% takes 23,511 requests in each arm, and then the
    test finds it as often as promised, and is wrong as rarely.

    Source: both error rates summed over all pairs of counts up to 150 errors an arm, tested with
    the pooled variance; the skewness of so few errors moves them by 1.3%. 20,000 simulated canaries
    agree with the sums.
    """
    n = samples_per_arm(0.001, 0.002)
    checks.close("requests per arm", n, 23_511)
    rng, count = np.random.default_rng(12), np.arange(151)
    old, new = count[:, None], count[None, :]
    pooled = np.maximum(old + new, 1) / (2 * n)
    rejected = np.abs(new - old) / n > 1.959964 * np.sqrt(2 * pooled * (1 - pooled) / n)
    for label, rate, promised in (("power", 0.002, 0.8), ("false alarms", 0.001, 0.05)):
        old_mass, new_mass = _binomial(n, 0.001, 150), _binomial(n, rate, 150)
        exact = float(old_mass @ rejected @ new_mass)
        checks.close(f"{label}, summed", exact, promised, atol=0.013)
        drawn = rejected[rng.binomial(n, 0.001, 20_000), rng.binomial(n, rate, 20_000)]
        checks.covers(f"{label}, simulated", batch_means(drawn.astype(float)), exact)


def _binomial(trials: int, rate: float, top: int) -> FloatArray:
    """Probabilities of 0 … top events."""
    k = np.arange(1, top + 1)
    steps = np.log((trials - k + 1) / k) + math.log(rate / (1 - rate))
    logs = trials * math.log1p(-rate) + np.concatenate(([0.0], np.cumsum(steps)))
    mass: FloatArray = np.exp(logs)
    return mass


def check_shadow_size() -> None:
    """A shadow whose versions disagree on 1.1% of the requests needs 1,254 pairs where a canary
    needs 9,222 requests, both arms together, for 12 and 18 errors in 720.

    Source: the answers of two independent versions give back the canary's size; 20,000 simulated
    shadows at the size for 5% against 4%, tested with the normal form of McNemar's test.
    """
    checks.close("pairs", shadow_pairs(7 / 720, 1 / 720), 1254)
    shadow = _shadow_of_rounded_weights(4)
    errors = shadow.baseline_wrong, shadow.baseline_wrong + shadow.newly_wrong - shadow.newly_right
    checks.equal("errors of the old and the new version", errors, (12, 18), kind="measured")
    checks.close("canary requests", 2 * samples_per_arm(12 / 720, 18 / 720), 9222)
    independent = shadow_pairs(0.002 * 0.999, 0.001 * 0.998)
    checks.close("unrelated answers", independent, samples_per_arm(0.001, 0.002), rtol=1e-3)
    rng, n = np.random.default_rng(13), shadow_pairs(0.05, 0.04)
    wrong, right, _ = rng.multinomial(n, [0.05, 0.04, 0.91], 20_000).T
    found = np.abs(wrong - right) > 1.959964 * np.sqrt(wrong + right)
    checks.covers("power, simulated", batch_means(found.astype(float)), 0.8)


def check_a_real_shadow_finds_the_loss() -> None:
    """Rounding a trained network's weights to 3 bits costs accuracy, and its shadow proves it.

    Source: 720 held-out digits that both versions read; the standard error of the difference from
    the pairs' own values.
    """
    shadow = _shadow_of_rounded_weights(3)
    p = mcnemar_exact(shadow.newly_wrong, shadow.newly_right)
    checks.inside("p-value", p, 0.0, 0.01, kind="measured")
    n, lost = shadow.images, shadow.newly_wrong - shadow.newly_right
    same = [0.0] * (n - shadow.newly_wrong - shadow.newly_right)
    worse = np.array([1.0] * shadow.newly_wrong + [-1.0] * shadow.newly_right + same)
    paired = paired_difference(np.zeros(n), worse)
    checks.close("loss", paired.mean, lost / n, atol=1e-12)
    moment = (shadow.newly_wrong + shadow.newly_right) / n - (lost / n) ** 2
    error = math.sqrt(moment / (n - 1))
    checks.close("standard error", paired.standard_error, error, rtol=1e-12)


def check_allocation() -> None:
    """A canary with 5% of the traffic needs 5.3 times the requests of an even split, with 1% 25
    times.

    Source: variances of 20,000 simulated differences of means from 2,000 requests, divided in
    turn by that of an even split.
    """
    checks.close("even split", allocation_cost(0.5), 1.0)
    checks.close("f = 5%", allocation_cost(0.05), 1 / (4 * 0.05 * 0.95), rtol=1e-12)
    checks.close("f = 1%", allocation_cost(0.01), 25.2525, atol=5e-5)
    rng = np.random.default_rng(14)
    small, large = (rng.normal(0, 1 / math.sqrt(n), 20_000) for n in (100, 1900))
    ratio = batch_means((small - large) ** 2 / (4 / 2000))
    checks.covers("simulated, f = 5%", ratio, allocation_cost(0.05))


def check_bad_input_is_refused() -> None:
    """Half counts, equal rates, constant differences and certain quantiles are errors."""
    checks.raises("half", mcnemar_exact, 1.5, 2, match="newly_wrong must be a count, got 1.5")
    checks.raises("equal", samples_per_arm, 0.1, 0.1, match="candidate_rate must be different")
    checks.raises("constant", paired_difference, [1, 2], [2, 3], match="more than a constant")
    checks.raises("q = 1", student_quantile, 1.0, 4, match="probability must be in [0.0005,")
    checks.raises("no canary", allocation_cost, 0.0, match="canary_share must be in (0, 1)")
    checks.raises("too many", shadow_pairs, 0.6, 0.5, match="newly_right_share must be in")
