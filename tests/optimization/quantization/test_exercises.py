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


def test_a_full_memory_wants_room_and_products() -> None:
    for held, share, over in ((0.0, 0.0, 0.0), (1.0, 0.4, 0.4), (500.0, 1.0, 0.0)):
        assert what_to_quantize(0.01, held, share, over) == "weights and products"
    assert what_to_quantize(0.01, 1.1, 0.4, 0.4) == "cache"
    for bad in (-1.0, math.nan):
        with pytest.raises(ValueError, match="preempted_share must be non-negative"):
            what_to_quantize(bad, 1, 0.5, 0)
        with pytest.raises(ValueError, match="cache_over_weights must be non-negative"):
            what_to_quantize(0.0, bad, 0.5, 0)
        with pytest.raises(ValueError, match="over_ridge must be non-negative"):
            what_to_quantize(0.0, 1, 0.5, bad)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_solutions_refuse(bad: float) -> None:
    for place, name in enumerate(("weight_bits", "parameters", "from_bits")):
        values = [4.0, 1.0, 16.0]
        values[place] = bad
        with pytest.raises(ValueError, match=f"{name} must be positive"):
            decode_speedup(values[0], 0.0, values[1], values[2])
    with pytest.raises(ValueError, match=r"loss must be in \(0, 1\)"):
        answers_needed(bad, 0.5)


def test_solutions_refuse_other_ranges() -> None:
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="context_bytes must be non-negative"):
            decode_speedup(4, bad, 1.0)
    for bad in (0.4, 1.0, math.nan):
        with pytest.raises(ValueError, match="power must be in"):
            answers_needed(0.1, 0.2, bad)
    for bad in (0.05, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"changed must be from 0\.1 to 1"):
            answers_needed(0.1, bad)
