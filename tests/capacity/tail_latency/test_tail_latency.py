"""Pages of many calls: limits, oracles, and what the record says of calls that come together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity.tail_latency.tail_latency import (
    fan_out_slow_share,
    leaf_level,
)
from serving_mathematics.capacity.tail_latency.tail_record import TOGETHER, _recorded

PROBABILITIES = st.floats(1e-9, 1 - 1e-9)


@given(PROBABILITIES, st.integers(1, 10_000))
def test_slow_share_is_a_binomial_tail(p: float, n: int) -> None:
    assert fan_out_slow_share(p, n) == pytest.approx(stats.binom.sf(0, n, p), rel=1e-9)


def test_slow_share_at_the_ends() -> None:
    assert fan_out_slow_share(0.0, 5) == 0.0
    assert fan_out_slow_share(1.0, 5) == 1.0
    assert fan_out_slow_share(1e-18, 1000) == pytest.approx(1e-15, rel=1e-12)


@given(PROBABILITIES, st.integers(1, 1000))
def test_leaf_level_inverts_the_fan_out(q: float, n: int) -> None:
    level = leaf_level(q, n)
    assert q <= level <= 1 or level == pytest.approx(q)
    assert level**n == pytest.approx(q, rel=1e-9)
    assert 1 - fan_out_slow_share(1 - level, n) == pytest.approx(q, rel=1e-6)


def test_more_calls_are_never_sooner() -> None:
    for part in ("p50", "p99"):
        times = [_recorded()["slowest"][str(calls)][part] for calls in TOGETHER]
        assert times == sorted(times)
