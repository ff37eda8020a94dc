"""Gauges of an engine: balance by brute force, limits, monotone, and the errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity.autoscaling import engine_signals
from serving_mathematics.capacity.autoscaling.engine_signals import (
    Gauges,
    engine_gauges,
    load_at_waiting,
)
from serving_mathematics.core.batching.batching_engine import engine_rates


def by_balance(rate: float, fixed: float, per_item: float, places: int) -> Gauges:
    """The stationary distribution of a chain of 4,000 states by a linear recursion in floats."""
    states = 4000
    rates = engine_rates(states, fixed, per_item, places)
    weight = np.ones(states + 1)
    for n in range(states):
        weight[n + 1] = weight[n] * rate / rates[n]
        if weight[n + 1] > 1e200:
            weight[: n + 2] /= 1e200
    weight /= weight.sum()
    inside = np.arange(states + 1)
    running = np.minimum(inside, places)
    return Gauges(1 - weight[0], float(running @ weight), float((inside - running) @ weight))


@given(st.floats(0.05, 0.95), st.floats(0.1, 10.0), st.floats(0.0, 2.0), st.integers(1, 40))
def test_gauges_are_those_of_the_chain(load: float, fixed: float, item: float, places: int) -> None:
    rate = load * float(engine_rates(places, fixed, item, places)[-1])
    got, expected = engine_gauges(rate, fixed, item, places), by_balance(rate, fixed, item, places)
    assert got.busy == pytest.approx(expected.busy, rel=1e-6)
    assert got.running == pytest.approx(expected.running, rel=1e-6)
    assert got.waiting == pytest.approx(expected.waiting, rel=1e-6, abs=1e-12)


def test_what_goes_in_comes_out() -> None:
    """λ is the mean rate of what finishes; with growing steps only the whole chain knows it."""
    fixed, item, places = 1.0, 0.5, 3
    rate = 0.9 * places / (fixed + item * places)
    weight = [1.0]
    for n in range(1, 600):
        batch = min(n, places)
        weight.append(weight[-1] * rate * (fixed + item * batch) / batch)
    share = np.array(weight) / sum(weight)
    assert 1 - share[0] == pytest.approx(engine_gauges(rate, fixed, item, places).busy, rel=1e-9)


def test_limits() -> None:
    idle = engine_gauges(0.0, 1.0, 1.0, 4)
    assert idle == Gauges(0.0, 0.0, 0.0)
    full = engine_gauges(0.999 * 4.0, 1.0, 0.0, 4)
    assert full.running == pytest.approx(4 * 0.999, rel=1e-9)
    assert full.waiting > 900


def test_a_large_engine_does_not_overflow() -> None:
    most = float(engine_rates(5000, 4.0, 0.01, 5000)[-1])
    gauges = engine_gauges(0.9 * most, 4.0, 0.01, 5000)
    assert 0 < gauges.running < 5000
    assert gauges.waiting < 1e-6


@given(st.floats(0.01, 500.0), st.integers(1, 100))
def test_load_at_waiting_inverts(waiting: float, places: int) -> None:
    load = load_at_waiting(waiting, 2.0, 0.05, places)
    most = float(engine_rates(places, 2.0, 0.05, places)[-1])
    assert engine_gauges(load * most, 2.0, 0.05, places).waiting == pytest.approx(waiting, rel=1e-6)


def test_students_quantile() -> None:
    t = stats.t.ppf(0.975, 31)
    assert pytest.approx(t, abs=1e-9) == engine_signals.STUDENT_T_975[31]


def test_the_simulated_engine_waits_for_the_next_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one place and answers of one step it is M/D/1, whose server is busy for ρ of the time;
    within a step nobody is seen to come, so that fewer seem to wait than ρ²/(2 − 2ρ)."""
    for name, value in {"PLACES": 1, "TOKENS": 1, "STEPS": 6000}.items():
        monkeypatch.setattr(engine_signals, name, value)
    found = engine_signals._simulated.__wrapped__(0.4)
    assert found["running"].mean == pytest.approx(0.4, abs=4 * found["running"].standard_error)
    assert found["running"].standard_error < 0.02
    assert 0.02 < found["waiting"].mean < 0.4**2 / 1.2


def test_rows_say_by_how_much() -> None:
    """The last two columns: the reading in the overload, and over that at 80% load."""
    rows = engine_signals.example().gauge_rows.splitlines()
    ends = [row.removesuffix(" |").split(" | ")[-2:] for row in rows]
    usual = engine_gauges(6.4, 4.0, 0.0625, 64)
    assert [end[0] for end in ends] == ["100", "64", "1,440", "1,504"]
    ratios = [float(end[1].removeprefix("× ").replace(",", "")) for end in ends]
    both = usual.running + usual.waiting
    expected = [1.0, 64 / usual.running, 1440 / usual.waiting, 1504 / both]
    assert ratios == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("bad", [float("nan"), -1.0, 8.0, float("inf")])
def test_bad_rates(bad: float) -> None:
    with pytest.raises(ValueError, match="arrival_rate must be"):
        engine_gauges(bad, 4.0, 0.0625, 64)
