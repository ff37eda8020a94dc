"""Half-widths by the jackknife: the classic interval of a mean, what they cover; Student's t."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t
from serving_mathematics.support.intervals import (
    STUDENT_T_975,
    half_width,
    student_quantile,
)


def test_quantiles_of_the_table_are_scipy_s() -> None:
    for degrees, quantile in STUDENT_T_975.items():
        assert quantile == pytest.approx(t.ppf(0.975, degrees), abs=5.1e-11), degrees


def test_a_mean_has_students_interval_of_the_tenths() -> None:
    series = np.random.default_rng(1).normal(size=200)
    means = series.reshape(10, 20).mean(axis=1)
    expected = t.ppf(0.975, 9) * means.std(ddof=1) / math.sqrt(10)
    assert half_width(np.mean, series) == pytest.approx(expected, rel=1e-9)


def test_it_covers_a_quantile_and_a_ratio() -> None:
    rng, inside = np.random.default_rng(2), np.zeros(2)
    for _ in range(300):
        x, y = rng.exponential(size=(2, 1000))
        p90, ratio = np.quantile(x, 0.9), x.sum() / y.sum()
        inside[0] += abs(p90 - math.log(10)) < half_width(lambda s: np.quantile(s, 0.9), x)
        inside[1] += abs(ratio - 1) < half_width(lambda a, b: a.sum() / b.sum(), x, y)
    assert (inside / 300 > 0.90).all()
    assert (inside / 300 < 0.99).all()


def test_an_array_of_statistics_gives_an_array() -> None:
    series = np.random.default_rng(3).normal(size=(50, 2))
    both = half_width(lambda s: s.mean(axis=0), series)
    assert both.shape == (2,)
    assert both[1] == pytest.approx(half_width(np.mean, series[:, 1]))


def test_bad_series_are_refused() -> None:
    with pytest.raises(ValueError, match=r"series must be of one length, at least 10, got \[9\]"):
        half_width(np.mean, np.zeros(9))
    with pytest.raises(ValueError, match="series must be of one length"):
        half_width(lambda a, b: a.mean() - b.mean(), np.zeros(10), np.zeros(11))


@given(st.floats(0.0005, 0.9995), st.floats(1, 1e6) | st.floats(1, 10))
def test_any_quantile_is_scipy_s(probability: float, degrees: float) -> None:
    expected = t.ppf(probability, degrees)
    assert student_quantile(probability, degrees) == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_quantiles_far_out_and_of_many_degrees() -> None:
    assert student_quantile(0.9995, 1) == pytest.approx(t.ppf(0.9995, 1), rel=1e-7)
    assert student_quantile(0.975, 1e6) == pytest.approx(norm.ppf(0.975), abs=1e-5)
    assert student_quantile(0.5, 3) == 0
    for bad in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"probability must be in \[0.0005, 0.9995\]"):
            student_quantile(bad, 4)
    for degrees in (0.5, 1.1e6, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"degrees must be in \[1, 1e6\]"):
            student_quantile(0.5, degrees)
