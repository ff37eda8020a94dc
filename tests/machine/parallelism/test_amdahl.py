"""Amdahl's law: limits, order, and the page's numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.machine.parallelism.amdahl import amdahl_gain, example


@given(st.floats(1e-6, 1), st.floats(1e-6, 1), st.integers(1, 1000))
def test_a_gain_lies_between_one_and_both_bounds(fixed: float, divided: float, n: int) -> None:
    gain = amdahl_gain(fixed, divided, n)
    assert 1 - 1e-12 <= gain <= min(n, (fixed + divided) / fixed) * (1 + 1e-12)
    assert amdahl_gain(fixed, divided, n + 1) >= gain


def test_numbers_of_the_page() -> None:
    told = example()
    assert 1 < told.own_eight < told.amdahl_eight < 8
