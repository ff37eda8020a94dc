"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.endpoints_as_contracts.chat_contract import (
    ChatContract,
    chat_violations,
)
from serving_mathematics.intuition.endpoints_as_contracts.exercises import (
    changed_sessions,
    common_contract,
    what_has_changed,
)

from tests.intuition.endpoints_as_contracts.test_chat_contract import CONTRACTS


@given(CONTRACTS, CONTRACTS)
def test_common_contract_is_below_both(one: ChatContract, two: ChatContract) -> None:
    common = common_contract(one, two)
    assert chat_violations(common, one) == chat_violations(common, two) == []
    assert common == common_contract(two, one)
    assert common_contract(one, one) == one
    if not chat_violations(one, two):  # two can replace one, which is then what both promise
        assert chat_violations(one, common) == []


@given(st.floats(0, 1), st.integers(1, 1000))
def test_longer_sessions_change_more(share: float, calls: int) -> None:
    one, more = changed_sessions(share, calls), changed_sessions(share, calls + 1)
    assert share - 1e-12 <= one <= more <= 1
    assert one == pytest.approx(1 - (1 - share) ** calls, abs=1e-12)
    assert changed_sessions(1e-12, 1000) == pytest.approx(1e-9, rel=1e-6)


@given(st.floats(-1, 1), st.floats(0.5, 2), st.floats(-1, 1), st.floats(0.01, 0.3))
def test_one_thing_is_named_and_the_first(
    refused: float, prompt: float, cut: float, tolerance: float
) -> None:
    told = what_has_changed(refused, prompt, cut, tolerance)
    assert (told == "contract") == (refused > tolerance)
    if told in {"answers", "nothing"}:
        assert 1 / (1 + tolerance) - 1e-9 <= prompt <= 1 + tolerance + 1e-9
        assert (told == "answers") == (abs(cut) > tolerance)
