"""Metrics of a stream: identities for every stream, limits, and every refusal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.streaming.streaming import (
    StreamMetrics,
    TpotConventions,
    end_to_end_s,
    stream_metrics,
    tpot_conventions,
)

gaps = st.lists(st.floats(0, 10), min_size=1, max_size=40)


@given(gaps)
def test_metrics_agree_with_the_definitions(steps: list[float]) -> None:
    times = np.cumsum(steps)
    metrics = stream_metrics(times)
    assert isinstance(metrics, StreamMetrics)
    assert metrics.tokens == len(steps)
    assert metrics.ttft_s == steps[0]
    assert metrics.e2e_s == times[-1]
    if len(steps) == 1:
        assert math.isnan(metrics.tpot_s)
        assert math.isnan(metrics.longest_itl_s)
    else:
        assert metrics.tpot_s == pytest.approx(sum(steps[1:]) / (len(steps) - 1), abs=1e-9)
        assert metrics.longest_itl_s == pytest.approx(max(steps[1:]), abs=1e-9)
        again = end_to_end_s(metrics.ttft_s, metrics.tpot_s, metrics.tokens)
        assert again == pytest.approx(metrics.e2e_s, abs=1e-9)


@given(st.floats(0, 10), st.floats(0, 100), st.integers(2, 10_000))
def test_conventions_are_ordered_and_convert(ttft: float, after: float, tokens: int) -> None:
    pace = tpot_conventions(ttft, ttft + after, tokens)
    assert isinstance(pace, TpotConventions)
    assert pace.per_token_s <= pace.per_gap_s
    assert pace.per_token_s <= pace.with_ttft_s
    assert pace.per_gap_s * (tokens - 1) == pytest.approx(pace.per_token_s * tokens)
    assert pace.with_ttft_s == pytest.approx(pace.per_token_s + ttft / tokens)


def test_a_first_token_costs_no_gap() -> None:
    assert end_to_end_s(0.7, 99.0, 1) == 0.7
    assert stream_metrics([0.7]).e2e_s == 0.7
