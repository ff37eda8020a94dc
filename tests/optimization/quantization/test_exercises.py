"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import pytest
from serving_mathematics.optimization.quantization.exercises import (
    answers_needed,
    decode_speedup,
    what_to_quantize,
)


def test_speedup_and_answers() -> None:
    assert decode_speedup(4, 0.0, 1e9, from_bits=8) == 2.0
    assert decode_speedup(4, 1e30, 1e9) == pytest.approx(1.0)
    assert decode_speedup(8, 2e9, 1e9) == pytest.approx(4 / 3)
    assert answers_needed(0.01, 0.02, 0.9) > answers_needed(0.01, 0.02, 0.8)
    assert answers_needed(0.005, 0.015) == math.ceil(
        (1.959963985 + 0.8416212336) ** 2 * (0.015 - 0.005**2) / 0.005**2
    )


def test_prompts_come_before_a_cache() -> None:
    assert what_to_quantize(500.0, 1.0, 0.0) == "weights and products"
    assert what_to_quantize(1.1, 0.4, 0.4) == "cache"
    assert what_to_quantize(0.0, 0.0, 0.0) == "weights"
