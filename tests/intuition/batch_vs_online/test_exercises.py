"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.intuition.batch_vs_online.batch_vs_online import (
    batch_servers,
    cost_ratio,
    online_servers,
    peak_servers,
    shared_prices,
)
from serving_mathematics.intuition.batch_vs_online.exercises import (
    backlog_at_full_load,
    fair_batch_load,
    fleet_for_jobs,
    spot_price,
)

BAD_NUMBERS = [math.nan, math.inf, -1.0]


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
