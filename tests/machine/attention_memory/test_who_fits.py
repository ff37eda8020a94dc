"""Who fits: a count by hand, copies on devices, and what cancels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.architectures import Attention
from serving_mathematics.core.hardware.catalogue import find_system
from serving_mathematics.core.hardware.deployments import (
    WORKED,
    require_deployment,
    weight_bytes,
)
from serving_mathematics.machine.attention_memory.who_fits import (
    ASKING,
    GIB,
    LENGTHS,
    SHOWN,
    SPLITS,
    _engine,
    example,
    full_read_s,
    sequences_that_fit,
    slider_who_fits,
    spread_bytes,
)


@given(st.integers(1, 128), st.sampled_from([1, 2, 4, 8, 16]))
def test_devices_hold_all_of_it_at_least_once(kv_heads: int, devices: int) -> None:
    attention = Attention("full", 0, cached_values=256 * kv_heads, kv_heads=kv_heads)
    spread = spread_bytes(attention, devices)
    assert spread >= spread_bytes(attention, 1) == 512 * kv_heads
    assert spread == pytest.approx(512 * kv_heads * max(1, devices / kv_heads))


def test_sequences_by_hand() -> None:
    one = dataclasses.replace(WORKED, system=find_system("h200"), tensor=2)
    free = 0.9 * one.system.memory_bytes - 4 * 2**30 - weight_bytes(one)
    assert sequences_that_fit(one, 4096) == int(free / (65536 * 4096))
    twice = dataclasses.replace(one, tensor=1, attention_data=2)
    free = 0.9 * one.system.memory_bytes - 4 * 2**30 - weight_bytes(twice)
    assert sequences_that_fit(twice, 4096) == 2 * int(free / (131072 * 4096))
    assert sequences_that_fit(one, 1e9) == 0


def test_a_selection_is_read_in_part_and_a_state_twice() -> None:
    selects, states = _engine("selects"), _engine("states")
    fit = sequences_that_fit(selects, 100_000)
    each = 61 * (2048 * 1152 + 100_000 * 132)
    assert full_read_s(selects, 100_000) == pytest.approx(fit * each / 4.8e12)
    fit = sequences_that_fit(states, 10)
    _, linear, _ = next(layer for layer in states.architecture.layers if layer[1].state_values)
    kept = 15 * 10 * 2 * 256 * 2 + 45 * 2 * linear.state_values * 4 / 8  # one of two heads each
    assert full_read_s(states, 10) == pytest.approx(fit * kept / 4.8e12, rel=1e-6)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", SHOWN)
def test_every_engine_that_is_shown_can_be(kind: str, split: str) -> None:
    one = _engine(kind, split)
    require_deployment(one)
    assert one.devices == 8


def test_the_slider_shows_what_fits() -> None:
    told = slider_who_fits()
    fit = np.array(told["panels"][1]["curves"][0]["values"])
    running = np.array(told["panels"][0]["running"])
    waiting = np.array(told["panels"][0]["waiting"])
    assert fit.shape == (len(LENGTHS), len(SHOWN), len(SPLITS))
    assert (running == np.minimum(fit, ASKING)).all()
    assert (running + waiting == ASKING).all()
    held, _, step, left, read = (np.array(readout["values"]) for readout in told["readouts"])
    assert left[5, 2] == pytest.approx(70_272 * 32_768 / GIB)  # what one copy takes
    assert (left <= held * (1 + 1e-9)).all()
    assert (read < step).all()
    assert held[5, 0, 0] == pytest.approx(253_952 * 32_768 / GIB)
    assert held[5, 2, 0] == pytest.approx(8 * 70_272 * 32_768 / GIB)  # a copy on each
    assert held[5, 2, 1] == pytest.approx(70_272 * 32_768 / GIB)
    assert (step > 5).all()
    assert (np.diff(fit, axis=0) <= 0).all()
    assert example().spread_times == pytest.approx(8 * 70_272 / 253_952)
