"""Smoothing: products that stay, peaks that move, channels of zeros, and every refusal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from serving_mathematics.optimization.quantization.outlier_channels import (
    bits_left,
    smooth,
    smoothing_factors,
)

POSITIVE = st.floats(1e-3, 1e3)


@given(hnp.arrays(np.float64, (2, 5), elements=POSITIVE), st.floats(0, 1))
def test_factors_move_peaks_along_a_line(peaks: np.ndarray, strength: float) -> None:
    x, w = peaks
    factors = smoothing_factors(x, w, strength)
    assert x / factors == pytest.approx(x ** (1 - strength) * w ** (1 - strength))
    assert w * factors == pytest.approx(x**strength * w**strength)


@given(
    hnp.arrays(np.float64, (3, 4), elements=st.floats(-100, 100)),
    hnp.arrays(np.float64, (4, 2), elements=st.floats(-100, 100)),
    st.floats(0, 1),
)
def test_product_stays(x: np.ndarray, w: np.ndarray, strength: float) -> None:
    x, w = np.where(np.abs(x) < 1e-6, 0, x), np.where(np.abs(w) < 1e-6, 0, w)
    left, right = smooth(x, w, strength)
    assert left @ right == pytest.approx(x @ w, rel=1e-9, abs=1e-6)


def test_channels_of_zeros_stay() -> None:
    left, right = smooth([[0.0, 8.0, 4.0]], [[3.0], [0.0], [1.0]])
    assert left.tolist() == [[0.0, 8.0, 2.0]]
    assert right.tolist() == [[3.0], [0.0], [2.0]]
    left, right = smooth([[0.0]], [[0.0]])
    assert left.tolist() == right.tolist() == [[0.0]]


def test_bits_left() -> None:
    assert bits_left(8, 1.0) == 8.0
    assert bits_left(4, 64.0) == -2.0


def test_layers_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="activations must be finite"):
        smooth([[np.nan]], [[1.0]])
    with pytest.raises(ValueError, match="weights must be a matrix of 1"):
        smooth([[1.0]], [[1.0], [2.0]])
