"""Signals: windows, settings, and what the table of the page says."""

from __future__ import annotations

import pytest
from serving_mathematics.capacity.autoscaling.replica_response import replica_of
from serving_mathematics.capacity.autoscaling.signals import LATE, TOP, _situation, example
from serving_mathematics.core.machines.machines import CHAT


def test_every_situation_is_as_large_as_the_wave_but_for_its_surprise() -> None:
    """Twenty minutes in eight hours of what the wave has there, once more."""
    top, burst = TOP * replica_of(CHAT).most_per_s, 20 / 480 * 0.78
    for name, more in (("minutes", 0), ("wave", 0), ("surprise", 1), ("heavier", 1)):
        load, work = _situation(name, CHAT)
        assert load.mean() / top == pytest.approx(0.75 + more * burst, rel=0.01)
        assert work.mean() == (1.25 if name == "heavier" else 1)


def test_the_table_ranks_as_the_answer_says() -> None:
    told = example()
    hours = [told.tokens_hours, told.arrivals_hours, told.requests_hours]
    assert hours == sorted(hours)
    assert hours[-1] < told.fixed_hours
    assert told.few_requests_hours < told.few_tokens_hours
    assert told.arrivals_heavier > told.tokens_heavier
    for name in ("tokens", "arrivals", "requests", "fixed"):
        assert vars(told)[f"{name}_twice"] <= 100 * LATE
