"""Solutions of the exercises on shadows and canaries: how long to wait, how many alarms to expect,
stricter early looks, a rank judge.

Source: O'Brien and Fleming (1979) for the boundary; Kayenta's MannWhitneyClassifier for the judge;
the rest is derived at each function.
"""

from __future__ import annotations

import functools
import itertools
import math
from statistics import NormalDist
from types import SimpleNamespace
from typing import Literal

import numpy as np
import numpy.typing as npt

from serving_mathematics.architecture.shadow_canary.correlated_metrics import simulate_ar1
from serving_mathematics.architecture.shadow_canary.drift import psi, psi_null_quantile
from serving_mathematics.architecture.shadow_canary.repeated_looks import (
    crossing_probability,
    pocock_constant,
)
from serving_mathematics.architecture.shadow_canary.shadow_canary import (
    allocation_cost,
    samples_per_arm,
)
from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_number, require, require_in, require_positive

Verdict = Literal["High", "Low", "Pass"]

HINTS = {
    "canary_minutes": (
        "Take both arms of an even split from `samples_per_arm`, then multiply by "
        "`allocation_cost` of the share. The traffic is that of both versions together, so do "
        "not divide by the canary's part of it again."
    ),
    "alarm_threshold": (
        "One alarm among that many tests a week is a level of one over the number for each "
        "test: take that quantile of PSI without drift. The 95% quantile would ring in every "
        "twentieth test."
    ),
    "obrien_fleming": (
        "Only one number is unknown, the last threshold: look j of k has it times the square "
        "root of k/j. Bisect until `crossing_probability` of the whole list equals the level."
    ),
    "rank_judge": (
        "Sort all m·n differences; the interval runs between two of them, found by rank from "
        "the normal approximation with variance mn(m + n + 1)/12. Compare its nearer end with "
        "the share of the median difference."
    ),
}


def canary_minutes(
    requests_per_s: float, canary_share: float, baseline_rate: float, candidate_rate: float
) -> float:
    """Minutes until a canary has shown the difference of two error rates (α = 5%, power 80%).

    requests_per_s: traffic of both versions together, positive. canary_share: f, in (0, 1).
    baseline_rate, candidate_rate: of errors, different, in (0, 1). Raises ValueError outside these
    ranges.

    >>> round(canary_minutes(100.0, 0.5, 0.4, 0.6), 4)
    0.0323
    """
    requests_per_s = require_positive(requests_per_s=requests_per_s)
    even = 2 * samples_per_arm(baseline_rate, candidate_rate)
    return even * allocation_cost(canary_share) / requests_per_s / 60


def alarm_threshold(
    bins: int, reference_count: float, current_count: float, tests_per_week: float
) -> float:
    """PSI threshold at which a fleet of drift tests raises one false alarm a week on average.

    bins: of each test, an integer from 2 to 301. reference_count, current_count: observations of
    both samples, positive. tests_per_week: features times windows, above 1. Raises ValueError
    outside these ranges.

    >>> round(alarm_threshold(10, 1000, 1000, tests_per_week=20), 6)
    0.033838
    """
    tests_per_week = as_number(tests_per_week=tests_per_week)
    require(1 < tests_per_week < math.inf, "tests_per_week", "above 1 and finite", tests_per_week)
    return psi_null_quantile(1 - 1 / tests_per_week, bins, reference_count, current_count)


def obrien_fleming(looks: int, alpha: float = 0.05) -> list[float]:
    """Thresholds for |z| that fall from look to look, c·√(k/j), and err with probability α.

    looks: k, 1 to 50. alpha: in [0.001, 0.5]. Bisects c on `crossing_probability`; a threshold
    above 12 counts as 12, which moves nothing. Raises ValueError outside these ranges.

    >>> [round(c, 3) for c in obrien_fleming(1)]
    [1.96]
    """
    looks = as_number(looks=looks)
    require(1 <= looks <= 50 and looks % 1 == 0, "looks", "an integer from 1 to 50", looks)
    alpha = require_in("[0.001, 0.5]", alpha=alpha)
    low, high = 0.5, 5.0
    for _ in range(40):
        c = (low + high) / 2
        thresholds = [min(12.0, c * math.sqrt(looks / k)) for k in range(1, int(looks) + 1)]
        low, high = (c, high) if crossing_probability(thresholds) > alpha else (low, c)
    return [min(12.0, high * math.sqrt(looks / k)) for k in range(1, int(looks) + 1)]


