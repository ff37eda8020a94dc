"""Staffing: scipy's normal distribution and a linear search as oracles, and the errors."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity.autoscaling.server_staffing import (
    halfin_whitt,
    square_root_servers,
)


@given(st.floats(1e-6, 30))
def test_halfin_whitt_against_scipy(beta: float) -> None:
    expected = 1 / (1 + beta * stats.norm.cdf(beta) / stats.norm.pdf(beta))
    assert halfin_whitt(beta) == pytest.approx(expected, rel=1e-9)


def test_halfin_whitt_ends() -> None:
    assert halfin_whitt(1e-12) == pytest.approx(1.0)
    assert halfin_whitt(40.0) == 0.0  # the density underflows, the probability does too


def test_staffing_of_whole_results() -> None:
    assert square_root_servers(100.0, 1.0) == 110
    assert square_root_servers(100.0, 1.0 + 1e-6) == 111
    assert square_root_servers(2.0, math.sqrt(2.0)) == 4  # 4.000000000000001 before rounding
    assert square_root_servers(4.0, 0.25) == 5
