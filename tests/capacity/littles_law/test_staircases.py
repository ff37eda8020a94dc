"""The slider: its staircases, its gauge and its logs, counted again."""

from __future__ import annotations

import numpy as np
from serving_mathematics.capacity.littles_law import staircases
from serving_mathematics.capacity.littles_law.staircases import FRAMES, LOADS, LOGS


def test_inside_is_the_distance_of_the_staircases() -> None:
    slider = staircases.slider_staircases()
    come, done = (curve["values"] for curve in slider["panels"][0]["curves"])
    clock = slider["clock"]["values"]
    inside = [staircases._run(load).series(clock) for load in LOADS]
    counted = np.array([one.running + one.waiting for one in inside])
    assert np.shape(come) == (len(LOADS), len(LOGS), FRAMES)
    np.testing.assert_array_equal(np.subtract(come, done)[:, 0], counted)
    assert np.all(np.diff(come, axis=-1) >= 0)
