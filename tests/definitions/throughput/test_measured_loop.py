"""The line of a load test: numpy's least squares, identities with Amdahl's law, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.published_runs import _engine_runs
from serving_mathematics.definitions.throughput import measured_loop
from serving_mathematics.definitions.throughput.measured_loop import (
    _doubled,
    _errors,
    ceiling_of,
)


@given(st.floats(1e-4, 1.0), st.floats(1e-6, 0.1), st.integers(40, 1000))
def test_points_on_a_line_give_it_back(level: float, slope: float, places: int) -> None:
    n = np.array([2.0, 5.0, 40.0])
    found = ceiling_of(n, n / (level + slope * n), places)
    assert found == pytest.approx(places / (level + slope * places), rel=1e-6)
    assert found < 1 / slope


def test_the_loops_of_the_page_are_among_all() -> None:
    """What two tests far up say of the page's own loops, with the general solver."""
    everything = np.array(sorted(_doubled()[False]))
    for error in _errors(2, 3):
        assert np.min(np.abs(everything - error)) < 1e-9


@pytest.mark.parametrize("last", ["1.0", "1.1"])
def test_a_loop_is_of_one_release(monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    one = replace(_engine_runs()[0], repeated=False)
    told = (32.0, "1.0"), (64.0, "1.0"), (128.0, last)
    runs = [replace(one, concurrency=clients, release=release) for clients, release in told]
    monkeypatch.setattr(measured_loop, "_engine_runs", lambda: runs)
    assert sum(errors.size for errors in _doubled.__wrapped__().values()) == (last == "1.0")
