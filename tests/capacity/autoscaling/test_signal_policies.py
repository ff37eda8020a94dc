"""Policies on a signal: windows, and where the signal stops."""

from __future__ import annotations

import numpy as np
from serving_mathematics.capacity.autoscaling.replica_response import Replica
from serving_mathematics.capacity.autoscaling.signal_policies import _on_arrivals, _on_tokens

SMALL = Replica(np.array([0.0, 1.0, 1.5]), np.array([0.02, 0.02, 0.03]), 2, 1.0)


def test_tokens_are_a_mean_over_a_minute() -> None:
    """Four ticks: one at 30 ms and three at 20 are 22.5."""
    policy = _on_tokens(0.01, SMALL)
    counts = [policy(15.0 * k, 10, 10, 0.5, n) for k, n in enumerate((20.0, 10.0, 10.0, 10.0))]
    assert counts[0] == 20  # thirty, limited to a doubling
    policy = _on_tokens(0.018, SMALL)
    for k, n in enumerate((20.0, 10.0, 10.0)):
        policy(15.0 * k, 10, 10, 0.5, n)
    assert policy(45.0, 10, 10, 0.5, 10.0) == 13  # 10·22.5/18 = 12.5


def test_tokens_call_off_what_starts_after_five_minutes() -> None:
    """Five ready ones at 1.5 of the target ask for eight, whoever starts, as KEDA's value does."""
    policy = _on_tokens(0.02, SMALL)
    assert policy(0.0, 5, 5, 1.0, 10.0) == 8
    told = [policy(15.0 * k, 10, 5, 1.0, 10.0) for k in range(1, 25)]
    assert told == [8] * 24
    policy = _on_tokens(0.015, SMALL)
    assert policy(0.0, 5, 5, 1.0, 10.0) == 10
    told = [policy(15.0 * k, 10, 5, 1.0, 5.0) for k in range(1, 26)]
    assert told[:19] == [10] * 19
    assert told[-1] == 7


def test_tokens_stop_at_a_full_engine() -> None:
    assert _on_tokens(0.02, SMALL)(0.0, 4, 4, 1.0, 8.0) == _on_tokens(0.02, SMALL)(
        0.0, 4, 4, 1.0, 800.0
    )


def test_arrivals_are_those_of_the_last_minute() -> None:
    load = [0.0] * 60 + [10.0] * 60
    policy = _on_arrivals(load, 1.0)
    assert policy(60.0, 5, 5, 0.5, 0.0) == 5  # held up for five minutes
    assert policy(90.0, 5, 5, 0.5, 0.0) == 5
    assert policy(120.0, 5, 5, 0.5, 0.0) == 10
