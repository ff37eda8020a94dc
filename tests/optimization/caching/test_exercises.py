"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import pytest
from serving_mathematics.optimization.caching.exercises import (
    break_even_bandwidth,
    longest_context,
    what_the_cache_says,
)


def test_longest_context_limits() -> None:
    assert longest_context(0.0, 1, 8.0) == 0.0
    assert longest_context(800.0, 1, 8.0) == 100.0
    assert longest_context(800.0, 1, 8.0, 0.5, 100) == 100.0
    assert longest_context(808.0, 1, 8.0, 0.5, 100) == 102.0
    assert longest_context(799.0, 1, 8.0, 1.0, 100) == 99.0
    assert longest_context(808.0, 1, 8.0, 1.0, 100) == math.inf


def test_break_even_bandwidth_scales() -> None:
    one = break_even_bandwidth(7e9, 1e5, 4e14)
    assert break_even_bandwidth(14e9, 1e5, 4e14) == pytest.approx(one / 2)
    assert break_even_bandwidth(7e9, 2e5, 2e14) == pytest.approx(one)


def test_a_longer_prefix_needs_less_bandwidth() -> None:
    model = (8e9, 1.3e5, 4e14)
    needed = [break_even_bandwidth(*model, n, 2.0**17) for n in (1, 2_000, 32_768, 131_072)]
    assert needed == sorted(needed, reverse=True)
    assert break_even_bandwidth(*model, 10**9) == break_even_bandwidth(*model)


def test_preemptions_come_first() -> None:
    for found, repeated in ((0.0, 0.0), (0.3, 0.9), (0.9, 0.9)):
        assert what_the_cache_says(0.1, found, repeated) == "memory"
