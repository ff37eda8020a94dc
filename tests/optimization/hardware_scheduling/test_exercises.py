"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from serving_mathematics.optimization.hardware_scheduling.disaggregation import (
    pipeline_ttft_s,
    tensor_ttft_s,
)
from serving_mathematics.optimization.hardware_scheduling.exercises import (
    best_threshold,
    cheapest_device,
    multifit,
    pipeline_overtakes,
)
from serving_mathematics.optimization.hardware_scheduling.slice_packing import first_fit


def test_cheapest_device_follows_the_roofline() -> None:
    devices = {"arithmetic": (10.0, 1.0, 1.0), "memory": (1.0, 10.0, 1.0)}
    for flops, moved, among, name, cost in (
        (3600.0, 0.0, devices, "arithmetic", 0.1),
        (0.0, 3600.0, devices, "memory", 0.1),
        (3600.0, 36.0, devices, "arithmetic", 0.1),
        (3600.0, 3600.0, devices | {"cheap": (1.0, 1.0, 0.01)}, "cheap", 0.01),
    ):
        best, price = cheapest_device(flops, moved, among)
        assert best == name
        assert price == pytest.approx(cost)


@pytest.mark.parametrize("speedup", [1.05, 1.5, 1.95])
def test_the_pipeline_overtakes_once(speedup: float) -> None:
    rate = pipeline_overtakes(1.0, speedup)
    assert pipeline_ttft_s(rate, 1.0) == pytest.approx(tensor_ttft_s(rate, 1.0, speedup), rel=1e-9)
    assert pipeline_overtakes(0.5, speedup) == pytest.approx(2 * rate)


def test_best_threshold_beats_its_neighbours() -> None:
    for load in (0.2, 0.6, 0.95):
        t, mean = best_threshold(load)
        for other in (t - 0.1, t + 0.1):
            below = load * integrate.quad(lambda x: x * math.exp(-x), 0, other)[0]
            long = math.exp(-other)
            wait = load / (1 - below) * ((1 - long) + long / (1 - load))
            assert mean < 1 + wait


@given(st.lists(st.integers(1, 12), min_size=1, max_size=7), st.integers(1, 3))
def test_multifit_meets_its_deadline_within_the_bound(jobs: list[int], devices: int) -> None:
    deadline = multifit(jobs, devices)
    assert len(first_fit(jobs, deadline)) <= devices
    best = min(
        max(
            sum(job for job, place in zip(jobs, places, strict=True) if place == d)
            for d in range(devices)
        )
        for places in itertools.product(range(devices), repeat=len(jobs))
    )
    assert best <= deadline <= 13 / 11 * best + 1e-9


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(1, 4))
def test_multifit_cannot_be_a_unit_earlier(jobs: list[int], devices: int) -> None:
    deadline = multifit(jobs, devices)
    floor = max(max(jobs), -(-sum(jobs) // devices))
    assert deadline == floor or len(first_fit(jobs, deadline - 1)) > devices
