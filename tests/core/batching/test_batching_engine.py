"""The loop around a batching engine: hand cases, balance equations, bounds, errors."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_mathematics.core.batching.batching_engine import load_dependent_mva
from serving_mathematics.core.queues.mean_value_analysis import exact_mva

FloatArray = npt.NDArray[np.float64]


def engine_rates(clients: int, fixed_s: float, per_item_s: float, most: int) -> FloatArray:
    """Of an engine whose step of s + d·b finishes b requests, at most so many."""
    batch = np.minimum(np.arange(1.0, clients + 1), most)
    return np.asarray(batch / (fixed_s + per_item_s * batch))


DEMANDS = st.lists(st.floats(0.01, 10.0), min_size=1, max_size=4)


def balance_throughput(
    clients: int, demands: list[float], think: float, rates: list[float]
) -> float:
    """Throughput from the global balance equations, one linear equation per state."""
    stations = len(demands) + 1  # the engine last
    states = [s for s in product(range(clients + 1), repeat=stations) if sum(s) <= clients]
    place = {state: i for i, state in enumerate(states)}
    flow = np.zeros((len(states), len(states)))
    for state, i in place.items():
        speeds = [(clients - sum(state)) / think]
        speeds += [(held > 0) / d for held, d in zip(state, demands, strict=False)]
        speeds += [rates[state[-1] - 1] if state[-1] else 0.0]
        for source, rate in enumerate(speeds):
            if rate > 0:
                after = list(state)
                if source:
                    after[source - 1] -= 1
                if source < stations:
                    after[source] += 1
                flow[i, place[tuple(after)]] += rate
    flow -= np.diag(flow.sum(axis=1))
    system = np.vstack([flow.T, np.ones(len(states))])
    shares = np.linalg.lstsq(system, np.r_[np.zeros(len(states)), 1.0], rcond=None)[0]
    served = [rates[state[-1] - 1] if state[-1] else 0.0 for state in states]
    return float(shares @ served)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 5),
    st.lists(st.floats(0.05, 2.0), max_size=2),
    st.floats(0.1, 5.0),
    st.lists(st.floats(0.2, 5.0), min_size=5, max_size=5),
)
def test_recursion_solves_the_balance_equations(
    clients: int, demands: list[float], think: float, rates: list[float]
) -> None:
    """Any rates, rising or falling, with and without other servers."""
    expected = balance_throughput(clients, demands, think, rates)
    got = load_dependent_mva(demands, think, rates[:clients])[-1]
    assert got == pytest.approx(expected, rel=1e-8)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), DEMANDS, st.floats(0.0, 20.0), st.floats(0.01, 10.0))
def test_constant_rate_is_a_plain_server(
    clients: int, demands: list[float], think: float, own: float
) -> None:
    got = load_dependent_mva(demands, think, np.full(clients, 1 / own))
    assert got == pytest.approx(exact_mva(clients, [*demands, own], think)[0], rel=1e-8)


def test_thousands_of_clients_keep_their_digits() -> None:
    """p(0 | n) as a difference would be negative here."""
    got = load_dependent_mva([0.006, 0.002], 0.1, engine_rates(2000, 0.018, 0.002, 16))
    assert np.all(np.diff(got) >= -1e-9)
    assert got[-1] == pytest.approx(1 / 0.006, rel=1e-9)
    alone = load_dependent_mva([], 0.1, engine_rates(2000, 0.018, 0.002, 16))
    assert alone[-1] == pytest.approx(320.0, rel=1e-9)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_bad_numbers(bad: float) -> None:
    with pytest.raises(ValueError, match="think_time_s must be positive"):
        load_dependent_mva([], bad, [1.0])
    with pytest.raises(ValueError, match="think_time_s must be non-negative"):
        load_dependent_mva([1.0], bad, [1.0])
    with pytest.raises(ValueError, match="rates_per_s must be positive and finite"):
        load_dependent_mva([], 1.0, [1.0, bad])
    with pytest.raises(ValueError, match=r"rates_per_s must be an \(N,\) array"):
        load_dependent_mva([], 1.0, [[1.0]])


def test_two_clients_by_hand() -> None:
    # N = 2, Z = 1, rates 1/(1+1) = 1/2 and 2/(1+2) = 2/3: weights 1, 2/(1/2) = 4, 4·1/(2/3) = 6
    both = load_dependent_mva([], 1.0, engine_rates(2, 1.0, 1.0, 2))
    assert both[-1] == pytest.approx((4 / 2 + 6 * 2 / 3) / 11)
    # the second request waits when batches hold one: weights 1, 4, 8
    one = load_dependent_mva([], 1.0, engine_rates(2, 1.0, 1.0, 1))
    assert one[-1] == pytest.approx(12 / 2 / 13)
