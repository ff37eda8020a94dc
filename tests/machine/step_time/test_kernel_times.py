"""Shares and their inverse, planted kernels found again, scipy as oracle, every error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls
from serving_mathematics.machine.step_time.kernel_times import (
    _forms,
    _kernels,
    _name,
    attained_share,
    example,
    fit_kernels,
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


@given(
    floor=st.floats(1e-6, 1e-5), low=st.floats(0.3, 0.95), high=st.floats(0.3, 0.95),
    overlap=st.booleans(),
)  # fmt: skip
def test_planted_kernels_are_found(floor: float, low: float, high: float, overlap: bool) -> None:
    rng = np.random.default_rng(7)
    read, multiply = rng.lognormal(-11, 1.5, (2, 120))
    pair = read / low, multiply / high
    seconds = floor + (np.maximum(*pair) if overlap else pair[0] + pair[1])
    found = fit_kernels(read, multiply, seconds, overlap)
    assert found[:3] == pytest.approx((floor, low, high), rel=0.02)
    assert found[3] < 0.005


def test_a_sum_is_what_least_squares_finds() -> None:
    """The sum is linear in floor and inverse shares: scipy's non-negative least squares."""
    rng = np.random.default_rng(8)
    read, multiply = rng.lognormal(-10, 1.5, (2, 400))
    seconds = (5e-6 + read / 0.7 + multiply / 0.5) * rng.lognormal(0, 0.05, 400)
    columns = np.stack([np.ones(400), read, multiply], axis=1) / seconds[:, None]
    floor, low, high = nnls(columns, np.ones(400))[0]
    found = fit_kernels(read, multiply, seconds, overlap=False)
    assert found[:3] == pytest.approx((floor, 1 / low, 1 / high), rel=0.02)


def test_shares_stay_below_one() -> None:
    read, multiply = np.array([1e-5, 1e-4, 1e-3, 1e-5]), np.array([1e-6, 1e-6, 1e-6, 1e-4])
    found = fit_kernels(read, multiply, np.maximum(read, multiply) / 2 + 1e-6, overlap=True)
    assert found[1] <= 1
    assert found[2] <= 1


def test_shares_that_cannot_be_are_refused() -> None:
    for share in (0.0, 1.1, math.nan):
        with pytest.raises(ValueError, match="share must be"):
            attained_share([1.0], 1.0, share)
    with pytest.raises(ValueError, match="floor_s must be"):
        attained_share([1.0], -1.0, 0.5)
    for wanted in (0.0, 0.5, math.nan):
        with pytest.raises(ValueError, match=r"wanted must be in \(0, share\)"):
            least_for_share(wanted, 1e-6, 0.5)


def test_numbers_of_the_page() -> None:
    found = example()
    lines = _kernels()["matrices"]
    assert found.matrix_shapes == sum(line["shapes"] for line in lines) > 200_000
    share = attained_share([found.micros_for_seventy], found.h100_floor_us, found.h100_read)
    assert share == pytest.approx([0.7])
    points = [100 * (forms[0][3] - forms[1][3]) for forms in map(_forms, map(_name, lines))]
    assert found.longer_worse_points == pytest.approx(max(points))
    longer, both = _forms(_name(lines[2]))  # eight bits: the sum is nearer
    assert both[3] < longer[3]
