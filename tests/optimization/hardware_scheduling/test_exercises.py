"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math
from typing import Any

import pytest
from serving_mathematics.optimization.hardware_scheduling.exercises import (
    cheapest_device,
    next_tenant,
    passing_time,
    what_the_queue_asks,
)


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


def test_without_slack_nobody_passes() -> None:
    assert passing_time(9.0, 1.0, 0.0) == 0.0
    assert passing_time(1.0, 1.0, 50.0) == 0.0
    assert passing_time(2.0, 1.0, 50.0) == 50.0


@pytest.mark.parametrize(("place", "name"), [(0, "prompt_s"), (1, "other_s"), (2, "slack")])
def test_negative_times_are_refused(place: int, name: str) -> None:
    arguments = [1.0, 1.0, 1.0]
    arguments[place] = -0.5
    with pytest.raises(ValueError, match=f"{name} must be non-negative"):
        passing_time(*arguments)


def test_a_queue_of_one_tenant_is_shared_before_it_is_sorted() -> None:
    assert what_the_queue_asks(50, 0.9, 0.9, 0.95) == "fair shares"
    assert what_the_queue_asks(50, 0.1, 0.9, 0.95) == "short prompts first"
    assert what_the_queue_asks(50, 0.1, 0.1, 0.95) == "more memory"
    assert what_the_queue_asks(50, 0.1, 0.1, 0.5) == "more places"
    assert what_the_queue_asks(0.5, 0.9, 0.9, 0.95) == "nothing"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((-1.0, 0.1, 0.1, 0.1), "waiting"),
        ((1.0, 1.1, 0.1, 0.1), "largest"),
        ((1.0, 0.1, math.nan, 0.1), "prompt"),
        ((1.0, 0.1, 0.1, 1.1), "cache"),
    ],
)
def test_queues_without_sense_are_refused(arguments: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}.* must be"):
        what_the_queue_asks(*arguments)


def test_of_equal_counters_the_older_request_goes() -> None:
    assert next_tenant([5.0, 5.0], [2.0, 1.0]) == 1
    assert next_tenant([5.0, 4.0], [1.0, 2.0]) == 1
    assert next_tenant([5.0, 4.0], [1.0, math.inf]) == 0


@pytest.mark.parametrize(
    ("served", "since", "message"),
    [
        ([1.0], [1.0, 2.0], "waiting_since_s must be of 1"),
        ([-1.0], [1.0], "served must be non-negative"),
        ([1.0], [math.inf], "waiting_since_s must be finite for somebody"),
        ([], [], "waiting_since_s must be finite for somebody"),
    ],
)
def test_nobody_in_line_is_refused(served: Any, since: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        next_tenant(served, since)
