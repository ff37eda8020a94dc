"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.model_routers.exercises import (
    break_even_deferral,
    choices_needed,
    images_needed,
    moved_by_modulus,
    servers_needed,
)
from serving_mathematics.architecture.model_routers.model_routers import (
    best_of_d_found,
    cascade_cost,
    response_exceeds,
    round_robin_found,
    router_cost,
    shorter_of_two_found,
)


@given(st.floats(0.01, 10), st.floats(0.01, 10), st.floats(0, 1), st.floats(0, 1))
def test_break_even_is_where_the_bills_cross(
    small: float, large: float, share: float, routing: float
) -> None:
    deferral = break_even_deferral(small, large, share, routing)
    router = router_cost([small, large], [1 - share, share], routing)
    cascade = cascade_cost([small, large], [deferral])
    if 0 < deferral < 1:
        assert cascade == pytest.approx(router)
    elif deferral == 0:
        assert cascade >= router - 1e-9
    else:
        assert cascade <= router + 1e-9


def test_choices_needed_is_the_smallest() -> None:
    for load, target in ((0.9, 2.7), (0.9, 2.5), (0.97, 2.0)):
        d = choices_needed(load, target)
        assert best_of_d_found(load, d).sum() <= target
        assert d == 1 or best_of_d_found(load, d - 1).sum() > target


def test_servers_needed_grows_with_load_and_precision() -> None:
    assert servers_needed(0.9, 2, 0.05) == 24
    assert servers_needed(0.9, 2, 0.025) in (47, 48)
    assert servers_needed(0.99, 2, 0.05) > 150
    assert servers_needed(0.1, 3, 1.0) == 3


def test_modulus_and_images() -> None:
    assert moved_by_modulus(2) == 0.5
    assert moved_by_modulus(100) == pytest.approx(0.99)
    assert images_needed(0.5, 1.0) == math.ceil(1.959963984540054**2 * 3)
    assert images_needed(1.0, 1.0) == 2


@pytest.mark.parametrize("bad", [1.0, 1.5, -0.1, math.nan, math.inf])
def test_loads_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"utilization must be in \[0, 1\)"):
        best_of_d_found(bad)
    with pytest.raises(ValueError, match=r"utilization must be in \[0, 1\)"):
        round_robin_found(bad, 2)
    with pytest.raises(ValueError, match=r"utilization must be in \[0, 1\)"):
        shorter_of_two_found(bad)
    with pytest.raises(ValueError, match=r"utilization must be in \[0, 1\)"):
        choices_needed(bad, 2.0)


@pytest.mark.parametrize("bad", [0, -1, 1.5, math.nan, math.inf])
def test_counts_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="choices must be a positive integer"):
        best_of_d_found(0.5, bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="servers must be a positive integer"):
        round_robin_found(0.5, bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="differences must be an integer of at least 2"):
        shorter_of_two_found(0.5, bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="servers must be an integer"):
        moved_by_modulus(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_times_and_costs_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="time must be non-negative"):
        response_exceeds([1.0], bad)
    with pytest.raises(ValueError, match="costs must be positive"):
        cascade_cost([1.0, bad], [0.5])
    with pytest.raises(ValueError, match="costs must be positive"):
        router_cost([1.0, bad], [0.5, 0.5])
    with pytest.raises(ValueError, match="routing_cost must be non-negative"):
        router_cost([1.0], [1.0], bad)
    with pytest.raises(ValueError, match="routing_cost must be non-negative"):
        break_even_deferral(1.0, 2.0, 0.5, bad)
    with pytest.raises(ValueError, match="small_cost must be positive"):
        break_even_deferral(bad, 2.0, 0.5)
    with pytest.raises(ValueError, match="large_cost must be positive"):
        break_even_deferral(1.0, bad, 0.5)
    with pytest.raises(ValueError, match="tolerance must be positive"):
        servers_needed(0.9, 2, bad)
    with pytest.raises(ValueError, match="target must be above 1"):
        choices_needed(0.9, bad)


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan])
def test_shares_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"deferrals must be in \[0, 1\]"):
        cascade_cost([1.0, 2.0], [bad])
    with pytest.raises(ValueError, match="shares must be"):
        router_cost([1.0, 2.0], [bad, 1 - bad])
    with pytest.raises(ValueError, match=r"large_share must be in \[0, 1\]"):
        break_even_deferral(1.0, 2.0, bad)
    with pytest.raises(ValueError, match=r"disagreement must be in \(0, 1\]"):
        images_needed(0.1, bad)
    with pytest.raises(ValueError, match=r"loss must be in \(0, 0.5\]"):
        images_needed(bad, 0.5)
