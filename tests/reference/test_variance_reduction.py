"""Common numbers: the paired test and leaving out as oracles, known correlations, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from serving_mathematics.reference.variance_reduction import (
    RUNS,
    _all_runs,
    paired_difference,
    pairing_share,
)


def test_runs_have_the_mean_wait_of_their_queue() -> None:
    """M/M/1 at every speed, M/D/1 where services are constant."""
    for (speed, _), waits in _all_runs().items():
        exact = 0.8 / speed / (speed - 0.8) if speed else 2.0
        error = float(waits.std(ddof=1)) / math.sqrt(RUNS)
        assert waits.mean() == pytest.approx(exact, abs=4 * error)


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
