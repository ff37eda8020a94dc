"""Two choices and what models cost: limits, oracles, properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.model_routers.model_routers import (
    best_of_d_found,
    cascade_cost,
    router_cost,
)

LOADS = st.floats(0.01, 0.98)


@given(LOADS, st.integers(1, 12))
def test_best_of_d_is_the_published_series(load: float, d: int) -> None:
    exponents = [(d**i - d) // (d - 1) if d > 1 else i - 1 for i in range(1, 12)]
    found = best_of_d_found(load, d)
    for j, exponent in enumerate(exponents[: found.size]):
        assert found[j] == pytest.approx(load**exponent, rel=1e-9)
    assert found[-1] > 1e-17 >= (load * found[-1]) ** d


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=5), st.data())
def test_cascade_is_a_router_that_pays_for_the_way(costs: list[float], data: st.DataObject) -> None:
    shares = st.lists(st.floats(0, 1), min_size=len(costs) - 1, max_size=len(costs) - 1)
    deferrals = data.draw(shares)
    reach = np.concatenate([[1.0], np.cumprod(deferrals)])
    stops = reach - np.append(reach[1:], 0.0)
    paid = np.cumsum(costs)
    assert cascade_cost(costs, deferrals) == pytest.approx(router_cost(paid, stops))
