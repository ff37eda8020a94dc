"""The border between two devices: both sides of it, its limits, and every refusal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from serving_mathematics.optimization.hardware_scheduling.device_placement import (
    border_intensity,
    decode_intensity,
)


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
