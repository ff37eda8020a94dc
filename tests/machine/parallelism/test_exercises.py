"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import pytest
from serving_mathematics.core.hardware.step_time import SEND_S
from serving_mathematics.machine.parallelism.exercises import (
    cheapest_within,
    context_worth_cutting,
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


def test_cheapest_within() -> None:
    assert cheapest_within(2.0, [3.0, 2.0, 1.0], [1.0, 4.0, 4.0]) == 2
    assert cheapest_within(9.0, [3.0, 2.0, 1.0], [1.0, 4.0, 4.0]) == 0
    with pytest.raises(ValueError, match="costs must be of shape"):
        cheapest_within(1.0, [1.0, 1.0], [1.0])
