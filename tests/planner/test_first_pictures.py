"""The home page's small pictures: what they draw is in the records."""

from __future__ import annotations

import re

import numpy as np
import pytest
from serving_mathematics.planner.first_pictures import (
    EVERY,
    HIGH,
    WIDE,
    _bars,
    _loads,
    _runs,
    _scatter,
    example,
)


def test_runs_and_loads_are_those_of_the_records() -> None:
    shown, runs, apart = _runs()
    assert len(shown) == -(-runs // EVERY)
    assert 0.05 < apart < 0.2
    pairs, tests, error = _loads()
    assert tests == 5 * len(pairs) == 25
    assert 0 < error < 0.1
    assert np.all(np.diff([seen for seen, _ in pairs]) > -0.2 * pairs[-1][0])


def test_points_lie_where_their_values_are() -> None:
    picture = _scatter([(0.002, 0.2), (0.02, 0.02), (9.0, 0.0001)])
    points = re.findall(r"M(\d+) (\d+)h0", picture)
    assert points == [("20", "0"), ("145", f"{HIGH // 2}"), (f"{WIDE - 10}", f"{HIGH}")]


def test_bars_are_as_high_as_their_values() -> None:
    picture = _bars([(1.0, 2.0), (4.0, 3.0)])
    heights = [int(height) for height in re.findall(r'height="(\d+)"', picture)]
    assert heights == pytest.approx([28, 57, 114, 86], abs=1)
    assert "2 loads" in picture


def test_every_card_has_a_link_and_a_name() -> None:
    cards = example().pictures
    assert re.findall(r'href="([^"]*)"', cards) == ["machine/predictions/", "engine/", "errata/"]
    assert len(re.findall(r'role="img" aria-label="[^"]{20,}"', cards)) == 3
    assert "\n" not in cards
