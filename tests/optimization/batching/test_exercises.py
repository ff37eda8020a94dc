"""Limits and errors of the exercises, beyond their checks."""

from __future__ import annotations

import pytest
from serving_mathematics.optimization.batching.exercises import (
    passed_share,
    token_budget_for,
    what_to_change,
)


def test_a_budget_passes_in_proportion() -> None:
    assert passed_share(512, 0.02, 10.0, 1000, 280) == pytest.approx(2.0)
    assert passed_share(1024, 0.04, 20.0, 280, 1000) == pytest.approx(1.0)


def test_one_waiting_request_asks_for_room() -> None:
    assert what_to_change(0.0, 0.2, 1, 0, 0.2) == "more places"
    assert what_to_change(0.0, 0.2, 0, 0, 0.2) == "nothing"


def test_token_budget_counts_who_decodes() -> None:
    assert token_budget_for(0.05, 10, 0.04, 0.001) == 20
    assert token_budget_for(0.05, 0, 0.01, 0.001) == 40
    with pytest.raises(ValueError, match="step_target_s must be at least"):
        token_budget_for(0.05, 10, 0.05, 0.001)
