"""Prices of a token in and out, and of an API: by hand, limits and errors."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.planner.answers import answer_lines, answer_record
from serving_mathematics.planner.capacity_planner import WORKED, plan
from serving_mathematics.planner.configurations import answer
from serving_mathematics.planner.questions import read_choices
from serving_mathematics.planner.token_prices import TokenPrices, token_prices
from serving_mathematics.planner.traffic import Traffic

FOUND = plan(replace(WORKED, requests=400), alternatives=False)


@given(st.floats(0.001, 100), st.floats(0.001, 100))
def test_both_cost_the_same_at_the_even_share(inside: float, outside: float) -> None:
    told = token_prices(replace(WORKED, api_usd=(inside, outside)), FOUND)
    assert isinstance(told, TokenPrices)
    assert told.even_share is not None
    hour = 60 * 3600 / 1e6
    assert told.even_share * hour * (1000 * inside + 250 * outside) == pytest.approx(
        FOUND.best.usd_per_hour, rel=1e-6
    )
    assert hour * (
        1000 * told.usd_per_million_in + 250 * told.usd_per_million_out
    ) == pytest.approx(FOUND.best.usd_per_hour)


def test_prompts_pay_for_their_arithmetic() -> None:
    """Of short answers they pay most, of cached prompts hardly anything."""
    prices = {}
    for name, traffic in (
        ("plain", Traffic(20.0)),
        ("short", Traffic(20.0, 1.0, 1000.0, 5.0)),
        ("cached", Traffic(20.0, 1.0, 1000.0, 250.0, 0.95)),
    ):
        question = replace(WORKED, traffic=traffic, requests=400)
        found = plan(question, alternatives=False)
        told = token_prices(question, found)
        assert told.api_usd_per_hour is told.even_share is None
        hour = 20 * 3600 / 1e6
        prices[name] = told.usd_per_million_in * 1000 * hour / found.best.usd_per_hour
        arithmetic = 20 / found.best.replicas * found.own_s[0]
        assert prices[name] == pytest.approx(arithmetic, rel=1e-9)
    assert prices["cached"] < 0.2 * prices["plain"]


@pytest.mark.parametrize(
    ("price", "words"),
    [(0.05, "% of this traffic on"), (0.0005, "this fleet would be cheaper if it carried ")],
)
def test_an_answer_says_from_which_share_on_the_fleet_is_cheaper(price: float, words: str) -> None:
    asked = {"rate_per_s": 40, "requests": 150, "ttft_s": 3, "parallelism": "tp1"}
    told = answer(read_choices(asked | {"api_input_price": price, "api_output_price": price}))
    lines = {line.what: line.value for line in answer_lines(told)}
    record = answer_record(told)
    assert words in lines["the API, for the same"]
    assert record["api_usd_per_hour"] == pytest.approx(40 * 3600 * 1250 * price / 1e6)
    share = told.plan.best.usd_per_hour / float(record["api_usd_per_hour"])
    assert record["api_even_share"] == pytest.approx(share)
    assert f"{100 * share:,.0f}% of this traffic" in lines["the API, for the same"]
    plain = answer(read_choices(asked))
    assert "the API, for the same" not in {line.what for line in answer_lines(plain)}
    assert "api_usd_per_hour" not in answer_record(plain)
    with pytest.raises(ValueError, match="api_output_price must be given where api_input_price"):
        read_choices(asked | {"api_input_price": price})
    with pytest.raises(ValueError, match=r"api_input_price must be a number from 0.0001"):
        read_choices(asked | {"api_input_price": 0, "api_output_price": price})
