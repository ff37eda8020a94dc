"""Both limits at once: bounds, single tokens, failures, and the load of an engine."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.slo_sla import joint_objective
from serving_mathematics.definitions.slo_sla.joint_objective import joint_attainment

TIMES = st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=30)


@given(TIMES, st.floats(0.1, 9), st.floats(0.1, 9))
def test_both_lie_between_frechets_bounds(
    times: list[tuple[float, float]], first: float, further: float
) -> None:
    ttft, tpot = np.array(times).T
    both = joint_attainment(ttft, tpot, first, further)
    alone = joint_attainment(ttft, tpot, first, 1e9), joint_attainment(ttft, tpot, 1e9, further)
    assert max(0.0, sum(alone) - 1) - 1e-12 <= both <= min(alone)


def test_one_token_has_no_gap_and_a_failure_keeps_nothing() -> None:
    assert joint_attainment([0.1, math.inf], [math.nan, math.nan], 1.0, 1.0) == 0.5


def test_a_time_at_its_limit_keeps_it() -> None:
    assert joint_attainment([1.0, 1.0], [2.0, 2.5], 1.0, 2.0) == 0.5


def test_the_cap_keeps_the_objective_and_more_does_not() -> None:
    page = joint_objective.example()
    assert joint_objective._attained(page.joint_cap_per_s)[0] >= 0.95
    assert joint_objective._attained(1.1 * page.joint_cap_per_s)[0] < 0.95
    assert page.joint_cap_per_s < page.best_rate_per_s + 1
    assert page.over_goodput_per_s < 0.1 * page.best_goodput_per_s


def test_times_must_be_of_one_shape() -> None:
    with pytest.raises(ValueError, match="tpot_s must be"):
        joint_attainment([1.0, 2.0], [1.0], 1.0, 1.0)
