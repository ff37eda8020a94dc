"""The fluid: what comes and goes, what is paid, and the errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.autoscaling.fluid_fleet import TICK_S, _FleetRun, _run_fleet
from serving_mathematics.capacity.autoscaling.replica_response import Replica
from serving_mathematics.core.fleet.scaling_rules import fixed

SMALL = Replica(np.array([0.0, 1.0, 1.5, 1.8]), np.array([0.02, 0.02, 0.03, 0.05]), 2, 1.0)


@given(st.floats(0.1, 3.0), st.integers(1, 4))
def test_a_steady_load_stays_where_it_is(load: float, replicas: int) -> None:
    """Where the fleet carries it nothing collects; where it does not, the excess does."""
    run = _run_fleet([load] * 90, fixed(replicas), SMALL, replicas=replicas, startup_s=9.0)
    most = replicas * SMALL.most_per_s
    expected = max(0.0, load - most) * 89
    assert run.waiting[-1] == pytest.approx(expected, abs=1e-6)
    assert run.replica_hours * 3600 == pytest.approx(90 * replicas)


def test_a_replica_serves_one_start_up_after_its_order_and_is_paid_from_it() -> None:
    run = _run_fleet([0.5] * 90, fixed(3), SMALL, replicas=1, startup_s=20.0)
    assert isinstance(run, _FleetRun)
    assert np.flatnonzero(np.diff(run.ready)).tolist() == [TICK_S + 19]
    assert run.replica_hours * 3600 == TICK_S + 3 * 75
    assert run.ordered.tolist() == [3] * 6


def test_those_that_start_are_called_off_first_and_a_maximum_holds() -> None:
    asked = iter([9, 2, 1, 1])
    run = _run_fleet([0.5] * 60, lambda *_: next(asked), SMALL, replicas=2, startup_s=99.0, most=4)
    assert run.ordered.tolist() == [4, 2, 1, 1]
    assert run.ready[[0, 31, 44, 45, 59]].tolist() == [2, 2, 2, 1, 1]


def test_heavier_work_is_less_capacity() -> None:
    light = _run_fleet([1.5] * 60, fixed(1), SMALL, replicas=1, startup_s=0.0)
    heavy = _run_fleet([1.5] * 60, fixed(1), SMALL, replicas=1, startup_s=0.0, work=[2.0] * 60)
    assert light.waiting[-1] == 0
    assert heavy.waiting[-1] == pytest.approx(59 * (1.5 - 0.9), rel=1e-6)
    assert heavy.late_share > light.late_share


def test_who_waits_longer_than_the_promise_is_late() -> None:
    """Where no token is late: half a request a second too many, or 1.4 with work twice as heavy."""
    patient = replace(SMALL, held=999)
    for work, first in ((1.0, 4), (2.0, 1)):  # second at which it takes more than one to end them
        run = _run_fleet([2.3] * 90, fixed(1), patient, replicas=1, startup_s=0.0, work=[work] * 90)
        assert run.late_share == pytest.approx((90 - first) / 90)


def test_what_a_policy_sees() -> None:
    seen: list[tuple[float, ...]] = []

    def watching(*given: float) -> int:
        seen.append(given)
        return 2

    _run_fleet([3.0] * 30, watching, SMALL, replicas=2, startup_s=0.0)
    assert [one[:3] for one in seen] == [(15.0, 2, 2), (30.0, 2, 2)]
    assert seen[0][3] == pytest.approx(2 / 3)  # of three places each
    assert seen[0][4] == pytest.approx(4.0)
