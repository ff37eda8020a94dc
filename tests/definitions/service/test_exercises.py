"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.service.exercises import (
    end_to_end,
    merged_quantile,
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


@given(
    st.lists(st.lists(st.integers(0, 20), min_size=4, max_size=4), min_size=1, max_size=5),
    st.floats(0.05, 0.95),
)
def test_merged_quantile_has_its_share_below(counts: list[list[int]], q: float) -> None:
    bounds = np.array([0.5, 1.0, 2.0, 5.0])
    merged = np.array(counts).sum(axis=0)
    if merged.sum() == 0:
        return
    value = merged_quantile(bounds, counts, q)
    spread = np.interp(value, [0.0, *bounds], np.concatenate([[0], np.cumsum(merged)]))
    assert spread == pytest.approx(q * merged.sum())


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
