"""Prices of smaller models and the account of a student, beyond the checks."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.deployments import weight_bytes
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.optimization.distillation.when_it_pays import (
    STUDENTS,
    TEACHER,
    _price,
    pay_back_tokens,
    training_price,
)

PRICES = st.floats(0.01, 10)


def test_the_teacher_is_the_books_machine() -> None:
    by_hand = CHAT.price_per_hour / 3600 / CHAT.ceiling_tokens_per_s * 1e6
    assert _price(TEACHER) == pytest.approx(by_hand)


def test_parameters_are_those_of_the_catalogue() -> None:
    """Within the share that tables of the vocabulary make."""
    for name, parameters in STUDENTS.items():
        stored = weight_bytes(replace(CHAT, model=name).deployment) / 2
        assert stored == pytest.approx(parameters, rel=0.3)


@given(PRICES, PRICES, st.floats(0, 1), st.floats(0, 1e4))
def test_the_account_is_even_where_it_pays(
    teacher: float, student: float, fallback: float, taught: float
) -> None:
    tokens = pay_back_tokens(taught, teacher, student, fallback)
    if tokens == math.inf or tokens == 0:
        assert tokens == 0 or student + fallback * teacher >= teacher - 1e-12
        return
    each = (student + fallback * teacher) / 1e6
    assert taught + tokens * each == pytest.approx(tokens * teacher / 1e6, rel=1e-6)
    assert pay_back_tokens(taught, teacher, student, min(1.0, fallback + 0.1)) >= tokens


@given(st.floats(1e6, 1e12), st.floats(1, 1e13), PRICES)
def test_training_grows_with_each(parameters: float, tokens: float, hourly: float) -> None:
    one = training_price(parameters, tokens, hourly)
    assert training_price(2 * parameters, tokens, hourly) == pytest.approx(2 * one)
    assert training_price(parameters, 2 * tokens, hourly) == pytest.approx(2 * one)
    assert training_price(parameters, tokens, 2 * hourly) == pytest.approx(2 * one)
