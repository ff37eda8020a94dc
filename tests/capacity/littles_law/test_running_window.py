"""Windows of a running service: moments by hand, limits, and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.littles_law.finite_window import edge_error
from serving_mathematics.capacity.littles_law.running_window import own_spread, running_noise


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(1, 1e4))
def test_noise_of_equal_sojourns_by_hand(rate: float, sojourn: float, window: float) -> None:
    """√(2λW³/3)/(λWT): the rests of those inside are uniform on the sojourn."""
    expected = math.sqrt(2 * sojourn / (3 * rate)) / window
    assert running_noise(rate, [sojourn] * 3, window) == pytest.approx(expected)


def test_noise_falls_with_the_number_in_flight_and_the_edge_error_does_not() -> None:
    sojourns = np.random.default_rng(1).exponential(2.0, 200_000)
    few, many = (running_noise(rate, sojourns, 200.0) for rate in (1.0, 100.0))
    assert few == pytest.approx(10 * many)
    assert few == pytest.approx(2 / math.sqrt(2.0) * 2 / 200, rel=0.05)  # 2/√L·W/T
    assert edge_error(2.0, 1.0, 200.0) == 0.01  # at any rate


@given(st.floats(0.05, 0.95), st.floats(10, 1e6))
def test_spread_falls_as_one_over_the_root(rho: float, window: float) -> None:
    assert own_spread(rho, window) == pytest.approx(2 * own_spread(rho, 4 * window))
    assert own_spread(rho, window) < own_spread(min(0.99, rho + 0.03), window) or rho < 0.3
