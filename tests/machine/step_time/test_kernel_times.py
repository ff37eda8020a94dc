"""Shares and their inverse, and planted kernels found again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.machine.step_time.kernel_times import (
    _fit_kernels,
    attained_share,
    least_for_share,
)


def test_a_share_is_the_roof_over_the_time() -> None:
    least = np.array([1e-7, 1e-5, 1e-2])
    expected = least / (4e-6 + least / 0.8)
    assert attained_share(least, 4e-6, 0.8) == pytest.approx(expected)
    assert attained_share([1.0], 0.0, 0.7).tolist() == [0.7]


@given(wanted=st.floats(0.01, 0.6), floor=st.floats(1e-6, 1e-4), share=st.floats(0.65, 1.0))
def test_a_time_that_attains_a_share_does(wanted: float, floor: float, share: float) -> None:
    least = least_for_share(wanted, floor, share)
    assert float(attained_share([least], floor, share)[0]) == pytest.approx(wanted)
    with pytest.raises(ValueError, match=r"wanted must be in \(0, share\)"):
        least_for_share(share, floor, share)


@given(
    floor=st.floats(1e-6, 1e-5), low=st.floats(0.3, 0.95), high=st.floats(0.3, 0.95),
    overlap=st.booleans(),
)  # fmt: skip
def test_planted_kernels_are_found(floor: float, low: float, high: float, overlap: bool) -> None:
    rng = np.random.default_rng(7)
    read, multiply = rng.lognormal(-11, 1.5, (2, 120))
    pair = read / low, multiply / high
    seconds = floor + (np.maximum(*pair) if overlap else pair[0] + pair[1])
    found = _fit_kernels(read, multiply, seconds, overlap)
    assert found[:3] == pytest.approx((floor, low, high), rel=0.02)
    assert found[3] < 0.005


def test_shares_stay_below_one() -> None:
    read, multiply = np.array([1e-5, 1e-4, 1e-3, 1e-5]), np.array([1e-6, 1e-6, 1e-6, 1e-4])
    found = _fit_kernels(read, multiply, np.maximum(read, multiply) / 2 + 1e-6, overlap=True)
    assert found[1] <= 1
    assert found[2] <= 1
