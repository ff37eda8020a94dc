"""Affine codes against ONNX's rules and loops, products of codes, and the exercises' solutions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from serving_mathematics.optimization.exercises.quantization import (
    best_clip,
    decode_speedup,
    images_needed,
    smallest_group,
)
from serving_mathematics.optimization.quantization import (
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


@pytest.mark.parametrize("bad", [1, 17, 4.5, math.nan, -4])
def test_bits_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="bits must be an integer from 2 to 16"):
        quantize([1.0], bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bits must be an integer from 2 to 16"):
        best_clip([1.0], bad)  # type: ignore[arg-type]


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


@given(st.floats(4.001, 20), st.integers(1, 40))
def test_smallest_group_is_smallest(budget: float, overhead: int) -> None:
    group = smallest_group(4, budget, overhead)
    assert 4 + overhead / group <= budget + 1e-9
    assert group == 1 or 4 + 2 * overhead / group > budget


def test_clip_of_an_outlier() -> None:
    x = np.append(np.linspace(-1, 1, 2001), 50.0)
    assert best_clip(x, 8) > 0.5  # eight bits can afford the outlier: clipping it costs more
    assert best_clip(np.append(np.linspace(-1, 1, 200_001), 50.0), 3) < 0.1
    assert best_clip([1.0, -1.0], 4) == 1.0


def test_speedup_and_images() -> None:
    assert decode_speedup(4, 0.0, 1e9, from_bits=8) == 2.0
    assert decode_speedup(4, 1e30, 1e9) == pytest.approx(1.0)
    assert decode_speedup(8, 2e9, 1e9) == pytest.approx(4 / 3)
    assert images_needed(0.01, 0.02, 0.9) > images_needed(0.01, 0.02, 0.8)
    assert images_needed(0.005, 0.015) == math.ceil(
        (1.959963985 + 0.8416212336) ** 2 * (0.015 - 0.005**2) / 0.005**2
    )


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_solutions_refuse(bad: float) -> None:
    with pytest.raises(ValueError, match="bits must be positive"):
        smallest_group(bad, 5.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="overhead_bits must be positive"):
        smallest_group(4, 5.0, bad)
    for place, name in enumerate(("weight_bits", "parameters", "from_bits")):
        values = [4.0, 1.0, 16.0]
        values[place] = bad
        with pytest.raises(ValueError, match=f"{name} must be positive"):
            decode_speedup(values[0], 0.0, values[1], values[2])
    with pytest.raises(ValueError, match=r"loss must be in \(0, 1\)"):
        images_needed(bad, 0.5)


def test_solutions_refuse_other_ranges() -> None:
    for bad in (3.0, 4.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="budget_bits must be more than the code's"):
            smallest_group(4, bad)
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="context_bytes must be non-negative"):
            decode_speedup(4, bad, 1.0)
    for bad in (0.4, 1.0, math.nan):
        with pytest.raises(ValueError, match="power must be in"):
            images_needed(0.1, 0.2, bad)
    for bad in (0.05, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"changed must be from 0\.1 to 1"):
            images_needed(0.1, bad)
    for values in ([math.nan], [0.0], [[1.0]], []):
        with pytest.raises(ValueError, match="values must be finite, not all 0"):
            best_clip(values, 4)
    for bad in (0, 1.5, math.nan):
        with pytest.raises(ValueError, match="candidates must be a positive integer"):
            best_clip([1.0], 4, bad)  # type: ignore[arg-type]
