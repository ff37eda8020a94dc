"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.optimization.quantization.exercises import (
    best_clip,
    decode_speedup,
    images_needed,
    smallest_group,
)
from serving_mathematics.optimization.quantization.quantization import (
    quantize,
)


@pytest.mark.parametrize("bad", [1, 17, 4.5, math.nan, -4])
def test_bits_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="bits must be an integer from 2 to 16"):
        quantize([1.0], bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bits must be an integer from 2 to 16"):
        best_clip([1.0], bad)  # type: ignore[arg-type]


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
