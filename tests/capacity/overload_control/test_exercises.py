"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from serving_mathematics.capacity.overload_control.exercises import (
    accepted_rate,
    expired_share,
    nested_attempts,
    queue_limit,
    shed_with_hysteresis,
)
from serving_mathematics.capacity.overload_control.overload_control import (
    bounded_goodput,
    simulate_goodput,
)

BAD_NUMBERS = [0.0, -1.0, math.nan, math.inf]


def test_simulation_with_one_place_and_with_expiry() -> None:
    rng = np.random.default_rng(3)
    lost = simulate_goodput(rng, 50.0, 100.0, 0.02, capacity=1, customers=60_000)
    assert abs(lost.mean - bounded_goodput(50.0, 100.0, 0.02, 1)) < 4 * lost.standard_error
    skipping = simulate_goodput(rng, 150.0, 100.0, 0.1, skip_expired=True, customers=60_000)
    served = 150.0 * (1 - expired_share(150.0, 100.0, 0.1))
    assert 0.3 * served < skipping.mean < served  # some begin in time and end late


def test_nested_attempts_by_simulation() -> None:
    rng = np.random.default_rng(8)

    def calls(layers: int) -> tuple[int, bool]:
        if layers == 0:
            return 1, bool(rng.random() < 0.6)
        total = 0
        for _ in range(2):
            made, failed = calls(layers - 1)
            total += made
            if not failed:
                return total, False
        return total, True

    counts = [calls(3)[0] for _ in range(4000)]
    error = np.std(counts) / math.sqrt(len(counts))
    assert abs(np.mean(counts) - nested_attempts(0.6, 2, 3)) < 4 * error
    assert nested_attempts(1 - 1e-12, 3, 2) == pytest.approx(9.0)
    assert nested_attempts(0.0, 3, 2) == 1.0
    assert nested_attempts(0.5, 1, 9) == 1.0


@given(st.floats(1.0, 3000.0), st.floats(0.05, 0.999))
def test_queue_limit_is_a_poisson_quantile(served: float, probability: float) -> None:
    if 1 - math.exp(-served) < probability:
        return
    places = queue_limit(served, 1.0, probability)
    assert stats.poisson.sf(places - 1, served) >= probability - 1e-9
    assert stats.poisson.sf(places, served) < probability + 1e-9


def test_queue_limit_with_room_for_one() -> None:
    assert queue_limit(1.0, 1.0, 0.6) == 1
    assert queue_limit(1e5, 1.0, 0.5) == pytest.approx(1e5, abs=2)


@given(st.lists(st.floats(0, 1), max_size=50), st.floats(0, 1), st.floats(0, 1))
def test_hysteresis_never_contradicts_its_thresholds(
    signals: list[float], one: float, other: float
) -> None:
    low, high = sorted((one, other))
    decisions = shed_with_hysteresis(signals, high, low)
    assert len(decisions) == len(signals)
    previous = False
    for signal, shed in zip(signals, decisions, strict=True):
        if signal >= high:
            assert shed
        elif signal < low:
            assert not shed
        else:
            assert shed == previous
        previous = shed


def test_accepted_rate_edges() -> None:
    assert accepted_rate(100.0, 100.0, 0.5) == 100.0
    assert accepted_rate(1e6, 100.0, 0.0) == 100.0
    assert accepted_rate(500.0, 100.0, 0.2) == 0.0
    assert accepted_rate(1e9, 100.0, 0.2, multiplier=1.0) == 100.0
    assert accepted_rate(110.0, 100.0, 0.2, multiplier=2.0) == pytest.approx(97.5)


@given(st.floats(0.01, 5.0), st.floats(0, 50))
def test_expired_share_conserves_work(load: float, limit: float) -> None:
    lost = expired_share(load, 1.0, limit)
    assert max(0.0, 1 - 1 / load) - 1e-12 <= lost <= load / (1 + load) + 1e-12
    idle = 1 - load * (1 - lost)
    assert idle > -1e-12
    density = integrate.quad(
        lambda x: load * math.exp(-(1 - load) * (x - limit)), 0, limit, limit=200
    )[0]
    at_limit = load  # weight beyond the limit, relative to the density at it
    empty = math.exp((1 - load) * limit) if (1 - load) * limit < 700 else math.inf
    assert lost == pytest.approx(at_limit / (empty + density + at_limit), rel=1e-6, abs=1e-12)


def test_exercises_refuse() -> None:
    with pytest.raises(ValueError, match=r"failure must be in \[0, 1\]"):
        nested_attempts(math.nan, 2, 2)
    for bad in (0, 1.5, math.inf):
        with pytest.raises(ValueError, match="attempts must be a positive integer"):
            nested_attempts(0.5, bad, 2)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="layers must be a positive integer"):
            nested_attempts(0.5, 2, bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="layers must be such that"):
        nested_attempts(0.5, 10, 16)
    for bad in (0.0, -0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match="probability must be in"):
            queue_limit(10.0, 1.0, bad)
    for bad in BAD_NUMBERS:
        with pytest.raises(ValueError, match="service_rate must be positive"):
            queue_limit(bad, 1.0, 0.5)
        with pytest.raises(ValueError, match="deadline_s must be positive"):
            queue_limit(1.0, bad, 0.5)
        with pytest.raises(ValueError, match="offered_rate must be positive"):
            accepted_rate(bad, 1.0, 0.1)
        with pytest.raises(ValueError, match="service_rate must be positive"):
            accepted_rate(1.0, bad, 0.1)
        with pytest.raises(ValueError, match="arrival_rate must be positive"):
            expired_share(bad, 1.0, 0.1)
        with pytest.raises(ValueError, match="service_rate must be positive"):
            expired_share(1.0, bad, 0.1)
    with pytest.raises(ValueError, match="wait_limit_s must be non-negative"):
        expired_share(1.0, 1.0, -0.1)
    for bad in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match="refusal_cost must be in"):
            accepted_rate(1.0, 1.0, bad)
    for bad in (0.9, math.nan):
        with pytest.raises(ValueError, match="multiplier must be at least 1"):
            accepted_rate(1.0, 1.0, 0.1, bad)
    for bad in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="high must be in"):
            shed_with_hysteresis([0.5], bad, 0.1)
        with pytest.raises(ValueError, match="low must be in"):
            shed_with_hysteresis([0.5], 0.9, bad)
        with pytest.raises(ValueError, match="signals must be in"):
            shed_with_hysteresis([bad], 0.9, 0.1)
