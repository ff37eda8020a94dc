"""Paired comparisons, sizes, allocation and the exercises: oracles, limits, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.architecture.shadow_canary.shadow_canary import (
    BASELINE_QUALITY,
    CANDIDATE_QUALITY,
    PairedDifference,
    allocation_cost,
    example,
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


def test_errors_of_both_versions_differ_by_what_the_pairs_say() -> None:
    found = example()
    assert (found.rounded_old_wrong, found.rounded_new_wrong) == (12, 18)
    lost = found.rounded_new_wrong - found.rounded_old_wrong
    assert lost == found.rounded_wrong - found.rounded_right
    assert found.rounded_loss_percent == pytest.approx(100 * lost / found.rounded_images)
