"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from serving_mathematics.optimization.caching.cache_replacement import hit_ratio, zipf
from serving_mathematics.optimization.caching.exercises import (
    block_waste,
    break_even_bandwidth,
    items_for,
    longest_context,
    semantic_threshold,
)

BAD_COUNTS = [0, -1, 1.5, math.nan, math.inf]


BAD_SIZES = [0.0, -1.0, math.nan, math.inf]


def test_longest_context_limits() -> None:
    assert longest_context(0.0, 1, 8.0) == 0.0
    assert longest_context(800.0, 1, 8.0) == 100.0
    assert longest_context(800.0, 1, 8.0, 0.5, 100) == 100.0
    assert longest_context(808.0, 1, 8.0, 0.5, 100) == 102.0
    assert longest_context(799.0, 1, 8.0, 1.0, 100) == 99.0
    assert longest_context(808.0, 1, 8.0, 1.0, 100) == math.inf


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_longest_context_refuses(bad: float) -> None:
    with pytest.raises(ValueError, match="memory_bytes must be"):
        longest_context(bad, 1, 8.0)
    with pytest.raises(ValueError, match="sequences must be"):
        longest_context(1.0, bad, 8.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bytes_per_token must be"):
        longest_context(1.0, 1, bad)
    with pytest.raises(ValueError, match="windowed_share must be"):
        longest_context(1.0, 1, 8.0, bad)
    with pytest.raises(ValueError, match="window must be"):
        longest_context(1.0, 1, 8.0, 0.5, bad)  # type: ignore[arg-type]


@given(st.floats(1.0, 5000.0), st.integers(1, 200))
def test_block_waste_is_bounded(mean: float, block: int) -> None:
    waste = block_waste(mean, block)
    assert (block - 1) / 2 - 1e-6 <= waste <= block - 1 + 1e-9 * block


def test_block_waste_refuses() -> None:
    for bad in (0.5, math.nan, math.inf):
        with pytest.raises(ValueError, match="mean_tokens must be"):
            block_waste(bad, 16)
    for block in BAD_COUNTS:
        with pytest.raises(ValueError, match="block_tokens must be"):
            block_waste(9.0, block)  # type: ignore[arg-type]


def test_items_for_is_the_root_rounded_up() -> None:
    p = zipf(300, 0.8)
    for target in (0.2, 0.6, 0.95):
        root = optimize.brentq(lambda c, t=target: hit_ratio(p, c, True) - t, 0.5, 299.5)
        assert items_for(p, target) == math.ceil(root)
    assert items_for([0.5, 0.5], 0.9) == 2
    for bad in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="target must be in"):
            items_for(p, bad)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30),
    st.floats(0, 3),
    st.floats(0, 9),
)
def test_no_threshold_gains_more(rows: list[tuple[int, bool]], cost: float, loss: float) -> None:
    scores = np.array([row[0] for row in rows], dtype=float)
    same = np.array([row[1] for row in rows])
    threshold, gain = semantic_threshold(scores, same, cost, loss)

    def gain_at(level: float) -> float:
        return float(np.mean((scores >= level) * (cost - loss * ~same)))

    assert gain == pytest.approx(max(0.0, *(gain_at(s) for s in scores)), abs=1e-9)
    assert gain_at(threshold) == pytest.approx(gain, abs=1e-9)


def test_semantic_threshold_refuses() -> None:
    with pytest.raises(ValueError, match="similarities must be a non-empty"):
        semantic_threshold([], np.array([], dtype=bool), 1.0, 1.0)
    with pytest.raises(ValueError, match="similarities must be finite"):
        semantic_threshold([math.nan], [True], 1.0, 1.0)
    with pytest.raises(ValueError, match="same must be booleans"):
        semantic_threshold([0.5], [1], 1.0, 1.0)
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="call_cost must be"):
            semantic_threshold([0.5], [True], bad, 1.0)
        with pytest.raises(ValueError, match="false_hit_loss must be"):
            semantic_threshold([0.5], [True], 1.0, bad)


def test_break_even_bandwidth_scales() -> None:
    one = break_even_bandwidth(7e9, 1e5, 4e14)
    assert break_even_bandwidth(14e9, 1e5, 4e14) == pytest.approx(one / 2)
    assert break_even_bandwidth(7e9, 2e5, 2e14) == pytest.approx(one)
    for place, name in enumerate(("parameters", "kv_bytes_per_token", "flops_per_s")):
        for bad in BAD_SIZES:
            values = [1.0, 1.0, 1.0]
            values[place] = bad
            with pytest.raises(ValueError, match=f"{name} must be"):
                break_even_bandwidth(*values)


def test_a_longer_prefix_needs_less_bandwidth() -> None:
    model = (8e9, 1.3e5, 4e14)
    needed = [break_even_bandwidth(*model, n, 2.0**17) for n in (1, 2_000, 32_768, 131_072)]
    assert needed == sorted(needed, reverse=True)
    assert break_even_bandwidth(*model, 10**9) == break_even_bandwidth(*model)
    for tokens, width, name in ((0.0, 1.0, "prefix_tokens"), (1.0, -1.0, "attention_width")):
        with pytest.raises(ValueError, match=f"{name} must be"):
            break_even_bandwidth(*model, tokens, width)


def test_popularities_are_refused() -> None:
    bad: Any
    for bad in (math.nan, [], [1.0], [0.5, 0.6], [[0.5, 0.5]], [math.nan, 0.5], [1.5, -0.5]):
        with pytest.raises(ValueError, match="popularity must be two or more positive numbers"):
            items_for(bad, 0.5)
