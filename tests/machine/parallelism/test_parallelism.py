"""Gains by hand and on planted pairs, a cut context, the slider; and the exercises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.step_time import FITTED, SEND_S, count_work
from serving_mathematics.machine.parallelism.parallelism import (
    LOADS,
    WIDTHS,
    _engines,
    _fixed_share,
    _llama_on,
    _speedups,
    _spread,
    context_split_s,
    devices_for_cache,
    example,
    slider_more_devices,
)


def test_slider_more_devices() -> None:
    data = slider_more_devices()
    values = np.array(data["curves"][0]["values"])
    rates = np.array(data["readouts"][0]["values"])
    for i, load in enumerate(LOADS):
        for j, devices in enumerate(WIDTHS):
            one = loop_latencies(count_work([_llama_on(devices, load)]), FITTED)
            assert values[i, j] == pytest.approx(1e3 * float(one.per_token_s[0]))
    assert np.all(np.diff(values, axis=0) >= 0)  # more requests, no shorter steps
    assert np.all(np.diff(values[:, 1:], axis=1) < 0)  # more devices, shorter ones
    assert np.all(np.diff(rates[:, 1:], axis=1) < 0)  # and less from each
    assert slider_more_devices() == data


def test_parts_of_a_token_add_up_to_it() -> None:
    for devices in (1, 4):
        one = loop_latencies(count_work([_llama_on(devices, 16.0)]), FITTED)
        assert sum(_spread(devices).values()) == pytest.approx(float(one.per_token_s[0]))


def test_what_stays_is_kernels_messages_and_host() -> None:
    parts = {"weights": 2.0, "cache": 1.0, "kernels": 3.0, "messages": 1.5, "host": 0.5}
    assert _fixed_share(parts) == pytest.approx(5 / 8)
    one, eight = _spread(1), _spread(8)
    assert one["messages"] == 0 < eight["messages"]
    assert one["kernels"] == eight["kernels"]
    assert one["weights"] == pytest.approx(8 * eight["weights"])
    found = example()
    assert found.fixed_one < 0.3 < 0.6 < found.fixed_eight


def test_pairs_differ_in_their_devices_alone() -> None:
    """Brute force over all pairs of single runs, one deployment at a time."""
    runs = _engines()
    places = [(place, run.answers) for place, run in enumerate(runs)]
    one = {i: replace(a, expert=1) for i, a in places if a.tensor == 1}
    eight = {j: replace(a, tensor=1, expert=1) for j, a in places if a.tensor == 8}
    ratios = [
        runs[i].per_token_s / runs[j].per_token_s
        for i, few in one.items()
        for j, many in eight.items()
        if few == many
    ]
    measured, kernels, fitted = _speedups(1, 8)
    assert np.median(measured) == pytest.approx(np.median(ratios), rel=0.05)
    assert measured.shape == kernels.shape == fitted.shape
    assert 1 < np.median(_speedups(4, 8)[0]) < np.median(_speedups(1, 2)[0]) < 2


def test_a_cache_lies_on_heads_and_parts() -> None:
    assert devices_for_cache(8, 4, 1) == 1 / 4
    assert devices_for_cache(8, 8, 1) == devices_for_cache(8, 16, 1) == 1 / 8
    assert devices_for_cache(1, 8, 8) == devices_for_cache(8, 8, 1)
    assert devices_for_cache(1, 8, 1) == 1
    assert devices_for_cache(4, 8, 4) == 1 / 8


@given(
    heads=st.sampled_from([1, 2, 4, 8, 16]), tensor=st.sampled_from([1, 2, 4, 8, 16]),
    split=st.sampled_from([1, 2, 4, 8, 16]),
)  # fmt: skip
def test_no_device_holds_less_than_its_share(heads: int, tensor: int, split: int) -> None:
    if split > tensor:
        return
    share = devices_for_cache(heads, tensor, split)
    assert 1 / tensor <= share <= 1
    assert devices_for_cache(heads, tensor, 1) >= share


def test_a_cut_context_by_hand() -> None:
    found = context_split_s([0.0, 6e6], [8000.0, 8000.0], 4, 2e12, 1e11)
    assert found == pytest.approx([SEND_S + 6e-8, 0.75e-6 + SEND_S + 6e-8])
    assert context_split_s([6e6], 8000.0, 1, 2e12, 1e11) == pytest.approx([3e-6])
