"""Load caps, credits, indicators and the exercises: limits, identities and errors."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snippets.definitions.exercises.slo_sla import (
    longest_outage,
    promise_to_make,
    year_without_breach,
)
from snippets.definitions.slo_sla import (
    expected_credit,
    load_cap,
    request_attainment,
    window_attainment,
)


@settings(deadline=None, max_examples=50)
@given(st.floats(0.01, 0.99))
def test_load_cap_inverts(cap: float) -> None:
    assert load_cap(lambda rho: 1 / (1 - rho), 1 / (1 - cap)) == pytest.approx(cap, abs=1e-12)


@pytest.mark.parametrize("objective", [math.nan, math.inf, 0.5])
def test_load_cap_refuses(objective: float) -> None:
    with pytest.raises(ValueError, match="objective_s must be"):
        load_cap(lambda rho: 1 / (1 - rho), objective)


def test_expected_credit_of_certain_tiers() -> None:
    assert expected_credit([1, 1, 0], [0.1, 0.25, 1]) == pytest.approx(0.25)
    assert expected_credit([1, 1, 1], [0.1, 0.25, 1]) == pytest.approx(1)
    assert expected_credit([0, 0, 0], [0.1, 0.25, 1]) == 0


@pytest.mark.parametrize(
    ("below", "credit", "match"),
    [
        ([], [], "below must be a non-empty list"),
        ([0.1], [0.1, 0.2], "credits must be of shape"),
        ([1.1], [0.1], "below must be non-inc"),
        ([-0.1], [0.1], "below must be non-inc"),
        ([math.nan], [0.1], "below must be non-inc"),
        ([0.2, 0.1], [0.2, 0.1], "credits must be non-dec"),
        ([0.2], [1.1], "credits must be non-dec"),
        ([0.2], [-0.1], "credits must be non-dec"),
    ],
)
def test_expected_credit_refuses(below: list[float], credit: list[float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        expected_credit(below, credit)


def test_attainments() -> None:
    assert request_attainment([0, 3], [1, 3]) == 0.75
    assert window_attainment([0, 0, 3], [1, 0, 3], 1.0) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("good", "total", "match"),
    [
        ([1], [1, 2], "must be"),
        ([2], [1], "good must be"),
        ([-1], [1], "good must be"),
        ([0], [math.inf], "total must be"),
        ([0], [-1], "total must be"),
    ],
)
def test_attainments_refuse(good: list[float], total: list[float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        request_attainment(good, total)
    with pytest.raises(ValueError, match=match):
        window_attainment(good, total, 0.9)


def test_attainment_edges() -> None:
    with pytest.raises(ValueError, match="positive in some window"):
        request_attainment([0], [0])
    with pytest.raises(ValueError, match="good must be a non-empty"):
        window_attainment([], [], 0.9)
    for threshold in (0.0, 1.1, math.nan):
        with pytest.raises(ValueError, match="threshold must be"):
            window_attainment([1], [1], threshold)


def test_exercises() -> None:
    assert longest_outage(0.99, 31, 1.0) == pytest.approx(0.31 * 86_400)
    assert year_without_breach(0.0) == 1
    assert 0 < promise_to_make(5.0, 60.0, 86_400.0, 0.1) < 1
    for bad in ((1.0, 30, 1.0), (0.9, 32, 1.0), (0.9, 30, 0.0)):
        with pytest.raises(ValueError, match="must be"):
            longest_outage(*bad)
    with pytest.raises(ValueError, match="months must be"):
        year_without_breach(0.1, 0)
    with pytest.raises(ValueError, match="period_s must be"):
        promise_to_make(1.0, 1.0, 0.0, 0.1)
