"""Chunked prefill: conservation for every chunk size, the simulator beside another, refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.streaming.prefill_interference import (
    chunk_window,
    example,
    gaps_during_prefill_s,
    mean_itl_s,
    simulate_itl_s,
    slider_itl_distribution,
)

from tests.clockwork import CLOCKWORK


@given(st.integers(1, 10_000), st.integers(1, 12_000))
def test_chunks_add_up_to_the_prompt(prompt: int, chunk: int) -> None:
    gaps = gaps_during_prefill_s(0.025, prompt, 1000.0, chunk)
    assert gaps.size == math.ceil(prompt / chunk)
    assert (gaps - 0.025).sum() == pytest.approx(prompt / 1000.0)
    assert gaps.max() <= 0.025 + chunk / 1000.0 + 1e-12
    assert gaps.min() > 0.025


def test_the_mean_has_its_limits() -> None:
    assert mean_itl_s(0.025, 0.0, 100.0) == 0.025
    assert mean_itl_s(0.025, 99.99, 100.0) > 100


@given(st.floats(0.001, 0.1), st.floats(0, 0.95), st.floats(1.01, 50))
def test_the_window_holds_both_promises(step: float, busy: float, slack: float) -> None:
    rate, speed = busy * 16_000.0, 16_000.0
    least = step / (1 - busy)
    low, high = chunk_window(least * slack, step, rate, speed)
    assert low < high
    assert step + high / speed == pytest.approx(least * slack)
    assert low / (step + low / speed) == pytest.approx(rate)
    assert step + low / speed == pytest.approx(least)


def plain_gaps(
    rng: np.random.Generator,
    step: float,
    speed: float,
    rate: float,
    prompt: int,
    chunk: int,
    n: int,
) -> list[float]:
    """The same steps with all prompts drawn in advance and a list of them."""
    arrivals = np.cumsum(rng.exponential(1 / rate, 10 * n)).tolist()
    now, queue, gaps = 0.0, [], []
    for _ in range(n):
        while arrivals and arrivals[0] <= now:
            arrivals.pop(0)
            queue.append(prompt)
        room, work = chunk, 0
        while queue and room:
            take = min(queue[0], room)
            room, work = room - take, work + take
            queue[0] -= take
            if not queue[0]:
                queue.pop(0)
        gaps.append(step + work / speed)
        now += gaps[-1]
    return gaps


def test_a_prompt_that_comes_as_a_step_begins_is_in_it() -> None:
    gaps = simulate_itl_s(CLOCKWORK, 0.5, 2.0, 1.0, prompt_tokens=1, chunk_tokens=2, steps=5)
    assert gaps.tolist() == [0.5, 0.5, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("chunk", [100, 333, 5000])
def test_simulation_agrees_with_a_queue_of_prompts(chunk: int) -> None:
    arguments = (0.02, 2000.0, 1.5, 500, chunk)
    gaps = simulate_itl_s(np.random.default_rng(1), *arguments, steps=3000)
    assert gaps.tolist() == pytest.approx(plain_gaps(np.random.default_rng(1), *arguments, 3000))
    assert gaps.max() > 0.02


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((0.1, -1.0, 2.0), "prompt_tokens_per_s"),
        ((0.1, 2.0, 2.0), "prompt_tokens_per_s"),
        ((0.1, math.nan, 2.0), "prompt_tokens_per_s"),
    ],
)
def test_means_are_refused(arguments: tuple[Any, ...], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        mean_itl_s(*arguments)
    with pytest.raises(ValueError, match=f"{name} must be"):
        chunk_window(9.0, *arguments)


@pytest.mark.parametrize("bad", [0.2, 0.1, math.inf, math.nan])
def test_impossible_windows_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"longest_itl_s must be above 0\.2"):
        chunk_window(bad, 0.1, 50.0, 100.0)


def test_slider_says_the_numbers_of_the_page() -> None:
    told, page = slider_itl_distribution(), example()
    chunks, prompts = (control["values"] for control in told["controls"])
    gap, first = (np.asarray(curve["values"]) for curve in told["curves"])
    steps = np.asarray(told["readouts"][0]["values"])
    row, column = chunks.index(1024), prompts.index(8192)
    assert gap[row, column] == pytest.approx(page.chunked_itl_ms)
    assert first[row, column] == pytest.approx(page.first_token_chunked_ms)
    assert steps[row, column] == page.chunk_steps
    assert gap[chunks.index(8192), column] == pytest.approx(page.pause_ms)
    for i, chunk in enumerate(chunks):
        for j, prompt in enumerate(prompts):
            assert steps[i, j] == -(-prompt // chunk)
            assert gap[i, j] == pytest.approx(25 + min(chunk, prompt) / 16)
            assert first[i, j] == pytest.approx(25 * steps[i, j] + prompt / 16)
