"""Numbers as lines say them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.planner.capacity_planner import Quantile
from serving_mathematics.planner.lines import Line, listed, with_interval


@given(st.floats(1e-3, 1e3), st.floats(1e-4, 1e3), st.sampled_from([1.0, 100.0, 1e3]))
def test_an_interval_reads_back(value: float, half: float, scale: float) -> None:
    text = with_interval(Quantile(value, half), scale)
    got, width = map(float, text.split(" ± "))
    assert got == pytest.approx(scale * value, abs=0.51 * scale * half)
    assert width == pytest.approx(scale * half, rel=0.06, abs=0.51)


def test_several_are_one_sentence() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert Line("what", "how", "", "where").estimate == ""
