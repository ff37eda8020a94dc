"""Rates by their terms: limits of each, and gains that add up to what halving all would bring."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.throughput.lifted_ceiling import (
    CHANGES,
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
    gains = _gains(clients)
    assert len(gains) == len(CHANGES)
    assert all(-1e-9 <= gain <= 100 for gain in gains)
    # of the three halved terms the shares of the cost add up to one
    shares = [2 * gain / (100 + gain) for gain in gains[:3]]
    assert sum(shares) == pytest.approx(1, rel=1e-3)
