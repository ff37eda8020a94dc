"""The tail at one server: the exponential tail, processor sharing by brute force, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity.tail_latency.server_tail import (
    first_come_mean,
    processor_sharing_mean,
    processor_sharing_responses,
    response_exceeds,
)
from serving_mathematics.core.queues.queue_simulator import fifo_waits


@given(st.floats(0, 50), st.floats(0, 5), st.floats(0.01, 5))
def test_response_tail_is_exponential(t: float, rate: float, slack: float) -> None:
    expected = stats.expon.sf(t, scale=1 / ((rate + slack) - rate))
    assert response_exceeds(t, rate, rate + slack) == pytest.approx(expected, rel=1e-9)


def test_response_tail_starts_at_one_and_halves_with_the_slack() -> None:
    assert response_exceeds(0.0, 1.0, 2.0) == 1.0
    assert response_exceeds(6.0, 1.0, 1.5) == pytest.approx(response_exceeds(3.0, 1.0, 2.0))


def brute_force_sharing(arrivals: list[float], sizes: list[float], step: float) -> list[float]:
    """Processor sharing in small steps: an independent, slow and approximate simulation."""
    left, answers, now = dict(enumerate(sizes)), [0.0] * len(sizes), 0.0
    while left:
        present = [i for i in left if arrivals[i] <= now + step / 2]
        for i in present:
            left[i] -= step / len(present)
            if left[i] <= 1e-9:
                answers[i] = now + step - arrivals[i]
                del left[i]
        now += step
    return answers


def test_sharing_equals_small_steps() -> None:
    rng = np.random.default_rng(1)
    arrivals = np.round(np.cumsum(rng.exponential(1.0, 12)), 2)
    sizes = np.round(rng.exponential(1.0, 12) + 0.1, 2)
    exact = processor_sharing_responses(arrivals, sizes)
    slow = brute_force_sharing(arrivals.tolist(), sizes.tolist(), 0.001)
    assert exact == pytest.approx(slow, abs=0.05)


def test_sharing_by_hand() -> None:
    # Alone until 1, then half speed until the second leaves at 3, then alone again.
    assert processor_sharing_responses([0, 1], [3, 1]).tolist() == [4.0, 2.0]
    # Three at once: shares of a third, then a half, then all.
    assert processor_sharing_responses([0, 0, 0], [1, 2, 3]) == pytest.approx([3, 5, 6])
    # An idle time in between, and an arrival at the very moment of a departure.
    assert processor_sharing_responses([0, 5, 6], [2, 1, 1]).tolist() == [2.0, 1.0, 1.0]


@given(
    st.lists(st.tuples(st.floats(0, 3), st.floats(0.01, 3)), min_size=1, max_size=25),
    st.floats(0, 1e6),
)
def test_sharing_is_work_conserving_and_never_faster_than_alone(
    customers: list[tuple[float, float]], origin: float
) -> None:
    arrivals = origin + np.cumsum([gap for gap, _ in customers])
    sizes = np.array([size for _, size in customers])
    responses = processor_sharing_responses(arrivals, sizes)
    assert np.all(responses >= sizes - 1e-6)
    in_order = arrivals + fifo_waits(arrivals, sizes) + sizes
    assert (arrivals + responses).max() == pytest.approx(in_order.max(), abs=1e-6)


def test_equal_sizes_leave_in_the_order_of_arrival() -> None:
    arrivals = np.cumsum(np.random.default_rng(2).exponential(1.2, 200))
    leave = arrivals + processor_sharing_responses(arrivals, np.ones(200))
    assert np.all(np.diff(leave) >= -1e-9)


@given(st.floats(0, 0.99), st.floats(0.1, 10))
def test_the_two_orders_have_the_same_mean_for_exponential_sizes(rho: float, mean: float) -> None:
    # Averaged over exponential sizes both are S/(1−ρ), because both means are linear in x.
    assert processor_sharing_mean(mean, rho) == pytest.approx(
        first_come_mean(mean, rho, mean, 1.0), rel=1e-9
    )


@pytest.mark.parametrize(
    ("x", "rho", "mean", "scv", "expected"),
    [(3.0, 0.0, 1.0, 4.0, 3.0), (1.0, 0.5, 2.0, 0.0, 2.0), (1.0, 0.8, 1.0, 3.0, 9.0)],
)
def test_first_come_by_hand(x: float, rho: float, mean: float, scv: float, expected: float) -> None:
    assert first_come_mean(x, rho, mean, scv) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: response_exceeds(1.0, 0.5, math.inf), "service_rate must be finite and above"),
        (lambda: response_exceeds(1.0, 0.5, 0.4), "service_rate must be finite and above"),
        (lambda: processor_sharing_responses([0.0], [1.0, 2.0]), r"sizes must be of shape \(1,\)"),
    ],
)
def test_refusals(call: Callable[[], object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()
