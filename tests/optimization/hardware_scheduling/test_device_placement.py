"""The border between two devices: both sides of it, its limits, and every refusal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.optimization.hardware_scheduling.device_placement import (
    border_intensity,
    decode_intensity,
)

positive = st.floats(0.01, 100.0)
pairs = st.tuples(positive, positive)


def cost(intensity: float, peak: float, bandwidth: float, price: float) -> float:
    """Price of an operation, from the time of one and of the bytes that it needs."""
    return price * max(1 / peak, 1 / (intensity * bandwidth))


@given(pairs, pairs, pairs, st.floats(1.001, 1e4))
def test_each_side_of_the_border_has_its_device(
    peak: tuple[float, float],
    bandwidth: tuple[float, float],
    price: tuple[float, float],
    factor: float,
) -> None:
    border = border_intensity(peak, bandwidth, price)
    assert border == border_intensity(peak[::-1], bandwidth[::-1], price[::-1])
    devices = list(zip(peak, bandwidth, price, strict=True))
    if math.isinf(border):
        ratios = [cost(i, *devices[0]) / cost(i, *devices[1]) for i in (1e-9, 0.1, 10.0, 1e9)]
        assert max(ratios) <= 1 + 1e-12 or min(ratios) >= 1 - 1e-12
        return
    above, below = sorted(devices, key=lambda device: device[2] / device[0])
    assert cost(border, *above) == pytest.approx(cost(border, *below))
    assert cost(border * factor, *above) <= cost(border * factor, *below) * (1 + 1e-12)
    assert cost(border / factor, *above) >= cost(border / factor, *below) * (1 - 1e-12)


def test_a_device_that_is_nowhere_dearer_has_no_border() -> None:
    assert math.isinf(border_intensity((1.0, 1.0), (1.0, 1.0), (1.0, 1.0)))
    assert math.isinf(border_intensity((1.0, 2.0), (1.0, 2.0), (1.0, 1.0)))
    assert math.isinf(border_intensity((2.0, 1.0), (1.0, 1.0), (1.0, 1.0)))  # equal per byte
    assert math.isinf(border_intensity((1.0, 1.0), (1.0, 3.0), (1.0, 1.0)))  # equal per operation


def test_the_unit_of_the_price_does_not_matter() -> None:
    one = border_intensity((312.0, 989.4), (2.039, 3.35), (1.0, 2.16))
    assert border_intensity((312.0, 989.4), (2.039, 3.35), (40.0, 86.4)) == pytest.approx(one)


def test_operations_per_byte_of_a_step() -> None:
    assert decode_intensity([1, 10], 8e9, 16e9, 0.0).tolist() == [1.0, 10.0]
    batches = np.array([1.0, 10.0, 1e12])
    some = decode_intensity(batches, 8e9, 16e9, 1e8)
    assert np.all(np.diff(some) > 0)
    assert some[-1] == pytest.approx(2 * 8e9 / 1e8)
    assert decode_intensity(np.ones((2, 3)), 1.0, 2.0, 0.0).shape == (2, 3)
