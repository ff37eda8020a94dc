"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.architecture.shadow_canary.exercises import (
    canary_minutes,
    obrien_fleming,
    what_the_canary_shows,
)
from serving_mathematics.architecture.shadow_canary.shadow_canary import samples_per_arm


def test_canary_minutes_scale() -> None:
    base = canary_minutes(50.0, 0.5, 0.01, 0.02)
    assert base == pytest.approx(2 * samples_per_arm(0.01, 0.02) / 50 / 60)
    assert canary_minutes(100.0, 0.5, 0.01, 0.02) == pytest.approx(base / 2)
    even = canary_minutes(50.0, 0.5, 0.5, 0.501)  # where both rates have nearly one variance
    small = canary_minutes(50.0, 0.1, 0.5, 0.501)
    assert small == pytest.approx(even * (1 / 0.1 + 1 / 0.9) / 4, rel=1e-3)


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0.1, 10))
def test_a_board_knows_no_units(load: float, token: float, unit: float) -> None:
    told = what_the_canary_shows([10, 10 * load], [0.5, 0.5], [1, token])
    again = what_the_canary_shows([10 * unit, 10 * load * unit], [0.5, 0.5], [unit, token * unit])
    borders = [abs(abs(load - 1) - 0.15), abs(abs(token - 1) - 0.05)]
    assert min(borders) < 1e-9 or told == again
    assert borders[0] < 1e-9 or (told == "load") == (abs(load - 1) > 0.15)


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
