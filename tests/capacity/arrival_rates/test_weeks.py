"""Weeks: what is late by hand, and a search against a scan."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.capacity.arrival_rates.real_hour import HOT, WEEK_MIN
from serving_mathematics.capacity.arrival_rates.weeks import MOST, WEEKS, _late, _least, _work


def test_late_by_hand() -> None:
    """The second minute is above what one engine does, and leaves half a minute's work, so that the
    third, which is not, is late too."""
    assert _late(np.array([0.5, 1.5, 0.5, 0.5]), 1.0) == pytest.approx(2 / 3)
    assert _late(np.array([0.5, 0.95 * HOT]), 1.0) == 0.0


def test_a_week_has_the_scatter_that_is_asked_for() -> None:
    assert round((1 - MOST) * WEEK_MIN) == 20
    even = _work(WEEKS[0], 3)
    assert even.size == WEEK_MIN
    assert even.std() == pytest.approx(WEEKS[0].scatter, rel=0.1)
    alike = np.corrcoef(even[:-1], even[1:])[0, 1]
    assert alike == pytest.approx(1 - 1 / WEEKS[0].alike_min, abs=0.06)


def test_the_fewest_engines_are_those_of_a_scan() -> None:
    work = _work(WEEKS[3], 5)[:600]
    work /= work.mean()
    tried = np.arange(1.0, work.max() / HOT, 0.01)
    enough = [engines for engines in tried if _late(work, float(engines)) <= 0.01]
    assert _least(work) == pytest.approx(enough[0], abs=0.015)
