"""The interval for models that read the same images: symmetry, limits, and refusals."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.optimization.quantization.paired_accuracy import (
    NORMAL_975,
    Change,
    paired_change,
)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(100, 5000))
def test_interval_holds_the_share_and_is_symmetric(lost: int, gained: int, images: int) -> None:
    change, other = paired_change(lost, gained, images), paired_change(gained, lost, images)
    assert change.share == (gained - lost) / images
    assert change.low <= change.share * images / (images + 2) <= change.high
    assert (other.low, other.high) == pytest.approx((-change.high, -change.low))
    assert -1 <= change.low < change.high <= 1


def test_interval_is_that_of_the_four_counts() -> None:
    lost, gained, images = 4, 9, 50
    counts = [(1, lost + 0.5), (-1, gained + 0.5), (0, images - lost - gained + 1)]
    total = sum(count for _, count in counts)
    mean = sum(-value * count for value, count in counts) / total
    variance = sum((-value - mean) ** 2 * count for value, count in counts) / total
    half = NORMAL_975 * math.sqrt(variance / total)
    change = paired_change(lost, gained, images)
    assert isinstance(change, Change)
    ends = (0.1, mean - half, mean + half)
    assert (change.share, change.low, change.high) == pytest.approx(ends)


def test_limits() -> None:
    assert paired_change(1, 0, 1).low == -1.0
    assert paired_change(0, 1, 1).high == 1.0
    assert paired_change(0, 0, 10**9).high < 1e-8
    wide, narrow = paired_change(0, 5, 100), paired_change(0, 50, 1000)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
