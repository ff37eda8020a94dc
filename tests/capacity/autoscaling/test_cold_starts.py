"""Start-up: limits, balances, the renewal argument by quadrature, and the errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.autoscaling.cold_starts import (
    cold_start,
    example,
    setup_response_time,
    slider_cold_start,
)
from serving_mathematics.core.queues.erlang import mean_wait


def test_cold_start_without_overload_or_delay_leaves_nothing() -> None:
    assert cold_start(90.0, 10.0, 10, 120.0, 12) == (0.0, 0.0)
    assert cold_start(150.0, 10.0, 10, 0.0, 16) == (0.0, 0.0)
    assert cold_start(20.0, 10.0, 0, 30.0, 3) == (600.0, 60.0)  # from zero, everything queues
    assert cold_start(0.0, 10.0, 0, 30.0, 1) == (0.0, 0.0)


@given(st.floats(1, 200), st.integers(0, 30), st.floats(0, 600), st.integers(1, 20))
def test_cold_start_drain_balances_the_flows(
    rate: float, replicas: int, startup: float, extra: int
) -> None:
    after = math.floor(rate / 7.0) + extra
    backlog, drain = cold_start(rate, 7.0, replicas, startup, after)
    overload = max(0.0, rate - 7.0 * replicas)
    arrived, served = rate * drain, 7.0 * after * drain
    assert backlog == pytest.approx(overload * startup)
    assert served - arrived == pytest.approx(backlog, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2.0, 1.0, 1, 1.0, 2), "replicas_after must be an integer above .* = 2, got 2"),
        ((1.0, 1.0, 1, 1.0, 2.5), "replicas_after must be an integer above"),
    ],
)
def test_cold_start_refuses(arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cold_start(*arguments)  # type: ignore[arg-type]


def test_setup_limits() -> None:
    for rho in (0.1, 0.5, 0.9):
        plain = 1.0 + mean_wait(rho, 1.0)
        assert setup_response_time(rho, 1.0, 0.0) == pytest.approx(plain)
        assert setup_response_time(rho, 1.0, 7.0) == pytest.approx(plain + 7.0)
    assert setup_response_time(0.0, 2.0, 3.0, setup_scv=0.0) == pytest.approx(5.0)  # all pay
    assert setup_response_time(0.5, 1.0, 0.0, service_scv=0.0) == pytest.approx(1.5)
    assert setup_response_time(0.5, 1.8, 1.0) == pytest.approx(1.8 / 0.1 + 1.0)


def test_setup_formula_by_the_renewal_argument() -> None:
    """Number present while not serving, over one cycle of idling and setting up, by quadrature."""
    arrival_rate, setup = 0.8, 10.0
    time = np.linspace(0, setup, 100_001)
    area = np.trapezoid(1 + arrival_rate * time, time)  # one request at first, more as time goes
    extra = area / (1 / arrival_rate + setup) / arrival_rate
    got = setup_response_time(arrival_rate, 1.0, setup, setup_scv=0.0) - 5.0
    assert got == pytest.approx(extra, rel=1e-9)
    mixed = setup_response_time(arrival_rate, 1.0, setup, setup_scv=2.5) - 5.0
    assert mixed == pytest.approx((20 + 0.8 * 350) / 18)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"arrival_rate": 1.0}, "below 1 for a stable queue, got 1.0"),
    ],
)
def test_setup_refuses(arguments: dict[str, float], message: str) -> None:
    usual = {"arrival_rate": 0.5, "mean_service_s": 1.0, "mean_setup_s": 1.0}
    with pytest.raises(ValueError, match=message):
        setup_response_time(**(usual | arguments))


def test_slider_says_the_numbers_of_the_page() -> None:
    told, page = slider_cold_start(), example()
    startups, orders, peaks = (list(control["values"]) for control in told["controls"])
    empty = np.asarray(told["curves"][0]["values"])
    backlog, wait = (np.asarray(readout["values"]) for readout in told["readouts"])
    place = (startups.index(120), orders.index(18), peaks.index(150))
    assert backlog[place] == page.backlog
    assert empty[place] == pytest.approx(120 + page.drain_s)
    assert wait[place] == pytest.approx(page.newcomer_wait_s)
    tight = (startups.index(120), orders.index(16), peaks.index(150))
    assert empty[tight] == pytest.approx(120 + page.drain_s_tight)
    for place, until in np.ndenumerate(empty):
        d, after, peak = startups[place[0]], orders[place[1]], peaks[place[2]]
        assert backlog[place] == pytest.approx((peak - 100) * d)
        assert until == pytest.approx(d + (peak - 100) * d / (10 * after - peak))
        assert wait[place] == pytest.approx((peak - 100) * d / (10 * after))
