"""Little's law on one sample path, and the solutions of the chapter's exercises."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.littles_law.littles_law import (
    WindowAverages,
    edge_error,
    mean_in_flight,
    number_in_system,
    time_in_window,
    window_averages,
)

seconds = st.floats(0, 100, allow_nan=False).map(lambda value: round(value, 3))
logs = st.lists(st.tuples(seconds, seconds), min_size=1, max_size=30).map(
    lambda pairs: (np.array([a for a, _ in pairs]), np.array([a + s for a, s in pairs]))
)
FloatArray = npt.NDArray[np.float64]


def brute_area(arrivals: FloatArray, departures: FloatArray, start: float, end: float) -> float:
    """The area request by request, interval by interval, in exact summation."""
    return math.fsum(
        max(0.0, min(left, end) - max(came, start))
        for came, left in zip(arrivals.tolist(), departures.tolist(), strict=True)
    )


@given(logs, seconds, st.floats(0.01, 50))
def test_area_is_the_sum_of_times_in_the_window(
    log: tuple[FloatArray, FloatArray], start: float, length: float
) -> None:
    area = brute_area(*log, start, start + length)
    assert time_in_window(*log, start, start + length).sum() == pytest.approx(area, abs=1e-9)


@given(logs, st.lists(seconds, min_size=1, max_size=20))
def test_number_in_system_counts_who_is_inside(
    log: tuple[FloatArray, FloatArray], instants: list[float]
) -> None:
    arrivals, departures = log
    expected = [int(np.sum((arrivals <= t) & (t < departures))) for t in instants]
    assert number_in_system(arrivals, departures, instants).tolist() == expected


@given(logs, seconds, st.floats(0.01, 50))
def test_estimates_are_ordered_and_balance(
    log: tuple[FloatArray, FloatArray], start: float, length: float
) -> None:
    seen = window_averages(*log, start, start + length)
    assert seen.completed <= seen.truncated + 1e-12
    assert seen.truncated <= seen.full + 1e-12
    assert seen.truncated <= seen.in_flight + 1e-12
    area = brute_area(*log, start, start + length)
    assert float(seen.in_flight) == pytest.approx(area / length, abs=1e-9)


def test_window_belongs_to_arrivals_at_its_start_and_departures_at_its_end() -> None:
    seen = window_averages([2.0, 5.0], [5.0, 6.0], 2.0, 5.0)
    assert vars(seen) == dict.fromkeys(vars(seen), 1.0)
    before = window_averages([1.0], [3.0], 2.0, 4.0)
    assert vars(before) == {"in_flight": 0.5, "truncated": 0, "full": 0, "completed": 0}


def test_replications_side_by_side_equal_one_by_one() -> None:
    rng = np.random.default_rng(1)
    arrivals = rng.uniform(0, 20, (3, 40))
    departures = arrivals + rng.exponential(2, (3, 40))
    together = window_averages(arrivals, departures, 4.0, 15.0)
    assert isinstance(together, WindowAverages)
    for i in range(3):
        alone = window_averages(arrivals[i], departures[i], 4.0, 15.0)
        for field in ("in_flight", "truncated", "full", "completed"):
            assert getattr(together, field)[i] == pytest.approx(float(getattr(alone, field)))


def test_request_that_never_leaves_counts_until_the_window_closes() -> None:
    assert number_in_system([0.0, 1.0], [math.inf, 2.0], [0.5, 1.5, 9.0]).tolist() == [1, 2, 1]
    seen = window_averages([1.0], [math.inf], 0.0, 4.0)
    assert float(seen.truncated) == 0.75
    assert float(seen.completed) == 0.0
    assert math.isinf(float(seen.full))


def test_mean_in_flight_is_the_product() -> None:
    assert mean_in_flight(3.0, 7.0) == 21.0
    assert mean_in_flight(0.0, 7.0) == mean_in_flight(3.0, 0.0) == 0.0


def test_replications_and_bad_instants_are_refused_by_the_count() -> None:
    with pytest.raises(ValueError, match=r"arrival_times must be of shape \(n,\)"):
        number_in_system([[0.0]], [[1.0]], 0.0)


@given(st.floats(0.1, 10), st.floats(0, 9), st.floats(1, 1000))
def test_edge_error_is_half_the_mean_square_over_the_window(
    mean: float, scv: float, length: float
) -> None:
    square = mean**2 * (1 + scv)
    assert edge_error(mean, scv, length) == pytest.approx(square / 2 / mean / length)
