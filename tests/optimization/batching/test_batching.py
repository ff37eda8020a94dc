"""Static efficiency and an encoder's window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.optimization.batching.batching import _alone_s, _mean_s, static_efficiency


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 3))
def test_static_efficiency_is_the_mean_over_all_batches(lengths: list[int], batch: int) -> None:
    grids = np.meshgrid(*[lengths] * batch)
    longest = np.max(np.stack(grids), axis=0).mean()
    assert static_efficiency(lengths, batch) == pytest.approx(np.mean(lengths) / longest)


def test_static_efficiency_has_its_limits() -> None:
    assert static_efficiency([5, 5, 5], 64) == pytest.approx(1.0)
    assert static_efficiency([1, 2, 9], 1) == pytest.approx(1.0)
    assert static_efficiency([1, 3], 10_000) == pytest.approx(2 / 3)


def test_a_lone_request_waits_for_the_window() -> None:
    for window_s in (0.0, 0.02):
        assert _mean_s(0.01, window_s, 50) == pytest.approx(0.006 + window_s)
    assert _alone_s(0.01) == pytest.approx(0.006, rel=1e-4)
