"""The line of a load test: numpy's least squares, identities with Amdahl's law, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.throughput.measured_loop import (
    DENSE,
    _doubled,
    _errors,
    _loops,
    ceiling_of,
)
from serving_mathematics.definitions.throughput.scalability_fit import usl_throughput


@given(st.floats(1e-4, 1.0), st.floats(1e-6, 0.1), st.integers(40, 1000))
def test_points_on_a_line_give_it_back(level: float, slope: float, places: int) -> None:
    n = np.array([2.0, 5.0, 40.0])
    found = ceiling_of(n, n / (level + slope * n), places)
    assert found == pytest.approx(places / (level + slope * places), rel=1e-6)
    assert found < 1 / slope


def test_least_squares_are_numpys_on_the_measured_loops() -> None:
    for n, x in _loops(DENSE).values():
        slope, level = np.polyfit(n, n / x, 1)
        assert ceiling_of(n, x, 256) == pytest.approx(256 / (level + 256 * slope))
        assert np.all(np.diff(x) > 0)


def test_the_loops_of_the_page_are_among_all() -> None:
    """What two tests far up say of the page's own loops, with the general solver."""
    everything = np.array(sorted(_doubled()[False]))
    for error in _errors(2, 3):
        assert np.min(np.abs(everything - error)) < 1e-9


def test_amdahls_law_is_the_line() -> None:
    n = np.array([1.0, 4.0, 9.0])
    found = ceiling_of(n, usl_throughput(n, 0.2, 0.0, 10.0), 64)
    assert found == pytest.approx(float(usl_throughput(64, 0.2, 0.0, 10.0)))


def test_bad_tests_are_refused() -> None:
    for bad in ([1.0], [[1.0, 2.0]], [3.0, 3.0]):
        with pytest.raises(ValueError, match="clients must be two numbers"):
            ceiling_of(bad, bad, 8)
    with pytest.raises(ValueError, match="tokens_per_s must be of shape"):
        ceiling_of([1.0, 2.0], [1.0], 8)
    with pytest.raises(ValueError, match="clients must be no more than the 8 places"):
        ceiling_of([4.0, 16.0], [100.0, 200.0], 8)
    with pytest.raises(ValueError, match="places must be positive"):
        ceiling_of([4.0, 8.0], [100.0, 150.0], 0)
