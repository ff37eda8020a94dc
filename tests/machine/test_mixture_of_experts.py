"""A mixture by load: limits, a dense model as oracle, records, slider, and the exercises."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.machine.architectures import FeedForward
from serving_mathematics.machine.benchmark_loops import loop_latencies
from serving_mathematics.machine.calibration import KERNELS
from serving_mathematics.machine.deployments import WORKED
from serving_mathematics.machine.exercises.mixture_of_experts import (
    busiest_with_copies,
    devices_to_gather,
    tokens_for_share,
)
from serving_mathematics.machine.exercises.mixture_of_experts import example as answers
from serving_mathematics.machine.exercises.predictions import ridge_tokens
from serving_mathematics.machine.expert_routing import experts_a_token
from serving_mathematics.machine.mixture_of_experts import (
    _imbalance,
    _race,
    _real_popularity,
    compute_bound_tokens,
    device_hours,
    example,
    slider_weights_a_token,
)
from serving_mathematics.machine.step_time import count_work


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


@given(st.floats(0.02, 0.98), st.integers(2, 300), st.data())
def test_enough_tokens_and_no_more(share: float, experts: int, data: st.DataObject) -> None:
    chosen = data.draw(st.integers(1, experts - 1))
    found = tokens_for_share(share, experts, chosen)
    part = FeedForward(0, 1, experts, chosen)
    assert experts_a_token(part, found) <= share * chosen
    assert found == 1 or experts_a_token(part, found - 1) > share * chosen


@given(st.floats(0.5, 500), st.integers(1, 400), st.integers(1, 8), st.integers(1, 300))
def test_devices_bring_enough(wanted: float, experts: int, chosen: int, each: int) -> None:
    devices = devices_to_gather(wanted, experts, chosen, each)
    assert devices * each * chosen / experts >= wanted * (1 - 1e-12)
    assert (devices - 1) * each * chosen / experts < wanted


@given(st.lists(st.integers(0, 9), min_size=4, max_size=4), st.sampled_from([0, 2, 4]))
def test_copies_against_every_placement(loads: list[int], copies: int) -> None:
    """Greedy placing is within a third of the best of all placements of the same copies."""
    if sum(loads) == 0:
        return
    found = busiest_with_copies(loads, 2, copies)
    instances = [1] * 4
    for _ in range(copies):
        instances[max(range(4), key=lambda i: (loads[i] / instances[i], -i))] += 1
    parts = [loads[i] / instances[i] for i in range(4) for _ in range(instances[i])]
    half, mean = len(parts) // 2, sum(loads) / 2
    best = min(
        max(sum(parts[i] for i in range(len(parts)) if picks >> i & 1), 0)
        if bin(picks).count("1") != half
        else max(
            sum(parts[i] for i in range(len(parts)) if picks >> i & 1),
            sum(parts[i] for i in range(len(parts)) if not picks >> i & 1),
        )
        for picks in range(2 ** len(parts))
        if bin(picks).count("1") == half
    )
    assert best / mean - 1e-12 <= found <= 4 / 3 * best / mean + 1e-12


def test_answers_of_the_page() -> None:
    told = answers()
    assert told.without_copies > told.placed_only > told.with_copies >= 1
    assert told.gathered == math.ceil(told.tokens_an_expert * 256 / (8 * 128))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_bad_numbers_are_named(bad: float) -> None:
    part = FeedForward(0, 1, 8, 2)
    with pytest.raises(ValueError, match="bytes_a_value must be positive and finite"):
        compute_bound_tokens(part, bad, 1e12, 1e15)
    with pytest.raises(ValueError, match="part must be a layer with experts"):
        compute_bound_tokens(FeedForward(3), 2, 1e12, 1e15)
    with pytest.raises(ValueError, match=r"share must be in \(0, 1\)"):
        tokens_for_share(bad, 8, 2)
    with pytest.raises(ValueError, match="tokens_an_expert must be positive and finite"):
        devices_to_gather(bad, 8, 2, 4)
    with pytest.raises(ValueError, match="loads must be"):
        busiest_with_copies([1.0, bad], 2, 0)


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(ValueError, match="loads must be tokens, some of them"):
        busiest_with_copies([0, 0], 2, 0)
    with pytest.raises(ValueError, match="copies must be so that 2 devices divide 5"):
        busiest_with_copies([1, 2, 3, 4], 2, 1)
    with pytest.raises(ValueError, match="chosen must be below the 8 experts, got 8"):
        tokens_for_share(0.5, 8, 8)
