"""Fleets for a day with valleys: by linear programming, limits, the slider."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.machines.book import promised_load
from serving_mathematics.intuition.batch_vs_online.valleys import (
    DEADLINES_H,
    MEAN,
    PEAKS,
    SHARES,
    _day,
    _fleet,
    _saving_h,
    _two_fleets,
    example,
    slider_valleys,
)


def test_patience_pays_until_the_peak_decides() -> None:
    hours = _saving_h(2.5, 1.0)
    assert hours is not None
    assert _fleet(2.5, 1.0, hours) == pytest.approx(25)
    assert _fleet(2.5, 1.0, hours - 0.25) > 25.001
    fleets = [_fleet(2.5, 1.0, deadline) for deadline in DEADLINES_H]
    assert fleets == sorted(fleets, reverse=True)
    assert fleets[0] == pytest.approx(50)  # at once: twice the peak
    for deadline in DEADLINES_H:
        assert _two_fleets(2.5, 1.0, deadline) > 25 + 8.7


def test_the_slider_is_the_fleets() -> None:
    told, page = slider_valleys(), example()
    one, two = (np.array(curve["values"]) for curve in told["panels"][1]["curves"])
    shape = (len(DEADLINES_H), len(PEAKS), len(SHARES))
    assert one.shape == two.shape == shape
    day = PEAKS.index(2.5)
    assert one[-1, day, 1] == pytest.approx(page.shared_engines)
    assert two[-1, day, 1] == pytest.approx(page.separate_engines)
    assert page.separate_engines == pytest.approx(MEAN * (2.5 + promised_load("chat")))
    assert one[-1, 0, 1] == pytest.approx(page.flat_engines)
    online, both = (np.array(curve["values"]) for curve in told["panels"][0]["curves"])
    assert online[0, day, 1] == pytest.approx(_day(2.5)[::2])
    assert both[0, day, 1] == pytest.approx(2 * _day(2.5)[::2])  # done as it comes
