"""Block formats against numpy's own small floats, loops, and what any format must keep."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from serving_mathematics.optimization.quantization.block_formats import (
    block_rounded,
    float_code,
    mxfp4,
    mxfp8,
    nearest,
    normal_float,
    nvfp4,
)

ROWS = hnp.arrays(np.float64, (2, 32), elements=st.floats(-1e4, 1e4, width=32))
SCALED = hnp.arrays(  # whose scales have eight bits, with a factor of a million too
    np.float64,
    (2, 32),
    elements=st.one_of(st.just(0.0), st.floats(2.0**-90, 1e4), st.floats(-1e4, -(2.0**-90))),
)


def test_float_code_is_half_precision() -> None:
    half = np.arange(2**16, dtype=np.uint16).view(np.float16)
    every = np.unique(half[np.isfinite(half)].astype(float))  # a signalling nan is told of on ARM
    assert np.array_equal(float_code(5, 10, reserved=1024), every)


@given(
    hnp.arrays(np.float64, 7, elements=st.floats(-9, 9)),
    st.lists(st.floats(-5, 5), min_size=1, max_size=9, unique=True),
)
def test_nearest_is_nearest(x: np.ndarray, values: list[float]) -> None:
    code = np.array(sorted(values))
    got = nearest(x, code)
    assert np.isin(got, code).all()
    best = np.abs(x[:, None] - code).min(axis=1)
    assert np.abs(x - got) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize(
    ("kind", "smallest", "largest"), [(mxfp4, 0.5, 6.0), (mxfp8, 2.0**-9, 448.0)]
)
def test_a_shared_scale_has_eight_bits(
    kind: Callable[..., np.ndarray], smallest: float, largest: float
) -> None:
    """From 2^-127 to 2^127: OCP Microscaling Formats 1.0, E8M0."""
    assert np.all(kind(np.full(32, 2.0**200)) == largest * 2.0**127)
    least = smallest * 2.0**-127
    assert np.all(kind(np.full(32, least)) == least)
    assert np.all(kind(np.full(32, least / 2)) == 0)


@given(SCALED, st.integers(-20, 20))
def test_formats_scale_with_powers_of_two(x: np.ndarray, power: int) -> None:
    factor = 2.0**power
    assert np.array_equal(mxfp4(x * factor), mxfp4(x) * factor)
    assert np.array_equal(mxfp8(x * factor), mxfp8(x) * factor)
    assert nvfp4(x * factor) == pytest.approx(nvfp4(x) * factor, rel=1e-9, abs=1e-300)


@given(ROWS)
def test_formats_keep_shape_and_bounds(x: np.ndarray) -> None:
    for rounded, most in (
        (mxfp4(x), 1.2),  # the scale is a power of two: five of its units, and all above, become 6
        (nvfp4(x), 1.07),  # the scale itself is rounded, to three bits of fraction
        (block_rounded(x, np.arange(-7, 8), 8), 1.0 + 1e-12),  # the largest is hit
    ):
        assert rounded.shape == x.shape
        assert np.abs(rounded).max() <= np.abs(x).max() * most + 1e-300
    steps = np.abs(x).reshape(2, 4, 8).max(axis=2) / 7
    errors = np.abs(block_rounded(x, np.arange(-7, 8), 8) - x).reshape(2, 4, 8)
    assert np.all(errors <= steps[..., None] * 0.5000001 + 1e-300)


def test_scales_by_hand() -> None:
    x = np.zeros(32)
    x[:4] = [24.0, 3.0, -5.0, 1.0]  # the scale is 2^(4 − 2) = 4, the quotients 6, ¾, −1¼, ¼
    assert mxfp4(x)[:4].tolist() == [24.0, 2.0, -6.0, 0.0]  # codes 6, ½, −1½, 0
    assert mxfp4(np.zeros(32)).tolist() == [0.0] * 32
    assert nvfp4(np.zeros(16)).tolist() == [0.0] * 16
    two = np.zeros(32)
    two[0], two[16] = 6.0, 6.0 * 2**-20  # 448 · 2^-20 is below half of 2^-9, E4M3's smallest
    assert nvfp4(two)[16] == 0.0
    assert nvfp4(two)[0] == pytest.approx(6.0)
    two[16] = 6.0 * 2**-14  # 448 · 2^-14 = 0.0273 is a number of E4M3
    assert nvfp4(two)[16] == pytest.approx(6.0 * 2**-14)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8])
def test_normal_float_is_made_of_quantiles(bits: int) -> None:
    cells = 2**bits
    last = 1 - (1 / (2 * cells) + 1 / (2 * cells - 2)) / 2
    code = normal_float(bits)
    assert code.size == cells
    assert code[cells // 2 - 1] == 0.0
    assert code[0] == -1.0
    assert code[-1] == 1.0
    assert np.all(np.diff(code) > 0)
    scale = stats.norm.ppf(last)
    positive, negative = (
        stats.norm.cdf(scale * code[cells // 2 :]),
        stats.norm.cdf(-scale * code[: cells // 2 - 1]),
    )
    assert np.diff(positive) == pytest.approx((last - 0.5) / (cells // 2))
    if bits > 2:
        assert -np.diff(negative) == pytest.approx((last - 0.5) / (cells // 2 - 1))


def test_not_all_codes_are_reserved() -> None:
    with pytest.raises(ValueError, match="reserved must be an integer below 2"):
        float_code(1, 0, 2)
