"""Beyond the checks of latency-throughput-cost and its exercises: limits, properties, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.exercises.latency_throughput_cost import (
    batch_in_memory,
    cheapest_device,
    weight_compression_gain,
)
from serving_mathematics.intuition.latency_throughput_cost import (
    attainable_flops,
    cost_per_million,
    critical_batch,
    decode_step_time,
    example,
    largest_batch,
    matmul_intensity,
    prompt_time,
    ridge_intensity,
    slider_frontier,
    throughput_ceiling,
)

positive = st.floats(1e-3, 1e3)


@given(positive, positive, positive)
def test_roofline_is_the_lower_of_two_roofs(x: float, peak: float, bandwidth: float) -> None:
    rate = float(attainable_flops(x, peak, bandwidth))
    assert rate == pytest.approx(min(peak, bandwidth * x))
    corner = ridge_intensity(peak, bandwidth)
    assert float(attainable_flops(corner, peak, bandwidth)) == pytest.approx(peak)


def test_intensity_counts_operations_and_bytes() -> None:
    operations, moved = 2 * 3 * 5 * 7, 2 * (3 * 5 + 5 * 7 + 3 * 7)
    assert matmul_intensity(3, 5, 7) == pytest.approx(operations / moved)


@given(st.floats(1.0, 500.0), st.floats(2000, 20000), st.floats(2000, 20000))
def test_critical_batch_inverts_the_intensity(r: float, width: float, hidden: float) -> None:
    assert matmul_intensity(critical_batch(r, width, hidden), width, hidden) == pytest.approx(r)
    assert critical_batch(r, width, hidden) > r


def test_step_time_is_flat_then_linear() -> None:
    steps = decode_step_time([1, 10, 100, 200], 1.0, 2.0, 0.0, peak_flops=10.0, bandwidth=1.0)
    np.testing.assert_allclose(steps, [2.0, 2.0, 20.0, 40.0])
    assert decode_step_time(np.ones((2, 3)), 1.0, 2.0, 0.0, 10.0, 1.0).shape == (2, 3)


@given(st.integers(1, 400), st.floats(0, 5.0), st.floats(1.0, 500.0))
def test_largest_batch_is_largest(batch: int, kv: float, peak: float) -> None:
    arguments = (3.0, 6.0, kv, peak, 2.0)
    limit = float(decode_step_time(batch, *arguments))
    found = largest_batch(limit, *arguments)
    assert found >= batch
    assert float(decode_step_time(found, *arguments)) <= limit
    assert float(decode_step_time(found + 1, *arguments)) > limit


def test_largest_batch_with_a_cache_that_weighs_nothing() -> None:
    assert largest_batch(3.0, 3.0, 6.0, 1e-250, 2.0, 2.0) == 1
    assert largest_batch(3.0, 3.0, 6.0, 0.0, 20.0, 2.0) == 10


@given(st.floats(0.1, 1e3), st.floats(0, 1e3), positive, positive, st.floats(1.0, 1e6))
def test_no_batch_reaches_the_ceiling(
    parameters: float, kv: float, peak: float, bandwidth: float, batch: float
) -> None:
    ceiling = throughput_ceiling(parameters, kv, peak, bandwidth)
    step = float(decode_step_time(batch, parameters, 2 * parameters, kv, peak, bandwidth))
    assert batch / step <= ceiling * (1 + 1e-9)
    large = 1e12 * max(1.0, peak / bandwidth)
    step = float(decode_step_time(large, parameters, 2 * parameters, kv, peak, bandwidth))
    assert large / step == pytest.approx(ceiling, rel=1e-6)


def test_ceiling_of_the_example_has_the_arithmetic_in_it() -> None:
    """2,993 tokens a second and not 3,120, the bandwidth over one cache."""
    assert example().rate_ceiling == pytest.approx(2992.7, abs=0.1)


@given(st.integers(1, 3000), st.integers(0, 100), st.floats(0, 1e4), st.floats(0.01, 1.0))
def test_prompt_time_is_that_of_its_tokens(
    tokens: int, layers: int, width: float, mfu: float
) -> None:
    work = 2e6 * tokens + 4 * layers * width * sum(range(1, tokens + 1))
    got = prompt_time(1e6, tokens, 1e12, mfu, layers, width)
    assert got == pytest.approx(work / (mfu * 1e12))


def test_price_scales() -> None:
    np.testing.assert_allclose(cost_per_million(7.2, [1000.0, 2000.0]), [2.0, 1.0])


def test_example_orders_the_triangle() -> None:
    found = example()
    assert found.alone_ms < found.knee_ms < found.objective_ms < found.full_ms
    assert found.alone_rate < found.knee_rate < found.objective_rate < found.rate_ceiling
    assert found.alone_price > found.knee_price > found.full_price > found.price_floor
    assert found.wrong_tpot_ms < found.floor_ms  # the published mistake beats the floor


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_bad_machines(bad: float) -> None:
    with pytest.raises(ValueError, match="peak_flops must be positive and finite"):
        ridge_intensity(bad, 1.0)
    with pytest.raises(ValueError, match="bandwidth must be positive and finite"):
        attainable_flops(1.0, 1.0, bad)
    with pytest.raises(ValueError, match="intensity must be"):
        attainable_flops([1.0, bad], 1.0, 1.0)
    with pytest.raises(ValueError, match="batch must be positive"):
        matmul_intensity(bad, 1.0, 1.0)
    with pytest.raises(ValueError, match="width must be positive"):
        matmul_intensity(1.0, bad, 1.0)
    with pytest.raises(ValueError, match="hidden must be positive"):
        matmul_intensity(1.0, 1.0, bad)
    with pytest.raises(ValueError, match="ridge must be"):
        critical_batch(bad, 1e4, 1e4)
    with pytest.raises(ValueError, match="batch must be"):
        decode_step_time(bad, 1.0, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="parameters must be"):
        decode_step_time(1, bad, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="weight_bytes must be"):
        decode_step_time(1, 1.0, bad, 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="limit_s must be"):
        largest_batch(bad, 1.0, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="price_per_hour must be"):
        cost_per_million(bad, 1.0)
    with pytest.raises(ValueError, match="tokens_per_s must be"):
        cost_per_million(1.0, [1.0, bad])
    with pytest.raises(ValueError, match="limit_s must be"):
        cheapest_device({"a": (1e9, 1e9, 1e9, 1.0)}, 1.0, 1.0, 1, bad)


def test_edges_that_are_refused() -> None:
    for empty in ([], [0.99]):
        with pytest.raises(ValueError, match="batch must be"):
            decode_step_time(empty, 1.0, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="kv_bytes must be"):
        decode_step_time(1, 1.0, 1.0, -1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="ridge must be below the largest intensity 2"):
        critical_batch(2.0, 4.0, 4.0)
    with pytest.raises(ValueError, match="tokens_per_s"):
        cost_per_million(1.0, [])
    with pytest.raises(ValueError, match="intensity"):
        attainable_flops([], 1.0, 1.0)


def test_memory_is_filled_to_the_last_sequence() -> None:
    assert batch_in_memory(100.0, 40.0, 2.0, 10) == 3
    assert batch_in_memory(99.0, 40.0, 2.0, 10) == 2
    for arguments, name in (
        ((100.0, 0.0, 2.0, 10), "weight_bytes"),
        ((100.0, 4.0, 0.0, 10), "kv_bytes_per_token"),
        ((100.0, 4.0, 1.0, 2.5), "context_tokens"),
        ((5.0, 4.0, 1.0, 2), "memory_bytes"),
    ):
        with pytest.raises(ValueError, match=f"{name} must be"):
            batch_in_memory(*arguments)


def test_compression_gain_falls_with_the_batch() -> None:
    gains = [weight_compression_gain(b, 7e9, 1e9, 1e15, 3e12) for b in (1, 4, 16, 64, 256)]
    assert gains == sorted(gains, reverse=True)
    assert weight_compression_gain(1, 7e9, 0, 1e15, 3e12, new_bytes=1.0) == pytest.approx(2.0)
    for bad in (0.0, math.nan, 3.0):
        with pytest.raises(ValueError, match="new_bytes must be"):
            weight_compression_gain(1, 1.0, 1.0, 1.0, 1.0, new_bytes=bad)
    with pytest.raises(ValueError, match="old_bytes must be"):
        weight_compression_gain(1, 1.0, 1.0, 1.0, 1.0, old_bytes=math.inf)


def test_cheapest_device_obeys_memory_and_objective() -> None:
    small = {"small": (1e15, 1e12, 12e9, 1.0)}
    assert cheapest_device(small, 5e9, 1e6, 1000, 1.0)[1] == 2  # memory decides
    assert cheapest_device(small, 5e9, 1e6, 1000, 0.0115)[1] == 1  # the objective decides
    tight = small | {"full": (1e15, 9e12, 10.5e9, 0.1)}  # weights fit, no cache beside them
    assert cheapest_device(tight, 5e9, 1e6, 1000, 1.0)[0] == "small"
    with pytest.raises(ValueError, match="devices must be able"):
        cheapest_device(small, 5e9, 1e6, 1000, 0.010)
    with pytest.raises(ValueError, match="devices must be able"):
        cheapest_device({}, 5e9, 1e6, 1000, 0.010)


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
    assert filled[batches.index(page.full_batch), column] == pytest.approx(99.4, abs=0.7)
    for row, batch in enumerate(batches):
        assert (rates[row, column] is None) == (batch > page.full_batch)
        for at, context in enumerate(contexts):
            if rates[row, at] is not None:
                held = 4.0 + batch * context * 524_288 / 3.35e9 + 0.0229
                assert steps[row, at] == pytest.approx(held, abs=1e-3)
                assert rates[row, at] == pytest.approx(1e3 * batch / steps[row, at])
