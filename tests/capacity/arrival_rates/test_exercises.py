"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity.arrival_rates.exercises import (
    example,
    pools,
    routed_dispersion,
    what_bursts,
    windows_to_detect,
)


@given(st.lists(st.tuples(st.floats(0, 1e7), st.floats(0, 1e6)), min_size=1, max_size=9))
def test_one_pool_needs_no_more_than_two(minutes: list[tuple[float, float]]) -> None:
    prompts, answers = ([one[i] for one in minutes] for i in (0, 1))
    one, read, written = pools(prompts, answers, 0.0001, 0.001)
    assert max(read, written) <= one <= read + written
    with pytest.raises(ValueError, match="answer_tokens must be"):
        pools(prompts, [*answers, 1.0], 0.0001, 0.001)


def test_what_bursts_at_its_edges() -> None:
    assert what_bursts(0.79, 9.0) == "paced"
    assert what_bursts(0.8, 2.0) == what_bursts(1.5, 2.0) == "Poisson"
    assert what_bursts(1.51, 0.0) == "bursts"
    assert what_bursts(1.0, 2.1) == "drift"
    with pytest.raises(ValueError, match="by_minute must be"):
        what_bursts(1.0, -1.0)


@given(st.floats(0, 50), st.floats(0.01, 1), st.floats(0.01, 1))
def test_routing_twice_is_routing_once(index: float, first: float, second: float) -> None:
    twice = routed_dispersion(routed_dispersion(index, first), second)
    assert twice == pytest.approx(routed_dispersion(index, first * second), abs=1e-9)
    assert routed_dispersion(index, 1.0) == pytest.approx(index, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((-0.1, 0.5), "dispersion must be non-negative"),
        ((math.inf, 0.5), "dispersion must be non-negative"),
        ((2.0, 0.0), "share must be in"),
        ((2.0, 1.01), "share must be in"),
        ((2.0, math.nan), "share must be in"),
    ],
)
def test_bad_routing(arguments: tuple[float, float], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        routed_dispersion(*arguments)


@pytest.mark.parametrize("index", [1.05, 1.12, 1.5, 2.0, 5.0, 50.0])
@pytest.mark.parametrize(("alarm", "power"), [(0.05, 0.9), (0.01, 0.8), (0.2, 0.99)])
def test_windows_against_exact_quantiles(index: float, alarm: float, power: float) -> None:
    def detected(freedom: int) -> float:
        return float(stats.chi2.sf(stats.chi2.isf(alarm, freedom) / index, freedom))

    windows = windows_to_detect(index, alarm, power)
    slack = max(2, round(0.01 * windows))
    assert detected(windows - 1 + slack) >= power
    assert windows - 1 - slack < 1 or detected(windows - 1 - slack) < power


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((1.0,), "dispersion must be finite and above 1"),
        ((math.inf,), "dispersion must be finite and above 1"),
        ((2.0, 0.0), "false_alarm must be in"),
        ((2.0, 1.0), "false_alarm must be in"),
        ((2.0, 0.5, 0.5), "power must be in"),
        ((2.0, 0.05, 1.0), "power must be in"),
    ],
)
def test_bad_windows_to_detect(arguments: tuple[float, ...], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        windows_to_detect(*arguments)


def test_the_pencil_gets_the_pools_from_what_the_page_prints() -> None:
    told = example()
    prompts, answers = 0.00001 * told.pool_prompts, 0.0001 * told.pool_answers
    for due, mean, peak in (
        (told.pool_read, prompts, told.pool_prompts_peak),
        (told.pool_written, answers, told.pool_answers_peak),
        (told.pool_one, prompts + answers, told.pool_both_peak),
    ):
        assert math.ceil(300 * mean * round(peak, 3) / 60) == due
