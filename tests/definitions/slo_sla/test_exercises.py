"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.slo_sla.exercises import (
    both_kept,
    longest_outage,
    promise_to_make,
)
from serving_mathematics.definitions.slo_sla.monthly_attainment import downtime_exceeds


def test_longest_outage() -> None:
    assert longest_outage(0.99, 31, 1.0) == pytest.approx(0.31 * 86_400)
    assert longest_outage(0.99, 31, 0.1) == pytest.approx(3.1 * 86_400)
    assert longest_outage(0.9, 30, 0.01) == 30 * 86_400  # which no month outlasts
    for bad in ((1.0, 30, 1.0), (0.9, 32, 1.0), (0.9, 30, 0.0)):
        with pytest.raises(ValueError, match="must be"):
            longest_outage(*bad)


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
