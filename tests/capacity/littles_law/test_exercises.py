"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.littles_law.exercises import (
    latency_from_gauge,
    lost_request_time,
    request_rate_for_cache,
)
from serving_mathematics.capacity.littles_law.littles_law import (
    mean_in_flight,
)


@given(st.floats(0.1, 100), st.floats(0.01, 100))
def test_latency_from_gauge_inverts_the_law(rate: float, latency: float) -> None:
    gauge = [mean_in_flight(rate, latency)] * 3
    assert latency_from_gauge(gauge, rate * 60, 60.0) == pytest.approx(latency)


@given(st.floats(0.1, 50), st.floats(0.01, 5), st.floats(0.1, 20), st.floats(0.01, 60))
def test_lost_request_time_is_recovered(x: float, wait: float, lost: float, stay: float) -> None:
    in_flight = x * wait + lost * stay
    assert lost_request_time(in_flight, x + lost, x, wait) == pytest.approx(stay, rel=1e-6)


def test_request_rate_for_cache_of_two_classes_by_hand() -> None:
    rate = request_rate_for_cache(1000.0, [0.25, 0.75], [10, 20], [5, 3], [0.4, 0.0], 1.0, 0.5)
    first = 10 * 3.0 + 0.5 * (25 * 1.4 - 5) / 2
    second = 20 * 2.0 + 0.5 * (9 - 3) / 2
    assert rate == pytest.approx(1000 / (0.25 * first + 0.75 * second), rel=1e-12)
    unused = request_rate_for_cache(1.0, [1.0, 0.0], [1, 99], [1, 1], [0, 0], 0.25, 0.0)
    assert unused == pytest.approx(4.0)
