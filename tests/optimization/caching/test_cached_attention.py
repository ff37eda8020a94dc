"""The decoder against a plain loop, and its cache under every kind of use."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.optimization.caching.cached_attention import (
    Decoder,
    Generation,
    KVCache,
    forward,
    generate,
    random_decoder,
)


def decoder(seed: int = 0, **sizes: Any) -> Decoder:
    small = {"width": 16, "query_heads": 4, "kv_heads": 2, "hidden": 24, "vocabulary": 11}
    return random_decoder(np.random.default_rng(seed), **(small | sizes))


def plain_logits(model: Decoder, tokens: list[int]) -> np.ndarray:
    """The last token's logits in 64 bits, head by head and token by token."""
    d = model.head_dim

    def normal(x: np.ndarray) -> np.ndarray:
        return x / math.sqrt(float(np.mean(x**2)) + 1e-6)

    def turned(x: np.ndarray, position: int) -> np.ndarray:
        pairs = x[: d // 2] + 1j * x[d // 2 :]
        angles = position * 100.0 ** (-np.arange(d // 2) / (d // 2))
        pairs = pairs * np.exp(1j * angles)
        return np.concatenate([pairs.real, pairs.imag])

    rows = [model.embedding[t].astype(float) for t in tokens]
    for query, key, value, output, up, down in model.layers:
        normed = [normal(x) for x in rows]
        mixed = []
        for i in range(len(rows)):
            heads = []
            for head in range(model.query_heads):
                shared = head // (model.query_heads // model.kv_heads)
                q = turned((normed[i] @ query)[head * d : (head + 1) * d], i)
                first = max(0, i - model.window + 1) if model.window else 0
                ks = [
                    turned((normed[j] @ key)[shared * d : (shared + 1) * d], j)
                    for j in range(first, i + 1)
                ]
                vs = [
                    (normed[j] @ value)[shared * d : (shared + 1) * d] for j in range(first, i + 1)
                ]
                scores = np.exp([q @ k / math.sqrt(d) for k in ks])
                heads.append(scores @ np.array(vs) / scores.sum())
            mixed.append(np.concatenate(heads))
        rows = [x + m @ output for x, m in zip(rows, mixed, strict=True)]
        rows = [x + np.maximum(normal(x) @ up, 0) @ down for x in rows]
    return normal(rows[-1]) @ model.embedding.T


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("window", [0, 3])
def test_forward_is_the_plain_loop(kv_heads: int, window: int) -> None:
    model = decoder(kv_heads=kv_heads, window=window)
    tokens = np.random.default_rng(1).integers(0, 11, 9).tolist()
    logits = forward(model, tokens)[0]
    for length in (1, 4, 9):
        expected = plain_logits(model, tokens[:length])
        assert logits[length - 1] == pytest.approx(expected, abs=2e-5)


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=5),
    st.sampled_from([0, 1, 2, 5]),
    st.integers(0, 3),
)
def test_any_chunks_give_the_same_logits(chunks: list[int], window: int, seed: int) -> None:
    model = decoder(seed, window=window)
    tokens = np.random.default_rng(seed).integers(0, 11, sum(chunks))
    whole = forward(model, tokens)[0]
    cache, start = KVCache(model, sum(chunks)), 0
    for size in chunks:
        part = forward(model, tokens[start : start + size], cache)[0]
        assert part == pytest.approx(whole[start : start + size], abs=1e-5)
        start += size
        assert cache.length == start
        assert len(cache.read(0)[0]) == min(start, window or start)


def test_cache_holds_keys_in_order() -> None:
    model = decoder(window=3)
    tokens = [1, 2, 3, 4, 5, 6, 7]
    rolling, full = KVCache(model, 99), KVCache(decoder(), 99)
    for token in tokens:
        forward(model, [token], rolling)
    forward(decoder(), tokens, full)
    assert rolling.slots == 3
    assert rolling.read(0)[0] == pytest.approx(full.read(0)[0][-3:], abs=1e-6)
    assert rolling.read(0)[1] == pytest.approx(full.read(0)[1][-3:], abs=1e-6)


def test_write_refuses_what_does_not_fit() -> None:
    model = decoder()
    cache = KVCache(model, 2)
    key = np.zeros((3, 2, 4), np.float32)
    with pytest.raises(ValueError, match="tokens must be at most 2 with this cache, got 3"):
        cache.write(0, key, key)
    assert cache.length == 0


@given(st.integers(1, 3), st.sampled_from([1, 2, 4]), st.integers(1, 50))
def test_bytes(layers: int, kv_heads: int, slots: int) -> None:
    cache = KVCache(decoder(layers=layers, kv_heads=kv_heads), slots)
    assert cache.nbytes == 2 * layers * kv_heads * 4 * 4 * slots


def test_window_as_long_as_the_context_changes_nothing() -> None:
    tokens = list(range(9))
    assert np.array_equal(forward(decoder(window=9), tokens)[0], forward(decoder(), tokens)[0])
    assert not np.allclose(forward(decoder(window=8), tokens)[0], forward(decoder(), tokens)[0])


def test_generation_follows_the_largest_logit() -> None:
    model = decoder(3)
    result = generate(model, [1, 2], 6, KVCache(model, 8))
    assert isinstance(result, Generation)
    assert result.logits.shape == (6, 11)
    known = [1, 2]
    for token, logits in zip(result.tokens.tolist(), result.logits, strict=True):
        expected = plain_logits(model, known)
        assert logits == pytest.approx(expected, abs=2e-5)
        assert token == int(np.argmax(expected))
        known.append(token)
    assert len(set(np.diff(result.operations[1:]).tolist())) == 1


def test_operations_of_one_token() -> None:
    model = decoder(layers=3)
    matrices = 3 * (16 * 16 + 2 * 16 * 8 + 16 * 16 + 2 * 16 * 24) + 16 * 11
    assert forward(model, [5])[1] == 2 * matrices + 3 * 4 * 16
    assert model.head_dim == 4
    assert model.vocabulary == 11


@pytest.mark.parametrize("bad", [0, -1, 1.5, math.nan, math.inf])
def test_sizes_are_refused(bad: float) -> None:
    for name in ("layers", "width", "query_heads", "kv_heads", "hidden", "vocabulary"):
        with pytest.raises(ValueError, match=f"{name} must be a positive integer"):
            decoder(**{name: bad})
    if bad != 0:
        with pytest.raises(ValueError, match="window must be a non-negative integer"):
            decoder(window=bad)
    count: Any = bad
    with pytest.raises(ValueError, match="slots must be a positive integer"):
        KVCache(decoder(), count)
    with pytest.raises(ValueError, match="steps must be a positive integer"):
        generate(decoder(), [1], count)


def test_shapes_and_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="width must be a multiple of 2·query_heads"):
        decoder(width=12)
    with pytest.raises(ValueError, match="query_heads must be a multiple of kv_heads"):
        decoder(kv_heads=3)
    model = decoder()
    bad: Any
    for bad in ([], [[1]], [0.5], 3):
        with pytest.raises(ValueError, match="tokens must be a non-empty"):
            forward(model, bad)
    for token in (-1, 11):
        with pytest.raises(ValueError, match=r"tokens must be in \[0, 11\)"):
            forward(model, [token])
    cache = KVCache(model, 5)
    forward(model, [1], cache)
    with pytest.raises(ValueError, match="cache must be empty, got 1"):
        generate(model, [1], 1, cache)
    with pytest.raises(ValueError, match="tokens must be at most 5 with this cache"):
        forward(model, [1] * 5, cache)


