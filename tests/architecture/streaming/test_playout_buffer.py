"""The reader's buffer: brute force for every stream, Lambert's W for the chance, refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import lambertw
from serving_mathematics.architecture.streaming.playout_buffer import (
    _late,
    delay_for_stalls_s,
    read_times_s,
    reading_gap_s,
    simulate_stalls,
    smallest_start_delay_s,
    stall_probability,
)

steps = st.lists(st.floats(0, 2), min_size=1, max_size=30)


@given(steps, st.floats(0.01, 2), st.floats(0, 5))
def test_reading_follows_its_recursion(gaps: list[float], gap: float, delay: float) -> None:
    arrival = np.cumsum(gaps)
    clock = arrival[0] + delay
    expected = [clock]
    for time in arrival[1:]:
        clock = max(time, clock + gap)
        expected.append(clock)
    assert read_times_s(arrival, gap, delay).tolist() == pytest.approx(expected)


@given(steps, st.floats(0.01, 2))
def test_the_smallest_delay_is_the_smallest(gaps: list[float], gap: float) -> None:
    arrival = np.cumsum(gaps)
    delay = smallest_start_delay_s(arrival, gap)

    def waits(start_delay: float) -> bool:
        schedule = arrival[0] + start_delay + gap * np.arange(arrival.size)
        return bool(np.any(arrival > schedule + 1e-9))

    assert not waits(delay)
    assert delay >= 0
    if delay > 1e-6:
        assert waits(delay - 1e-7)
    held_back = read_times_s(arrival, gap, delay)
    assert np.diff(held_back) == pytest.approx(gap)
    assert held_back[-1] == pytest.approx(read_times_s(arrival, gap)[-1])


@pytest.mark.parametrize("ratio", [0.01, 0.3, 0.9, 0.999, 0.999999])
def test_sigma_is_lamberts(ratio: float) -> None:
    sigma = -ratio * float(lambertw(-math.exp(-1 / ratio) / ratio).real)
    assert stall_probability(0.0, ratio, 1.0) == pytest.approx(sigma, rel=1e-6)


@given(st.floats(0.05, 0.95), st.floats(0, 20), st.floats(0.01, 10))
def test_stalls_depend_on_ratios_only(ratio: float, delay: float, unit: float) -> None:
    chance = stall_probability(delay, ratio, 1.0)
    assert 0 <= chance < 1
    assert stall_probability(delay * unit, ratio * unit, unit) == pytest.approx(chance, rel=1e-6)
    assert stall_probability(delay + 1, ratio, 1.0) < chance or chance == 0


@given(st.floats(1e-6, 0.99), st.floats(0.05, 0.95))
def test_the_delay_inverts_the_chance(probability: float, ratio: float) -> None:
    delay = delay_for_stalls_s(probability, ratio, 1.0)
    if delay:
        assert stall_probability(delay, ratio, 1.0) == pytest.approx(probability)
    else:
        assert stall_probability(0.0, ratio, 1.0) <= probability * (1 + 1e-12)


def test_who_falls_behind_by_the_delay_itself_does_not_wait() -> None:
    assert _late(np.array([0.5, 1.0, 1.5, 2.5]), 1.0).mean == 0.5


def test_short_streams_stall_less_often() -> None:
    short = simulate_stalls(np.random.default_rng(1), 0.2, 0.150, 0.189, tokens=5)
    assert short.mean + 3 * short.standard_error < stall_probability(0.2, 0.150, 0.189)
    one = simulate_stalls(np.random.default_rng(1), 0.0, 1.0, 1.0, tokens=2, streams=20_000)
    assert abs(one.mean - math.exp(-1)) < 3 * one.standard_error
    assert one.half_width == pytest.approx(1.96 * one.standard_error)
    assert one.standard_error == pytest.approx(math.sqrt(one.mean * (1 - one.mean) / 20_000))


def test_reading_speed_has_units() -> None:
    assert reading_gap_s(60.0, 1.0) == 1.0
    assert reading_gap_s(120.0, 1.0) == 0.5
    assert reading_gap_s(60.0, 0.5) == 0.5


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: stall_probability(0.0, 1.0, 1.0), "gap_s"),
        (lambda: stall_probability(0.0, 1.0, math.inf), "gap_s"),
    ],
)
def test_bad_input_is_refused(call: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        call()
