"""Fleet sizes against scipy's Poisson sums, prices by accounting, exercises by other methods."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.intuition.batch_vs_online.batch_vs_online import (
    MLPERF_H200,
    batch_servers,
    cost_ratio,
    online_engines,
    online_servers,
    peak_servers,
    shared_prices,
)

LOADS = st.floats(0.05, 80.0)


def late_by_poisson(servers: int, load: float, wait: float) -> float:
    """P(W > t) of M/M/c from Poisson probabilities, in mean service times."""
    at = stats.poisson.pmf(servers, load) / (1 - load / servers)
    waiting = float(at / (stats.poisson.cdf(servers - 1, load) + at))
    return waiting * math.exp(-(servers - load) * wait)


@given(LOADS, st.floats(0.0, 3.0), st.floats(0.001, 0.9), st.floats(0.01, 10.0))
def test_online_servers_is_the_smallest(
    load: float, wait: float, late: float, service: float
) -> None:
    count = online_servers(load / service, service, wait * service, late)
    assert count > load
    assert late_by_poisson(count, load, wait) <= late * (1 + 1e-9)
    if count - 1 > load:
        assert late_by_poisson(count - 1, load, wait) > late * (1 - 1e-9)


@pytest.mark.parametrize(
    ("wait", "late", "count"),
    [(0.0, 0.02, 21), (0.0, 0.01, 23), (0.05, 0.01, 16), (10.0, 0.5, 13)],
)
def test_promises_of_the_page(wait: float, late: float, count: int) -> None:
    assert online_servers(250.0, 0.05, wait, late) == count


def test_a_whole_load_needs_one_more_than_itself() -> None:
    assert online_servers(4.0, 1.0, 1e6, 0.99) == 5  # c = a would have no steady state


@given(LOADS, st.floats(1.0, 9.0), st.floats(0.05, 1.0))
def test_fleets_bracket_the_fluid_ratio(load: float, peak: float, rho: float) -> None:
    batch, online = batch_servers(load, 1.0), peak_servers(load, 1.0, peak, rho)
    assert load <= batch + 1e-9 < load + 1 + 1e-8
    assert online >= batch
    assert load * cost_ratio(peak, rho) <= online + 1e-9
    assert online - 1 <= load * cost_ratio(peak, rho) + 1e-9


def test_rounding_noise_buys_no_server() -> None:
    assert batch_servers(100.0, 0.07) == 7  # 7.000000000000001 in floating point
    assert peak_servers(100.0, 0.07, 3.0, 1.0) == 21
    assert batch_servers(0.01, 0.01) == 1
    assert peak_servers(1e-11, 1.0, 1.0, 1.0) == batch_servers(1e-11, 1.0) == 1


@given(st.integers(1, 50), st.floats(0.01, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_prices_add_up(servers: int, busy: float, filled: float, share: float) -> None:
    online = busy * servers
    batch = filled * (servers - online)
    price, batch_price = shared_prices(servers, online, batch, share)
    assert online * price + batch * batch_price == pytest.approx(servers)
    assert batch_price == pytest.approx(share * price)


def test_prices_at_the_edges() -> None:
    assert shared_prices(4, 4.0, 0.0, 1.0) == (1.0, 1.0)
    assert shared_prices(4, 1.0, 3.0, 1.0) == (1.0, 1.0)
    assert shared_prices(4, 1.0, 3.0, 0.0) == (4.0, 0.0)


def test_mlperf_rows_are_rates() -> None:
    assert len(MLPERF_H200) == 8
    kept = [server / offline for server, offline in MLPERF_H200.values()]
    assert kept == sorted(kept)


def test_values_above_the_range() -> None:
    with pytest.raises(ValueError, match="online_load"):
        shared_prices(5, 5.1, 0.0, 1.0)
    with pytest.raises(ValueError, match="batch_load"):
        shared_prices(5, 2.0, 3.1, 1.0)


# Exercises


@given(LOADS, st.integers(1, 100), st.floats(0.001, 0.9))
def test_engines_hold_the_places_that_are_needed(load: float, places: int, late: float) -> None:
    engines = online_engines(load, 1.0, places, 0.0, late)
    needed = online_servers(load, 1.0, 0.0, late)
    assert (engines - 1) * places < needed <= engines * places
    assert online_engines(load, 1.0, 1, 0.0, late) == needed
