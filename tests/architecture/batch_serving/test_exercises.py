"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.batch_serving.exercises import (
    missing_and_repeated,
    rows_at_once,
    what_holds_it_up,
)
from serving_mathematics.architecture.batch_serving.offline_engine import fed_share


@given(st.floats(0.01, 0.999), st.floats(0.1, 1e3), st.floats(0.1, 1e3))
def test_so_many_rows_and_no_fewer(share: float, ceiling: float, overhead: float) -> None:
    rows = rows_at_once(share, ceiling, overhead)
    assert fed_share(rows, ceiling, overhead) >= share * (1 - 1e-9)
    if rows > 1:
        assert fed_share(rows - 1, ceiling, overhead) < share * (1 + 1e-9)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_more_to_do_never_blames_the_client(
    running: float, waiting: float, found: float, shared: float
) -> None:
    told = what_holds_it_up(running, waiting, found, shared)
    assert (told == "client") == (running < 0.9 and waiting < 0.9)
    if told == "order":
        assert what_holds_it_up(running, waiting, shared, shared) == "nothing"


@given(st.lists(st.integers(0, 19), max_size=40))
def test_missing_and_repeated(numbers: list[int]) -> None:
    missing, repeated = missing_and_repeated(numbers, 20)
    lacking = [row for first, last in missing for row in range(first, last)]
    assert lacking == sorted(set(range(20)) - set(numbers))
    assert repeated == [row for row in range(20) if numbers.count(row) > 1]
    assert all(a[1] < b[0] for a, b in pairwise(missing))


@pytest.mark.parametrize("numbers", [[-1], [5], [0.5], [math.nan]])
def test_unknown_rows_are_refused(numbers: list[float]) -> None:
    with pytest.raises(ValueError, match="row_numbers must be integers from 0 to 4"):
        missing_and_repeated(numbers, 5)
    with pytest.raises(ValueError, match="rows must be a positive integer"):
        missing_and_repeated([], 0)
    with pytest.raises(ValueError, match=r"row_numbers must be of shape \(k,\)"):
        missing_and_repeated([[0]], 5)
