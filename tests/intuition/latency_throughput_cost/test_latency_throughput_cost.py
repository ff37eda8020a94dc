"""Beyond the checks of latency-throughput-cost and its exercises: limits, properties, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st
from serving_mathematics.intuition.latency_throughput_cost.latency_throughput_cost import (
    example,
    slider_frontier,
)

positive = st.floats(1e-3, 1e3)


def test_ceiling_of_the_example_has_the_arithmetic_in_it() -> None:
    """10,377 tokens a second and not 12,480, the bandwidth over one cache."""
    assert example().rate_ceiling == pytest.approx(10_377, abs=1)


def test_the_example_is_of_today() -> None:
    """Llama-3.1-8B: a cache a quarter as large as in 2023, so 260 sequences and 7 cents."""
    found = example()
    assert found.full_batch == 260
    assert found.full_rate == pytest.approx(10_145, abs=10)
    assert found.full_price == pytest.approx(0.068, abs=5e-4)
    alone = (
        1e3 / found.objective_rate + found.prompt_ms / found.answer_tokens
    )  # one after the other
    assert found.prompt_price == pytest.approx(2.5e3 / 3600 * alone)


def test_example_orders_the_triangle() -> None:
    found = example()
    assert found.alone_ms < found.knee_ms < found.objective_ms < found.full_ms
    assert found.alone_rate < found.knee_rate < found.objective_rate < found.rate_ceiling
    assert found.alone_price > found.knee_price > found.full_price > found.price_floor
    assert found.wrong_tpot_ms < found.floor_ms  # the published mistake beats the floor


def test_frontier_slider_says_the_numbers_of_the_page() -> None:
    told, page = slider_frontier(), example()
    batches, contexts = (control["values"] for control in told["controls"])
    steps, rates = told["x"]["values"], told["curves"][0]["values"]
    _, prices, filled = (np.asarray(readout["values"]) for readout in told["readouts"])
    column = contexts.index(page.context)
    for batch, ms, rate, price in (
        (1, page.alone_ms, page.alone_rate, page.alone_price),
        (page.knee_batch, page.knee_ms, page.knee_rate, page.knee_price),
        (page.objective_batch, None, page.objective_rate, page.objective_price),
        (page.full_batch, page.full_ms, page.full_rate, page.full_price),
    ):
        row = batches.index(batch)
        assert ms is None or steps[row, column] == pytest.approx(ms)
        assert rates[row, column] == pytest.approx(rate)
        assert prices[row, column] == pytest.approx(price)
    assert filled[batches.index(page.full_batch), column] == pytest.approx(99.9, abs=0.2)
    for row, batch in enumerate(batches):
        assert (rates[row, column] is None) == (batch > page.full_batch)
        for at, context in enumerate(contexts):
            if rates[row, at] is not None:
                held = 4.794 + batch * context * 131_072 / 3.35e9
                assert steps[row, at] == pytest.approx(held, abs=1e-3)
                assert rates[row, at] == pytest.approx(1e3 * batch / steps[row, at])
