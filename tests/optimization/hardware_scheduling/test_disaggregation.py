"""Prefill and decode: identities between the formulas, a brute-force split, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.queues.queue_simulator import fifo_waits
from serving_mathematics.optimization.hardware_scheduling.disaggregation import (
    TPOT_LIMITS_S,
    _goodputs,
    best_split,
    cache_bandwidth,
    chunked_capacity,
    pipeline_ttft_s,
    prefill_ttft_s,
    tensor_ttft_s,
)

loads = st.floats(0, 0.98)
times = st.floats(0.01, 10)


@given(loads, times)
def test_a_pipeline_is_a_queue_of_half_the_service(load: float, prefill: float) -> None:
    rate = 2 * load / prefill
    expected = prefill_ttft_s(rate, prefill / 2) + prefill / 2
    assert pipeline_ttft_s(rate, prefill) == pytest.approx(expected, rel=1e-9)


@given(loads, times, st.floats(1, 2))
def test_two_as_one_are_a_queue_of_shorter_service(
    load: float, prefill: float, speedup: float
) -> None:
    rate = load * speedup / prefill
    expected = prefill_ttft_s(rate, prefill / speedup)
    assert tensor_ttft_s(rate, prefill, speedup) == pytest.approx(expected, rel=1e-8)


def test_perfect_speedup_is_half_of_one_device_at_twice_the_rate() -> None:
    assert tensor_ttft_s(6.0, 0.2, 2.0) == pytest.approx(prefill_ttft_s(3.0, 0.2) / 2)


def test_constant_services_by_brute_force() -> None:
    rng = np.random.default_rng(9)
    arrivals = np.cumsum(rng.exponential(0.25, (40, 4000)), axis=1)
    waits = fifo_waits(arrivals, np.full(arrivals.shape, 0.2))[:, 500:].mean(axis=1)
    error = float(waits.std(ddof=1)) / math.sqrt(40)
    assert abs(waits.mean() + 0.2 - prefill_ttft_s(4.0, 0.2)) < 4 * error


@given(times, st.floats(0, 1), st.floats(0.001, 5))
def test_chunks_leave_what_the_streams_do_not_take(
    prefill: float, step: float, more: float
) -> None:
    gap = step + more
    capacity = chunked_capacity(prefill, step, gap)
    assert capacity * prefill * gap == pytest.approx(more, rel=1e-6)
    assert capacity <= 1 / prefill
    assert chunked_capacity(prefill, step, 2 * gap) >= capacity


@given(times, times, st.integers(2, 30))
def test_no_split_carries_more(prefill: float, decode: float, devices: int) -> None:
    prefilling, rate = best_split(prefill, decode, devices)
    assert 1 <= prefilling < devices
    assert rate == min(prefilling * prefill, (devices - prefilling) * decode)
    for k in range(1, devices):
        assert min(k * prefill, (devices - k) * decode) <= rate


def test_cache_bandwidth_is_a_product() -> None:
    assert cache_bandwidth(3.0, 7.0, 11.0) == 231.0
    assert cache_bandwidth(0.0, 7.0, 11.0) == 0.0


@given(st.floats(0.01, 100.0), st.floats(0.01, 100.0), st.integers(2, 40))
def test_best_split_is_the_best_of_all(prefill: float, decode: float, devices: int) -> None:
    rates = [min(k * prefill, (devices - k) * decode) for k in range(1, devices)]
    split, rate = best_split(prefill, decode, devices)
    assert rate == max(rates) == rates[split - 1]


def test_best_split_of_many_devices_is_found_at_once() -> None:
    assert best_split(1.0, 3.0, 4 * 10**12) == (3 * 10**12, 3e12)
    assert best_split(1e-20, 1.0, 5) == (4, 4e-20)  # each phase keeps a device
    assert best_split(1.0, 1e-20, 5) == (1, 4e-20)


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: prefill_ttft_s(1.0, 0.0), "prefill_s must be positive and finite"),
    (lambda: prefill_ttft_s(-1.0, 0.1), "arrival_rate must be non-negative"),
    (lambda: prefill_ttft_s(math.nan, 0.1), "arrival_rate must be non-negative"),
    (lambda: pipeline_ttft_s(1.0, math.inf), "prefill_s must be positive and finite"),
    (lambda: pipeline_ttft_s(20.0, 0.1), r"arrival_rate must be in \[0, 20\)"),
    (lambda: tensor_ttft_s(1.0, -0.1, 1.5), "prefill_s must be positive and finite"),
    (lambda: tensor_ttft_s(15.0, 0.1, 1.5), r"arrival_rate must be in \[0, 15\)"),
    (lambda: tensor_ttft_s(1.0, 0.1, 0.9), r"speedup must be in \[1, 2\]"),
    (lambda: tensor_ttft_s(1.0, 0.1, math.nan), r"speedup must be in \[1, 2\]"),
    (lambda: chunked_capacity(0.0, 0.1, 0.2), "prefill_s must be positive"),
    (lambda: chunked_capacity(0.1, -0.1, 0.2), "step_s must be non-negative"),
    (lambda: chunked_capacity(0.1, 0.2, 0.2), "gap_s must be finite and above 0.2"),
    (lambda: chunked_capacity(0.1, 0.2, math.inf), "gap_s must be finite and above 0.2"),
    (lambda: best_split(0.0, 1.0, 3), "prefill_rate must be positive"),
    (lambda: best_split(1.0, math.nan, 3), "decode_rate must be positive"),
    (lambda: best_split(1.0, 1.0, 1), "devices must be an integer of at least 2"),
    (lambda: best_split(1.0, 1.0, 2.5), "devices must be an integer of at least 2"),  # type: ignore[arg-type]
    (lambda: cache_bandwidth(-1.0, 1.0, 1.0), "arrival_rate must be non-negative"),
    (lambda: cache_bandwidth(1.0, 0.5, 1.0), "prompt_tokens must be at least 1"),
    (lambda: cache_bandwidth(1.0, 1.0, 0.0), "bytes_per_token must be positive"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_names_the_argument(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_goodput_is_on_a_line_between_the_first_rate_that_fails_and_the_one_before() -> None:
    slow, fast = 0.07, 0.01  # a token, at rates of 1 and 2
    latencies = np.zeros((20, 2, 2))
    latencies[:, 1] = fast, slow
    found = _goodputs(latencies, rates=(1.0, 2.0))
    by_hand = [1 + (limit - fast) / (slow - fast) for limit in TPOT_LIMITS_S]
    np.testing.assert_allclose(found[:, 0], by_hand)
    for both in ((slow, slow), (fast, fast)):
        latencies[:, 1] = both
        with pytest.raises(ValueError, match="limit must be between those at the rates"):
            _goodputs(latencies, rates=(1.0, 2.0))
