"""Numbers as sentences say them, of every size."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from serving_mathematics.support.digits import one_of_many, priced, sized

POWER = re.compile(r"\de\+?\d")


@example(99.7, 2)
@example(999.7, 3)
@given(st.floats(1e-3, 1e15), st.integers(1, 6))
def test_a_size_reads_back(value: float, digits: int) -> None:
    text = sized(value, digits)
    assert not POWER.search(text)
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.51 * 10 ** (1 - digits))


@pytest.mark.parametrize(
    ("usd", "decimals", "told"),
    [
        (0.0, 2, "0.00"),
        (0.01, 2, "0.01"),
        (0.00999, 2, "0.01"),
        (0.004, 2, "0.004"),
        (0.000123, 3, "0.00012"),
        (2.0, 3, "2.000"),
        (0.5, 0, "0.5"),
    ],
)
def test_a_small_price_is_not_nothing(usd: float, decimals: int, told: str) -> None:
    assert priced(usd, decimals) == told


@pytest.mark.parametrize(
    ("said", "mended"),
    [
        ("1 replicas, 1 more findings", "1 replica, 1 more finding"),
        ("11 rows, 2.1 tokens, 1,001 files, 0,1 tokens, E2M1 ends", None),
        ("1 times, 1 class, 1 row", None),
        ("tenant 1 brings all, team 1 sends most; 1 axis, 1 status, 1 bus", None),
    ],
)
def test_one_of_many_is_one(said: str, mended: str | None) -> None:
    assert one_of_many(said) == (mended or said)
