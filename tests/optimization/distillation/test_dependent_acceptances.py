"""Passages: limits, and bounds by the mean acceptance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.speculative_decoding import expected_tokens
from serving_mathematics.optimization.distillation.dependent_acceptances import tokens_in_passages


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(1, 8))
def test_lasting_passages_never_help(acceptances: list[float], gamma: int) -> None:
    found = tokens_in_passages(acceptances, gamma)
    mean = sum(acceptances) / len(acceptances)
    assert expected_tokens(min(acceptances), gamma) - 1e-9 <= found
    assert found <= expected_tokens(max(acceptances), gamma) + 1e-9
    if gamma == 1:
        assert found <= expected_tokens(mean, gamma) + 1e-9


def test_one_acceptance_everywhere_is_the_formula() -> None:
    assert tokens_in_passages([0.7] * 3, 5) == pytest.approx(expected_tokens(0.7, 5))
    assert tokens_in_passages([0.2, 0.9], 0) == 1.0
