"""Ramps: an engine far below its ceiling, and one beyond it."""

from __future__ import annotations

import numpy as np
from serving_mathematics.capacity.autoscaling.ramps import _in_time


def test_a_calm_engine_is_in_time_and_one_beyond_its_ceiling_is_not() -> None:
    assert _in_time(np.full(120, 0.5), slice(60, 120)) == 1.0
    assert _in_time(np.full(240, 1.5), slice(200, 240)) == 0.0
