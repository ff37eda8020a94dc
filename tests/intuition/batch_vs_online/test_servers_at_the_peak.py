"""Fleets of servers against scipy's Poisson sums; places; errors."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.intuition.batch_vs_online.servers_at_the_peak import (
    _places_load,
    example,
    online_servers,
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


def test_numbers_of_the_page() -> None:
    told = example()
    assert told.few_servers == 21
    assert told.few_busy == pytest.approx(100 * 12.5 / 21)
    assert told.many_busy == pytest.approx(94.27, abs=0.01)
    load = _places_load(256, 0.02)
    assert told.places_percent == pytest.approx(100 * load)
    assert late_by_poisson(256, 256 * load, 0.0) == pytest.approx(0.02, rel=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_bad_numbers(bad: float) -> None:
    with pytest.raises(ValueError, match="peak_rate must be positive and finite"):
        online_servers(bad, 1.0, 0.0, 0.1)
    with pytest.raises(ValueError, match="mean_service_s must be positive and finite"):
        online_servers(1.0, bad, 0.0, 0.1)
    with pytest.raises(ValueError, match="wait_s must be non-negative and finite"):
        online_servers(1.0, 1.0, bad, 0.1)
    with pytest.raises(ValueError, match=r"late_share must be in \(0, 1\)"):
        online_servers(1.0, 1.0, 0.0, bad)