def rank_judge(
    control: npt.ArrayLike,
    experiment: npt.ArrayLike,
    tolerance: float = 0.25,
    confidence: float = 0.98,
) -> Verdict:
    """Judge one metric by ranks, as Kayenta does: High or Low when the shift is clear.

    control, experiment: values of the metric, shapes (m,) and (n,), 5 or more. tolerance: share of
    the Hodges–Lehmann shift, in [0, 1). confidence: of its interval, in (0, 1). The interval holds
    the pairwise differences from rank k to mn + 1 − k, with k from the normal approximation of the
    Mann–Whitney statistic. Raises ValueError outside these ranges.

    >>> rank_judge([1.0, 2.0, 3.0, 4.0, 5.0], [11.0, 12.0, 13.0, 14.0, 15.0])
    'High'
    """
    samples = []
    for name, values in (("control", control), ("experiment", experiment)):
        array = np.asarray(values, dtype=float)
        require(array.ndim == 1 and array.size >= 5, name, "five values or more", array.shape)
        require(np.isfinite(array).all(), name, "finite", values)
        samples.append(array)
    tolerance = require_in("[0, 1)", tolerance=tolerance)
    confidence = require_in("(0, 1)", confidence=confidence)
    m, n = (array.size for array in samples)
    shifts = np.sort((samples[1][:, None] - samples[0][None, :]).ravel())
    spread = math.sqrt(m * n * (m + n + 1) / 12)
    k = max(1, math.floor(m * n / 2 - NormalDist().inv_cdf((1 + confidence) / 2) * spread))
    low, high = float(shifts[k - 1]), float(shifts[m * n - k])
    median = float(shifts[(m * n - 1) // 2] + shifts[m * n // 2]) / 2
    zone = tolerance * abs(median)
    return "High" if low > zone else "Low" if high < -zone else "Pass"


def example() -> SimpleNamespace:
    """The numbers quoted with the exercises."""
    five = obrien_fleming(5)
    planned = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
    return SimpleNamespace(
        minutes_small=canary_minutes(100.0, 0.05, 0.001, 0.002),
        minutes_even=canary_minutes(100.0, 0.5, 0.001, 0.002),
        fleet_threshold=alarm_threshold(10, 1000, 1000, 50 * 168),
        fleet_over_single=alarm_threshold(10, 1000, 1000, 50 * 168)
        / psi_null_quantile(0.95, 10, 1000, 1000),
        obf_first=five[0],
        obf_last=five[-1],
        obf_power_percent=100 * crossing_probability(five, planned),
        judge_bare_percent=100 * _false_verdicts(0.0, 0.0),
        judge_percent=100 * _false_verdicts(0.0, 0.25),
        judge_correlated_percent=100 * _false_verdicts(0.8, 0.25),
    )


@functools.cache
def _false_verdicts(phi: float, tolerance: float) -> float:
    """Share of half hours without change that the judge does not pass."""
    rng = np.random.default_rng(64)
    old, new = (10 + simulate_ar1(rng, phi, 1050, 30) for _ in "ab")
    verdicts = [rank_judge(a, b, tolerance) for a, b in zip(old, new, strict=True)]
    return 1 - verdicts.count("Pass") / len(verdicts)


def check_minutes() -> None:
    """At 100 requests a second a canary with 5% of them needs 41 minutes to see 0.1% become 0.2%,
    an even split eight.

    Source: simulated canaries of that length, 20,000 of them, tested with unpooled variances.
    """
    minutes = canary_minutes(100.0, 0.05, 0.001, 0.002)
    checks.close("minutes at 5%", minutes, 41.2, atol=0.05)
    checks.close("minutes at 50%", canary_minutes(100.0, 0.5, 0.001, 0.002), 7.84, atol=0.005)
    requests = round(canary_minutes(100.0, 0.1, 0.01, 0.013) * 6000)
    small, large = requests // 10, requests - requests // 10
    rng = np.random.default_rng(61)
    new, old = rng.binomial(small, 0.013, 20_000) / small, rng.binomial(large, 0.01, 20_000) / large
    error = np.sqrt(new * (1 - new) / small + old * (1 - old) / large)
    power = float((np.abs(new - old) > 1.959964 * error).mean())
    checks.inside("power of an uneven split", power, 0.72, 0.84)


def check_alarms() -> None:
    """Fifty features tested every hour need about twice the PSI threshold of a single test.

    Source: Bonferroni by hand, 8,400 tests a week; 20,000 simulated tests without drift at a
    threshold for 100 tests.
    """
    week = alarm_threshold(10, 1000, 1000, 50 * 168)
    single = psi_null_quantile(0.95, 10, 1000, 1000)
    checks.inside("ratio", week / single, 1.9, 2.2)
    rng = np.random.default_rng(62)
    reference, current = rng.multinomial(2000, [0.1] * 10, (2, 20_000)).astype(float)
    share = batch_means((psi(reference, current) > alarm_threshold(10, 2000, 2000, 100)) + 0.0)
    slack = 3 * share.standard_error + 0.001  # χ² is the limit for many observations
    checks.close("alarms in a hundred tests", share.mean, 0.01, atol=slack, kind="simulation")


def check_falling_thresholds() -> None:
    """O'Brien and Fleming's boundary for five looks ends at 2.04, near the 1.96 of a single look.

    Source: 20,000 simulated sequences; Brownian motion for many looks, 4Φ(−c) at the leading order
    of the reflection principle, an upper bound.
    """
    five = obrien_fleming(5)
    rng = np.random.default_rng(63)
    sums = np.cumsum(rng.standard_normal((20_000, 5)), axis=1)
    crossed = (np.abs(sums) / np.sqrt(np.arange(1, 6)) > np.array(five)).any(axis=1)
    checks.covers("false alarms, simulated", batch_means(crossed.astype(float)), 0.05)
    checks.inside("last threshold", five[-1], 1.959964, NormalDist().inv_cdf(1 - 0.05 / 4))
    checks.close("first over last", five[0] / five[-1], math.sqrt(5), rtol=1e-12)
    planned = 1.959964 + 0.841621
    plain, pocock = (
        crossing_probability(thresholds, planned) for thresholds in (five, [pocock_constant(5)] * 5)
    )
    checks.inside("power, 80% in a single look", plain, 0.78, 0.80)
    checks.inside("power with Pocock's", pocock, 0.70, 0.72)


def check_judge_by_enumeration() -> None:
    """Five values against six stand in 462 orders, and the judge blames as many of them as the rank
    test does; tolerances are shares, whatever the unit.

    Source: the number of reversed pairs in every order and its variance, counted; by hand, shifts
    from 0.6 to 1.4 with a median of 1.
    """
    orders = [list(chosen) for chosen in itertools.combinations(range(11), 5)]
    others = [[rank for rank in range(11) if rank not in chosen] for chosen in orders]
    pairs = list(zip(orders, others, strict=True))
    reversed_pairs = np.array([sum(a > b for a in x for b in y) for x, y in pairs])
    for confidence in (0.5, 0.9, 0.98):
        z = NormalDist().inv_cdf((1 + confidence) / 2)
        most = math.floor(15 - z * float(reversed_pairs.std())) - 1
        verdicts = [str(rank_judge(x, y, 0.0, confidence)) for x, y in pairs]
        for verdict, count in (
            ("High", int((reversed_pairs <= most).sum())),
            ("Low", int((reversed_pairs >= 30 - most).sum())),
        ):
            checks.equal(f"{verdict} of 462 at {confidence:.0%}", verdicts.count(verdict), count)
    for unit in (0.01, 1.0, 100.0):
        old = unit * np.array([10.0, 10.1, 10.2, 10.3, 10.4])
        found = [rank_judge(old, old + unit, tolerance) for tolerance in (0.5, 0.7)]
        checks.equal(f"tolerance 0.5 and 0.7, unit {unit:g}", found, ["High", "Pass"])


def check_judge() -> None:
    """Half an hour of independent minutes without change is judged High or Low in 2% of the cases
    at tolerance 0 and in less at 0.25, of correlated ones (φ = 0.8) in a quarter and more.

    Source: the definition of the interval's confidence; 1,050 simulated pairs of 30 values.
    """
    for phi, tolerance, low, high in (
        (0.0, 0.0, 0.01, 0.032),
        (0.0, 0.25, 0.0, 0.01),
        (0.8, 0.25, 0.2, 0.4),
    ):
        label = f"false verdicts, φ = {phi}, tolerance {tolerance}"
        checks.inside(label, _false_verdicts(phi, tolerance), low, high)
    base = np.random.default_rng(65).normal(10, 2, 30)
    checks.equal("twice as much", rank_judge(base, 2 * base), "High", kind="simulation")
    checks.equal("half as much", rank_judge(2 * base, base), "Low", kind="simulation")


def check_bad_input_is_refused() -> None:
    """No traffic, one test, half a look and four values are errors."""
    checks.raises("no traffic", canary_minutes, 0.0, 0.1, 0.1, 0.2, match="requests_per_s must be")
    checks.raises("one test", alarm_threshold, 10, 9, 9, 1, match="tests_per_week must be above 1")
    checks.raises("half a look", obrien_fleming, 2.5, match="looks must be an integer from 1 to 50")
    checks.raises("four", rank_judge, [1] * 4, [1] * 5, match="control must be five values or more")
