"""The prefix cache against tries, lengths and limits."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.optimization.caching.prefix_cache import (
    PrefixCache,
    Turn,
    block_keys,
    hit_tokens,
    multi_turn_workload,
    timer_hit_tokens,
    unlimited_hit_tokens,
)

TOKENS = st.lists(st.integers(0, 1), max_size=12)
BAD_COUNTS = [0, -1, 1.5, math.nan, math.inf]


def workload(seed: int = 1, conversations: int = 30, **options: Any) -> list[Turn]:
    return multi_turn_workload(np.random.default_rng(seed), conversations, **options)


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


def test_workload_is_what_it_says() -> None:
    turns = workload(2, 400, turns=3, think_s=10.0, system_tokens=20, rate_per_s=2.0)
    times = [turn.time_s for turn in turns]
    assert times == sorted(times)
    first = turns[0].tokens[:20]
    by_conversation: dict[int, list[Turn]] = {}
    for turn in turns:
        assert turn.tokens[:20].tolist() == first.tolist()
        by_conversation.setdefault(turn.conversation, []).append(turn)
    assert len(by_conversation) == 400
    for conversation in by_conversation.values():
        assert [turn.number for turn in conversation] == list(range(1, len(conversation) + 1))
        assert len(conversation) <= 5
        for before, after in itertools.pairwise(conversation):
            assert after.tokens[: before.tokens.size].tolist() == before.tokens.tolist()
            assert before.tokens.size < after.prompt_tokens < after.tokens.size
    counts = [len(conversation) for conversation in by_conversation.values()]
    assert abs(np.mean(counts) - 3) < 4 * math.sqrt(2 / 400)
    starts = max(turn.time_s for turn in turns if turn.number == 1)
    assert abs(starts - 200) < 4 * math.sqrt(400) / 2
    gaps = [b.time_s - a.time_s for c in by_conversation.values() for a, b in itertools.pairwise(c)]
    assert abs(np.mean(gaps) - 10) < 4 * 10 / math.sqrt(len(gaps))
    users = [turn.prompt_tokens - 20 for turn in turns if turn.number == 1]
    assert abs(np.mean(users) - 40) < 4 * 40 / math.sqrt(400)
    answers = [turn.tokens.size - turn.prompt_tokens for turn in turns]
    assert abs(np.mean(answers) - 80) < 4 * 80 / math.sqrt(len(answers))


def test_hits_grow_with_the_cache_up_to_the_lengths() -> None:
    turns = workload(3)
    found = hit_tokens(turns, [1, 50, 200, 1000, 10**6])
    assert found.shape == (5, len(turns))
    assert np.all(np.diff(found, axis=0) >= 0)
    assert found[-1].tolist() == unlimited_hit_tokens(turns, 256).tolist()
    assert np.all(found < [turn.prompt_tokens for turn in turns])
    assert int(found[0].max()) == 16


@pytest.mark.parametrize("block", [1, 5, 64])
def test_other_blocks(block: int) -> None:
    turns = workload(4, 8, system_tokens=100)
    found = hit_tokens(turns, [10**6], block)[0]
    assert found.tolist() == unlimited_hit_tokens(turns, 100, block).tolist()
    assert np.all(found % block == 0)


def test_timers_at_the_ends() -> None:
    turns = workload(5, 50)
    blocks, hits = timer_hit_tokens(turns, 0.0)
    assert blocks == 16
    assert set(hits.tolist()) == {256.0}
    hits = timer_hit_tokens(turns, 1e6)[1]
    assert hits[1:] == pytest.approx(unlimited_hit_tokens(turns, 256)[1:])


def test_timers_weigh_think_time() -> None:
    a = Turn(0.0, 0, 1, np.arange(49), 40)
    b = Turn(9.0, 0, 2, np.arange(81), 70)
    other = Turn(10.0, 1, 1, np.arange(17), 16)
    alive = 1 - math.exp(-2.0)
    blocks, hits = timer_hit_tokens([a, b, other], 60.0, system_tokens=16, think_s=30.0)
    assert hits.tolist() == pytest.approx([16.0, 16 + alive * 32, 16.0])
    assert blocks == pytest.approx(1 + (2 * 30.0 * alive + 4 * 60.0 + 0 * 60.0) / 10.0)


@pytest.mark.parametrize("bad", BAD_COUNTS)
def test_counts_are_refused(bad: float) -> None:
    rng = np.random.default_rng(0)
    count: Any = bad
    with pytest.raises(ValueError, match="conversations must be a positive integer"):
        multi_turn_workload(rng, count)
    for name in ("turns", "system_tokens"):
        with pytest.raises(ValueError, match=f"{name} must be a positive integer"):
            multi_turn_workload(rng, 1, **{name: count})
    with pytest.raises(ValueError, match="block_tokens must be a positive integer"):
        block_keys([1], count)
    with pytest.raises(ValueError, match="capacity must be a positive integer"):
        PrefixCache(count)
    with pytest.raises(ValueError, match="system_tokens must be a positive integer"):
        unlimited_hit_tokens([], count)
    turns = workload(6, 3)
    for name in ("system_tokens", "block_tokens"):
        with pytest.raises(ValueError, match=f"{name} must be a positive integer"):
            timer_hit_tokens(turns, 1.0, **{name: count})
    with pytest.raises(ValueError, match="block_tokens must be a positive integer"):
        unlimited_hit_tokens(turns, 16, count)
    with pytest.raises(ValueError, match="capacities must be positive integers"):
        hit_tokens(turns, [4, count])
    with pytest.raises(ValueError, match="prompt_tokens must be an integer from 1 to 5"):
        Turn(0.0, 0, 1, np.arange(5), count)


def test_turns_are_refused() -> None:
    bad: Any
    with pytest.raises(ValueError, match="prompt_tokens must be an integer from 1 to 5, got 6"):
        Turn(0.0, 0, 1, np.arange(5), 6)
    for bad in (3, [[1, 2]], np.array([0.5, 1.0])):
        with pytest.raises(ValueError, match="tokens must be an"):
            Turn(0.0, 0, 1, bad, 1)
    with pytest.raises(ValueError, match="time_s must be finite, got nan"):
        Turn(math.nan, 0, 1, np.arange(5), 5)
    together = [Turn(0.0, k, 1, np.arange(40), 20) for k in range(2)]
    with pytest.raises(ValueError, match="turns must be of two or more conversations, the last"):
        timer_hit_tokens(together, 1.0)
    with pytest.raises(ValueError, match="turns must be not empty"):
        unlimited_hit_tokens([], 16)
    with pytest.raises(ValueError, match="capacities must be at least one"):
        hit_tokens(together, [])
    half: Any = 20.0  # a whole number in another type
    assert hit_tokens(together, [9], half).tolist() == [[0, 20]]
