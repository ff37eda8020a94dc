"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.model_routers.exercises import (
    break_even_deferral,
    prefix_worth_keeping,
    what_the_router_does,
)
from serving_mathematics.architecture.model_routers.model_routers import cascade_cost, router_cost
from serving_mathematics.architecture.model_routers.prefix_routing import slack_that_pays


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


@given(st.floats(0, 1e3), st.floats(1, 1e6), st.floats(1, 1e4), st.floats(1e-6, 1e-2))
def test_a_prefix_is_worth_the_slack_it_was_computed_for(
    slack: float, speed: float, later: float, sequence: float
) -> None:
    tokens = prefix_worth_keeping(slack, speed, later, sequence)
    assert slack_that_pays(tokens / speed, later, sequence) == pytest.approx(slack, abs=1e-9)


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=9), st.floats(0, 1), st.floats(0, 1))
def test_a_board_reads_the_same_in_any_order(
    counts: list[float], found: float, shared: float
) -> None:
    told = what_the_router_does(counts, found, shared)
    assert told == what_the_router_does(counts[::-1], found, shared)
    if told == "crowds":
        assert what_the_router_does([1.0] * len(counts), found, shared) == "prefixes"
