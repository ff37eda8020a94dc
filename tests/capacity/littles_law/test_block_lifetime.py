"""How long a cache remembers: the law on a list that is filled and emptied, and the page's runs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.littles_law import block_lifetime
from serving_mathematics.capacity.littles_law.block_lifetime import block_lifetime_s
from serving_mathematics.core.machines.machines import AGENTS


@given(st.integers(1, 40), st.integers(1, 60), st.floats(0.1, 10))
def test_first_in_first_out_keeps_each_for_the_lifetime(
    cache: int, blocks: int, rate: float
) -> None:
    """Block i enters at i/rate, and leaves when as many as the cache holds have come after it."""
    stays = [(i + cache) / rate - i / rate for i in range(blocks)]
    assert block_lifetime_s(cache, rate) == pytest.approx(sum(stays) / blocks)


def test_limits_and_refusals() -> None:
    assert block_lifetime_s(5.0, 0.0) == math.inf
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="cache_tokens must be positive"):
            block_lifetime_s(bad, 1.0)
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="fresh_tokens_per_s must be non-negative"):
            block_lifetime_s(1.0, bad)


def test_the_page_quotes_the_figure() -> None:
    page = block_lifetime.example()
    lifetime, found, back, _ = block_lifetime._sessions(AGENTS, 0.4)
    assert page.calm_lifetime_min == pytest.approx(lifetime / 60)
    assert page.calm_found == pytest.approx(100 * found)
    assert 0 <= found <= 1
    assert 0 <= back <= 1
    assert page.busy_found < 30 < 90 < page.calm_found
