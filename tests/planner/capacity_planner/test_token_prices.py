"""Prices of a token in and out, and of an API: by hand, limits and errors."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.planner.capacity_planner.capacity_planner import Plan, plan
from serving_mathematics.planner.capacity_planner.fleet_search import WORKED
from serving_mathematics.planner.capacity_planner.token_prices import TokenPrices, token_prices
from serving_mathematics.planner.questions.traffic import Traffic


@functools.cache
def found() -> Plan:
    """A plan, where it is first looked at."""
    return plan(replace(WORKED, requests=100), alternatives=False)


@given(st.floats(0.001, 100), st.floats(0.001, 100))
def test_both_cost_the_same_at_the_even_share(inside: float, outside: float) -> None:
    told = token_prices(replace(WORKED, api_usd=(inside, outside)), found())
    assert isinstance(told, TokenPrices)
    assert told.even_share is not None
    hour = 60 * 3600 / 1e6
    assert told.even_share * hour * (1000 * inside + 250 * outside) == pytest.approx(
        found().best.usd_per_hour, rel=1e-6
    )
    assert hour * (
        1000 * told.usd_per_million_in + 250 * told.usd_per_million_out
    ) == pytest.approx(found().best.usd_per_hour)


def test_prompts_pay_for_their_arithmetic() -> None:
    """Of short answers they pay most, of cached prompts hardly anything."""
    prices = {}
    for name, traffic in (
        ("plain", Traffic(20.0)),
        ("short", Traffic(20.0, 1.0, 1000.0, 5.0)),
        ("cached", Traffic(20.0, 1.0, 1000.0, 250.0, 0.95)),
    ):
        question = replace(WORKED, traffic=traffic, requests=100)
        planned = plan(question, alternatives=False)
        told = token_prices(question, planned)
        assert told.api_usd_per_hour is told.even_share is None
        hour = 20 * 3600 / 1e6
        prices[name] = told.usd_per_million_in * 1000 * hour / planned.best.usd_per_hour
        arithmetic = 20 / planned.best.replicas * planned.own_s[0]
        assert prices[name] == pytest.approx(arithmetic, rel=1e-9)
    assert prices["cached"] < 0.2 * prices["plain"]
