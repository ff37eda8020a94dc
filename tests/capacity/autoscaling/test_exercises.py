"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.autoscaling import exercises as exercises
from serving_mathematics.core.queues.erlang import erlang_c

from tests.profiles import costly


def test_replicas_to_drain() -> None:
    assert exercises.replicas_to_drain(0.0, 1.0, 0.0, 1.0) == 0
    assert exercises.replicas_to_drain(10.0, 3.0, 0.0, 1.0) == 4
    assert exercises.replicas_to_drain(0.3, 0.1, 0.0, 1.0) == 3  # no replica for rounding noise
    for bad, name in (
        ((-1.0, 1.0, 1.0, 1.0), "arrival_rate"),
        ((1.0, 0.0, 1.0, 1.0), "replica_rate"),
        ((1.0, 1.0, -1.0, 1.0), "backlog"),
        ((1.0, 1.0, 1.0, 0.0), "drain_s"),
    ):
        with pytest.raises(ValueError, match=f"{name} must be"):
            exercises.replicas_to_drain(*bad)


def test_target_for_ramp_and_keep_alive() -> None:
    assert exercises.target_for_ramp(0.0, 100.0) == exercises.target_for_ramp(0.1, 0.0) == 1.0
    assert exercises.target_for_ramp(0.01, 100.0) == pytest.approx(0.5)
    assert exercises.keep_alive(2.0, math.exp(-3.0))[0] == pytest.approx(1.5)
    for startup in (0.0, 50.0, 1e7):  # an endless start-up is paid and served late all the time
        seconds, paid = exercises.keep_alive(0.01, 0.2, startup)
        ends, waiting = math.exp(-0.01 * seconds), 0.01 * startup
        warm = (1 - ends) / ends
        assert (1 + waiting) / (1 + waiting + warm) == pytest.approx(0.2)
        assert (waiting + warm) / (1 + waiting + warm) == pytest.approx(paid)
    assert exercises.keep_alive(0.01, 0.2, 50.0)[0] > exercises.keep_alive(0.01, 0.2)[0]
    with pytest.raises(ValueError, match="startup_s must be"):
        exercises.keep_alive(1.0, 0.5, math.inf)
    for bad in (-1.0, math.inf):
        with pytest.raises(ValueError, match="delay_s must be"):
            exercises.target_for_ramp(0.1, bad)
    with pytest.raises(ValueError, match="arrival_rate must be"):
        exercises.keep_alive(0.0, 0.5)
    with pytest.raises(ValueError, match="cold_share must be"):
        exercises.keep_alive(1.0, 1.0)


@costly
@given(st.integers(1, 60), st.floats(0.01, 0.9), st.floats(0, 0.5))
def test_hottest_target_is_the_inverse_of_erlang(n: int, chance: float, tolerance: float) -> None:
    target = exercises.hottest_target(n, chance, tolerance=tolerance)
    assert erlang_c(n, target * (1 + tolerance) * n) == pytest.approx(chance, rel=1e-6)


def test_hottest_target_refuses() -> None:
    with pytest.raises(ValueError, match="wait_probability must be"):
        exercises.hottest_target(3, 1.0)
    with pytest.raises(ValueError, match="tolerance must be"):
        exercises.hottest_target(3, 0.5, tolerance=-0.1)
