"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math
from typing import Any

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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 1, 60.0), "in_flight_samples must be a non-empty"),
        (([[1.0]], 1, 60.0), "in_flight_samples must be a non-empty"),
        (([-1.0], 1, 60.0), "in_flight_samples must be a non-empty"),
        (([math.nan], 1, 60.0), "in_flight_samples must be a non-empty"),
        (([math.inf], 1, 60.0), "in_flight_samples must be a non-empty"),
        (([1.0], 0, 60.0), "requests_started must be positive"),
        (([1.0], math.inf, 60.0), "requests_started must be positive"),
        (([1.0], 1, 0.0), "window_s must be positive"),
        (([1.0], 1, math.inf), "window_s must be positive"),
    ],
)
def test_latency_from_gauge_refuses(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        latency_from_gauge(*arguments)
    assert latency_from_gauge([0.0], 1, 60.0) == 0.0
    assert latency_from_gauge([3.0], 0.5, 0.25) == 1.5


@given(st.floats(0.1, 50), st.floats(0.01, 5), st.floats(0.1, 20), st.floats(0.01, 60))
def test_lost_request_time_is_recovered(x: float, wait: float, lost: float, stay: float) -> None:
    in_flight = x * wait + lost * stay
    assert lost_request_time(in_flight, x + lost, x, wait) == pytest.approx(stay, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, 2.0, 1.0, 1.0), "in_flight must be non-negative"),
        ((math.inf, 2.0, 1.0, 1.0), "in_flight must be non-negative"),
        ((9.0, 1.0, 1.0, 1.0), "arrival_rate must be finite and above"),
        ((9.0, math.inf, 1.0, 1.0), "arrival_rate must be finite and above"),
        ((9.0, 2.0, -1.0, 1.0), "completed_rate must be non-negative"),
        ((9.0, 2.0, math.nan, 1.0), "completed_rate must be non-negative"),
        ((9.0, 2.0, math.inf, 1.0), "completed_rate must be non-negative"),
        ((9.0, 2.0, 1.0, -1.0), "mean_completed_s must be non-negative"),
        ((9.0, 2.0, 1.0, math.inf), "mean_completed_s must be non-negative"),
        ((9.0, 20.0, 10.0, 1.0), "in_flight must be at least"),
    ],
)
def test_lost_request_time_refuses(arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lost_request_time(*arguments)
    assert lost_request_time(0.0, 2.0, 0.0, 0.0) == 0.0
    assert lost_request_time(1.0, 2.0, 1.0, 1.0) == 0.0


def test_request_rate_for_cache_of_two_classes_by_hand() -> None:
    rate = request_rate_for_cache(1000.0, [0.25, 0.75], [10, 20], [5, 3], [0.4, 0.0], 1.0, 0.5)
    first = 10 * 3.0 + 0.5 * (25 * 1.4 - 5) / 2
    second = 20 * 2.0 + 0.5 * (9 - 3) / 2
    assert rate == pytest.approx(1000 / (0.25 * first + 0.75 * second), rel=1e-12)
    unused = request_rate_for_cache(1.0, [1.0, 0.0], [1, 99], [1, 1], [0, 0], 0.25, 0.0)
    assert unused == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"capacity_tokens": 0.0}, "capacity_tokens must be positive"),
        ({"capacity_tokens": math.inf}, "capacity_tokens must be positive"),
        ({"traffic_shares": [0.5, 0.4]}, "traffic_shares must be shares"),
        ({"traffic_shares": [1.5, -0.5]}, "traffic_shares must be shares"),
        ({"traffic_shares": [[0.5, 0.5]]}, "traffic_shares must be shares"),
        ({"prompt_tokens": [1, -1]}, "prompt_tokens must be 2 finite numbers of at least 0"),
        ({"prompt_tokens": [1]}, "prompt_tokens must be 2 finite"),
        ({"mean_output_tokens": [0.5, 1]}, "mean_output_tokens must be 2 finite"),
        ({"mean_output_tokens": [math.inf, 1]}, "mean_output_tokens must be 2 finite"),
        ({"output_scv": [0, math.nan]}, "output_scv must be 2 finite"),
        ({"prefill_s": -1.0}, "prefill_s must be non-negative"),
        ({"token_interval_s": math.inf}, "token_interval_s must be non-negative"),
        ({"prefill_s": 0.0, "token_interval_s": 0.0}, "prompt_tokens must be such that"),
    ],
)
def test_request_rate_for_cache_refuses(changes: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "capacity_tokens": 100.0,
        "traffic_shares": [0.5, 0.5],
        "prompt_tokens": [0, 0],
        "mean_output_tokens": [1, 9],
        "output_scv": [0, 0],
        "prefill_s": 0.0,
        "token_interval_s": 0.1,
    }
    assert request_rate_for_cache(**good) == pytest.approx(100 / (0.5 * 3.6))
    small = request_rate_for_cache(**(good | {"capacity_tokens": 0.9}))
    assert small == pytest.approx(0.5)
    with pytest.raises(ValueError, match=message):
        request_rate_for_cache(**(good | changes))
