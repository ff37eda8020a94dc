"""Limits, oracles, properties and errors of `core.queues.shares`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.core.queues.shares import Share, wilson_interval


@given(st.integers(1, 500), st.data())
def test_wilson_interval_is_scipy(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, "wilson")
    got = wilson_interval(successes, trials)
    assert isinstance(got, Share)
    assert got.share == successes / trials
    assert got.low == pytest.approx(expected.low, abs=1e-12)
    assert got.high == pytest.approx(expected.high, abs=1e-12)
    assert 0 <= got.low <= got.share <= got.high <= 1
