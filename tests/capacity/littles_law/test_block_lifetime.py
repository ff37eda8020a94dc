"""How long a cache remembers: the law on a list that is filled and emptied, and the page's runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.littles_law import block_lifetime
from serving_mathematics.capacity.littles_law.block_lifetime import block_lifetime_s


@given(st.integers(1, 40), st.integers(1, 60), st.floats(0.1, 10))
def test_first_in_first_out_keeps_each_for_the_lifetime(
    cache: int, blocks: int, rate: float
) -> None:
    """Block i enters at i/rate, and leaves when as many as the cache holds have come after it."""
    stays = [(i + cache) / rate - i / rate for i in range(blocks)]
    assert block_lifetime_s(cache, rate) == pytest.approx(sum(stays) / blocks)


def test_what_goes_first_by_hand() -> None:
    """Session 0 was used last at 9, with 60 tokens by then, session 1 at 4, session 2 runs."""
    came, done = np.array([0.0, 3.0, 7.0, 8.0, 11.0]), np.array([1.0, 4.0, 9.0, 20.0, 12.0])
    tokens, session = np.array([50, 30, 60, 10, 99]), np.array([0, 1, 0, 2, 1])
    for cache, due in ((9, 0.0), (69, 1.0), (70, 6.0), (99, 6.0), (100, math.inf)):
        got = block_lifetime._let_go_after_s(came, done, tokens, session, 10.0, cache)
        assert got == due
