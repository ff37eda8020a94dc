"""Stalls: conservation for every chunk size, the stepper beside its own stream, refusals."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.streaming.stalls import (
    BEFORE_S,
    CHUNKS,
    CLIP_S,
    PROMPTS,
    STALL_S,
    STREAMS,
    example,
    gaps_beside_prompt_s,
    stepper_stall,
)
from serving_mathematics.core.machines.machines import CHAT, MIXTURE


@given(st.integers(1, 6_000), st.integers(1, 7_000), st.integers(0, 256))
def test_chunks_add_up_to_the_prompt(prompt: int, chunk: int, streams: int) -> None:
    gaps = gaps_beside_prompt_s(CHAT, streams, prompt, chunk)
    step_s = float(CHAT.step_s(streams))
    assert gaps.size == math.ceil(prompt / chunk)
    assert (gaps - step_s).sum() == pytest.approx(float(CHAT.prompt_s([prompt])[0]), abs=1e-9)
    assert gaps.min() >= step_s


def test_a_whole_prompt_is_one_gap_and_later_chunks_are_dearer() -> None:
    whole = gaps_beside_prompt_s(MIXTURE, 16, 32_000, 10**6)
    alone = float(MIXTURE.step_s(16)) + float(MIXTURE.prompt_s([32_000])[0])
    assert whole == pytest.approx([alone])
    parts = gaps_beside_prompt_s(MIXTURE, 16, 32_000, 8_000)
    assert np.all(np.diff(parts) > 0)  # attention to what came before


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((-1, 9, 9), "streams"),
        ((0.5, 9, 9), "streams"),
        ((257, 9, 9), "streams"),
        ((1, 0, 9), "prompt_tokens"),
        ((1, 9, 0.5), "chunk_tokens"),
        ((1, 10**6, 9), "table"),
    ],
)
def test_what_is_no_step_is_refused(arguments: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        gaps_beside_prompt_s(CHAT, *arguments)


def test_the_stepper_says_what_the_page_says() -> None:
    told, page = stepper_stall(), example()
    longest, first, mean = (np.asarray(r["values"]) for r in told["readouts"])
    row = PROMPTS.index(32_000)
    assert longest[row, -1] == pytest.approx(page.whole_stall_ms)
    added = 100 * (first[row, CHUNKS.index(2_048)] / first[row, -1] - 1)
    assert added == pytest.approx(page.added_percent)
    assert np.all(mean < 60)
    for i, prompt in enumerate(PROMPTS):
        for j, chunk in enumerate(CHUNKS):
            gaps = gaps_beside_prompt_s(MIXTURE, STREAMS, prompt, chunk)
            assert longest[i, j] == pytest.approx(1000 * gaps.max())
            assert first[i, j] == pytest.approx(gaps.sum())


def test_bars_are_the_stream_and_the_newcomer() -> None:
    told = stepper_stall()
    clock = np.asarray(told["clock"]["values"])
    lanes, curves = told["panels"]
    for i, prompt in enumerate(PROMPTS):
        for j, chunk in enumerate(CHUNKS):
            bars = lanes["bars"][i][j]
            stream = [bar for bar in bars if bar[0] == "a stream"]
            for (_, _, end, _), (_, start, _, _) in itertools.pairwise(stream):
                assert start == pytest.approx(end)
            assert stream[0][1] == 0.0
            assert stream[-1][2] == pytest.approx(CLIP_S, abs=0.2)
            long = gaps_beside_prompt_s(MIXTURE, STREAMS, prompt, chunk) > STALL_S
            shown = sum(bar[3] == "broken" for bar in stream)
            assert shown <= long.sum()
            assert shown == long.sum() or prompt == 32_000
            tokens = np.asarray(curves["curves"][0]["values"][i][j])
            assert np.all(np.diff(tokens) >= 0)
            before = tokens[clock < BEFORE_S - 0.05]
            pace = float(MIXTURE.step_s(STREAMS))
            assert before[-1] == pytest.approx((BEFORE_S - 0.05) / pace, abs=3)
