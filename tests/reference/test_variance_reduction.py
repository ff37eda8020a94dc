"""Controls and common numbers: regression as oracle, intervals that cover, limits, errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.core.queues.queue_simulator import fifo_waits
from serving_mathematics.reference.variance_reduction import (
    RUNS,
    _all_runs,
    _left,
    controlled_mean,
    controlled_share,
    paired_difference,
    pairing_share,
)

from ..profiles import its_turn


def runs_of_one_queue(
    rng: np.random.Generator, load: float, runs: int, customers: int
) -> tuple[Any, Any]:
    """Mean waits, and mean services and gaps, after a tenth."""
    gaps = rng.exponential(1 / load, (runs, customers))
    services = rng.exponential(1.0, gaps.shape)
    cut = customers // 10
    waits = fifo_waits(np.cumsum(gaps, axis=1), services)[:, cut:].mean(axis=1)
    return waits, np.stack([services[:, cut:].mean(axis=1), gaps[:, cut:].mean(axis=1)], axis=1)


def test_runs_have_the_mean_wait_of_their_queue() -> None:
    """M/M/1 at every load and speed, M/D/1 where services are constant; services and gaps too."""
    for (load, speed, _), (waits, services, gaps, long) in _all_runs().items():
        exact = load / speed / (speed - load) if speed else load / (1 - load) / 2
        service = 1 / speed if speed else 1.0
        for values, expected in ((waits, exact), (services, service), (gaps, 1 / load)):
            error = max(float(values.std(ddof=1)) / math.sqrt(RUNS), 1e-15)
            assert values.mean() == pytest.approx(expected, abs=4 * error)
        beyond = load / speed * math.exp(-(speed - load) * 30) if speed else 0.0
        error = float(long.std(ddof=1)) / math.sqrt(RUNS)
        assert long.mean() == pytest.approx(beyond, abs=max(4 * error, 1e-5))


def test_one_control_is_a_line() -> None:
    rng = np.random.default_rng(1)
    known = rng.normal(3.0, 1.0, 50)
    values = 2 + 0.7 * known + rng.normal(0, 0.2, 50)
    found = controlled_mean(values, known[:, None], [3.0])
    line = stats.linregress(known - 3.0, values)
    assert found.mean == pytest.approx(line.intercept)
    assert found.standard_error == pytest.approx(line.intercept_stderr)
    assert found.half_width == pytest.approx(1.96 * line.intercept_stderr)


@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(-5, 5))
def test_other_units_change_nothing(seed: int, factor: float, shift: float) -> None:
    """Neither of the controls, nor of the values but in their own unit."""
    rng = np.random.default_rng(seed)
    known, values = rng.normal(size=(30, 2)), rng.normal(size=30)
    one = controlled_mean(values, known, [0.1, -0.2])
    same = controlled_mean(values, factor * known + shift, factor * np.array([0.1, -0.2]) + shift)
    assert (same.mean, same.standard_error) == pytest.approx((one.mean, one.standard_error))
    scaled = controlled_mean(factor * values + shift, known, [0.1, -0.2])
    assert scaled.mean == pytest.approx(factor * one.mean + shift)
    assert scaled.standard_error == pytest.approx(factor * one.standard_error)


def test_without_any_control_it_is_the_mean() -> None:
    values = np.random.default_rng(3).exponential(1.0, 40)
    found = controlled_mean(values, np.empty((40, 0)), [])
    assert found.mean == pytest.approx(values.mean())
    assert found.standard_error == pytest.approx(stats.sem(values))


@its_turn(0)
def test_controlled_intervals_cover_as_often_as_they_say() -> None:
    """400 experiments of 60 runs each of M/M/1 at half load, whose mean wait is 1."""
    waits, known = runs_of_one_queue(np.random.default_rng(5), 0.5, 400 * 60, 800)
    held = 0
    for first in range(0, waits.size, 60):
        part = slice(first, first + 60)
        found = controlled_mean(waits[part], known[part], [1.0, 2.0])
        held += abs(found.mean - 1.0) <= found.half_width
    assert 0.92 <= held / 400 <= 0.97


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_share_that_controls_leave(load: float) -> None:
    waits, known = runs_of_one_queue(np.random.default_rng(7), load, 1500, 4000)
    found = controlled_mean(waits, known, [1.0, 1 / load])
    share = found.standard_error**2 * waits.size / waits.var(ddof=1)
    error = 2 * share * math.sqrt((1 - share) / waits.size)
    assert abs(share - controlled_share(load)) < 3.5 * error


def test_controlled_share_in_the_limits() -> None:
    assert controlled_share(1e-9) == pytest.approx(1.0)
    assert controlled_share(1 - 1e-9) == pytest.approx(0.5)
    assert controlled_share(0.5) == pytest.approx(2 / 3.625)
    shares = [controlled_share(load) for load in np.linspace(0.01, 0.99, 50)]
    assert shares == sorted(shares, reverse=True)


def test_paired_difference_is_the_paired_t() -> None:
    rng = np.random.default_rng(4)
    one = rng.normal(size=25)
    other = one + rng.normal(0.1, 0.3, 25)
    found = paired_difference(one, other)
    oracle = stats.ttest_rel(one, other)
    assert found.mean / found.standard_error == pytest.approx(oracle.statistic)
    assert found.half_width == pytest.approx(1.96 * found.standard_error)


def test_pairing_share_of_known_correlation() -> None:
    """With correlation r and equal variances it is 1 − r, and the jackknife knows its error."""
    rng = np.random.default_rng(8)
    for correlation in (-0.5, 0.0, 0.9):
        shares, errors = [], []
        for _ in range(300):
            common, one, other = rng.normal(size=(3, 80))
            sign = math.copysign(1, correlation)
            part = math.sqrt(abs(correlation))
            left = math.sqrt(1 - abs(correlation))
            found = pairing_share(part * common + left * one, sign * part * common + left * other)
            shares.append(found.mean)
            errors.append(found.standard_error)
        assert np.mean(shares) == pytest.approx(1 - correlation, abs=4 * np.std(shares) / 300**0.5)
        assert np.mean(errors) == pytest.approx(np.std(shares), rel=0.15)


def test_jackknife_by_leaving_out() -> None:
    one, other = np.random.default_rng(9).exponential(1.0, (2, 12))
    left_out = []
    for place in range(12):
        x, y = np.delete(one, place), np.delete(other, place)
        left_out.append(np.var(x - y) / (np.var(x) + np.var(y)))
    error = math.sqrt(11 / 12 * float(((left_out - np.mean(left_out)) ** 2).sum()))
    found = pairing_share(one, other)
    assert found.mean == pytest.approx(np.var(one - other) / (np.var(one) + np.var(other)))
    assert found.standard_error == pytest.approx(error)


ONE = np.arange(6.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: controlled_mean(np.ones((2, 2)), np.ones((2, 1)), [0]),
            r"values must be of shape",
        ),
        (lambda: controlled_mean(ONE, ONE, [0.0]), r"controls must be of shape \(n, k\)"),
        (lambda: controlled_mean(ONE, np.ones((5, 1)), [0.0]), "controls must be of shape"),
        (lambda: controlled_mean(ONE[:3], ONE[:3, None], [0.0]), "with n ≥ k"),
        (lambda: controlled_mean(ONE, ONE[:, None], [0.0, 1.0]), "expected must be of shape"),
        (lambda: controlled_mean(ONE, ONE[:, None], [math.nan]), "expected must be finite"),
        (lambda: controlled_mean(ONE, ONE[:, None] / 0.0, [1.0]), "controls must be finite"),
        (lambda: controlled_mean(ONE, np.ones((6, 1)), [1.0]), "controls must be independent"),
        (lambda: paired_difference([1.0], [1.0]), "first must be of shape"),
        (lambda: paired_difference([1.0, math.inf], [1.0, 2.0]), "first must be finite"),
        (lambda: paired_difference([1.0, 2.0], [1.0, math.nan]), "second must be finite"),
        (lambda: paired_difference(ONE, ONE[1:]), r"second must be of shape \(6,\)"),
        (lambda: pairing_share([1.0, 2.0], [1.0, 2.0]), "n ≥ 3"),
        (lambda: pairing_share([1.0] * 4, [2.0] * 4), "first must be varying"),
        (lambda: controlled_share(1.0), r"utilization must be in \(0, 1\)"),
        (lambda: controlled_share(math.nan), r"utilization must be in \(0, 1\)"),
    ],
)
def test_bad_input_is_refused(call: Any, message: str) -> None:
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=message):
        call()


def test_the_share_that_is_left_is_that_of_a_regression_with_its_error() -> None:
    """Source: 1 − R² of the regression; the error of R² for normal values, 2·(1 − R²)·√(R²/n)."""
    rng = np.random.default_rng(3)
    known = rng.normal([[1.0], [1.25]], 0.1, (2, 4000))
    values = known[0] - 2 * known[1] + rng.normal(0, 0.15, 4000)
    found = _left(values, 0.8, known)
    design = np.column_stack([np.ones(4000), known.T])
    _, (residual,), *_ = np.linalg.lstsq(design, values, rcond=None)
    share = residual / float(np.sum((values - values.mean()) ** 2))
    assert found.mean == pytest.approx(share, rel=5e-3)  # and what the means add by chance
    assert found.standard_error == pytest.approx(
        2 * share * math.sqrt((1 - share) / 4000), rel=0.01
    )
    assert found.half_width == pytest.approx(1.96 * found.standard_error)
