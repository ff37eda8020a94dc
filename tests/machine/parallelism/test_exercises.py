"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.step_time import SEND_S
from serving_mathematics.machine.parallelism.exercises import (
    context_worth_cutting,
    engine_width,
    worthwhile_devices,
)


def test_worthwhile_devices() -> None:
    assert worthwhile_devices(1.0, 1.0, 0.5) == 3  # 2 / (3 + 1)
    assert worthwhile_devices(1.0, 1e-9, 0.999) == 1


def test_context_worth_cutting() -> None:
    far = context_worth_cutting(1000.0, 1e-6, 1000, 1e12)
    assert far == pytest.approx((SEND_S + 1e-6) * 1e9 / 0.999)
    assert context_worth_cutting(1000.0, 0.0, 2, 1e12) == pytest.approx(2e9 * SEND_S)


@given(
    st.floats(1e-4, 1),
    st.floats(1e-7, 1e-2),
    st.floats(0.1, 500),
    st.sets(st.integers(1, 64), min_size=1),
)
def test_no_width_is_faster(w: float, e: float, r: float, widths: set[int]) -> None:
    said = engine_width(w, e, r, list(widths))
    assert said in widths
    least = min(w / n + e * (n - 1) * r for n in widths)
    assert w / said + e * (said - 1) * r <= least * (1 + 1e-9)
