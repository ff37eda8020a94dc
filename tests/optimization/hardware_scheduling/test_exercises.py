"""Limits of the exercises, beyond their checks."""

from __future__ import annotations

import math

from serving_mathematics.optimization.hardware_scheduling.exercises import (
    next_tenant,
    passing_time,
    what_the_queue_asks,
)


def test_without_slack_nobody_passes() -> None:
    assert passing_time(9.0, 1.0, 0.0) == 0.0
    assert passing_time(1.0, 1.0, 50.0) == 0.0
    assert passing_time(2.0, 1.0, 50.0) == 50.0


def test_a_queue_of_one_tenant_is_shared_before_it_is_sorted() -> None:
    assert what_the_queue_asks(50, 0.9, 0.9, 0.95) == "fair shares"
    assert what_the_queue_asks(0.5, 0.9, 0.9, 0.95) == "nothing"


def test_of_equal_counters_the_older_request_goes() -> None:
    assert next_tenant([5.0, 5.0], [2.0, 1.0]) == 1
    assert next_tenant([5.0, 4.0], [1.0, 2.0]) == 1
    assert next_tenant([5.0, 4.0], [1.0, math.inf]) == 0
