"""Axes: they hold their values, and their ticks are round."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.planner.answers.plot_axes import Axis, Plot, _svg, axis_over, axis_ticks

positive = st.floats(1e-6, 1e6)


def test_a_drawing_says_its_title_and_what_it_shows() -> None:
    plot = Plot("A & B", _svg("of", "A & B", "c < d", "", 9.0), "c < d", [["x"]])
    title, told = ET.fromstring(plot.svg)
    assert (title.text, told.text) == (plot.title, plot.caption)


@given(st.lists(positive, min_size=1, max_size=9))
def test_an_axis_holds_its_values_and_has_ticks(values: list[float]) -> None:
    axis = axis_over(values)
    assert all(0 <= axis.share(value) <= 1 for value in values)
    ticks = axis_ticks(axis)
    assert 2 <= len(ticks) <= 13 or axis.log
    assert ticks == sorted(set(ticks))
    assert all(axis.low <= tick <= axis.high for tick in ticks)
    assert {f"{tick:e}"[0] for tick in ticks} <= set("0123456789")


@given(st.floats(1e-3, 1e3), st.floats(1.5, 1e6), st.integers(3, 8))
def test_ticks_of_a_logarithmic_axis_are_1_2_and_5(low: float, ratio: float, most: int) -> None:
    ticks = axis_ticks(Axis(low, low * ratio, log=True), most)
    assert {f"{tick:.3e}"[:5] for tick in ticks} <= {"1.000", "2.000", "5.000"}
    if ratio > 10:
        assert ticks


def test_as_many_ticks_as_are_wanted_are_not_too_many() -> None:
    """Two decades with 1, 2 and 5 are six, and six steps of 1 fill an axis of that length."""
    assert axis_ticks(Axis(0.1, 10.0, log=True), 6) == [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
    assert axis_ticks(Axis(0.1, 10.1, log=True), 6) == [0.1, 1.0, 10.0]
    assert axis_ticks(Axis(0.0, 6.0), 6) == [0, 1, 2, 3, 4, 5, 6]
    assert axis_ticks(Axis(1.0, 7.0), 6) == [1, 2, 3, 4, 5, 6, 7]
    assert axis_ticks(Axis(0.0, 6.1), 6) == [0, 2, 4, 6]


def test_a_logarithmic_axis_is_for_values_that_differ_much() -> None:
    assert not axis_over([1.0, 6.0]).log
    wide = axis_over([1.0, 6.1])
    assert wide.log
    assert wide.share(math.sqrt(wide.low * wide.high)) == pytest.approx(0.5)
