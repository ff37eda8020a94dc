"""Rivals: a loop over incidents as oracle, limits, errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.failure_budgets.burn_rate_alerts import alert_span
from serving_mathematics.intuition.failure_budgets.rivals import seen_and_needless

INCIDENTS = st.lists(st.tuples(st.floats(0.5, 900), st.floats(1, 2000)), min_size=1, max_size=8)


@given(INCIDENTS)
def test_shares_are_those_of_each_incident(incidents: list[tuple[float, float]]) -> None:
    rules = [(60.0, 14.4), (360.0, 6.0)]
    spent = unseen = needless = 0.0
    for burn, minutes in incidents:
        after = min(alert_span(burn, minutes, w, w / 12, b)[0] for w, b in rules)
        spent += burn * minutes
        unseen += burn * min(after, minutes)
        needless += after < minutes and burn * minutes < 864
    got = seen_and_needless(*zip(*incidents, strict=True), rules)
    assert got == pytest.approx((unseen / spent, needless / len(incidents)))


@given(INCIDENTS)
def test_a_further_rule_sees_no_less(incidents: list[tuple[float, float]]) -> None:
    burns, minutes = zip(*incidents, strict=True)
    one = seen_and_needless(burns, minutes, [(60.0, 14.4)])
    two = seen_and_needless(burns, minutes, [(60.0, 14.4), (5.0, 30.0)])
    assert two[0] <= one[0] + 1e-12
    assert two[1] >= one[1] - 1e-12


def test_never_paged() -> None:
    assert seen_and_needless([2.0], [9.0], [(60.0, 14.4)]) == (1.0, 0.0)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="burns must be"):
        seen_and_needless([[1.0]], [[1.0]], [(5.0, 1.0)])
    with pytest.raises(ValueError, match="minutes must be"):
        seen_and_needless([1.0], [-1.0], [(5.0, 1.0)])
    with pytest.raises(ValueError, match="rules must be one or more"):
        seen_and_needless([1.0], [1.0], [])
