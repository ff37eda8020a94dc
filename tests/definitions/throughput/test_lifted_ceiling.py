"""Rates by their terms: limits of each, and gains that add up to what halving all would bring."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.definitions.throughput.lifted_ceiling import (
    CHANGES,
    FORMATS,
    _gains,
    engine_rates_of,
)

TIMES = st.floats(1e-4, 1.0)


@given(TIMES, st.floats(1, 500), TIMES, TIMES, st.integers(1, 64))
def test_each_request_pays_its_prompt_its_tokens_and_a_share(
    prompt: float, later: float, fixed: float, own: float, places: int
) -> None:
    rates = engine_rates_of(prompt, later, fixed, own, places)
    assert rates.size == places
    assert 1 / rates[0] == pytest.approx(prompt + later * (fixed + own))
    assert np.all(np.diff(rates) > 0)
    assert rates[-1] < 1 / (prompt + later * own)


@pytest.mark.parametrize("clients", [4, 512])
def test_no_single_change_brings_more_than_twice(clients: int) -> None:
    gains = list(_gains(clients).values())
    assert len(gains) == len(FORMATS) + len(CHANGES)
    assert all(-1e-9 <= gain <= 100 for gain in gains)
    # prompts and own tokens halved save no more of the cost than there is
    shares = [2 * gain / (100 + gain) for gain in gains[2:4]]
    assert 0 < sum(shares) < 1


def test_a_format_brings_what_its_step_does_with_few() -> None:
    """With four clients nearly all of the time is steps: their ratio is the gain, to a tenth."""
    step_s = float(CHAT.step_s(4))
    for name, form in FORMATS.items():
        ratio = step_s / float(replace(CHAT, precision=form).step_s(4))
        assert 1 + _gains(4)[name] / 100 == pytest.approx(ratio, rel=0.1)
