"""Staffing: scipy's normal distribution and a linear search as oracles, and the errors."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity.autoscaling.server_staffing import (
    halfin_whitt,
    min_servers,
    safety_factor,
    square_root_servers,
)
from serving_mathematics.core.queues.erlang import erlang_c


@given(st.floats(1e-6, 30))
def test_halfin_whitt_against_scipy(beta: float) -> None:
    expected = 1 / (1 + beta * stats.norm.cdf(beta) / stats.norm.pdf(beta))
    assert halfin_whitt(beta) == pytest.approx(expected, rel=1e-9)


def test_halfin_whitt_ends() -> None:
    assert halfin_whitt(1e-12) == pytest.approx(1.0)
    assert halfin_whitt(40.0) == 0.0  # the density underflows, the probability does too


@given(st.floats(1e-9, 0.999))
def test_safety_factor_inverts(chance: float) -> None:
    assert halfin_whitt(safety_factor(chance)) == pytest.approx(chance, rel=1e-9)


@given(st.floats(0.01, 200), st.floats(0.01, 0.9))
def test_min_servers_is_the_first_that_meets_the_probability(load: float, chance: float) -> None:
    servers = min_servers(load, chance)
    assert erlang_c(servers, load) <= chance * (1 + 1e-12)
    if servers - 1 > load:
        assert erlang_c(servers - 1, load) > chance * (1 - 1e-12)


def test_staffing_of_no_load_and_of_whole_results() -> None:
    assert min_servers(0.0, 0.2) == 1
    assert min_servers(0.5, 0.5) == 1  # C(1, ½) is ½: at most, not below
    assert square_root_servers(100.0, 1.0) == 110
    assert square_root_servers(100.0, 1.0 + 1e-6) == 111
    assert square_root_servers(2.0, math.sqrt(2.0)) == 4  # 4.000000000000001 before rounding
    assert square_root_servers(4.0, 0.25) == 5
