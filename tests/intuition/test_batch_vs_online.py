"""Fleet sizes against scipy's Poisson sums, prices by accounting, exercises by other methods."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.intuition.batch_vs_online import (
    MLPERF_H200,
    batch_servers,
    cost_ratio,
    online_engines,
    online_servers,
    peak_servers,
    shared_prices,
)
from serving_mathematics.intuition.exercises.batch_vs_online import (
    backlog_at_full_load,
    fair_batch_load,
    fleet_for_jobs,
    spot_price,
)

LOADS = st.floats(0.05, 80.0)
BAD_NUMBERS = [math.nan, math.inf, -1.0]


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


@pytest.mark.parametrize("bad", [*BAD_NUMBERS, 0.0])
def test_bad_rates_and_times(bad: float) -> None:
    for function in (
        lambda: batch_servers(bad, 1.0),
        lambda: peak_servers(bad, 1.0, 2.0, 0.5),
        lambda: backlog_at_full_load(bad, 1.0),
    ):
        with pytest.raises(ValueError, match="arrival_rate must be positive and finite"):
            function()
    for function in (
        lambda: batch_servers(1.0, bad),
        lambda: peak_servers(1.0, bad, 2.0, 0.5),
        lambda: online_servers(1.0, bad, 0.0, 0.1),
    ):
        with pytest.raises(ValueError, match="mean_service_s must be positive and finite"):
            function()
    with pytest.raises(ValueError, match="peak_rate must be positive and finite"):
        online_servers(bad, 1.0, 0.0, 0.1)
    with pytest.raises(ValueError, match="time_s must be positive and finite"):
        backlog_at_full_load(1.0, bad)
    with pytest.raises(ValueError, match=r"max_utilization must be in \(0, 1\]"):
        cost_ratio(2.0, bad)
    with pytest.raises(ValueError, match=r"max_utilization must be in \(0, 1\]"):
        peak_servers(1.0, 1.0, 2.0, bad)
    with pytest.raises(ValueError, match=r"late_share must be in \(0, 1\)"):
        online_servers(1.0, 1.0, 0.0, bad)
    with pytest.raises(ValueError, match=r"online_load must be in \(0, 5\]"):
        shared_prices(5, bad, 0.0, 0.5)
    with pytest.raises(ValueError, match=r"online_load must be in \(0, 5\]"):
        fair_batch_load(5, bad, 0.5)
    with pytest.raises(ValueError, match="servers must be a positive integer"):
        shared_prices(bad, 1.0, 0.0, 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="servers must be a positive integer"):
        fair_batch_load(bad, 1.0, 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"batch_price must be in \(0, 1\]"):
        fair_batch_load(5, 1.0, bad)
    with pytest.raises(ValueError, match=r"price_share must be in \(0, 1\]"):
        spot_price(bad, 0.1, 1.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="checkpoint_every_h must be positive"):
        spot_price(0.4, 0.1, bad, 0.0, 0.0)


@pytest.mark.parametrize("bad", BAD_NUMBERS)
def test_bad_numbers_where_zero_is_good(bad: float) -> None:
    with pytest.raises(ValueError, match="wait_s must be non-negative and finite"):
        online_servers(1.0, 1.0, bad, 0.1)
    with pytest.raises(ValueError, match=r"batch_load must be in \[0, 4\]"):
        shared_prices(5, 1.0, bad, 0.5)
    with pytest.raises(ValueError, match=r"batch_price must be in \[0, 1\]"):
        shared_prices(5, 1.0, 1.0, bad)
    for function in (cost_ratio, lambda r, rho: peak_servers(1.0, 1.0, r, rho)):
        with pytest.raises(ValueError, match="peak_to_mean must be finite and at least 1"):
            function(bad, 0.5)
    for name, arguments in (
        ("interruptions_per_h", (bad, 1.0, 0.0, 0.0)),
        ("checkpoint_h", (0.1, 1.0, bad, 0.0)),
        ("restart_h", (0.1, 1.0, 0.0, bad)),
    ):
        with pytest.raises(ValueError, match=f"{name} must be non-negative and finite"):
            spot_price(0.4, *arguments)


def test_values_above_the_range() -> None:
    with pytest.raises(ValueError, match="online_load"):
        shared_prices(5, 5.1, 0.0, 1.0)
    with pytest.raises(ValueError, match="batch_load"):
        shared_prices(5, 2.0, 3.1, 1.0)


# Exercises


@given(st.integers(2, 60), st.floats(0.02, 0.9), st.floats(0.05, 1.0))
def test_fair_load_makes_batch_pay_one(servers: int, busy: float, share: float) -> None:
    online = busy * servers
    load = fair_batch_load(servers, online, share)
    assert 0 <= load <= servers - online + 1e-9
    price = shared_prices(servers, online, min(load, servers - online), share)[1]
    assert price == pytest.approx(1.0) if load else price <= 1 + 1e-12


def test_backlog_scales() -> None:
    assert backlog_at_full_load(100.0, 86_400.0) == pytest.approx(
        math.sqrt(2 / math.pi * 2 * 100 * 0.05**2 * 86_400) / 5
    )
    assert backlog_at_full_load(1.0, 4.0) == pytest.approx(2 * backlog_at_full_load(1.0, 1.0))


@given(st.floats(0.01, 2.0), st.floats(0.1, 4.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_spot_price_by_its_recursion(
    rate: float, every: float, write: float, restart: float
) -> None:
    stretch = every + write
    through = math.exp(-rate * stretch)
    cut = stats.truncexpon.mean(rate * stretch, scale=1 / rate)  # length of a cut attempt
    expected = stretch + (1 - through) / through * (cut + restart)
    assert spot_price(0.3, rate, every, write, restart) == pytest.approx(0.3 * expected / every)


def test_spot_without_interruptions() -> None:
    assert spot_price(1.0, 0.0, 2.0, 0.5, 9.0) == 1.25
    assert spot_price(1.0, 1e-9, 2.0, 0.5, 9.0) == pytest.approx(1.25)
    with pytest.raises(ValueError, match=r"interruptions per stretch must be at most 50"):
        spot_price(1.0, 10.0, 5.0, 0.1, 0.0)


@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(1, 6), st.integers(1, 9)), min_size=1, max_size=6
    )
)
def test_jobs_fleet_by_every_interval(jobs: list[tuple[int, int, int]]) -> None:
    release = np.array([job[0] for job in jobs])
    due = release + np.array([job[1] for job in jobs])
    work = [job[2] for job in jobs]
    fleet, start, end = fleet_for_jobs(release, due, work)
    brute = max(
        sum(w for r, d, w in zip(release, due, work, strict=True) if i <= r and d <= k) / (k - i)
        for i in range(15)
        for k in range(i + 1, 16)
    )
    assert fleet == pytest.approx(brute)
    inside = (release >= start) & (due <= end)
    assert np.array(work)[inside].sum() == pytest.approx(fleet * (end - start))


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        (([], [], []), "release_h must be a non-empty line"),
        (([[0.0]], [[1.0]], [[1.0]]), "release_h must be a non-empty line"),
        (([math.nan], [1.0], [1.0]), "release_h must be finite"),
        (([0.0], [1.0, 2.0], [1.0]), r"due_h must be of shape \(1,\)"),
        (([0.0], [0.0], [1.0]), "due_h must be finite, after release_h"),
        (([0.0], [math.inf], [1.0]), "due_h must be finite, after release_h"),
        (([0.0], [1.0], [1.0, 2.0]), r"work must be of shape \(1,\)"),
        (([0.0], [1.0], [0.0]), "work must be positive and finite"),
        (([0.0], [1.0], [math.inf]), "work must be positive and finite"),
    ],
)
def test_bad_jobs(jobs: tuple[list[float], list[float], list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fleet_for_jobs(*jobs)


@given(LOADS, st.integers(1, 100), st.floats(0.001, 0.9))
def test_engines_hold_the_places_that_are_needed(load: float, places: int, late: float) -> None:
    engines = online_engines(load, 1.0, places, 0.0, late)
    needed = online_servers(load, 1.0, 0.0, late)
    assert (engines - 1) * places < needed <= engines * places
    assert online_engines(load, 1.0, 1, 0.0, late) == needed
