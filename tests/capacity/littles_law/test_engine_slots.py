"""The number inside: scipy's laws, and the places that suffice."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity.littles_law import engine_slots


@given(st.floats(0.1, 200))
def test_poisson_is_scipys(mean: float) -> None:
    got = engine_slots._poisson(mean, 300)
    np.testing.assert_allclose(got, stats.poisson.pmf(np.arange(301), mean), atol=1e-12)


def test_places_that_suffice() -> None:
    page = engine_slots.example()
    assert page.slots_poisson == stats.poisson.ppf(0.999, page.mean_inside)
    server = stats.geom(1 / (1 + page.mean_inside), loc=-1)
    assert page.slots_server == server.ppf(0.999)
    assert page.slots_poisson < page.slots_engine < page.slots_server
