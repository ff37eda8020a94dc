"""Limits of the exercises, beyond their checks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.machine.predictions.exercises import (
    left_out_errors,
    running_requests,
    what_is_off,
)


def test_running_requests() -> None:
    assert running_requests(10, 0.0, 0.1, 5) == 10
    assert running_requests(10, 0.5, 0.1, 6) == 5


@given(
    st.floats(1, 20),
    st.floats(1, 50),
    st.sampled_from([1.0, 1.1, 1.2, 2.0]),
    st.sampled_from([0.5, 1.0, 1.1, 1.3]),
)
def test_a_line_is_off_in_its_start_or_its_slope(
    start: float, added: float, step: float, each: float
) -> None:
    told = what_is_off((start, start + added), (step * start, step * start + each * added))
    wanted = {
        (True, True): "both",
        (True, False): "every step",
        (False, True): "each sequence",
        (False, False): "neither",
    }
    assert told == wanted[step > 1.15, each > 1.15]


@given(st.lists(st.floats(-2, 2), min_size=2, max_size=9), st.floats(0.01, 100))
def test_left_out_errors(logs: list[float], factor: float) -> None:
    measured = np.exp(logs)
    errors = left_out_errors(np.ones(len(logs)), measured)
    again = left_out_errors(np.full(len(logs), factor), measured)
    assert again == pytest.approx(errors, rel=1e-9, abs=1e-9)
    for one, error in enumerate(errors):
        others = stats.gmean(np.delete(measured, one))
        assert error == pytest.approx(others / measured[one] - 1, rel=1e-9, abs=1e-9)
