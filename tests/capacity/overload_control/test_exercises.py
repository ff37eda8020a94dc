"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.overload_control.exercises import (
    accepted_rate,
    nested_attempts,
    what_rages,
)


def test_nested_attempts_by_simulation() -> None:
    rng = np.random.default_rng(8)

    def calls(layers: int) -> tuple[int, bool]:
        if layers == 0:
            return 1, bool(rng.random() < 0.6)
        total = 0
        for _ in range(2):
            made, failed = calls(layers - 1)
            total += made
            if not failed:
                return total, False
        return total, True

    counts = [calls(3)[0] for _ in range(4000)]
    error = np.std(counts) / math.sqrt(len(counts))
    assert abs(np.mean(counts) - nested_attempts(0.6, 2, 3)) < 4 * error
    assert nested_attempts(1 - 1e-12, 3, 2) == pytest.approx(9.0)
    assert nested_attempts(0.0, 3, 2) == 1.0
    assert nested_attempts(0.5, 1, 9) == 1.0


@given(st.floats(0.1, 300), st.floats(0, 300), st.floats(0.1, 300))
def test_what_rages_is_by_its_rates(first: float, retries: float, capacity: float) -> None:
    said = what_rages(first, first + retries, capacity)
    assert (said == "overload") == (first >= capacity)
    assert (said == "storm") == (first < capacity <= first + retries)
    assert said in {"overload", "storm", "risk", "calm"}


def test_accepted_rate_edges() -> None:
    assert accepted_rate(100.0, 100.0, 0.5) == 100.0
    assert accepted_rate(1e6, 100.0, 0.0) == 100.0
    assert accepted_rate(500.0, 100.0, 0.2) == 0.0
    assert accepted_rate(1e9, 100.0, 0.2, multiplier=1.0) == 100.0
    assert accepted_rate(110.0, 100.0, 0.2, multiplier=2.0) == pytest.approx(97.5)


def test_too_many_calls_are_refused() -> None:
    with pytest.raises(ValueError, match="layers must be such that"):
        nested_attempts(0.5, 10, 16)
