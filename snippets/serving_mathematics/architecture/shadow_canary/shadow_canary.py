"""How many answers of the new version a canary needs, and what two error rates are apart.

Unpaired, looked at once: n = (z_{1−α/2}·√(2p̄q̄) + z_{power}·√(p₀q₀ + p₁q₁))²/δ² answers in each of
two equal arms. With a share f of the traffic each arm has a variance of its own.

Assumes: answers that do not depend on each other; a fixed number, looked at once.

Source: the sizes follow from equal variances of two means; Newcombe (1998) for two error rates.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.architecture.shadow_canary.paired_means import _paired_difference
from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import student_quantile
from serving_mathematics.support.require import require, require_in

FloatArray = npt.NDArray[np.float64]

BASELINE_QUALITY = (0.72, 0.73, 0.71, 0.74, 0.72)  # one metric on five evaluation sets
CANDIDATE_QUALITY = (0.74, 0.75, 0.73, 0.76, 0.75)  # the same sets, the new version


def samples_per_arm(
    baseline_rate: float, candidate_rate: float, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Requests that each of two equal arms needs to tell two rates apart at one look.

    baseline_rate, candidate_rate: different, in (0, 1). alpha: two-sided level. power: in (α, 1).
    Rounds up; the test pools the two rates under the null hypothesis. Raises ValueError outside
    these ranges.

    >>> samples_per_arm(0.4, 0.6)
    97
    """
    return canary_answers(baseline_rate, candidate_rate, 0.5, alpha, power)


def canary_answers(
    baseline_rate: float,
    candidate_rate: float,
    canary_share: float = 0.5,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int:
    """Answers of the new version that a canary needs to tell two rates apart at one look.

    canary_share: f, share of the requests that the new version answers, in (0, 1); the old one
    answers the rest. The rates are pooled over all answers under the null hypothesis. Other
    arguments and errors as for `samples_per_arm`. Rounds up.

    >>> canary_answers(0.4, 0.6), canary_answers(0.4, 0.6, canary_share=0.05)
    (97, 50)
    """
    old, new = require_in("(0, 1)", baseline_rate=baseline_rate, candidate_rate=candidate_rate)
    require(new != old, "candidate_rate", "different from baseline_rate", new)
    f, alpha = require_in("(0, 1)", canary_share=canary_share, alpha=alpha)
    power = require_in(f"({alpha:g}, 1)", power=power)
    z_alpha, z_power = -NormalDist().inv_cdf(alpha / 2), NormalDist().inv_cdf(power)
    pooled, fewer = f * new + (1 - f) * old, f / (1 - f)  # the new version's answers over the old's
    separate = new * (1 - new) + fewer * old * (1 - old)
    root = z_alpha * math.sqrt(pooled * (1 - pooled) / (1 - f)) + z_power * math.sqrt(separate)
    answers: int = math.ceil((root / (new - old)) ** 2)
    return answers


def _error_harm(
    baseline_errors: int,
    baseline_requests: int,
    candidate_errors: int,
    candidate_requests: int,
    level: float,
) -> tuple[float, float]:
    """Bounds of the error rate of the canary less that of the baseline, as Newcombe has them.

    Errors are counts up to the number of requests. level: error probability of each bound, in
    (0, 0.5). Combines the Wilson bounds of the two rates.

    >>> low, high = _error_harm(0, 20, 10, 20, level=0.025)
    >>> round(low, 4), round(high, 4)
    (0.2426, 0.7007)
    """
    z = -NormalDist().inv_cdf(level)
    wilson = []
    for events, total in (
        (baseline_errors, baseline_requests),
        (candidate_errors, candidate_requests),
    ):
        rate, spread = events / total, z**2 / total
        centre = (rate + spread / 2) / (1 + spread)
        half = math.sqrt(rate * (1 - rate) * spread + spread**2 / 4) / (1 + spread)
        wilson.append((rate, centre - half, centre + half))
    (old, old_low, old_high), (new, new_low, new_high) = wilson
    difference = new - old
    low = difference - math.hypot(new - new_low, old_high - old)
    high = difference + math.hypot(new_high - new, old - old_low)
    return low, high


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    return SimpleNamespace(
        slow_hours=2 * canary_answers(0.001, 0.002) / 3600,
        slow_hours_at_5=canary_answers(0.001, 0.002, 0.05) / 0.05 / 3600,
    )


def check_paired_quality() -> None:
    """On five sets that both versions answer, the new one gains 0.022 with a standard error of
    0.002, far from no gain.

    Source: differences .02, .02, .02, .02, .03 by hand; Student's table, 2.776 for 97.5% and 4
    degrees of freedom; the two-sample error without pairing.
    """
    mean, error, *ends = _paired_difference(BASELINE_QUALITY, CANDIDATE_QUALITY, 0.025)
    checks.close("mean difference", mean, 0.022, atol=1e-12)
    checks.close("standard error", error, 0.002, atol=1e-12)
    checks.close("t for 4 d.f.", student_quantile(0.975, 4), 2.776, atol=5e-4, kind="published")
    checks.close("low", ends[0], 0.022 - 2.776 * 0.002, atol=2e-6)
    checks.close("high", ends[1], 0.022 + 2.776 * 0.002, atol=2e-6)
    spread = [float(np.var(x, ddof=1)) for x in (BASELINE_QUALITY, CANDIDATE_QUALITY)]
    checks.close(
        "unpaired over paired error", math.sqrt(sum(spread) / 5) / error, 3.6056, atol=5e-5
    )


def check_canary_size() -> None:
    """To see an error rate double from 0.1% to 0.2% takes 23,511 requests in each arm. With so
    many, the test finds the doubling in 80% of cases and blames an unchanged rate in 5%.

    Source: both probabilities summed over all pairs of counts up to 150 errors an arm, tested with
    the pooled variance; the skewness of so few errors moves them by at most 1.3 percentage points.
    20,000 simulated canaries agree with the sums.
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


def check_an_uneven_split() -> None:
    """A canary with a twentieth or a fifth of the traffic finds a change of the error rate in 80%
    of cases, whether errors get more frequent or rarer.

    Source: the power summed over pairs of counts, tested with the pooled variance.
    """
    for old, new in ((0.001, 0.002), (0.002, 0.001), (0.01, 0.013)):
        for share in (0.05, 0.2):
            n = canary_answers(old, new, share)
            others = round(n * (1 - share) / share)
            tops = [int(m * p + 8 * math.sqrt(m * p) + 8) for m, p in ((n, new), (others, old))]
            found, theirs = (np.arange(top + 1) for top in tops)
            pooled = (found[:, None] + theirs[None, :]) / (n + others)
            spread = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / others))
            apart = found[:, None] / n - theirs[None, :] / others
            masses = _binomial(n, new, tops[0]), _binomial(others, old, tops[1])
            power = float(masses[0] @ (np.abs(apart) > 1.959964 * spread) @ masses[1])
            checks.close(f"{old:g} and {new:g}, f = {share:g}: power", power, 0.8, atol=0.03)
