"""Cache arithmetic against counted arrays and limits, and the solutions of the exercises."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from serving_mathematics.measuring import read_record
from serving_mathematics.optimization.cache_replacement import hit_ratio, zipf
from serving_mathematics.optimization.caching import (
    RECORD,
    example,
    how_many_fit,
    kv_bytes_per_token,
    latent_bytes_per_token,
    sequence_bytes,
    slider_memory_by_attention,
)
from serving_mathematics.optimization.exercises.caching import (
    block_waste,
    break_even_bandwidth,
    items_for,
    longest_context,
    semantic_threshold,
)

COUNTS = st.integers(1, 64)
BAD_COUNTS = [0, -1, 1.5, math.nan, math.inf]
BAD_SIZES = [0.0, -1.0, math.nan, math.inf]


@given(COUNTS, COUNTS, COUNTS)
def test_bytes_are_those_of_an_array(layers: int, heads: int, size: int) -> None:
    array = np.empty((layers, 2, heads, size), dtype=np.float16)
    assert kv_bytes_per_token(layers, heads, size) == array.nbytes
    latent = np.empty((layers, heads + size), dtype=np.float32)
    assert latent_bytes_per_token(layers, heads, size, 4.0) == latent.nbytes


@given(st.integers(1, 40), st.integers(0, 40), st.integers(1, 500), st.integers(0, 1000))
def test_sequence_is_summed_over_layers(full: int, windowed: int, window: int, tokens: int) -> None:
    layers = full + windowed
    expected = 8 * (full * tokens + windowed * min(tokens, window))
    got = sequence_bytes(tokens, 8.0 * layers, windowed / layers, window)
    assert float(got) == pytest.approx(expected)


def test_sequence_shapes_and_limits() -> None:
    assert sequence_bytes([[0, 10], [20, 30]], 2.0).tolist() == [[0.0, 20.0], [40.0, 60.0]]
    assert float(sequence_bytes(10**6, 2.0, 1.0, 128)) == 256.0
    assert float(sequence_bytes(128, 2.0, 1.0, 128)) == 256.0
    assert float(sequence_bytes(129, 2.0, 0.5, 128)) == 257.0


def test_how_many_fit_is_the_largest_number() -> None:
    for memory in (0.0, 99.9, 100.0, 1234.5):
        count = how_many_fit(memory, 100.0)
        assert count * 100.0 <= memory < (count + 1) * 100.0


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_amounts_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="tokens must be non-empty, non-negative"):
        sequence_bytes([1.0, bad], 1.0)
    with pytest.raises(ValueError, match="memory_bytes must be non-negative and finite"):
        how_many_fit(bad, 1.0)
    with pytest.raises(ValueError, match=r"windowed_share must be in \[0, 1\]"):
        sequence_bytes(1, 1.0, bad if bad != math.inf else 1.1, 4)
    with pytest.raises(ValueError, match="window must be a non-negative integer"):
        sequence_bytes(1, 1.0, 0.0, bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tokens must be non-empty"):
        sequence_bytes([], 1.0)


def test_record_has_a_source_for_every_row() -> None:
    record = read_record(RECORD)
    assert len(record["models"]) >= 10
    for row in record["models"]:
        assert row["url"].startswith("https://")
        assert 0 <= row["windowed_layers"] <= row["layers"]
        assert (row["windowed_layers"] > 0) == (row["window"] > 0)
        assert row["query_heads"] % row["kv_heads"] == 0
        assert row["context"] >= 2048
        assert row["hidden"] > 0 < row["vocabulary"]


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


def test_slider_says_the_numbers_of_the_page() -> None:
    told = slider_memory_by_attention()
    tokens, names, bits = (control["values"] for control in told["controls"])
    size, count = (np.asarray(told[k][0]["values"]) for k in ("curves", "readouts"))
    row = tokens.index(32_768)
    assert size[row, names.index("Llama-3-8B"), 0] == example().grouped_32k_gib
    assert size[row, names.index("Mistral-7B-v0.1"), 0] == example().mistral_window_gib
    full = size[tokens.index(2**17), names.index("Llama-3.1-405B"), 0]
    assert full == pytest.approx(example().full_128k_gib)
    assert count[row, names.index("Llama-3-8B")].tolist() == [16, 32, 64]
    assert set(names) == {row["model"] for row in read_record(RECORD)["models"]}
    assert bits == [16, 8, 4]
    assert size[..., 0] == pytest.approx(2 * size[..., 1])
    assert size[..., 0] == pytest.approx(4 * size[..., 2])
    assert (count == np.floor(64 / size)).all()


def test_groups_of_a_latent_on_the_page() -> None:
    """512 and 64 numbers a token, where a group of 128 keeps as many keys as values."""
    assert example().mla_as_groups == pytest.approx(2.25, rel=1e-12)
