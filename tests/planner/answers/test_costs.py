"""Costs in words and as numbers: energy, a token in and out, an API, and what is not known."""

from __future__ import annotations

import functools

import pytest
from serving_mathematics.planner.answers.answer_lines import answer_lines
from serving_mathematics.planner.answers.answers import answer_record, answer_summary
from serving_mathematics.planner.answers.costs import (
    cost_lines,
    cost_record,
    energy_summary,
    least_energy_text,
    power_text,
    watts_text,
)
from serving_mathematics.planner.capacity_planner.fleet_energy import apart_watts
from serving_mathematics.planner.configurations import Answer, answer
from serving_mathematics.planner.questions.questions import read_choices

from ..capacity_planner.test_fleet_energy import FEW, energy


@functools.cache
def told(**more: object) -> Answer:
    return answer(read_choices(FEW | more))


def test_two_fleets_have_a_power_where_it_is_known() -> None:
    found = told(fleets="two")
    assert found.apart is not None
    run = found.apart.run
    assert run is not None
    watts = apart_watts(found.apart.question, run)
    assert watts is not None
    assert answer_record(found)["apart_watts"] == watts
    lines = {line.what: line.value for line in answer_lines(found)}
    assert f"; {watts_text(watts)}; decided: " in lines["separate fleets"]
    sheet = {"peak_tflops": 989, "bandwidth_gb_per_s": 3350, "memory_gib": 80}
    other = told(fleets="two", **sheet)
    assert answer_record(other)["apart_watts"] == ""


def test_an_answer_has_them_all() -> None:
    found = told(price_per_kwh=0.1)
    lines = answer_lines(found)
    assert [line for line in cost_lines(found) if line not in lines] == []
    assert power_text(found) in {line.value for line in lines}
    assert least_energy_text(energy(found)) in {line.value for line in lines}
    assert energy_summary(found) in answer_summary(found)
    assert cost_record(found).items() <= answer_record(found).items()


def test_money_and_grams_only_where_they_were_given() -> None:
    plain = told()
    assert "It draws" not in answer_summary(plain)
    record = answer_record(plain)
    assert "energy_usd_per_day" not in record
    assert "co2_kg_per_day" not in record
    priced = told(price_per_kwh=0.25, grams_per_kwh=400)
    kwh = energy(priced).kwh_a_day
    record = answer_record(priced)
    assert record["kwh_per_day"] == kwh == 24 * energy(priced).watts / 1000
    assert record["energy_usd_per_day"] == kwh * 0.25
    assert record["co2_kg_per_day"] == pytest.approx(kwh * 0.4)
    said = answer_summary(priced)
    assert f"kWh a day, ${kwh * 0.25:,.2f}, {kwh * 0.4:.3g} kg of CO₂. A token takes least" in said
    assert (
        "they share the idle power and the reading of weights; a lone request gets a token" in said
    )
    only = answer_summary(told(grams_per_kwh=400))
    assert "kg of CO₂" in only
    assert "day, $" not in only


def test_a_device_whose_power_was_not_measured_is_named() -> None:
    for device, words in (
        ("L40S", "which is taken to share its power as an H100"),
        ("GB200", "which is taken to share its power as a B200"),
    ):
        found = told(device=device, price_per_kwh=0.1)
        lines = {line.what: line.value for line in answer_lines(found)}
        assert lines["energy of a generated token"].endswith(words)
        assert ", measured on other devices, " in answer_summary(found)
        assert answer_record(found)["power_measured"] == "no"
    assert "other devices" not in answer_summary(told(price_per_kwh=0.1))
    assert answer_record(told())["power_measured"] == "yes"


def test_a_device_without_a_power_says_so() -> None:
    found = told(device="TPU v5p", grams_per_kwh=100)
    assert found.energy is None
    words = "not known: no power is published for TPU V5P"
    assert {line.value for line in answer_lines(found)} >= {words}
    assert f" What it draws is {words}." in answer_summary(found)
    assert answer_record(found)["watts"] == ""


@pytest.mark.parametrize(
    ("price", "words"),
    [(0.05, "% of this traffic up"), (0.0005, "this fleet would be cheaper if it carried ")],
)
def test_an_answer_says_from_which_share_on_the_fleet_is_cheaper(price: float, words: str) -> None:
    asked = {"rate_per_s": 40, "requests": 100, "ttft_s": 3, "parallelism": "tp1"}
    told = answer(read_choices(asked | {"api_input_price": price, "api_output_price": price}))
    lines = {line.what: line.value for line in answer_lines(told)}
    record = answer_record(told)
    assert words in lines["the API, for the same"]
    assert record["api_usd_per_hour"] == pytest.approx(40 * 3600 * 1250 * price / 1e6)
    most = f"and it could serve {100 / told.plan.load:,.0f}% at most"
    assert (most in lines["the API, for the same"]) == (price < 0.05)
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
