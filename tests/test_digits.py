"""Numbers as sentences say them, of every size."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from serving_mathematics.support.digits import sized

POWER = re.compile(r"\de\+?\d")


@example(99.7, 2)
@example(999.7, 3)
@given(st.floats(1e-3, 1e15), st.integers(1, 6))
def test_a_size_reads_back(value: float, digits: int) -> None:
    text = sized(value, digits)
    assert not POWER.search(text)
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.51 * 10 ** (1 - digits))
