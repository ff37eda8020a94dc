"""Signals: windows, settings, and what the table of the page says."""

from __future__ import annotations

from serving_mathematics.capacity.autoscaling.signals import LATE, example


def test_the_table_ranks_as_the_answer_says() -> None:
    told = example()
    hours = [told.tokens_hours, told.timetable_hours, told.arrivals_hours, told.requests_hours]
    assert hours == sorted(hours)
    assert hours[-1] < told.fixed_hours
    assert told.few_requests_hours < told.few_tokens_hours
    assert told.arrivals_heavier > told.tokens_heavier
    for name in ("tokens", "timetable", "arrivals", "requests", "fixed"):
        assert vars(told)[f"{name}_twice"] <= 100 * LATE
