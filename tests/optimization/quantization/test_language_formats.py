"""Formats against small floats of another library, and what every one of them must keep."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from serving_mathematics.optimization.quantization.bits_and_noise import sqnr_db
from serving_mathematics.optimization.quantization.language_formats import (
    LARGE_BLOCK,
    Format,
    bfloat16,
    e4m3,
    weight_formats,
)

FORMATS = weight_formats()
NUMBERS = hnp.arrays(np.float32, 16, elements=st.floats(-(2.0**99), 2.0**99, width=32))


@given(NUMBERS)
def test_bfloat16_is_that_of_ml_dtypes(x: np.ndarray) -> None:
    assert (bfloat16(x) == x.astype(ml_dtypes.bfloat16).astype(np.float32)).all()


def test_bfloat16_rounds_ties_to_even_and_keeps_shapes() -> None:
    assert bfloat16([[1 + 1 / 256, 1 + 3 / 256]]).tolist() == [[1.0, 1 + 4 / 256]]
    with pytest.raises(ValueError, match="values must be finite, not empty and below"):
        bfloat16([3.4e38])


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_e4m3_is_that_of_ml_dtypes(axis: int | None) -> None:
    x = np.random.default_rng(1).standard_t(3, (32, 48))
    scale = np.abs(x).max(axis=axis, keepdims=True) / 448
    expected = (x / scale).astype(ml_dtypes.float8_e4m3fn).astype(float) * scale
    assert e4m3(x, axis) == pytest.approx(expected, rel=1e-12)
    assert (e4m3(np.zeros((2, 2)), axis) == 0).all()


def test_mxfp8_and_mxfp4_are_those_of_ml_dtypes() -> None:
    x = np.random.default_rng(2).normal(size=(6, 96)) * 10.0 ** np.arange(-3, 3)[:, None]
    for name, code, exponent in (
        ("MXFP8", ml_dtypes.float8_e4m3fn, 8),
        ("MXFP4", ml_dtypes.float4_e2m1fn, 2),
    ):
        blocks = x.reshape(-1, 32)
        scale = 2.0 ** (np.floor(np.log2(np.abs(blocks).max(axis=1, keepdims=True))) - exponent)
        largest = float(ml_dtypes.finfo(code).max)
        expected = np.clip(blocks / scale, -largest, largest).astype(code).astype(float) * scale
        assert FORMATS[name].rounded(x) == pytest.approx(expected.reshape(x.shape), rel=1e-12)


@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)
def test_a_format_keeps_shape_sign_and_most_of_the_signal(form: Format) -> None:
    x = np.random.default_rng(3).normal(size=(24, 576)).astype(np.float32)
    x[5] = 0
    for rounded in (form.rounded, form.rows):
        if rounded is None:
            continue
        y = np.asarray(rounded(x), dtype=float)
        assert y.shape == x.shape
        assert (y[5] == 0).all()
        assert (y * x >= 0).all()
        least = {16: 50, 8: 28, 4: 14}[form.code_bits]
        assert sqnr_db(x, y) > least
    assert form.code_bits <= form.bits(24, 576) <= form.code_bits + 0.75
    assert form.bits(24, 576) >= form.bits(24, 1152)


def test_a_scale_reaches_only_what_shares_it() -> None:
    x = np.random.default_rng(4).normal(size=(4, 576))
    larger = x.copy()
    larger[1, 200] = 50.0
    for name, form in FORMATS.items():
        if form.code_bits == 16 or name == "NVFP4" or name == "NVFP4 products":
            continue  # no scale, or one of the tensor besides
        moved = np.asarray(form.rounded(larger)) != np.asarray(form.rounded(x))
        moved[1, 200] = False
        rows = {1} if form.group is not None else {0, 1, 2, 3}
        touched = set(np.flatnonzero(moved.any(axis=1)))
        assert touched <= rows
        assert touched == rows or not name.startswith("int")  # floats may keep their steps
        if form.group:
            block = 200 // form.group * form.group
            assert not moved[:, :block].any()
            assert not moved[:, block + form.group :].any()


def test_blocks_divide_the_models_rows() -> None:
    assert 576 % LARGE_BLOCK == 1536 % LARGE_BLOCK == 0
    assert 576 % 128
    with pytest.raises(ValueError, match="inputs must be a positive integer"):
        FORMATS["MXFP4"].bits(1, 0)


@pytest.mark.parametrize("form", weight_formats().values(), ids=lambda form: form.name)
def test_what_shares_a_scale_has_as_many_values_as_its_bits(form: Format) -> None:
    """No more than there are codes, and more than a quarter as many: no two bits are idle."""
    size = form.group or 4096
    row = np.linspace(-1.0, 1.0, size)[None, :]
    for rounded in filter(None, (form.rounded, form.rows)):
        values = len(np.unique(rounded(np.vstack([row, row]))))
        assert values <= 2**form.code_bits
        assert values > min(2**form.code_bits, size) / 4


def test_an_axis_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="axis must be None or an axis of 1"):
        e4m3([1.0], 1)
