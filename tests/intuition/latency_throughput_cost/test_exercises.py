"""The exercises: by hand, by the law of the chapter, and back from a line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.latency_throughput_cost.exercises import (
    doubling_batch,
    line_of_two_hours,
    price_on_dashboard,
)

times = st.floats(1e-4, 1e-1)


def test_doubling_by_hand() -> None:
    assert doubling_batch(0.006, 0.00008, 0.024, 200) == pytest.approx(1 + 6.08 / 0.2)
    assert doubling_batch(0.006, 0.0, 0.024, 200) == pytest.approx(51)
    with pytest.raises(ValueError, match="later_tokens must be a positive integer"):
        doubling_batch(0.006, 0.0, 0.024, 0)


def test_a_dashboard_by_hand() -> None:
    price, wait = price_on_dashboard(20.0, 24, 600)
    assert price == pytest.approx(20 / (600 * 3600) * 1e6)
    assert wait == pytest.approx(40)
    with pytest.raises(ValueError, match="tokens_per_s must be positive"):
        price_on_dashboard(20.0, 24, 0)


@given(times, times, st.floats(1, 50), st.floats(1.5, 10))
def test_a_line_is_found_again(s: float, u: float, quiet: float, more: float) -> None:
    hours = [(b, b / (s + u * b)) for b in (quiet, more * quiet)]
    twice, floor = line_of_two_hours(3.6, *hours)
    assert s + u * twice == pytest.approx(2 * (s + u), rel=1e-4)  # twice a lone one
    assert floor == pytest.approx(1e3 * u, rel=1e-4)
