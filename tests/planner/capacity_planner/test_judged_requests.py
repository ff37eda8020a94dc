"""Requests of a run: intervals by hand, quantiles as numpy has them, and how many say something."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.planner.capacity_planner.capacity_planner import plan
from serving_mathematics.planner.capacity_planner.fleet_search import Fleets
from serving_mathematics.planner.capacity_planner.judged_requests import (
    ClassRun,
    Quantile,
    _of_some,
    _quantiles_in,
    _require_enough,
    _shorter,
    decisive,
    fewest_requests,
    reaches,
    requests_to_judge,
    sectioned_quantiles,
    sectioned_share,
    worst_shares,
)
from serving_mathematics.planner.questions.objectives import promised
from serving_mathematics.planner.questions.questions import read_question
from serving_mathematics.planner.questions.traffic import TrafficClass, mixed_traffic

from .test_fleet_search import BASE, MIXED, standin


def test_who_is_at_the_objective_keeps_it() -> None:
    at = Quantile(0.5, 0.25)
    one = ClassRun("chat", promised(0.5, 0.5), (at, at), at, 1.0)
    assert reaches([one], [one.promise])
    assert reaches([one], [promised(0.75, 0.75)], 1.0)
    assert reaches([one], [promised(0.25, 0.25)], -1.0)
    assert worst_shares([one], [promised(0.25, 1.0)]) == {"ttft": 2.0, "tpot": 0.5}
    for less in (promised(0.49, 0.5), promised(0.5, 0.49)):
        assert not reaches([one], [less])


def test_the_worst_metric_decides_and_of_equal_ones_the_last() -> None:
    assert decisive({"ttft": 0.9, "tpot": 0.8}).name == "ttft"
    assert decisive({"ttft": 0.9, "tpot": 0.9}).name == "tpot"
    assert decisive({"e2e": 0.9, "ttft": 0.9}).name == "e2e"


def test_shares_by_sections() -> None:
    held = np.random.default_rng(1).random(1000) < 0.9
    got = sectioned_share(held)
    parts = held.reshape(10, 100).mean(axis=1)
    assert got.value == pytest.approx(held.mean())
    assert got.half_width == pytest.approx(2.2621571628 * parts.std(ddof=1) / math.sqrt(10))
    with pytest.raises(ValueError, match="held must be one-dimensional"):
        sectioned_share(np.ones((5, 5)))
    assert sectioned_share(np.ones(20)) == Quantile(1.0, 0.0)
    with pytest.raises(ValueError, match="held must be of at least 20 numbers, got 19 of them"):
        sectioned_share(np.ones(19))


def test_sections() -> None:
    series = np.random.default_rng(0).exponential(1.0, 1005)
    got, high = sectioned_quantiles(series, [0.5, 0.95])
    assert isinstance(got, Quantile)
    assert (high,) == sectioned_quantiles(series, [0.95])
    assert got.value == np.quantile(series, 0.5)
    parts = np.array_split(series, 10)
    gaps = [np.quantile(part, 0.5) - got.value for part in parts]
    scatter = 2.2621571628 * math.sqrt(np.square(gaps).sum() / 90)
    below = [float(np.mean(part <= got.value)) for part in parts]
    share = 2.2621571628 * np.std(below, ddof=1) / math.sqrt(10)
    ends = np.quantile(series, [0.5 - share, 0.5 + share])
    expected = max(scatter, ends[1] - got.value, got.value - ends[0])
    assert got.half_width == pytest.approx(expected)
    flat = np.concatenate([np.zeros(900), np.arange(100.0)])  # a crowd in the last section alone
    assert (
        sectioned_quantiles(flat, [0.95])[0].half_width >= 49
    )  # no quantile of a section shows it
    holes = np.insert(series, 7, np.nan)
    assert sectioned_quantiles(holes, [0.5]) == (got,)
    assert sectioned_quantiles(np.arange(20.0), [0.5])[0].value == 9.5
    with pytest.raises(ValueError, match="values must be of at least 20 numbers, got 19 of them"):
        sectioned_quantiles(np.arange(19.0), [0.5])
    for bad, words in (
        ((np.ones((5, 5)), [0.5]), "values must be one-dimensional"),
        ((np.ones(19), [0.5]), "values must be of at least 20 numbers"),
        ((np.ones(30), [0.5, 1.0]), "quantiles must be in"),
    ):
        with pytest.raises(ValueError, match=words):
            sectioned_quantiles(*bad)


@given(st.integers(20, 400), st.integers(0, 2**32), st.lists(st.floats(0, 1), min_size=1))
def test_quantiles_of_what_is_sorted_are_numpys(size: int, seed: int, shares: list[float]) -> None:
    values = np.random.default_rng(seed).exponential(1.0, (3, size))
    got = _quantiles_in(np.sort(values), np.array(shares))
    assert np.array_equal(got, np.quantile(values, shares, axis=1).T)


def test_times_per_token_of_too_few_requests_are_none() -> None:
    enough = np.append(np.arange(20.0), [math.nan] * 20)
    assert _of_some(enough, [0.5]) == sectioned_quantiles(enough, [0.5])
    assert _of_some(enough[1:], [0.5, 0.9]) == (Quantile(0.0, 0.0),) * 2


@pytest.mark.parametrize(("quantile", "least"), [(0.5, 5), (0.9, 29), (0.99, 299), (0.9999, 29956)])
def test_requests_that_say_something_about_a_quantile(quantile: float, least: int) -> None:
    """By the binomial: a run of n keeps below the quantile altogether with probability qⁿ."""
    assert requests_to_judge(quantile) == least
    assert quantile**least <= 0.05 < quantile ** (least - 1)


def test_too_few_requests_are_refused_with_the_number_that_would_do() -> None:
    rare = replace(BASE, promise=promised(9, 9, 0.9999), requests=100)
    with pytest.raises(ValueError, match=r"requests must be at least 8,322 to say anything about"):
        plan(rare)
    assert Fleets(replace(rare, requests=8322))
    with pytest.raises(ValueError, match=r"the trace must be at least 299 requests for p99, got"):
        Fleets(replace(BASE, traffic=standin(298), promise=promised(9, 9, 0.99)))
    for bad in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="quantile must be in"):
            requests_to_judge(bad)


def test_short_runs_are_long_enough_for_the_quantile() -> None:
    question = read_question({"rate_per_s": 1, "requests": 9000, "quantile": 0.9999})
    assert _shorter(question).requests == 8322
    assert _shorter(replace(question, requests=200)).requests == 8322


def test_a_rare_class_needs_more_requests() -> None:
    kinds = TrafficClass("chat", 0.98), TrafficClass("rare", 0.02)
    asked = replace(MIXED, traffic=mixed_traffic(40.0, kinds))
    assert fewest_requests(asked) == (450, "p90 of rare")
    with pytest.raises(ValueError, match=r"requests must be at least 450 .* p90 of rare, got 400"):
        _require_enough(asked)
    with pytest.raises(ValueError, match="class_promises must be one for each of 2 classes"):
        Fleets(replace(asked, requests=450, class_promises=()))
