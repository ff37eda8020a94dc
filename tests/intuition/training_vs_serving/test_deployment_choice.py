"""The deployed choice: limits, brute force, properties, and what page and slider say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.training_vs_serving.deployment_choice import (
    FLOOR,
    FLOORS,
    LIMIT_S,
    LIMITS_MS,
    RATES,
    REQUESTS_PER_S,
    ZOO,
    Replica,
    _gap_s,
    _zoo,
    carried_per_s,
    cheapest,
    example,
    fewest_replicas,
    slider_cheapest,
)

TOY = Replica("toy", 60.0, 0.010, 0.0002, 0.06, 200, places=1e9, price_per_hour=3.0)


@given(st.floats(0.0101, 1.0))
def test_the_promise_is_met_exactly_at_what_is_carried(limit: float) -> None:
    assert _gap_s(TOY, carried_per_s(TOY, limit)) in (
        pytest.approx(limit, rel=1e-6),
        pytest.approx(
            0.010 / (1 - 0.9), rel=1e-3
        ),  # places without end, nine tenths of the ceiling
    )


def test_limits() -> None:
    assert carried_per_s(TOY, 0.010) == carried_per_s(TOY, 0.001) == 0
    assert carried_per_s(TOY, 1e9) == pytest.approx(0.9 / 0.1, rel=1e-6)
    few = replace(TOY, places=4)
    assert fewest_replicas(TOY, 1e-30, 0.03) == 1  # 0 says that no number would do
    full = 4 / (200 * (0.010 + 4 * 0.0002) + 4 * 0.06)
    assert carried_per_s(few, 0.09) == pytest.approx(0.9 * full)


@given(st.floats(0.1, 500), st.floats(0.011, 0.2))
def test_one_replica_fewer_is_too_few(rate: float, limit: float) -> None:
    count = fewest_replicas(TOY, rate, limit)
    each = carried_per_s(TOY, limit)
    assert count * each >= rate * (1 - 1e-8)
    assert (count - 1) * each < rate


def test_the_cheapest_of_all_by_brute_force() -> None:
    rng = np.random.default_rng(7)
    for _ in range(40):
        zoo = [
            replace(
                TOY,
                name=str(i),
                score=float(rng.integers(40, 90)),
                step_s=float(rng.uniform(0.004, 0.03)),
                price_per_hour=float(rng.uniform(1, 20)),
            )
            for i in range(6)
        ]
        floor, rate, limit = float(rng.integers(40, 80)), float(rng.uniform(1, 60)), 0.02
        costs = {}
        for one in zoo:
            for count in range(1, 2000):
                each = rate / count * (one.prompt_s + one.later_tokens * one.sequence_s)
                meets = each < 1 and one.step_s / (1 - each) <= limit
                if one.score >= floor and one.step_s < limit and meets and each <= 0.9:
                    costs[one.name] = count * one.price_per_hour
                    break
        if costs:
            best, count = cheapest(zoo, floor, rate, limit)
            assert count * best.price_per_hour == pytest.approx(min(costs.values()))
        else:
            with pytest.raises(ValueError, match="zoo must be good and fast enough"):
                cheapest(zoo, floor, rate, limit)


def test_the_slider_says_the_numbers_of_the_page() -> None:
    told, page = slider_cheapest(), example()
    at = RATES.index(REQUESTS_PER_S), LIMITS_MS.index(1000 * LIMIT_S), FLOORS.index(FLOOR)
    bars = told["panels"][0]["bars"][at[0]][at[1]][at[2]]
    said = {one["label"]: np.array(one["values"])[at] for one in told["readouts"]}
    assert [name for name, *_, state, _ in bars if state == "answer"] == [page.chosen]
    assert said["price"] == page.chosen_price
    assert said["peak"] == page.peak_percent < 50
    assert page.slow_factor > 1


def test_bars_are_the_fewest_replicas_and_the_cheapest_by_brute_force() -> None:
    told = slider_cheapest()
    zoo = {one.name: one for one in _zoo() if one.name in told["panels"][0]["lanes"]}
    assert len(zoo) == len(ZOO) - 1
    said = {one["label"]: np.array(one["values"]) for one in told["readouts"]}
    for at in np.ndindex(said["price"].shape):
        rate, limit_s, floor = RATES[at[0]], LIMITS_MS[at[1]] / 1000, FLOORS[at[2]]
        bars = {bar[0]: bar[1:] for bar in told["panels"][0]["bars"][at[0]][at[1]][at[2]]}
        prices = {}
        for name, one in zoo.items():
            start, end, state, text = bars[name]
            able = one.step_s < limit_s
            assert (state == "broken") == (text == "never") == (not able)
            if not able:
                continue
            count = round(end / one.price_per_hour)
            assert (start, end, text) == (0, count * one.price_per_hour, f"${end:,.0f}")
            assert _gap_s(one, rate / count) <= limit_s * (1 + 1e-9)
            assert count == 1 or rate / (count - 1) > carried_per_s(one, limit_s)
            assert (state == "idle") == (one.score < floor)
            if one.score >= floor:
                prices[name] = end
        assert said["able"][at] == sum(bar[2] != "broken" for bar in bars.values())
        assert said["price"][at] == min(prices.values())
        (best,) = [name for name, bar in bars.items() if bar[2] == "answer"]
        assert prices[best] == said["price"][at]
        assert said["gap"][at] <= 1000 * limit_s * (1 + 1e-9)
