"""The textbook's goodput against scipy, and at its limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity.overload_control.overload_control import (
    bounded_goodput,
    fifo_goodput,
)

RATES = st.floats(0.01, 1000)


@given(st.floats(0.01, 0.99), RATES, st.floats(1e-3, 100))
def test_fifo_goodput_is_the_distribution_of_the_response(
    utilization: float, service: float, deadline: float
) -> None:
    arrival = utilization * service
    in_time = stats.expon(scale=1 / (service - arrival)).cdf(deadline)
    assert fifo_goodput(arrival, service, deadline) == pytest.approx(arrival * in_time, rel=1e-9)


@pytest.mark.parametrize("factor", [1.0, 1.5, 100.0])
def test_fifo_goodput_is_zero_from_saturation_on(factor: float) -> None:
    assert fifo_goodput(7.0 * factor, 7.0, 3.0) == 0.0


@given(st.floats(0.05, 20), st.floats(0.1, 40), st.integers(1, 80))
def test_bounded_goodput_sums_gamma_distributions(
    utilization: float, served: float, places: int
) -> None:
    service = 5.0
    arrival, deadline = utilization * service, served / service
    weight = np.array([utilization**k for k in range(places + 1)])
    states = weight / weight.sum()
    in_time = stats.gamma(np.arange(1, places + 1), scale=1 / service).cdf(deadline)
    expected = arrival * float(states[:-1] @ in_time)
    assert bounded_goodput(arrival, service, deadline, places) == pytest.approx(
        expected, rel=1e-9, abs=1e-12
    )


def test_bounded_goodput_survives_extremes() -> None:
    assert bounded_goodput(1e6, 100.0, 0.1, 3000) == pytest.approx(0.0, abs=1e-6)
    assert bounded_goodput(1e-6, 100.0, 1.0, 3000) == pytest.approx(1e-6)
    assert bounded_goodput(1e12, 100.0, 0.1, 1) == pytest.approx(100 * -math.expm1(-10.0))
