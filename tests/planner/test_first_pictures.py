"""The home page's small pictures: what they draw is in the records."""

from __future__ import annotations

import re

import numpy as np
import pytest
from serving_mathematics.planner.first_pictures import (
    ENGINE,
    EVERY,
    HIGH,
    VLLM,
    WIDE,
    _apart,
    _bars,
    _loads,
    _runs,
    _scatter,
    _tests,
    example,
)
from serving_mathematics.support.measuring import read_record


def test_runs_and_loads_are_those_of_the_records() -> None:
    shown, runs = _runs()
    assert len(shown) == -(-runs // EVERY)
    assert 0.05 < _apart("tpot", 0.5) < 0.2 < _apart("ttft", 0.5) < _apart("tpot", 0.9) < 0.4
    pairs = _loads()
    tests, error = _tests(read_record(ENGINE))
    assert tests == 5 * len(pairs) == 25
    assert 0 < error < 0.1
    assert np.all(np.diff([seen for seen, _ in pairs]) > -0.2 * pairs[-1][0])


def test_every_engine_has_its_own_error() -> None:
    """An operator of vLLM must not take another engine's error for his."""
    told = example().pictures
    for name, engine in ((ENGINE, "OpenVINO"), (VLLM, "vLLM")):
        percent = f"{100 * _tests(read_record(name))[1]:.0f}% with {engine}"
        assert percent in told
    assert f"{100 * _apart('tpot', 0.9):.0f}%; first tokens by" in told


def test_points_lie_where_their_values_are() -> None:
    picture = _scatter([(0.002, 0.2), (0.02, 0.02), (9.0, 0.0001)])
    points = re.findall(r"M(\d+) (\d+)h0", picture)
    assert points == [("20", "0"), ("145", f"{HIGH // 2}"), (f"{WIDE - 10}", f"{HIGH}")]


def test_bars_are_as_high_as_their_values() -> None:
    picture = _bars([(1.0, 2.0), (4.0, 3.0)])
    heights = [int(height) for height in re.findall(r'height="(\d+)"', picture)]
    assert heights == pytest.approx([28, 57, 114, 86], abs=1)
    assert "OpenVINO: measured" in picture


def test_every_card_has_a_link_and_a_name() -> None:
    cards = example().pictures
    assert re.findall(r'href="([^"]*)"', cards) == ["machine/predictions/", "engine/", "errata/"]
    assert len(re.findall(r'role="img" aria-label="[^"]{20,}"', cards)) == 3
    assert "\n" not in cards
