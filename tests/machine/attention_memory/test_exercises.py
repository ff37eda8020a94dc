"""Limits of the exercises, beyond their checks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.machine.attention_memory.exercises import (
    full_device,
    what_is_kept,
    windowed_layers,
)


@given(st.floats(1e9, 1e12), st.floats(1e11, 1e13), st.floats(1e4, 1e6), st.floats(1, 1e5))
def test_a_full_device_is_read_in_no_more_than_its_bytes(
    room: float, bandwidth: float, each: float, tokens: float
) -> None:
    count, seconds = full_device(room, bandwidth, each, tokens)
    assert count * each * tokens <= room * (1 + 1e-12) < (count + 1) * each * tokens * (1 + 1e-9)
    assert seconds <= room / bandwidth * (1 + 1e-12)
    assert seconds == pytest.approx(count * each * tokens / bandwidth)


@given(st.floats(1e3, 1e6), st.floats(0.2, 5), st.floats(0.96, 1.04), st.integers(1, 64))
def test_what_is_kept_to_a_tenth(full: float, ratio: float, off: float, devices: int) -> None:
    windowed, each = ratio * full, 1e6 * off / devices
    assert what_is_kept(full * each, 10, 1e5, full, windowed, devices) == "freed"
    assert what_is_kept((full + windowed) * each, 10, 1e5, full, windowed, devices) == "kept"
    assert what_is_kept(0.5 * full * each, 10, 1e5, full, windowed, devices) == "neither"


@given(st.integers(1, 100), st.integers(1, 50), st.integers(51, 5000), st.floats(0, 1))
def test_fewest_windows(layers: int, window: int, tokens: int, share: float) -> None:
    least, most = layers * 3.0 * window, layers * 3.0 * tokens
    budget = least + share * (most - least)
    found = windowed_layers(layers, 3.0, window, tokens, budget)
    held = [3.0 * (n * window + (layers - n) * tokens) for n in (found, found - 1)]
    assert 0 <= found <= layers
    assert held[0] <= budget * (1 + 1e-9)
    assert found == 0 or held[1] > budget * (1 - 1e-9)
