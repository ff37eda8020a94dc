"""Cache arithmetic against counted arrays and limits, and the solutions of the exercises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.optimization.caching.caching import (
    RECORD,
    how_many_fit,
    kv_bytes_per_token,
    latent_bytes_per_token,
    sequence_bytes,
)
from serving_mathematics.support.measuring import read_record

COUNTS = st.integers(1, 64)


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


def test_how_many_fit_is_the_largest_number() -> None:
    for memory in (0.0, 99.9, 100.0, 1234.5):
        count = how_many_fit(memory, 100.0)
        assert count * 100.0 <= memory < (count + 1) * 100.0
    assert how_many_fit(1.0, 0.1) == 10  # 1 // 0.1 is 9


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
