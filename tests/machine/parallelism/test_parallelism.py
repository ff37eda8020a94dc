"""Gains of devices: parts that add up, and pairs by brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.step_time import FITTED, count_work
from serving_mathematics.machine.parallelism.parallelism import (
    _engines,
    _fixed_share,
    _llama_on,
    _speedups,
    _spread,
    amdahl_gain,
    example,
)


def test_parts_of_a_token_add_up_to_it() -> None:
    for devices in (1, 4):
        one = loop_latencies(count_work([_llama_on(devices, 16.0)]), FITTED)
        assert sum(_spread(devices).values()) == pytest.approx(float(one.per_token_s[0]))


def test_what_stays_is_kernels_messages_and_host() -> None:
    parts = {"weights": 2.0, "cache": 1.0, "kernels": 3.0, "messages": 1.5, "host": 0.5}
    assert _fixed_share(parts) == pytest.approx(5 / 8)
    one, eight = _spread(1), _spread(8)
    assert one["messages"] == 0 < eight["messages"]
    assert one["kernels"] == eight["kernels"]
    assert one["weights"] == pytest.approx(8 * eight["weights"])
    found = example()
    assert found.fixed_one < 0.3 < 0.6 < found.fixed_eight


def test_pairs_differ_in_their_devices_alone() -> None:
    """Brute force over all pairs of single runs, one deployment at a time."""
    runs = _engines()
    places = [(place, run.answers) for place, run in enumerate(runs)]
    one = {i: replace(a, expert=1) for i, a in places if a.tensor == 1}
    eight = {j: replace(a, tensor=1, expert=1) for j, a in places if a.tensor == 8}
    ratios = [
        runs[i].per_token_s / runs[j].per_token_s
        for i, few in one.items()
        for j, many in eight.items()
        if few == many and runs[i].release == runs[j].release
    ]
    measured, kernels, fitted = _speedups(1, 8)
    assert np.median(measured) == pytest.approx(np.median(ratios), rel=0.05)
    assert measured.shape == kernels.shape == fitted.shape
    assert 1 < np.median(_speedups(4, 8)[0]) < np.median(_speedups(1, 2)[0]) < 2


@given(st.floats(1e-6, 1), st.floats(1e-6, 1), st.integers(1, 1000))
def test_a_gain_lies_between_one_and_both_bounds(fixed: float, divided: float, n: int) -> None:
    gain = amdahl_gain(fixed, divided, n)
    assert 1 - 1e-12 <= gain <= min(n, (fixed + divided) / fixed) * (1 + 1e-12)
    assert amdahl_gain(fixed, divided, n + 1) >= gain
