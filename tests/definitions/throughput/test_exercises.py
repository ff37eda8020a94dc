"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.queues.mean_value_analysis import (
    asymptotic_bounds,
    balanced_job_bounds,
    exact_mva,
    saturation_clients,
)
from serving_mathematics.definitions.throughput.exercises import (
    engine_from_tests,
    forecast_throughput,
    schweitzer_mva,
)

from tests.definitions.throughput.test_throughput import CLIENTS, DEMANDS


@pytest.mark.parametrize(
    "function", [asymptotic_bounds, balanced_job_bounds, exact_mva, schweitzer_mva]
)
@pytest.mark.parametrize(
    ("clients", "demands", "think", "message"),
    [
        (0, [1.0], 1.0, "clients must be a positive integer"),
        (2.5, [1.0], 1.0, "clients must be a positive integer"),
        (math.nan, [1.0], 1.0, "clients must be a positive integer"),
        (2, [], 1.0, r"demands_s must be a \(K,\) array"),
        (2, [[1.0, 2.0]], 1.0, r"demands_s must be a \(K,\) array"),
        (2, [1.0, 0.0], 1.0, "demands_s must be positive and finite"),
        (2, [math.nan], 1.0, "demands_s must be positive and finite"),
        (2, [math.inf], 1.0, "demands_s must be positive and finite"),
        (2, [1.0], -1.0, "think_time_s must be non-negative and finite"),
        (2, [1.0], math.nan, "think_time_s must be non-negative and finite"),
        (2, [1.0], math.inf, "think_time_s must be non-negative and finite"),
    ],
)
def test_bad_networks_are_refused(function, clients, demands, think, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        function(clients, demands, think)
    if "clients" not in message:
        with pytest.raises(ValueError, match=message):
            saturation_clients(demands, think)


@given(st.integers(1, 8), st.integers(1, 20), DEMANDS, st.floats(0.1, 20.0))
def test_forecast_from_an_exact_test_is_exact(
    clients: int, target: int, demands: list[float], think: float
) -> None:
    throughput, residence = exact_mva(clients, demands, think)
    rate = float(throughput[-1])
    busy = np.minimum(rate * np.array(demands), 1.0)
    got = forecast_throughput(target, clients, rate, busy, float(residence[-1].sum()))
    assert got == pytest.approx(exact_mva(target, demands, think)[0][-1], rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((9, 0, 1.0, [0.5], 0.5), "clients must be a positive integer"),
        ((0, 1, 1.0, [0.5], 0.5), "clients must be a positive integer"),
        ((9, 1, 0.0, [0.5], 0.5), "throughput_per_s must be positive and finite"),
        ((9, 1, math.nan, [0.5], 0.5), "throughput_per_s must be positive and finite"),
        ((9, 1, math.inf, [0.5], 0.5), "throughput_per_s must be positive and finite"),
        ((9, 1, 1.0, [], 0.5), r"utilizations must be a \(K,\) array"),
        ((9, 1, 1.0, [0.5, 0.0], 0.5), r"utilizations must be in \(0, 1\]"),
        ((9, 1, 1.0, [0.5, 1.1], 0.5), r"utilizations must be in \(0, 1\]"),
        ((9, 1, 1.0, [math.nan], 0.5), r"utilizations must be in \(0, 1\]"),
        ((9, 3, 2.0, [0.5], 1.6), r"response_s must be in \(0, 1.5\]"),
        ((9, 3, 2.0, [0.5], 0.0), r"response_s must be in \(0, 1.5\]"),
        ((9, 3, 2.0, [0.5], math.nan), r"response_s must be in \(0, 1.5\]"),
    ],
)
def test_bad_tests_are_refused(
    arguments: tuple[int, int, float, list[float], float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        forecast_throughput(*arguments)


@given(CLIENTS, DEMANDS, st.floats(0.1, 50.0))
def test_schweitzer_is_a_fixed_point_within_the_bounds(
    clients: int, demands: list[float], think: float
) -> None:
    throughput, queues = schweitzer_mva(clients, demands, think)
    least, greatest = asymptotic_bounds(clients, demands, think)
    assert least * (1 - 1e-9) <= throughput <= greatest * (1 + 1e-9)
    found = queues * (clients - 1) / clients
    assert queues == pytest.approx(throughput * np.array(demands) * (1 + found), rel=1e-9)
    assert queues.sum() + throughput * think == pytest.approx(clients, rel=1e-9)


def test_schweitzer_is_exact_for_one_and_for_very_many() -> None:
    for clients in (1, 3000):
        approximate, _ = schweitzer_mva(clients, [0.02, 0.006], 1.0)
        assert approximate == pytest.approx(exact_mva(clients, [0.02, 0.006], 1.0)[0][-1], rel=1e-5)


@given(st.floats(0.001, 1.0), st.floats(0.0, 0.5), st.integers(1, 64))
def test_two_tests_give_the_engine_back(fixed: float, item: float, most: int) -> None:
    sizes = np.array([1.0, 3.0, 8.0])
    got = engine_from_tests(sizes, fixed + item * sizes, most)
    assert got[:2] == pytest.approx((fixed, item), abs=1e-9)
    assert got[2] == pytest.approx(most / (fixed + item * most))


@pytest.mark.parametrize(
    ("batches", "steps", "most", "message"),
    [
        ([4], [1.0], 8, "batches must be of two sizes"),
        ([[1, 2]], [[1.0, 2.0]], 8, "batches must be of two sizes"),
        ([1, 2], [1.0], 8, r"steps_s must be of shape \(2,\)"),
        ([0.5, 2], [1.0, 2.0], 8, "batches must be finite and at least 1"),
        ([1, math.inf], [1.0, 2.0], 8, "batches must be finite and at least 1"),
        ([1, 2], [1.0, 0.0], 8, "steps_s must be positive and finite"),
        ([1, 2], [1.0, math.nan], 8, "steps_s must be positive and finite"),
        ([1, 2], [1.0, 2.5], 8, "steps_s must be a rising line above 0"),
        ([1, 2], [2.0, 1.0], 8, "steps_s must be a rising line above 0"),
        ([1, 2], [1.0, 1.5], 0, "max_batch must be a positive integer"),
    ],
)
def test_bad_engine_tests_are_refused(
    batches: list[float], steps: list[float], most: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        engine_from_tests(batches, steps, most)
