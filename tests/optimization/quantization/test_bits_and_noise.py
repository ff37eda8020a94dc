"""Ratios, bits and bytes: limits, identities, a simulation by hand, and every refusal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.optimization.quantization.bits_and_noise import (
    bits_per_weight,
    example,
    full_scale_sqnr_db,
    packed_nibbles,
    sqnr_db,
    stored_bytes,
)
from serving_mathematics.optimization.quantization.quantization import Quantized, quantize


@given(st.floats(1, 1e6), st.floats(1, 100))
def test_doubling_the_steps_adds_six_decibels(steps: float, crest: float) -> None:
    gained = full_scale_sqnr_db(2 * steps, crest) - full_scale_sqnr_db(steps, crest)
    assert gained == pytest.approx(20 * math.log10(2))
    lost = full_scale_sqnr_db(steps, crest) - full_scale_sqnr_db(steps, 10 * crest)
    assert lost == pytest.approx(20)


def test_formula_is_the_noise_of_uniform_rounding() -> None:
    x = np.random.default_rng(1).uniform(-1, 1, 200_000)
    step = 2 / 37
    rounded = (np.floor(x / step + 0.5)) * step
    assert sqnr_db(x, rounded) == pytest.approx(full_scale_sqnr_db(37, 3**0.5), abs=0.05)


def test_ratio_limits() -> None:
    assert sqnr_db([1.0, 2.0], [1.0, 2.0]) == math.inf
    assert sqnr_db([1.0, -1.0], [0.0, 0.0]) == 0.0
    assert sqnr_db([1.0], [11.0]) == pytest.approx(-20)
    assert sqnr_db([[3.0, 4.0]], [[3.0, 3.0]]) == pytest.approx(10 * math.log10(25))


@given(st.integers(1, 8), st.integers(1, 512))
def test_bits_are_those_of_a_tensor(bits: int, group: int) -> None:
    groups = 7
    total = groups * (group * bits + 16 + 4)
    assert bits_per_weight(bits, [(16, group), (4, group)]) == pytest.approx(
        total / (groups * group)
    )
    assert bits_per_weight(bits, []) == bits


def test_stored_bytes_by_hand() -> None:
    assert stored_bytes(64, 64, 32) == 64 * 64 * 4 + 64 * 4
    assert stored_bytes(64, 64, 8) == 64 * 64 + 2 + 64 * 4
    assert stored_bytes(64, 64, 8, 64) == 64 * 64 + 2 * 64 + 64 * 4
    assert stored_bytes(64, 64, 4, 16) == 64 * 32 + 2 * 4 * 64 + 64 * 4
    assert stored_bytes(64, 64, 4, 32) == 64 * 32 + 2 * 2 * 64 + 64 * 4


@given(st.lists(st.integers(0, 15), min_size=2, max_size=40).filter(lambda q: len(q) % 2 == 0))
def test_nibbles_come_back(codes: list[int]) -> None:
    packed = packed_nibbles(codes)
    assert packed.dtype == np.uint8
    assert packed.size == len(codes) // 2
    assert [code for byte in packed.tolist() for code in (byte % 16, byte // 16)] == codes


def test_approximations_are_refused() -> None:
    with pytest.raises(ValueError, match=r"approximations must be of shape \(1,\)"):
        sqnr_db([1.0], [1.0, 2.0])


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_bits_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="bits must be positive"):
        bits_per_weight(bad, [])
    with pytest.raises(ValueError, match="shared must be pairs"):
        bits_per_weight(4, [(bad, 32)])
    with pytest.raises(ValueError, match="shared must be pairs"):
        bits_per_weight(4, [(16, 32), (16, bad)])


def test_layers_and_codes_are_refused() -> None:
    for bad in (0, -1, 1.5, math.nan, math.inf):
        with pytest.raises(ValueError, match="inputs must be a positive integer"):
            stored_bytes(bad, 4, 8)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="outputs must be a positive integer"):
            stored_bytes(4, bad, 8)  # type: ignore[arg-type]
    for bad in (1, 33, 4.5, math.nan):
        with pytest.raises(ValueError, match="bits must be an integer from 2 to 32"):
            stored_bytes(4, 4, bad)  # type: ignore[arg-type]
    for bad in (0, 3, 8, math.nan):
        with pytest.raises(ValueError, match="group must be None or a divisor of 4"):
            stored_bytes(4, 4, 8, bad)  # type: ignore[arg-type]
    for codes in ([16, 0], [-1, 0], [0.0, 1.0], []):
        with pytest.raises(ValueError, match="codes must be integers from 0 to 15"):
            packed_nibbles(codes)
    with pytest.raises(ValueError, match="codes must be of even length"):
        packed_nibbles([[1], [2]])


def test_steps_beyond_squaring_have_their_decibels() -> None:
    assert full_scale_sqnr_db(1e100, 1.0) == pytest.approx(2000 + 10 * math.log10(3))


def test_a_bit_is_six_decibels_on_the_page() -> None:
    assert example().decibels_per_bit == pytest.approx(20 * math.log10(2), rel=1e-9)


def test_seven_bits_lose_to_rounding_alone_and_eight_to_clamping() -> None:
    rng, found = np.random.default_rng(77), example()

    def numbers(one: Quantized) -> np.ndarray:
        return np.asarray((one.codes - one.zero) * one.scale)

    expected = []
    for bits in (8, 7):
        ratios = []
        for _ in range(4):
            x, w = rng.normal(size=(64, 256)), rng.normal(size=(256, 64))
            rounded = numbers(quantize(x, 8, symmetric=False)) @ numbers(quantize(w, bits, axis=0))
            ratios.append(sqnr_db(x @ w, rounded))
        expected.append(float(np.mean(ratios)))
    assert [found.units_8_bits_db, found.units_7_bits_db] == pytest.approx(expected, abs=0.5)
    assert found.clamped_db + found.clamped_half_db < found.units_7_bits_db
