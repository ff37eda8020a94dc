"""Waiting for a place behind batch work: the formula's ends, and the queue that it is."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from serving_mathematics.intuition.batch_vs_online.freed_places import (
    PLACES,
    SHAPES,
    _ended_per_s,
    late_behind_batch,
)

FloatArray = npt.NDArray[np.float64]


def _waits_s(comes: FloatArray, ends: FloatArray) -> FloatArray:
    """Until the first end that nobody before took, of each who comes."""
    waits, place = [], 0
    for moment in comes[comes < 0.9 * ends[-1]]:
        place = max(place, int(np.searchsorted(ends, moment)))
        waits.append(ends[place] - moment)
        place += 1
    return np.array(waits)


def test_against_ends_drawn_one_by_one() -> None:
    """Ends of answers and online requests as two Poisson streams; of requests that come three at
    once two and a half times as many are late."""
    rng = np.random.default_rng(2)
    ends = np.cumsum(rng.exponential(1 / 5.0, 400_000))
    alone = _waits_s(np.cumsum(rng.exponential(1 / 3.0, 200_000)), ends)
    for limit in (0.5, 1.0, 2.0):
        assert late_behind_batch(5.0, 3.0, limit) == pytest.approx(np.mean(alone > limit), rel=0.05)
    threes = _waits_s(np.repeat(np.cumsum(rng.exponential(1.0, 66_000)), 3), ends)
    assert np.mean(threes > 1.0) > 2.5 * late_behind_batch(5.0, 3.0, 1.0)


def test_ends() -> None:
    assert late_behind_batch(3.0, 5.0, 1.0) == late_behind_batch(5.0, 3.0, 0.0) == 1
    assert late_behind_batch(5.0, 0.0, 1.0) == math.exp(-5)


def test_more_places_and_shorter_answers_end_more() -> None:
    for shape in SHAPES:
        assert sorted(_ended_per_s(shape, n) for n in PLACES) == [
            _ended_per_s(shape, n) for n in PLACES
        ]
    assert _ended_per_s("as they are", 96) > _ended_per_s("twice", 96)
