"""The distributional form of the law, and the discipline that breaks it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity.littles_law.distributional_law import (
    lifo_departures,
    number_distribution,
)
from serving_mathematics.core.queues.queue_simulator import fifo_waits
from serving_mathematics.support.intervals import STUDENT_T_975

FloatArray = npt.NDArray[np.float64]

jobs = st.lists(
    st.tuples(st.floats(0.001, 3), st.floats(0.001, 3)).map(
        lambda pair: (round(pair[0], 3), round(pair[1], 3))
    ),
    min_size=1,
    max_size=25,
).map(lambda pairs: (np.cumsum([a for a, _ in pairs]), np.array([s for _, s in pairs])))


def test_quantile_of_four_runs() -> None:
    assert pytest.approx(stats.t.ppf(0.975, 3), abs=1e-9) == STUDENT_T_975[3]


@given(st.floats(0, 20), st.floats(0, 5), st.floats(0, 5))
def test_two_sojourns_mix_two_poissons(rate: float, first: float, second: float) -> None:
    numbers = np.arange(12)
    expected = stats.poisson.pmf(numbers, rate * first) + stats.poisson.pmf(numbers, rate * second)
    found = number_distribution(rate, [first, second], 11)
    assert found == pytest.approx(expected / 2, abs=1e-12)


def test_gamma_sojourns_give_a_negative_binomial() -> None:
    """A gamma mixture of Poissons in closed form; 20,000 stratified gamma sojourns."""
    share = (np.arange(20_000) + 0.5) / 20_000
    sojourns = stats.gamma(2.5, scale=1.2).ppf(share)
    expected = stats.nbinom(2.5, 1 / (1 + 0.7 * 1.2)).pmf(np.arange(20))
    assert number_distribution(0.7, sojourns, 19) == pytest.approx(expected, abs=2e-6)


def test_long_sojourns_do_not_underflow() -> None:
    share = number_distribution(10.0, [200.0], 2600)
    assert share.sum() == pytest.approx(1.0, abs=1e-9)
    assert share @ np.arange(2601) == pytest.approx(2000.0, rel=1e-9)


def test_moments_follow_the_sojourns() -> None:
    sojourns = np.random.default_rng(1).gamma(3, 1, 500)
    share, numbers = number_distribution(2.0, sojourns, 150), np.arange(151)
    assert share @ numbers == pytest.approx(2 * sojourns.mean())
    assert share @ (numbers * (numbers - 1)) == pytest.approx(4 * (sojourns**2).mean())


def test_no_time_no_number() -> None:
    assert number_distribution(3.0, [0.0], 2).tolist() == [1.0, 0.0, 0.0]
    assert number_distribution(0.0, [5.0], 0).tolist() == [1.0]


@given(jobs)
def test_work_conserving_orders_empty_together(log: tuple[FloatArray, FloatArray]) -> None:
    arrivals, services = log
    lifo = lifo_departures(arrivals, services)
    fifo = arrivals + fifo_waits(arrivals, services) + services
    assert lifo.max() == pytest.approx(fifo.max())
    assert np.all(lifo >= arrivals + services - 1e-9)


@given(jobs)
def test_lifo_sojourn_is_the_busy_period_it_starts(log: tuple[FloatArray, FloatArray]) -> None:
    """A request leaves when its work and all that arrived meanwhile is done: a fixed point."""
    arrivals, services = log
    found = lifo_departures(arrivals, services)
    for i, (arrival, service) in enumerate(zip(arrivals, services, strict=True)):
        end, done = arrival + service, False
        while not done:
            later = services[i + 1 :][arrivals[i + 1 :] < end - 1e-12].sum()
            done = abs(arrival + service + later - end) < 1e-9
            end = arrival + service + later
        assert found[i] == pytest.approx(end)


def test_nested_interruptions_by_hand() -> None:
    found = lifo_departures([0.0, 1.0, 2.0, 20.0], [4.0, 3.0, 2.0, 1.0])
    assert found.tolist() == [9.0, 6.0, 4.0, 21.0]


@pytest.mark.parametrize(
    ("arrivals", "services", "message"),
    [
        ([[0.0]], [[1.0]], "arrival_times must be a non-empty"),
        ([], [], "arrival_times must be a non-empty"),
        ([0.0, 1.0], [1.0], "service_times must be of shape"),
        ([1.0, 0.0], [1.0, 1.0], "arrival_times must be finite and sorted"),
        ([math.nan], [1.0], "arrival_times must be finite and sorted"),
        ([0.0], [-1.0], "service_times must be non-negative and finite"),
        ([0.0], [math.inf], "service_times must be non-negative and finite"),
    ],
)
def test_lifo_refuses(arrivals: list[float], services: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lifo_departures(arrivals, services)
    assert lifo_departures([0.0, 0.0], [0.0, 1.0]).tolist() == [0.0, 1.0]
