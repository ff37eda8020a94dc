"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.autoscaling import exercises as exercises


def test_replicas_to_drain() -> None:
    assert exercises.replicas_to_drain(0.0, 1.0, 0.0, 1.0) == 0
    assert exercises.replicas_to_drain(10.0, 3.0, 0.0, 1.0) == 4
    assert exercises.replicas_to_drain(1e-12, 3.0, 0.0, 1.0) == 1
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


@given(st.floats(0, 64), st.floats(0, 100), st.floats(0.1, 5))
def test_what_happened_is_one_of_four(running: float, waiting: float, over: float) -> None:
    said = exercises.what_happened(running, waiting, 64, over)
    assert said in {"short", "swings", "heavier", "well"}
    if waiting < 1:
        assert (said == "heavier") == (over >= 1.1)
    with pytest.raises(ValueError, match="running must be"):
        exercises.what_happened(65, waiting, 64, over)
