"""The prefix cache against tries and limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.optimization.caching.prefix_cache import (
    PrefixCache,
    block_keys,
)

TOKENS = st.lists(st.integers(0, 1), max_size=12)


@given(TOKENS, TOKENS, st.integers(1, 4))
def test_keys_are_equal_exactly_for_equal_prefixes(
    one: list[int], other: list[int], block: int
) -> None:
    a, b = block_keys(np.array(one, int), block), block_keys(np.array(other, int), block)
    assert len(a) == len(one) // block
    assert len(b) == len(other) // block
    for place, (x, y) in enumerate(zip(a, b, strict=False), 1):
        assert (x == y) == (one[: place * block] == other[: place * block])


@given(st.lists(TOKENS, min_size=1, max_size=8), st.integers(1, 3))
def test_large_cache_finds_the_longest_prefix(sequences: list[list[int]], block: int) -> None:
    cache = PrefixCache(10_000)
    seen: list[list[int]] = []
    for tokens in sequences:
        keys = block_keys(np.array(tokens, int), block)
        common = 0
        for old in seen:
            same = 0
            while same < min(len(old), len(tokens)) and old[same] == tokens[same]:
                same += 1
            common = max(common, same // block)
        assert cache.match(keys) == common
        cache.store(keys)
        seen.append(tokens)


@given(st.lists(TOKENS, min_size=1, max_size=12), st.integers(1, 6))
def test_small_cache_stays_small_and_whole(sequences: list[list[int]], capacity: int) -> None:
    cache, parent = PrefixCache(capacity), dict[bytes, bytes]()
    for tokens in sequences:
        keys = block_keys(np.array(tokens, int), 2)
        parent.update(zip(keys[1:], keys[:-1], strict=True))
        cache.store(keys)
        assert len(cache.blocks) <= capacity
        assert all(parent[key] in cache.blocks for key in cache.blocks if key in parent)
        assert cache.match(keys) == min(len(keys), capacity)


def test_least_recently_used_goes_first() -> None:
    cache = PrefixCache(2)
    for name in (b"a", b"b", b"a", b"c"):
        cache.store([name])
    assert [cache.match([name]) for name in (b"a", b"b", b"c")] == [1, 0, 1]
    with pytest.raises(ValueError, match="capacity must be a positive integer"):
        PrefixCache(0)
