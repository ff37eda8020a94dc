"""Retries: sums, bands, the budget in every window, and the errors."""

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.overload_control.storms import (
    budgeted_retry,
    retry_amplification,
    storm_band,
)


@given(st.floats(0, 1), st.integers(0, 8))
def test_amplification_is_a_geometric_sum(failure: float, retries: int) -> None:
    expected = retries + 1 if failure == 1 else (1 - failure ** (retries + 1)) / (1 - failure)
    assert retry_amplification(failure, retries) == pytest.approx(expected, rel=1e-6)


@given(st.lists(st.floats(0, 60), min_size=1, max_size=80), st.floats(0, 1))
def test_a_budget_is_kept_in_every_window(moments: list[float], budget: float) -> None:
    asked = SimpleNamespace(arrival_s=np.arange(0.0, 60.0, 0.5))
    view: Any = SimpleNamespace(ledger=SimpleNamespace(requests=asked), memory={})
    rule = partial(budgeted_retry, budget=budget, retry=lambda *_: 0.0)
    sent = []
    for view.now in sorted(moments):
        if rule(0, 1, view) < math.inf:
            sent.append(view.now)
    for now in sent:
        assert sum(now - 10 < one <= now for one in sent) <= budget * 20 + 1e-9


def test_a_retry_that_another_rule_forbids_is_not_counted() -> None:
    asked = SimpleNamespace(arrival_s=np.arange(0.0, 10.0, 0.5))
    view: Any = SimpleNamespace(ledger=SimpleNamespace(requests=asked), memory={}, now=10.0)
    assert budgeted_retry(0, 9, view, retry=lambda *_: math.inf) == math.inf
    assert not view.memory["retries"]


def test_one_attempt_makes_no_band() -> None:
    assert storm_band(100.0, 1.0) == (100.0, 100.0)
