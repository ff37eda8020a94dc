"""Waits of M/D/1: the alternating form in exact fractions, limits, monotony and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_mathematics.core.queues.erlang import wait_exceeds
from serving_mathematics.definitions.utilization.constant_service_tail import (
    constant_wait_exceeds,
    max_constant_utilization,
)

RHO = st.floats(0.05, 0.95)


@settings(deadline=None, max_examples=60)
@given(RHO, st.floats(0.0, 8.0))
def test_the_alternating_form_agrees_while_it_can(rho: float, time: float) -> None:
    terms = [
        (rho * (k - time)) ** k / math.factorial(k) * math.exp(-rho * (k - time))
        for k in range(math.floor(time) + 1)
    ]
    exact = 1 - (1 - rho) * math.fsum(terms)
    assert constant_wait_exceeds(time, rho) == pytest.approx(exact, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(RHO, st.floats(0.0, 60.0))
def test_the_tail_falls_and_stays_below_exponential_service(rho: float, time: float) -> None:
    now = constant_wait_exceeds(time, rho)
    assert 0 <= constant_wait_exceeds(time + 0.5, rho) <= now + 1e-12
    assert now <= wait_exceeds(time, rho, 1.0) + 1e-12
    assert now <= constant_wait_exceeds(time, min(rho + 0.02, 0.99)) + 1e-12


def test_nobody_waits_without_load_and_a_share_rho_with_it() -> None:
    assert constant_wait_exceeds(0.0, 0.0) == 0.0
    for rho in (0.1, 0.5, 0.9):
        assert constant_wait_exceeds(0.0, rho) == pytest.approx(rho, abs=1e-12)


def test_long_waits_keep_their_digits() -> None:
    """The alternating form is off by many orders of magnitude here."""
    theta = np.array([constant_wait_exceeds(t, 0.95) for t in (100.0, 101.0, 102.0)])
    assert theta[1] / theta[0] == pytest.approx(theta[2] / theta[1], rel=1e-6)
    assert 1e-5 < theta[0] < 1e-4


@settings(deadline=None, max_examples=15)
@given(st.floats(0.5, 0.999), st.floats(1.5, 30.0))
def test_the_limit_is_the_last_load_that_keeps_it(q: float, slowdown: float) -> None:
    limit = max_constant_utilization(q, slowdown)
    assert constant_wait_exceeds(slowdown - 1, limit) <= 1 - q + 1e-9
    if limit < 0.998:
        assert constant_wait_exceeds(slowdown - 1, limit + 1e-3) > 1 - q
