"""The slider of one long prompt: it shows what was served, and says what `example()` says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from serving_mathematics.capacity.tail_latency import long_prompt


def test_the_slider_shows_what_was_served() -> None:
    told = long_prompt.slider_long_prompt()
    bars = told["panels"][0]["bars"]
    for row, long in zip(bars, long_prompt.LONGS.values(), strict=True):
        for shown, read in zip(row, long_prompt.READ, strict=True):
            got = long_prompt._served(long, read)
            lanes = {lane for lane, *_ in shown}
            assert lanes == set(long_prompt.LANES) - (set() if long else {"long"})
            answers = sorted(begin for _, begin, _, state in shown if state == "answer")
            seen = got.first_token_s[got.first_token_s < long_prompt.CLIP_S]
            assert answers == pytest.approx(np.sort(seen))
    begun, half, short, own = (one["values"] for one in told["readouts"])
    assert begun[0][0][-1] == long_prompt.COUNT < begun[1][0][-1]
    assert own[0] == [None] * len(long_prompt.READ)  # there is none
    assert np.all(np.array(half) <= np.array(short) + 1e-9)
    assert math.isfinite(max(map(max, own[1:])))
    start = list(long_prompt.LONGS).index("8,000 tokens")
    assert half[start][0] == pytest.approx(long_prompt.example().half_ms)
    assert short[start][0] == pytest.approx(long_prompt.example().slowest_ms)


def test_without_a_long_prompt_all_are_alike() -> None:
    for read in long_prompt.READ:
        half, slowest, own = long_prompt._first_ms(0, read)
        assert slowest < 1.2 * half
        assert math.isnan(own)
