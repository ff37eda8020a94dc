"""The stepper: its staircases, its gauge and its logs, counted again."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.capacity.littles_law import staircases
from serving_mathematics.capacity.littles_law.staircases import FRAMES, LOADS, LOGS


def test_inside_is_the_distance_of_the_staircases() -> None:
    stepper = staircases.stepper_staircases()
    come, done = (curve["values"] for curve in stepper["panels"][0]["curves"])
    clock = stepper["clock"]["values"]
    inside = [staircases._run(load).series(clock) for load in LOADS]
    counted = np.array([one.running + one.waiting for one in inside])
    assert np.shape(come) == (len(LOADS), len(LOGS), FRAMES)
    np.testing.assert_array_equal(np.subtract(come, done)[:, 0], counted)
    assert np.all(np.diff(come, axis=-1) >= 0)


@pytest.mark.parametrize("log", LOGS)
def test_what_a_log_says_is_its_sum_over_the_time(log: str) -> None:
    run = staircases._run(80)
    gauge, told = staircases._logged(80, log)
    now = staircases.CLIP_S
    over = run.completion_s <= now
    whole = float((run.completion_s - run.arrival_s)[over].sum() / now)
    if log == LOGS[1]:
        assert told[-1] == pytest.approx(whole)
    elif log == LOGS[3]:
        assert told[-1] == pytest.approx(whole + staircases.NETWORK_S * over.sum() / now)
    else:
        assert (told[-1] < whole) == (log == LOGS[2])
    assert gauge[0] == told[0] == 0
    if log in LOGS[:3]:
        assert told[-1] <= gauge[-1] + 1e-9
