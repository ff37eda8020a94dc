"""Ramps: the loads that are played, and what is counted."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.capacity.autoscaling.ramps import (
    CALM_S,
    DELAY_S,
    DOUBLES_S,
    STARTUP_S,
    _followed,
    _growing,
    _in_time,
)


def test_a_fleet_that_follows_has_the_load_that_the_ramp_leaves() -> None:
    loads = _followed(0.5)
    assert loads[:CALM_S] == pytest.approx(0.5)
    assert loads[CALM_S + DELAY_S] == pytest.approx(0.5 * 1.45)  # the exercise's 1 + rD
    assert loads.max() == pytest.approx(0.725)
    assert loads[-1] == pytest.approx(0.5 * 2 / 1.55, rel=0.002)
    assert loads.size == CALM_S + DOUBLES_S


def test_growth_returns_to_where_it_began() -> None:
    loads = _growing(0.4, 0.6)
    assert (loads[0], loads.max(), loads[-1]) == (0.4, 0.6, 0.4)
    assert np.all(np.diff(loads[CALM_S : CALM_S + STARTUP_S]) > 0)


def test_a_calm_engine_is_in_time_and_one_beyond_its_ceiling_is_not() -> None:
    assert _in_time(np.full(120, 0.5), slice(60, 120)) == 1.0
    assert _in_time(np.full(240, 1.5), slice(200, 240)) == 0.0
