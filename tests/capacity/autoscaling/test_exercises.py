"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.autoscaling import exercises as exercises


def test_replicas_to_drain() -> None:
    assert exercises.replicas_to_drain(0.0, 1.0, 0.0, 1.0) == 0
    assert exercises.replicas_to_drain(10.0, 3.0, 0.0, 1.0) == 4
    assert exercises.replicas_to_drain(1e-12, 3.0, 0.0, 1.0) == 1


def test_target_for_ramp() -> None:
    assert exercises.target_for_ramp(0.0, 100.0) == exercises.target_for_ramp(0.1, 0.0) == 1.0
    assert exercises.target_for_ramp(0.01, 100.0) == pytest.approx(0.5)


@given(st.floats(0, 64), st.floats(0, 100), st.floats(0.1, 5))
def test_what_happened_is_one_of_four(running: float, waiting: float, over: float) -> None:
    said = exercises.what_happened(running, waiting, 64, over)
    assert said in {"short", "swings", "heavier", "well"}
    if waiting < 1:
        assert (said == "heavier") == (over >= 1.1)