def test_decoders_that_do_not_fit_are_refused() -> None:
    model = decoder()
    bad: Any
    for bad in (np.ones(3, np.float32), np.ones((0, 4), np.float32), 1.0):
        with pytest.raises(ValueError, match="embedding must be of shape"):
            Decoder(bad, model.layers, 4, 2)
    for bad in (0, -1, 1.5, math.nan, math.inf):
        with pytest.raises(ValueError, match="query_heads must be a positive integer"):
            Decoder(model.embedding, model.layers, bad, 2)
        with pytest.raises(ValueError, match="kv_heads must be a positive integer"):
            Decoder(model.embedding, model.layers, 4, bad)
    with pytest.raises(ValueError, match="query_heads must be a multiple of kv_heads, got 3"):
        Decoder(model.embedding, model.layers, 3, 2)
    with pytest.raises(ValueError, match="window must be a non-negative integer, got -1"):
        Decoder(model.embedding, model.layers, 4, 2, -1)
    for bad in ((), math.nan):
        with pytest.raises(ValueError, match="layers must be a tuple of one or more"):
            Decoder(model.embedding, bad, 4, 2)
    first = model.layers[0]
    for bad in (first[:5], (*first[:5], np.ones(3)), (*first, first[0])):
        with pytest.raises(ValueError, match="layers must be of six matrices each"):
            Decoder(model.embedding, (bad,), 4, 2)
    for bad in ((*first[:4], first[5], first[4]), (first[1], *first[1:])):
        with pytest.raises(ValueError, match="layers must be of shapes"):
            Decoder(model.embedding, (bad,), 4, 2)
    with pytest.raises(ValueError, match="layers must be of query and key heads with one size"):
        Decoder(model.embedding, model.layers, 4, 4)
    with pytest.raises(ValueError, match="layers must be of heads with an even size, got 16"):
        Decoder(model.embedding, model.layers, 16, 8)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="embedding must be finite"):
            Decoder(model.embedding + np.float32(bad), model.layers, 4, 2)
        spoilt = (*model.layers[0][:5], model.layers[0][5] * np.float32(bad))
        with pytest.raises(ValueError, match="layers must be finite"):
            Decoder(model.embedding, (spoilt, *model.layers[1:]), 4, 2)
