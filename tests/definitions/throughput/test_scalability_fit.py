"""The scalability law and its fit: scipy's optimizer, Student's t, bounds, properties, errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from serving_mathematics.definitions.throughput.scalability_fit import (
    _SDM91_PER_H,
    _SDM91_USERS,
    ScalabilityFit,
    fit_usl,
    peak_concurrency,
    usl_throughput,
)

N, X = np.array(_SDM91_USERS, dtype=float), np.array(_SDM91_PER_H)


def law(n: Any, alpha: float, beta: float, gamma: float) -> Any:
    return gamma * n / (1 + alpha * (n - 1) + beta * n * (n - 1))


def test_fit_equals_scipy() -> None:
    found, covariance = optimize.curve_fit(law, N, X, p0=(0.01, 1e-4, 90), xtol=1e-14, ftol=1e-14)
    fit = fit_usl(N, X)
    assert (fit.contention, fit.coherency, fit.single) == pytest.approx(found, rel=1e-5)
    assert fit.standard_errors == pytest.approx(np.sqrt(np.diag(covariance)), rel=1e-4)
    residuals = X - law(N, *found)
    assert fit.residual_sd == pytest.approx(math.sqrt(residuals @ residuals / 4), rel=1e-8)
    assert fit.degrees_of_freedom == 4
    assert (fit.concurrency, fit.throughput) == (tuple(N), tuple(X))


def test_amdahl_equals_scipy() -> None:
    found, covariance = optimize.curve_fit(
        lambda n, a, g: law(n, a, 0.0, g), N, X, p0=(0.05, 100), xtol=1e-14, ftol=1e-14
    )
    fit = fit_usl(N, X, with_coherency=False)
    assert isinstance(fit, ScalabilityFit)
    assert (fit.contention, fit.coherency, fit.single) == pytest.approx(
        (found[0], 0.0, found[1]), rel=1e-5
    )
    errors = np.sqrt(np.diag(covariance))
    assert fit.standard_errors == pytest.approx((errors[0], 0.0, errors[1]), rel=1e-4)
    assert fit.degrees_of_freedom == 5


@given(st.integers(0, 10**6), st.floats(0.01, 0.2))
def test_bounded_fit_equals_scipy_on_noisy_data(seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    n = np.array([1.0, 2, 4, 8, 16, 32])
    x = law(n, 0.03, 4e-4, 10.0) * (1 + noise * rng.standard_normal(6))
    x = np.maximum(x, 0.1)
    fit = fit_usl(n, x)

    def residuals(parameters: Any) -> Any:
        return law(n, *parameters) - x

    best = min(
        optimize.least_squares(
            residuals,
            (alpha, beta, float((x / n).max())),
            bounds=([0, 0, 1e-9], np.inf),
            x_scale=(0.01, 1e-4, 10.0),
            xtol=1e-12,
            ftol=1e-12,
            gtol=1e-12,
        ).cost
        for alpha, beta in ((0.03, 4e-4), (1e-6, 1e-3), (0.2, 1e-7))
    )
    mine = 0.5 * ((law(n, fit.contention, fit.coherency, fit.single) - x) ** 2).sum()
    assert mine <= best * (1 + 1e-6) + 1e-9
    assert fit.contention >= 0
    assert fit.coherency >= 0


def test_superlinear_data_keep_the_parameters_at_zero() -> None:
    n = np.array([1.0, 2, 4, 8])
    fit = fit_usl(n, n**1.2)
    assert (fit.contention, fit.coherency) == (0.0, 0.0)
    assert fit.single == pytest.approx((n * n**1.2).sum() / (n * n).sum())  # a line through 0
    assert fit.degrees_of_freedom == 3
    assert fit.standard_errors[:2] == (0.0, 0.0)
    assert fit.standard_errors[2] == pytest.approx(fit.residual_sd / math.sqrt((n * n).sum()))
    assert fit_usl(n, n**1.2, with_coherency=False).single == pytest.approx(fit.single)


def test_a_line_through_0_has_one_parameter() -> None:
    """However rounding falls: with one of α and β free the error may be 0 as well."""
    for n in ([7.0, 11, 19, 28, 34], [2.0, 4, 15, 21, 24], [1.0, 6, 11, 14, 19, 20, 25]):
        for single in (0.125, 0.5, 4.0):
            fit = fit_usl(n, single * np.array(n))
            assert (fit.contention, fit.coherency) == (0.0, 0.0)
            assert fit.single == pytest.approx(single, rel=1e-12)
            assert fit.degrees_of_freedom == len(n) - 1


@given(st.floats(0.001, 0.5), st.floats(1e-5, 0.05), st.floats(0.01, 1e5))
def test_exact_data_give_back_their_parameters(alpha: float, beta: float, gamma: float) -> None:
    n = np.array([1.0, 2, 5, 12, 30, 70])
    fit = fit_usl(n, usl_throughput(n, alpha, beta, gamma))
    assert fit.contention == pytest.approx(alpha, rel=1e-5)
    assert fit.coherency == pytest.approx(beta, rel=1e-5)
    assert fit.single == pytest.approx(gamma, rel=1e-6)


def test_fit_does_not_depend_on_unit_or_order() -> None:
    fit, order = fit_usl(N, X), np.array([3, 0, 6, 1, 5, 2, 4])
    other = fit_usl(N[order], X[order] / 3600)
    assert other.contention == pytest.approx(fit.contention, rel=1e-7)
    assert other.coherency == pytest.approx(fit.coherency, rel=1e-7)
    assert other.single * 3600 == pytest.approx(fit.single, rel=1e-7)


@given(st.floats(0.0, 0.99), st.floats(1e-6, 0.1))
def test_peak_by_search(alpha: float, beta: float) -> None:
    peak = peak_concurrency(alpha, beta)
    if peak < 1:
        return  # throughput falls from the second client on
    top = float(usl_throughput(peak, alpha, beta, 1.0))
    for factor in (0.9, 0.99, 1.01, 1.1):
        if peak * factor >= 1:
            assert float(usl_throughput(peak * factor, alpha, beta, 1.0)) <= top * (1 + 1e-12)


def test_peak_limits() -> None:
    assert peak_concurrency(0.3, 0.0) == math.inf
    assert peak_concurrency(1.0, 0.5) == 0.0
    assert peak_concurrency(0.0, 0.25) == 2.0


@pytest.mark.parametrize(
    ("n", "x", "message"),
    [
        ([[1, 2, 3, 4]], [1, 2, 3, 4], "concurrency must be of one dimension"),
    ],
)
def test_bad_data_are_refused(n: list[float], x: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_usl(n, x)
