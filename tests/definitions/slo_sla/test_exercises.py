"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.slo_sla.exercises import (
    both_kept,
    least_up,
    promise_to_make,
)
from serving_mathematics.definitions.slo_sla.joint_objective import missed_without_spare
from serving_mathematics.definitions.slo_sla.monthly_attainment import downtime_exceeds


@given(st.integers(1, 40), st.floats(0, 1), st.floats(0, 1), st.floats(0.5, 0.9999))
def test_least_up(replicas: int, peak: float, kept: float, promised: float) -> None:
    up = least_up(replicas, peak, kept, promised)
    assert 0 <= up < 1
    missed = missed_without_spare(replicas, up, peak, kept)
    assert missed == pytest.approx(min(1 - promised, peak * (1 - kept)), abs=1e-9)
    assert least_up(replicas + 1, peak, kept, promised) >= up
    with pytest.raises(ValueError, match="promised must be in"):
        least_up(replicas, peak, kept, 1.0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_both_kept_hold_every_set_of_requests(requests: list[tuple[bool, bool]]) -> None:
    first, further = np.mean(requests, axis=0).tolist()
    both = float(np.mean(np.all(requests, axis=1)))
    least, greatest = both_kept(first, further)
    assert least - 1e-12 <= both <= greatest + 1e-12


def test_promise_to_make() -> None:
    promise = promise_to_make(5.0, 60.0, 86_400.0, 0.1)
    assert 0 < promise < 1
    assert downtime_exceeds((1 - promise) * 86_400, 5.0, 60.0) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="period_s must be"):
        promise_to_make(1.0, 1.0, 0.0, 0.1)
