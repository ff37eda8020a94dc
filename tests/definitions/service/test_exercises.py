"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.service.exercises import (
    end_to_end,
    share_of_all_in_time,
    with_fallback,
)
from serving_mathematics.definitions.service.service import (
    Service,
)

from tests.definitions.service.test_service import (
    CELLS,
    assert_same,
    outcomes,
    services,
)


@given(st.lists(st.integers(0, 20), min_size=4, max_size=4), st.integers(0, 20), st.integers(0, 9))
def test_share_of_all_in_time(tokens: list[int], without: int, early: int) -> None:
    bounds, counts = [0.5, 1.0, 2.0, 5.0], np.cumsum(tokens)
    others = int(counts[-1]) + without
    if others == 0:
        return
    shares = [share_of_all_in_time(others + early, early, bounds, counts, at) for at in bounds]
    assert np.diff(shares, prepend=0.0) * others == pytest.approx(tokens)


def test_a_limit_is_a_bound_and_counts_add_up() -> None:
    with pytest.raises(ValueError, match=r"one of the bounds, got 0\.7"):
        share_of_all_in_time(10, 0, [0.5, 1.0], [2, 3], 0.7)
    with pytest.raises(ValueError, match="counts must be added up, from 0 to at most 9"):
        share_of_all_in_time(10, 1, [0.5, 1.0], [2, 10], 0.5)
    with pytest.raises(ValueError, match="counts must be added up"):
        share_of_all_in_time(10, 1, [0.5, 1.0], [5, 3], 0.5)
    with pytest.raises(ValueError, match="left_early must be below the 10"):
        share_of_all_in_time(10, 10, [0.5, 1.0], [2, 3], 0.5)


@given(services(), services(), st.integers(1, CELLS - 1))
def test_fallback_by_enumeration(primary: Service, spare: Service, timeout: int) -> None:
    results, leaving = [], 1.0
    for cell, ok, p in outcomes(primary):
        if cell > timeout:
            continue
        leaving -= p
        if ok:
            results.append((cell, True, p))
        else:
            results += [(cell + k, o, p * q) for k, o, q in outcomes(spare)]
    results += [(timeout + k, o, leaving * q) for k, o, q in outcomes(spare)]
    combined = with_fallback(primary, spare, timeout)
    assert_same(combined, results)
    in_time = float(primary.ok[: timeout + 1].sum())
    assert combined.cost == pytest.approx(primary.cost + (1 - in_time) * spare.cost)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.integers(1, 4), st.floats(0, 1))
def test_end_to_end_lies_between_no_state_and_nothing_else(
    shares: list[float], tries: int, state: float
) -> None:
    got = end_to_end(shares, tries, state)
    once = float(np.prod(shares))
    apart = float(np.prod(shares[:-1])) * (1 - (1 - shares[-1]) ** tries)
    assert once - 1e-12 <= got <= apart + 1e-12
    assert end_to_end(shares, 1, state) == pytest.approx(once, abs=1e-12)
    assert end_to_end(shares, tries, 0.0) == pytest.approx(apart, abs=1e-12)
    assert end_to_end(shares, tries, 1.0) == pytest.approx(once, abs=1e-12)
