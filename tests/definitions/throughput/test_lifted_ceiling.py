"""Rates by their terms: limits of each, and what a format brings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.definitions.throughput.lifted_ceiling import (
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


def test_a_format_brings_what_its_step_does_with_few() -> None:
    """With four clients nearly all of the time is steps: their ratio is the gain, to a tenth."""
    step_s = float(CHAT.step_s(4))
    for name, form in FORMATS.items():
        ratio = step_s / float(replace(CHAT, precision=form).step_s(4))
        assert 1 + _gains(4)[name] / 100 == pytest.approx(ratio, rel=0.1)
