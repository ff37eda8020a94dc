"""The audit of published benchmarks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from serving_mathematics.capacity.littles_law.benchmark_audit import (
    WRK_114,
    Audit,
    _mean_latency_bounds,
    _Report,
    audit_benchmark,
)

positive = st.floats(1e-4, 1e4)


@given(positive, positive, st.floats(0, 100))
def test_true_reports_are_consistent(users: float, latency: float, think: float) -> None:
    audit = audit_benchmark(users, users / (latency + think), latency, think_time_s=think)
    assert audit.verdict == "consistent"
    assert audit.ratio == pytest.approx(1.0)
    assert audit.missing_s == pytest.approx(0.0, abs=1e-9 * (latency + think))
    assert audit.finding.endswith("the numbers agree")


@given(positive, positive, positive)
def test_audit_balances(users: float, throughput: float, latency: float) -> None:
    audit = audit_benchmark(users, throughput, latency)
    assert isinstance(audit, Audit)
    assert audit.in_flight == pytest.approx(throughput * latency)
    assert audit.ratio == pytest.approx(audit.in_flight / users)
    assert audit.missing_s + latency == pytest.approx(users / throughput)
    assume(not math.isclose(abs(audit.ratio - 1), 0.02))  # a border that rounds to either side
    expected = "time missing" if audit.ratio < 0.98 else "too many in flight"
    assert audit.verdict == (expected if abs(audit.ratio - 1) > 0.02 else "consistent")


def test_tolerance_is_a_band_on_both_sides() -> None:
    for ratio, verdict in (
        (0.94, "time missing"),
        (0.96, "consistent"),
        (1.04, "consistent"),
        (1.06, "too many in flight"),
    ):
        assert audit_benchmark(100, 10.0, 10 * ratio, tolerance=0.05).verdict == verdict


def test_think_time_belongs_to_the_cycle() -> None:
    audit = audit_benchmark(10, 2.0, 1.0, think_time_s=3.0)
    assert (audit.in_flight, audit.ratio, audit.missing_s) == (2.0, 0.8, 1.0)
    crowded = audit_benchmark(10, 4.0, 1.0, think_time_s=2.0)
    assert crowded.finding == "12 in flight where 10 can be: the mean is 500 ms at most, not 1 s"


def test_findings_carry_their_numbers() -> None:
    first = WRK_114[0]
    assert first == _Report("wrk #114, run 1", 1, 17_924.0, 42.85e-6)
    finding = audit_benchmark(1, first.throughput_per_s, first.mean_latency_s).finding
    assert finding.startswith("0.768 of 1 accounted for: 12.9 µs of each cycle of 55.8 µs")
    assert "20 ms of each cycle of 100 ms" in audit_benchmark(1, 10.0, 0.08).finding
    assert "500 ns of each cycle of 1 µs" in audit_benchmark(1, 1e6, 0.5e-6).finding
    assert "1.5 s of each cycle of 2 s" in audit_benchmark(2, 1.0, 0.5).finding


@given(
    st.lists(st.floats(0, 1000), min_size=4, max_size=60),
    st.lists(st.integers(1, 3), min_size=1, max_size=3, unique=True),
)
def test_bounds_enclose_the_mean(latencies: list[float], quarters: list[int]) -> None:
    sample = np.sort(latencies)
    ranks = sorted({max(1, q * sample.size // 4) for q in quarters})
    shares = np.array(ranks) / sample.size
    least, greatest = _mean_latency_bounds(shares, sample[np.array(ranks) - 1], sample[-1])
    assert least <= sample.mean() + 1e-9
    assert sample.mean() <= greatest + 1e-9
