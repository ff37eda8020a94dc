"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.step_time import SEND_S
from serving_mathematics.machine.parallelism.exercises import (
    context_worth_cutting,
    next_devices,
    worthwhile_devices,
)


def test_worthwhile_devices() -> None:
    assert worthwhile_devices(1.0, 1.0, 0.5) == 3  # 2 / (3 + 1)
    assert worthwhile_devices(1.0, 1e-9, 0.999) == 1
    with pytest.raises(ValueError, match="efficiency must be"):
        worthwhile_devices(1.0, 1.0, 1.5)
    with pytest.raises(ValueError, match="fixed_s must be"):
        worthwhile_devices(0.0, 1.0, 0.5)


def test_context_worth_cutting() -> None:
    far = context_worth_cutting(1000.0, 1e-6, 1000, 1e12)
    assert far == pytest.approx((SEND_S + 1e-6) * 1e9 / 0.999)
    assert context_worth_cutting(1000.0, 0.0, 2, 1e12) == pytest.approx(2e9 * SEND_S)
    with pytest.raises(ValueError, match="bytes_a_token must be"):
        context_worth_cutting(0.0, 0.0, 2, 1.0)


@given(st.floats(0.01, 1), st.floats(0, 1), st.floats(0, 90), st.floats(0, 90))
def test_next_devices_is_by_its_readings(late: float, full: float, has: float, even: float) -> None:
    said = next_devices(late, 0.05, full, has, even)
    assert (said == "none") == (late <= 0.05 and full <= 0.9)
    if said != "none":
        assert (said == "share") == (has < even)


def test_next_devices_refuses() -> None:
    with pytest.raises(ValueError, match="promised_s must be positive"):
        next_devices(1.0, 0.0, 0.5, 1.0, 1.0)
    with pytest.raises(ValueError, match="requests must be non-negative"):
        next_devices(1.0, 1.0, 0.5, -1.0, 1.0)
