"""Clumps: moments of counts, what they cannot say, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.failure_budgets.late_together import clump_size


@given(st.lists(st.integers(0, 50), min_size=2, max_size=40).filter(any))
def test_clump_is_half_of_one_and_the_dispersion(counts: list[int]) -> None:
    dispersion = float(np.var(counts) / np.mean(counts))
    assert clump_size(counts) == pytest.approx(max((1 + dispersion) / 2, 1))


@given(st.lists(st.integers(0, 50), min_size=2, max_size=40).filter(any), st.integers(2, 5))
def test_every_failure_doubled_comes_closer_together(counts: list[int], times: int) -> None:
    assert clump_size([times * c for c in counts]) >= clump_size(counts) - 1e-9


def test_even_failures_come_alone() -> None:
    assert clump_size([3, 3, 3]) == 1
