"""The spike: balances, the slider beside what the page says, and the errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.autoscaling.fluid_fleet import TICK_S
from serving_mathematics.capacity.autoscaling.spike import (
    MOST,
    RISES_S,
    SIGNALS,
    START,
    _Spike,
    cold_start,
    slider_spike,
)


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


def test_the_slider_waits_for_nobody_before_the_jump() -> None:
    waits = np.array(slider_spike()["panels"][1]["curves"][0]["values"])
    assert waits.shape == (len(SIGNALS), 3, 3, 41)
    assert np.all(waits[..., : RISES_S // 60] < 0.05)  # a step, until its end


def test_every_lane_begins_with_those_that_serve() -> None:
    for of_signal in slider_spike()["panels"][0]["bars"]:
        for of_startup in of_signal:
            for bars in of_startup:
                at_first = {bar[0] for bar in bars if bar[1] == 0}
                assert at_first == {str(lane + 1) for lane in range(START)}
                assert {int(bar[0]) for bar in bars} <= set(range(1, MOST + 1))
                assert all(start < end <= 40 for _, start, end, _ in bars)


def test_a_replica_is_paid_from_its_order_and_while_it_serves() -> None:
    run = _Spike(0.0, [2, 4, 1], [2, 2, 4], [0] * 3, [0] * 3, [0.0] * 3)
    assert run.replica_hours == pytest.approx((2 + 4 + 4) * TICK_S / 3600)
