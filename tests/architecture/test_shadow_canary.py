"""Paired comparisons, sizes, allocation and the exercises: oracles, limits, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.architecture.exercises.shadow_canary import (
    alarm_threshold,
    canary_minutes,
    obrien_fleming,
    rank_judge,
)
from serving_mathematics.architecture.shadow_canary import (
    BASELINE_QUALITY,
    CANDIDATE_QUALITY,
    PairedDifference,
    allocation_cost,
    mcnemar_exact,
    noisy_shares,
    paired_difference,
    samples_per_arm,
    shadow_pairs,
    student_quantile,
)


@given(st.floats(0.0005, 0.9995), st.floats(1, 1e6) | st.floats(1, 10))
def test_student_quantile_is_scipy(probability: float, degrees: float) -> None:
    expected = stats.t.ppf(probability, degrees)
    assert student_quantile(probability, degrees) == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_student_quantile_far_out_and_normal_limit() -> None:
    assert student_quantile(0.9995, 1) == pytest.approx(stats.t.ppf(0.9995, 1), rel=1e-7)
    widest = paired_difference([1, 2, 3], [2, 4, 6], confidence=0.999)
    assert widest.high - 2 == pytest.approx(stats.t.ppf(0.9995, 2) / math.sqrt(3), rel=1e-7)
    assert student_quantile(0.975, 1e6) == pytest.approx(stats.norm.ppf(0.975), abs=1e-5)
    assert student_quantile(0.5, 3) == 0


@given(st.integers(2, 30), st.floats(0.5, 0.999))
def test_paired_difference_is_scipy(count: int, confidence: float) -> None:
    rng = np.random.default_rng(count)
    x, y = rng.normal(size=(2, count))
    result = stats.ttest_rel(y, x)
    interval = result.confidence_interval(confidence)
    got = paired_difference(x, y, confidence)
    assert got.mean / got.standard_error == pytest.approx(result.statistic)
    assert (got.low, got.high) == pytest.approx((interval.low, interval.high))


def test_paired_difference_turns_round() -> None:
    forth = paired_difference(BASELINE_QUALITY, CANDIDATE_QUALITY)
    back = paired_difference(CANDIDATE_QUALITY, BASELINE_QUALITY)
    assert isinstance(back, PairedDifference)
    assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low))


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_sign_test(wrong: int, right: int) -> None:
    expected = 1.0
    if wrong + right:
        expected = stats.binomtest(wrong, wrong + right).pvalue
    assert mcnemar_exact(wrong, right) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_exact(wrong, right) == mcnemar_exact(right, wrong)


def test_mcnemar_of_many_pairs_does_not_overflow() -> None:
    assert 0 < mcnemar_exact(2500, 2600) < 1
    for wrong, right in ((4900, 5100), (4900, 5101), (500_000, 501_000)):
        expected = stats.binomtest(wrong, wrong + right).pvalue
        assert mcnemar_exact(wrong, right) == pytest.approx(expected, rel=1e-7)
    assert mcnemar_exact(0, 10**6) == 0


@given(st.floats(0.001, 0.5), st.floats(0.001, 0.5), st.floats(0.01, 0.2), st.floats(0.5, 0.99))
def test_samples_have_the_power_of_the_normal_model(
    old: float, new: float, alpha: float, power: float
) -> None:
    if abs(old - new) < 1e-3:
        return
    n, pooled = samples_per_arm(old, new, alpha, power), (old + new) / 2
    limit = stats.norm.ppf(1 - alpha / 2) * math.sqrt(2 * pooled * (1 - pooled) / n)
    for count, comparison in ((n, np.greater_equal), (n - 1, np.less_equal)):
        error = math.sqrt((old * (1 - old) + new * (1 - new)) / count)
        reached = stats.norm.sf((limit * math.sqrt(n / count) - abs(new - old)) / error)
        assert comparison(reached, power) or reached == pytest.approx(power, abs=1e-9)
    assert samples_per_arm(new, old, alpha, power) == n


def test_shadow_pairs_reach_their_power() -> None:
    for wrong, right in ((0.05, 0.45), (0.02, 0.01), (0.0, 0.1)):
        n, delta, discordant = shadow_pairs(wrong, right), abs(wrong - right), wrong + right
        for pairs, enough in ((n, True), (n - 1, False)):
            error = math.sqrt((discordant - delta**2) / pairs)
            limit = stats.norm.ppf(0.975) * math.sqrt(discordant / pairs)
            assert (stats.norm.sf((limit - delta) / error) >= 0.8) == enough
        assert shadow_pairs(right, wrong) == n
        fewer = shadow_pairs(wrong, right, power=0.5)
        assert fewer == math.ceil(stats.norm.ppf(0.975) ** 2 * discordant / delta**2) < n
        assert shadow_pairs(wrong, right, alpha=0.01) > n


@given(st.floats(0.001, 0.999))
def test_an_even_split_is_cheapest(share: float) -> None:
    assert allocation_cost(share) >= 1 - 1e-12
    assert allocation_cost(share) == pytest.approx(allocation_cost(1 - share))
    assert allocation_cost(share) == pytest.approx(1 / (4 * share * (1 - share)))


def test_canary_minutes_scale() -> None:
    base = canary_minutes(50.0, 0.5, 0.01, 0.02)
    assert base == pytest.approx(2 * samples_per_arm(0.01, 0.02) / 50 / 60)
    assert canary_minutes(100.0, 0.5, 0.01, 0.02) == pytest.approx(base / 2)
    assert canary_minutes(50.0, 0.1, 0.01, 0.02) == pytest.approx(base * allocation_cost(0.1))


def test_alarm_threshold_is_a_chi_square_quantile() -> None:
    for tests in (2, 20, 8400):
        expected = stats.chi2.isf(1 / tests, 9) * (1 / 300 + 1 / 700)
        assert alarm_threshold(10, 300, 700, tests) == pytest.approx(expected)


def test_obrien_fleming_is_the_normal_rectangle() -> None:
    for looks, alpha in ((2, 0.05), (3, 0.01)):
        thresholds = np.array(obrien_fleming(looks, alpha))
        times = np.arange(1, looks + 1)
        correlation = np.sqrt(np.minimum.outer(times, times) / np.maximum.outer(times, times))
        inside = stats.multivariate_normal(cov=correlation, seed=1).cdf(
            thresholds, lower_limit=-thresholds
        )
        assert 1 - inside == pytest.approx(alpha, abs=2e-4)
        assert thresholds[0] / thresholds[-1] == pytest.approx(math.sqrt(looks))
    assert max(obrien_fleming(50)) == 12


def walsh_interval(x: np.ndarray, y: np.ndarray, confidence: float) -> tuple[float, float]:
    """Shifts that the Mann–Whitney test with the normal approximation does not reject."""
    shifts = np.sort(np.subtract.outer(y, x).ravel())
    kept = [
        s
        for s in shifts
        if abs((y[:, None] - s > x).sum() + (y[:, None] - s == x).sum() / 2 - x.size * y.size / 2)
        <= stats.norm.ppf((1 + confidence) / 2)
        * math.sqrt(x.size * y.size * (x.size + y.size + 1) / 12)
    ]
    return min(kept), max(kept)


@given(st.integers(0, 1000), st.floats(-3, 3))
def test_rank_judge_inverts_the_mann_whitney_test(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(10, 1, 12), rng.normal(10 + shift, 1, 9)
    low, high = walsh_interval(x, y, 0.98)
    zone = 0.25 * abs(float(np.median(np.subtract.outer(y, x))))
    gap = float(np.diff(np.sort(np.subtract.outer(y, x).ravel())).max())
    verdict = rank_judge(x, y)
    if low > zone + gap:
        assert verdict == "High"
    elif high < -zone - gap:
        assert verdict == "Low"
    elif low < zone - gap and high > -zone + gap:
        assert verdict == "Pass"
    assert rank_judge(y, x) == {"High": "Low", "Low": "High", "Pass": "Pass"}[verdict]


def test_rank_judge_forgives_within_the_tolerance() -> None:
    x = np.arange(30.0)
    y = x + 10
    assert rank_judge(x, y, tolerance=0.0) == "High"
    assert rank_judge(x, y, tolerance=0.9) == "Pass"
    assert rank_judge(x, x) == "Pass"
    assert rank_judge([1, 2, 3, 4, 5], [6, 7, 8, 9, 10], 0.0, confidence=0.9999) == "High"
    assert rank_judge([1, 2, 3, 4, 5], [6, 7, 8, 9, 10], confidence=0.9999) == "Pass"


def test_bad_input_is_refused() -> None:
    for bad in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"probability must be in \[0.0005, 0.9995\]"):
            student_quantile(bad, 4)
        with pytest.raises(ValueError, match=r"confidence must be in \(0, 0.999\]"):
            paired_difference([1, 2], [2, 4], bad)
        with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\)"):
            rank_judge([1.0] * 5, [2.0] * 5, confidence=bad)
        with pytest.raises(ValueError, match=r"canary_share must be in \(0, 1\)"):
            allocation_cost(bad)
        with pytest.raises(ValueError, match=r"baseline_rate must be in \(0, 1\)"):
            samples_per_arm(bad, 0.5)
        with pytest.raises(ValueError, match=r"candidate_rate must be in \(0, 1\)"):
            samples_per_arm(0.5, bad)
        for size in (samples_per_arm, shadow_pairs):
            with pytest.raises(ValueError, match=r"alpha must be in \(0, 1\)"):
                size(0.1, 0.2, alpha=bad)
            with pytest.raises(ValueError, match=r"power must be in \(0, 1\)"):
                size(0.1, 0.2, power=bad)
    for degrees in (0.5, 1.1e6, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"degrees must be in \[1, 1e6\]"):
            student_quantile(0.5, degrees)
    for count in (-1, 0.5, math.nan, math.inf):
        with pytest.raises(ValueError, match="newly_wrong must be a count"):
            mcnemar_exact(count, 1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="newly_right must be a count"):
            mcnemar_exact(1, count)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="baseline must be a sequence of at least two"):
        paired_difference([1.0], [2.0])
    with pytest.raises(ValueError, match="candidate must be of shape"):
        paired_difference([1.0, 2.0], [2.0])
    with pytest.raises(ValueError, match="baseline must be finite"):
        paired_difference([1.0, math.nan], [2.0, 3.0])
    with pytest.raises(ValueError, match="candidate must be finite"):
        paired_difference([1.0, 2.0], [2.0, math.inf])
    with pytest.raises(ValueError, match="newly_wrong_share must be in"):
        shadow_pairs(-0.1, 0.2)
    with pytest.raises(ValueError, match="newly_right_share must be different"):
        shadow_pairs(0.1, 0.1)
    with pytest.raises(ValueError, match="requests_per_s must be positive"):
        canary_minutes(math.nan, 0.5, 0.1, 0.2)
    with pytest.raises(ValueError, match="tests_per_week must be above 1"):
        alarm_threshold(10, 100, 100, math.inf)
    with pytest.raises(ValueError, match="looks must be an integer from 1 to 50"):
        obrien_fleming(51)
    with pytest.raises(ValueError, match="alpha must be in"):
        obrien_fleming(5, 0.6)
    with pytest.raises(ValueError, match="experiment must be finite"):
        rank_judge([1.0] * 5, [math.nan] * 5)
    with pytest.raises(ValueError, match="tolerance must be in"):
        rank_judge([1.0] * 5, [1.0] * 5, tolerance=1.0)


@given(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5))
def test_flipped_verdicts_keep_the_sign_and_lose_the_size(w: float, r: float, flip: float) -> None:
    """Both verdicts of a pair, flipped or not, counted over all cases."""
    lost = won = 0.0
    for old, new, share in ((1, 0, w), (0, 1, r), (1, 1, 1 - w - r)):
        for first in (0, 1):
            for second in (0, 1):
                chance = share * (flip if first else 1 - flip) * (flip if second else 1 - flip)
                seen = old ^ first, new ^ second
                lost, won = lost + chance * (seen == (1, 0)), won + chance * (seen == (0, 1))
    assert noisy_shares(w, r, flip) == pytest.approx((lost, won), abs=1e-12)
    assert lost - won == pytest.approx((w - r) * (1 - 2 * flip), abs=1e-12)
