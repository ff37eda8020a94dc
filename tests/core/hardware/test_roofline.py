"""Limits, oracles, properties and errors of `core.hardware.roofline`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.roofline import (
    attainable_flops,
    cost_per_million,
    decode_step_time,
    matmul_intensity,
    ridge_intensity,
)

positive = st.floats(1e-3, 1e3)


@given(positive, positive, positive)
def test_roofline_is_the_lower_of_two_roofs(x: float, peak: float, bandwidth: float) -> None:
    rate = float(attainable_flops(x, peak, bandwidth))
    assert rate == pytest.approx(min(peak, bandwidth * x))
    corner = ridge_intensity(peak, bandwidth)
    assert float(attainable_flops(corner, peak, bandwidth)) == pytest.approx(peak)


def test_intensity_counts_operations_and_bytes() -> None:
    operations, moved = 2 * 3 * 5 * 7, 2 * (3 * 5 + 5 * 7 + 3 * 7)
    assert matmul_intensity(3, 5, 7) == pytest.approx(operations / moved)


def test_step_time_is_flat_then_linear() -> None:
    steps = decode_step_time([1, 10, 100, 200], 1.0, 2.0, 0.0, peak_flops=10.0, bandwidth=1.0)
    np.testing.assert_allclose(steps, [2.0, 2.0, 20.0, 40.0])
    assert decode_step_time(np.ones((2, 3)), 1.0, 2.0, 0.0, 10.0, 1.0).shape == (2, 3)


def test_price_scales() -> None:
    np.testing.assert_allclose(cost_per_million(7.2, [1000.0, 2000.0]), [2.0, 1.0])


def test_edges_that_are_refused() -> None:
    for empty in ([], [0.99]):
        with pytest.raises(ValueError, match="batch must be"):
            decode_step_time(empty, 1.0, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="kv_bytes must be"):
        decode_step_time(1, 1.0, 1.0, -1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="tokens_per_s"):
        cost_per_million(1.0, [])
    with pytest.raises(ValueError, match="intensity"):
        attainable_flops([], 1.0, 1.0)
