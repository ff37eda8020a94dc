"""Ratios, bits and bytes: limits, identities, a simulation by hand, and every refusal."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.optimization.quantization.bits_and_noise import (
    bits_per_weight,
    full_scale_sqnr_db,
    sqnr_db,
)


@given(st.floats(1, 1e6), st.floats(1, 100))
def test_doubling_the_steps_adds_six_decibels(steps: float, crest: float) -> None:
    gained = full_scale_sqnr_db(2 * steps, crest) - full_scale_sqnr_db(steps, crest)
    assert gained == pytest.approx(20 * math.log10(2))
    lost = full_scale_sqnr_db(steps, crest) - full_scale_sqnr_db(steps, 10 * crest)
    assert lost == pytest.approx(20)


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


def test_steps_beyond_squaring_have_their_decibels() -> None:
    assert full_scale_sqnr_db(1e100, 1.0) == pytest.approx(2000 + 10 * math.log10(3))


def test_bits_that_nobody_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="shared must be pairs"):
        bits_per_weight(4, [(16, 0)])
