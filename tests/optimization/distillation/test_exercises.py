"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.speculative_decoding import expected_tokens
from serving_mathematics.optimization.distillation.exercises import (
    acceptance_from_log,
    best_length_in_batch,
    example,
    price_with_fallback,
)


@given(st.floats(0.01, 10), st.floats(0.01, 10), st.floats(0, 1))
def test_a_student_pays_below_its_border(student: float, teacher: float, fallback: float) -> None:
    paid = price_with_fallback(student, teacher, fallback)
    assert paid == pytest.approx(student + fallback * teacher)
    if abs(fallback - (1 - student / teacher)) > 1e-6:
        assert (paid < teacher) == (fallback < 1 - student / teacher)


@given(st.floats(0, 1), st.integers(1, 40))
def test_log_is_inverted(alpha: float, gamma: int) -> None:
    share = (expected_tokens(alpha, gamma) - 1) / gamma
    found = acceptance_from_log(share, gamma)
    assert (expected_tokens(found, gamma) - 1) / gamma == pytest.approx(share, abs=1e-12)
    assert alpha ** (1 if gamma == 1 else gamma) <= share + 1e-12 <= alpha + 2e-12


def test_log_of_one_token_is_alpha() -> None:
    assert acceptance_from_log(0.37, 1) == pytest.approx(0.37)
    assert acceptance_from_log(0.5, 2) == pytest.approx((math.sqrt(5) - 1) / 2)


def test_batches_shorten_drafts() -> None:
    lengths = [best_length_in_batch(0.8, 0.05, batch, 300.0) for batch in range(1, 320, 7)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] == 8
    assert lengths[-1] == 0
    assert best_length_in_batch(0.8, 0.05, 1, 300.0, longest=3) == 3
    assert best_length_in_batch(0.8, 0.05, 150, 300.0) == 1
    assert best_length_in_batch(0.05, 0.06, 1, 300.0) == 0


def test_the_page_says_what_is_solved() -> None:
    told = example()
    assert (told.batch_few, told.batch_many, told.batch_full) == (8, 2, 0)
    assert told.pencil_price == pytest.approx(57)
    assert expected_tokens(told.logged_alpha, 5) == pytest.approx(told.logged_tokens)
