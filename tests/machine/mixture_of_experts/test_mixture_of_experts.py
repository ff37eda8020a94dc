"""A mixture by load: limits, a dense model as oracle, records, slider, and the exercises."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.architectures import FeedForward
from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.calibration import KERNELS
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.step_time import count_work
from serving_mathematics.machine.mixture_of_experts.expert_routing import experts_a_token
from serving_mathematics.machine.mixture_of_experts.mixture_of_experts import (
    _imbalance,
    _race,
    _real_popularity,
    compute_bound_tokens,
    device_hours,
    example,
    slider_weights_a_token,
)
from serving_mathematics.machine.predictions.exercises import ridge_tokens


@given(st.integers(1, 400), st.floats(0.5, 4), st.data())
def test_sparse_layers_need_as_many_more_tokens(
    experts: int, size: float, data: st.DataObject
) -> None:
    chosen = data.draw(st.integers(1, experts))
    part = FeedForward(0, 1, experts, chosen)
    dense = ridge_tokens(989e12, 3.35e12, size)
    found = compute_bound_tokens(part, size, 3.35e12, 989e12)
    assert found == pytest.approx(dense * experts / chosen)


def test_at_that_many_tokens_both_times_are_equal() -> None:
    part = FeedForward(0, 7e6, 64, 4)  # type: ignore[arg-type]
    tokens = compute_bound_tokens(part, 1.0, 8e12, 4e15)
    read = 64 * 7e6 * 1.0 / 8e12
    assert 2 * tokens * 4 * 7e6 / 4e15 == pytest.approx(read)


def test_device_hours_by_hand() -> None:
    work = count_work([WORKED])
    found = loop_latencies(work, KERNELS)
    stay = float(found.first_token_s[0]) + 200 * float(found.per_token_s[0])
    rate = 8 * 200 / stay
    assert device_hours(WORKED) == pytest.approx(1e6 / rate / 3600)


def test_the_race_is_of_four_devices() -> None:
    for name, runs in _race().items():
        assert len(runs) >= 5, name
        assert {run.answers.devices for run in runs} == {4}
        assert {run.answers.system.name for run in runs} == {"h100_sxm"}
        assert max(run.concurrency for run in runs) <= 128


def test_real_popularity_is_what_was_counted() -> None:
    shares = _real_popularity()
    assert shares.sum() == pytest.approx(8)
    assert shares[:65].sum() == pytest.approx(7.2, rel=1e-6)
    assert np.all(np.diff(shares) < 0)


def test_chance_evens_out_and_skew_does_not() -> None:
    assert _imbalance(32, 8) > _imbalance(512, 8) > 1
    assert _imbalance(128, 64) > _imbalance(128, 8)
    assert _imbalance(2048, 8, 1.2) > 1.3 > _imbalance(2048, 8)


def test_numbers_of_the_page() -> None:
    told = example()
    assert told.mini_4 < told.llama_4
    assert told.mini_over_llama == pytest.approx(told.mini_64 / told.llama_64)
    assert told.mini_over_llama > 1
    assert told.touched_32 == pytest.approx(163.31, abs=0.01)
    assert told.hours_1 > told.hours_16 > told.hours_32 > 1
    assert told.hours_rows.count("\n") == 3


def test_the_slider_is_the_formula() -> None:
    told = slider_weights_a_token()
    tokens, ratios = (control["values"] for control in told["controls"])
    mixture, dense = (np.array(curve["values"]) for curve in told["curves"])
    touched = np.array(told["readouts"][0]["values"])
    for (row, count), (column, ratio) in product(enumerate(tokens), enumerate(ratios)):
        part = FeedForward(0, 1, 8 * ratio, 8)
        assert mixture[row, column] == pytest.approx(experts_a_token(part, count) / 8)
        assert dense[row, column] == pytest.approx(1 / count)
        assert touched[row, column] == pytest.approx(100 * mixture[row, column] * count / ratio)
    share = mixture[tokens.index(16), ratios.index(16)]
    assert 100 * share == pytest.approx(example().share_at_ratio)
