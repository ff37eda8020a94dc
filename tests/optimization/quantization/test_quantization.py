"""Affine codes against ONNX's rules and loops, products of codes, and the exercises' solutions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from serving_mathematics.optimization.quantization.quantization import (
    Quantized,
    integer_product,
    quantize,
)

MATRICES = hnp.arrays(
    np.float64, (6, 4), elements=st.floats(-1e3, 1e3, allow_subnormal=False, width=32)
)


@given(MATRICES, st.integers(2, 16), st.booleans(), st.sampled_from([None, 0, 1]))
def test_codes_fit_and_err_by_half_a_step(
    x: np.ndarray, bits: int, symmetric: bool, axis: int | None
) -> None:
    got = quantize(x, bits, symmetric, axis)
    low, high = (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1) if symmetric else (0, 2**bits - 1)
    assert low <= got.codes.min() <= got.codes.max() <= high
    assert np.all(np.abs(got.values() - x) <= got.scale * (0.5 + 1e-9) + 1e-300)
    assert np.all((x != 0) | (got.values() == 0))
    shape = {None: (1, 1), 0: (1, 4), 1: (6, 1)}[axis]
    assert got.scale.shape == shape
    if symmetric:
        assert not got.zero.any()


def test_hand_worked_codes() -> None:
    got = quantize([0.0, 1.0, 2.0, 15.0], 4, symmetric=False)
    assert got.codes.tolist() == [0, 1, 2, 15]
    assert got.zero.tolist() == [0]
    assert got.scale.tolist() == [1.0]
    negative = quantize([-3.0, -1.0], 2, symmetric=False)  # range widened to 0
    assert negative.codes.tolist() == [0, 2]
    assert negative.zero.tolist() == [3]
    assert quantize([0.5, 1.5, 2.5, 127.0], 8).codes.tolist() == [0, 2, 2, 127]  # half to even
    assert quantize([0.0, 0.0], 8).scale.tolist() == [1.0]
    assert quantize([-1.0, 0.0], 8).codes.tolist() == [-127, 0]
    assert Quantized(np.array([5]), np.array([0.5]), np.array([3])).values().tolist() == [1.0]


def test_integer_product_by_a_loop() -> None:
    rng = np.random.default_rng(3)
    x, w = rng.normal(2, 1, (3, 5)), rng.normal(size=(5, 2))
    left, right = quantize(x, 6, False, axis=1), quantize(w, 5, False, axis=0)
    got = integer_product(left, right)
    for i in range(3):
        for j in range(2):
            total = sum(
                int(left.codes[i, k] - left.zero[i, 0]) * int(right.codes[k, j] - right.zero[0, j])
                for k in range(5)
            )
            assert got[i, j] == pytest.approx(total * left.scale[i, 0] * right.scale[0, j])
    by_column = Quantized(right.codes, right.scale[0], right.zero[0])  # of one dimension
    np.testing.assert_array_equal(integer_product(left, by_column), got)
    with pytest.raises(ValueError, match="left must"):  # a scale inside the sum
        integer_product(quantize(np.ones((2, 3)), 8, axis=0), quantize(np.ones((3, 1)), 8))
    with pytest.raises(ValueError, match="axis must be None or"):
        quantize([1.0], 8, True, 1)
