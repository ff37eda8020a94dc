"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import pytest
from serving_mathematics.optimization.caching.exercises import (
    break_even_bandwidth,
    longest_context,
    what_the_cache_says,
)

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


def test_preemptions_come_first() -> None:
    for found, repeated in ((0.0, 0.0), (0.3, 0.9), (0.9, 0.9)):
        assert what_the_cache_says(0.1, found, repeated) == "memory"
    for found, repeated, name in (
        (-0.1, 0.5, "found"),
        (0.1, 1.5, "repeated"),
        (0.6, 0.5, "found"),
    ):
        with pytest.raises(ValueError, match=f"{name} must be"):
            what_the_cache_says(0.0, found, repeated)
    with pytest.raises(ValueError, match="preempted_share must be"):
        what_the_cache_says(math.nan, 0.1, 0.2)
