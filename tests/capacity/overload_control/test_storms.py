"""Storms: what comes goes somewhere, limits of the band, the stepper, and the errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.overload_control.storms import (
    GUARDS,
    HABITS,
    Storm,
    example,
    retry_amplification,
    run_storm,
    stepper_storm,
    storm_band,
)

USUAL: dict[str, Any] = {"patience_s": 5, "outage_s": (5, 15), "horizon_s": 120}


@given(st.floats(0, 1), st.integers(0, 8))
def test_amplification_is_a_geometric_sum(failure: float, retries: int) -> None:
    expected = retries + 1 if failure == 1 else (1 - failure ** (retries + 1)) / (1 - failure)
    assert retry_amplification(failure, retries) == pytest.approx(expected, rel=1e-6)


@given(st.floats(0.5, 9.5), st.integers(0, 3), st.booleans())
def test_nobody_is_answered_twice(load: float, retries: int, cancels: bool) -> None:
    storm = run_storm(load, 10.0, retries=retries, cancels=cancels, **USUAL)
    assert isinstance(storm, Storm)
    assert storm.in_time.sum() <= load * 120 + 1e-6
    assert np.all(storm.in_time <= 10.0 + 1e-9)
    assert np.all(storm.in_time[5:15] == 0)
    assert storm.attempts.sum() <= (1 + retries) * load * 120 + 1e-6


def test_all_attempts_are_made_by_those_that_nobody_serves() -> None:
    """Beyond a storm's edge each request makes one attempt and three more."""
    storm = run_storm(6.0, 10.0, retries=3, **USUAL | {"horizon_s": 400})
    assert storm.attempts[-50:] == pytest.approx(24.0, rel=1e-6)
    assert storm.in_time[-50:].sum() == 0


def test_a_budget_is_kept() -> None:
    storm = run_storm(6.0, 10.0, retries=3, budget=0.1, **USUAL)
    assert storm.attempts.sum() <= 120 * 6.0 * 1.1 + 10 * 0.1 * 6.0


def test_a_line_is_no_longer_than_its_limit() -> None:
    storm = run_storm(9.0, 10.0, retries=3, most_wait_s=2.0, **USUAL)
    assert storm.wait_s.max() <= 2.0 + 1e-9


def test_who_gives_up_and_cancels_is_not_waited_for() -> None:
    storm = run_storm(9.0, 10.0, cancels=True, **USUAL)
    assert storm.wait_s.max() <= 9.0 * 5 / 10 + 1e-9
    assert storm.in_time[15] == pytest.approx(10.0)


def test_the_stepper_says_what_the_page_says() -> None:
    data, told = stepper_storm(), example()
    loads = data["controls"][0]["values"]
    attempts = np.array(data["panels"][0]["curves"][0]["values"])
    assert attempts.shape[:3] == (len(loads), len(GUARDS), len(HABITS))
    half = attempts[loads.index(50), 0, 1, -1]
    assert half == pytest.approx(told.storm_attempts_percent)
    waits = np.array(data["panels"][1]["curves"][0]["values"])
    assert waits.max() < data["panels"][1]["y"]["range"][1]
    assert waits[loads.index(50), 0, 1, -1] > 200  # twice what is served comes, for four minutes
    assert told.band_low == pytest.approx(25.0)
    assert told.budget_back_s < 60 * told.budget_back_90_min


def test_refusals() -> None:
    assert storm_band(100.0, 1.0) == (100.0, 100.0)
    for bad in (math.nan, 0.0, -1.0):
        with pytest.raises(ValueError, match="capacity_per_s must be"):
            storm_band(bad, 2.0)
        with pytest.raises(ValueError, match="load_per_s must be"):
            run_storm(bad, 1.0, **USUAL)
        with pytest.raises(ValueError, match="most_wait_s must be"):
            run_storm(1.0, 1.0, most_wait_s=bad, **USUAL)
    with pytest.raises(ValueError, match="budget must be"):
        run_storm(1.0, 1.0, budget=-0.1, **USUAL)
    with pytest.raises(ValueError, match="retries must be"):
        run_storm(1.0, 1.0, retries=11, **USUAL)
