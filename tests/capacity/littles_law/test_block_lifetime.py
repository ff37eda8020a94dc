"""How long a cache remembers: the law on a list that is filled and emptied, and the page's runs."""

from __future__ import annotations

import math

import numpy as np
from serving_mathematics.capacity.littles_law import block_lifetime
from serving_mathematics.capacity.littles_law.block_lifetime import block_lifetime_s


def test_where_nothing_is_fresh_all_is_kept_for_ever() -> None:
    assert block_lifetime_s(1, 0) == math.inf


def test_what_goes_first_by_hand() -> None:
    """Session 0 was used last at 9, with 60 tokens by then, session 1 at 4, session 2 runs."""
    came, done = np.array([0.0, 3.0, 7.0, 8.0, 11.0]), np.array([1.0, 4.0, 9.0, 20.0, 12.0])
    tokens, session = np.array([50, 30, 60, 10, 99]), np.array([0, 1, 0, 2, 1])
    for cache, due in ((9, 0.0), (69, 1.0), (70, 6.0), (99, 6.0), (100, math.inf)):
        got = block_lifetime._let_go_after_s(came, done, tokens, session, 10.0, cache)
        assert got == due
