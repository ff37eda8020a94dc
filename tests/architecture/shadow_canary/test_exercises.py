"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.architecture.shadow_canary.exercises import (
    alarm_threshold,
    canary_minutes,
    obrien_fleming,
    rank_judge,
)
from serving_mathematics.architecture.shadow_canary.shadow_canary import (
    allocation_cost,
    mcnemar_exact,
    paired_difference,
    samples_per_arm,
    shadow_pairs,
    student_quantile,
)


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
