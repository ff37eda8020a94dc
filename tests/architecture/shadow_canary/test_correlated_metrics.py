"""Correlated series: brute-force variances, scipy's t tests, moments of AR(1), refusals."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.architecture.shadow_canary.correlated_metrics import (
    BATCHES,
    NORMAL_975,
    adjusted_z,
    batch_t,
    example,
    false_alarm_rate,
    naive_z,
    simulate_ar1,
    variance_inflation,
)
from serving_mathematics.support.intervals import STUDENT_T_975


@given(st.floats(-0.95, 0.95), st.integers(1, 60))
def test_inflation_is_the_sum_over_all_pairs(phi: float, count: int) -> None:
    lags = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    summed = float((np.where(lags == 0, 1.0, phi ** np.maximum(lags, 1))).sum()) / count
    assert variance_inflation(phi, count) == pytest.approx(summed, abs=1e-9)


def test_inflation_limits() -> None:
    assert variance_inflation(0.7, 1) == pytest.approx(1.0)
    assert variance_inflation(0.0, 99) == 1.0
    assert variance_inflation(0.5, 10**9) == pytest.approx(3.0)


@given(st.floats(0.0, 0.99), st.integers(1, 2000), st.floats(0.001, 0.5))
def test_correlation_only_adds_false_alarms(phi: float, count: int, alpha: float) -> None:
    got = false_alarm_rate(phi, count, alpha)
    assert got >= alpha - 1e-12
    z = stats.norm.isf(alpha / 2) / math.sqrt(variance_inflation(phi, count))
    assert got == pytest.approx(2 * stats.norm.sf(z))


def test_naive_z_is_the_one_sample_t() -> None:
    series = np.random.default_rng(0).normal(0.2, 2.0, (4, 50))
    np.testing.assert_allclose(naive_z(series), stats.ttest_1samp(series, 0.0, axis=1).statistic)
    assert naive_z(series[0]).shape == ()


def test_batch_t_is_the_t_of_the_batch_means() -> None:
    series = np.random.default_rng(1).normal(0.2, 2.0, (3, 64))
    means = series[:, 1:].reshape(3, 7, 9).mean(axis=2)
    expected = stats.ttest_1samp(means, 0.0, axis=1).statistic
    np.testing.assert_allclose(batch_t(series, 7), expected)
    np.testing.assert_allclose(batch_t(series[0], 32), batch_t(series[:1], 32)[0])


def test_adjusted_z_shrinks_by_the_estimated_correlation() -> None:
    series = simulate_ar1(np.random.default_rng(2), 0.8, 5, 400) + 0.3
    around = series - series.mean(axis=1, keepdims=True)
    for row, z, plain in zip(around, adjusted_z(series), naive_z(series), strict=True):
        phi = float(row[1:] @ row[:-1]) / float(row @ row)
        assert z == pytest.approx(plain * math.sqrt((1 - phi) / (1 + phi)))
        assert 0.6 < phi < 0.95


def test_adjusted_z_is_never_bolder() -> None:
    series = simulate_ar1(np.random.default_rng(3), -0.5, 5, 100) + 1.0
    np.testing.assert_allclose(adjusted_z(series), naive_z(series))


def test_ar1_has_unit_variance_and_geometric_correlation() -> None:
    series = simulate_ar1(np.random.default_rng(4), 0.7, 20_000, 6)
    assert series.shape == (20_000, 6)
    lags = np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    np.testing.assert_allclose(np.cov(series.T), 0.7**lags, atol=0.05)
    single = simulate_ar1(np.random.default_rng(5), 0.9, 1, 3)[0]
    noise = np.random.default_rng(5).standard_normal((3, 1))[:, 0]
    root = math.sqrt(1 - 0.81)
    assert single[1] == pytest.approx(0.9 * noise[0] + root * noise[1])
    assert single[2] == pytest.approx(0.9 * single[1] + root * noise[2])


def test_constants_are_quantiles() -> None:
    assert stats.t.ppf(0.975, BATCHES - 1) == pytest.approx(STUDENT_T_975[11], abs=5e-4)
    assert stats.norm.ppf(0.975) == pytest.approx(NORMAL_975)


def test_bad_input_is_refused() -> None:
    rng = np.random.default_rng(0)
    for phi in (-1.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="correlation must be in"):
            variance_inflation(phi, 3)
        with pytest.raises(ValueError, match="correlation must be in"):
            simulate_ar1(rng, phi, 1, 1)
    for count in (0, 1.5, math.inf):
        with pytest.raises(ValueError, match="count must be a positive integer"):
            variance_inflation(0.5, count)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="count must be a positive integer"):
            simulate_ar1(rng, 0.5, 1, count)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="runs must be a positive integer"):
            simulate_ar1(rng, 0.5, count, 1)  # type: ignore[arg-type]
    for alpha in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"alpha must be in \(0, 1\)"):
            false_alarm_rate(0.5, 3, alpha)
    for batches in (1, 2.5, math.inf):
        with pytest.raises(ValueError, match="batches must be an integer ≥ 2"):
            batch_t(np.arange(9.0), batches)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="series must be at least 2 values"):
        naive_z([1.0])
    with pytest.raises(ValueError, match="series must be at least 10 values"):
        adjusted_z(np.arange(9.0))
    with pytest.raises(ValueError, match="series must be at least 6 values"):
        batch_t(np.arange(5.0), 3)
    for function in (naive_z, adjusted_z):
        with pytest.raises(ValueError, match="series must be not constant"):
            function(np.ones(10))
        with pytest.raises(ValueError, match="series must be finite"):
            function([math.inf] * 10)


def test_alarms_of_the_page_at_half() -> None:
    """In a long day the variance is (1 + φ)/(1 − φ) = 3 times as large as it is taken to be."""
    long_run = 100 * 2 * (1 - NormalDist().cdf(1.959964 / math.sqrt(3)))
    assert example().alarms_at_50 == pytest.approx(long_run, abs=0.1)
