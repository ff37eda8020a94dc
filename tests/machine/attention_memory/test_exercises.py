"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.architectures import (
    Attention,
)
from serving_mathematics.core.hardware.deployments import (
    WORKED,
)
from serving_mathematics.machine.attention_memory.attention_memory import (
    attention_flops,
    held_bytes,
    read_bytes,
    sequences_that_fit,
    spread_bytes,
)
from serving_mathematics.machine.attention_memory.exercises import (
    context_of_equal_work,
    longest_context,
    windowed_layers,
)
from serving_mathematics.machine.attention_memory.exercises import example as answers


@given(
    st.floats(1, 1e6),
    st.integers(1, 20),
    st.integers(1, 50),
    st.integers(0, 50),
    st.integers(0, 100),
    st.integers(0, 1000),
)
def test_longest_context_by_counting(
    memory: float, sequences: int, full: int, windowed: int, window: int, state: int
) -> None:
    found = longest_context(memory, sequences, full, windowed, window, state)
    held = [
        sequences * (state + full * tokens + windowed * min(tokens, window))
        for tokens in (found, found + 1)
    ]
    assert held[1] > memory * (1 - 1e-12)
    assert held[0] <= memory * (1 + 1e-12) or found == 0


@given(st.integers(1, 100), st.integers(1, 50), st.integers(51, 5000), st.floats(0, 1))
def test_fewest_windows(layers: int, window: int, tokens: int, share: float) -> None:
    least, most = layers * 3.0 * window, layers * 3.0 * tokens
    budget = least + share * (most - least)
    found = windowed_layers(layers, 3.0, window, tokens, budget)
    held = [3.0 * (n * window + (layers - n) * tokens) for n in (found, found - 1)]
    assert 0 <= found <= layers
    assert held[0] <= budget * (1 + 1e-9)
    assert found == 0 or held[1] > budget * (1 - 1e-9)


def test_answers_of_the_page() -> None:
    told = answers()
    assert told.llama_at_128k == pytest.approx(4.279, abs=0.0005)
    assert 131072 / context_of_equal_work(70.6e9, 80, 8192) == pytest.approx(2.433, abs=0.0006)
    assert told.llama_longest == 8192
    assert told.llama_windowed == 62


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_bad_numbers_are_named(bad: float) -> None:
    model = WORKED.architecture
    for function in (held_bytes, read_bytes, attention_flops):
        with pytest.raises(ValueError, match="tokens must be non-negative and finite"):
            function(model, bad)
    for place, name in enumerate(("cache_bytes", "state_bytes")):
        sizes = [1.0, 1.0]
        sizes[place] = bad
        for function in (held_bytes, read_bytes):
            with pytest.raises(ValueError, match=f"{name} must be positive and finite"):
                function(model, 1, *sizes)
    with pytest.raises(ValueError, match="cache_bytes must be positive and finite"):
        spread_bytes(Attention("full", 0), 1, bad)
    with pytest.raises(ValueError, match="tokens must be positive and finite"):
        sequences_that_fit(WORKED, bad)
    with pytest.raises(ValueError, match="memory_bytes must be non-negative and finite"):
        longest_context(bad, 1, 1.0)
    with pytest.raises(ValueError, match="parameters must be positive and finite"):
        context_of_equal_work(bad, 1, 1)
    with pytest.raises(ValueError, match="budget_bytes must be positive and finite"):
        windowed_layers(4, 1.0, 1, 10, bad)
