"""Affine codes against ONNX's rules and loops, products of codes, and the exercises' solutions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from serving_mathematics.optimization.quantization.quantization import (
    Quantized,
    clamped_product,
    integer_logits,
    integer_product,
    quantize,
    rounded_weights,
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


@given(MATRICES, st.integers(2, 8))
def test_rounding_twice_changes_nothing_more(x: np.ndarray, bits: int) -> None:
    once = rounded_weights(x, bits, group=3)
    assert np.allclose(rounded_weights(once, bits, group=3), once, rtol=1e-12, atol=0)


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


def test_rounded_weights_by_a_loop() -> None:
    w = np.random.default_rng(1).normal(size=(8, 3))
    for group in (1, 2, 4, 8):
        expected = np.zeros_like(w)
        for start in range(0, 8, group):
            for unit in range(3):
                part = w[start : start + group, unit]
                step = abs(part).max() / 7
                expected[start : start + group, unit] = np.round(part / step) * step
        assert rounded_weights(w, 4, group) == pytest.approx(expected)
    step = abs(w).max() / 7
    assert rounded_weights(w, 4) == pytest.approx(np.round(w / step) * step)


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


def test_clamped_product_by_a_loop() -> None:
    """In 16 bits as numpy has them, an odd number of inputs and both ends included."""
    rng = np.random.default_rng(4)
    left = Quantized(rng.integers(200, 256, (3, 7)), rng.uniform(1, 2, (3, 1)), np.array([[9]]))
    right = Quantized(rng.integers(-128, 128, (7, 40)), np.full((1, 1), 0.5), np.array([[0]]))
    got, clamped = clamped_product(left, right), {-(2**15): 0, 2**15 - 1: 0}
    for i in range(3):
        for j in range(40):
            total = 0
            for k in range(0, 7, 2):
                pair = sum(
                    int(left.codes[i, m] * right.codes[m, j]) for m in range(k, min(k + 2, 7))
                )
                within = min(max(pair, -(2**15)), 2**15 - 1)
                if within != pair:
                    clamped[within] += 1
                total += within - 9 * int(right.codes[k : k + 2, j].sum())
            assert got[i, j] == pytest.approx(total * left.scale[i, 0] * 0.5)
    assert min(clamped.values()) > 5


def test_codes_of_other_sizes_are_not_clamped() -> None:
    left = quantize(np.ones((2, 4)), 8, symmetric=False)
    for codes, zero in (([[128]] * 4, 0), ([[-129]] * 4, 0), ([[1]] * 4, 1)):
        right = Quantized(np.array(codes), np.ones((1, 1)), np.array([[zero]]))
        with pytest.raises(ValueError, match="right must be of codes from −128 to 127 around 0"):
            clamped_product(left, right)
    for code in (-1, 256):
        bad = Quantized(np.array([[code]]), np.ones((1, 1)), np.array([[0]]))
        with pytest.raises(ValueError, match="left must be of codes from 0 to 255"):
            clamped_product(bad, bad)
    with pytest.raises(ValueError, match="right must be a matrix of 4 rows"):
        clamped_product(left, quantize(np.ones((3, 2)), 8))


def test_integer_logits_approach_the_layers() -> None:
    rng = np.random.default_rng(4)
    layers = ((rng.normal(size=(10, 7)), rng.normal(size=7)), (rng.normal(size=(7, 3)), np.ones(3)))
    x = rng.uniform(size=(6, 10))
    exact = np.maximum(x @ layers[0][0] + layers[0][1], 0) @ layers[1][0] + layers[1][1]
    errors = [np.abs(integer_logits(layers, x, bits) - exact).max() for bits in (4, 8, 16)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-2


def test_shapes_are_refused() -> None:
    for axis in (2, -3, 0.5):
        with pytest.raises(ValueError, match="axis must be None or an axis of 2"):
            quantize(np.ones((2, 2)), 8, axis=axis)  # type: ignore[arg-type]
    for group in (0, 3, 8, 1.5):
        with pytest.raises(ValueError, match="group must be a divisor of 4"):
            rounded_weights(np.ones((4, 2)), 4, group)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weights must be a non-empty matrix"):
        rounded_weights(np.ones((0, 2)), 4)
    row, column = quantize(np.ones((2, 3)), 8, axis=1), quantize(np.ones((3, 2)), 8, axis=0)
    with pytest.raises(ValueError, match="left must be scaled per row"):
        integer_product(quantize(np.ones((2, 3)), 8, axis=0), column)
    with pytest.raises(ValueError, match="right must be scaled per column"):
        integer_product(row, quantize(np.ones((3, 2)), 8, axis=1))
    with pytest.raises(ValueError, match="right must be a matrix of 3 rows"):
        integer_product(row, row)
    with pytest.raises(ValueError, match="left must be a matrix"):
        integer_product(quantize([1.0], 8), column)
    with pytest.raises(ValueError, match="layers must be one or more"):
        integer_logits((), [[1.0]])
