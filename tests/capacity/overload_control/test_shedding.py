"""Erlang-A against its generator matrix, the guardrail and CoDel at their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from serving_mathematics.capacity.overload_control.shedding import (
    INTERVAL_S,
    TARGET_S,
    Patience,
    codel_drop_times,
    erlang_a,
    guardrail,
    wait_limit,
)

from tests.profiles import costly


def by_generator(
    arrival: float, service: float, servers: int, leaving: float, size: int
) -> Patience:
    """Erlang-A cut off at `size` states, by linear algebra."""
    state = np.arange(size)
    down = np.minimum(state, servers) * service + np.maximum(state - servers, 0) * leaving
    generator = np.diag(np.full(size - 1, arrival), 1) + np.diag(down[1:], -1)
    generator -= np.diag(generator.sum(axis=1))
    rows = np.vstack([generator.T / down.max(), np.ones(size)])
    share = np.linalg.lstsq(rows, np.append(np.zeros(size), 1.0), rcond=None)[0]
    queue = float(share @ np.maximum(state - servers, 0))
    return Patience(leaving * queue / arrival, float(share[servers:].sum()), queue)


@costly
@given(st.floats(0.2, 12), st.floats(0.3, 3), st.integers(1, 6), st.floats(0.5, 3))
def test_erlang_a_solves_its_generator(
    arrival: float, service: float, servers: int, leaving: float
) -> None:
    result = erlang_a(arrival, service, servers, leaving)
    expected = by_generator(arrival, service, servers, leaving, 80)
    assert result.wait == pytest.approx(expected.wait, abs=1e-6)
    assert result.abandon == pytest.approx(expected.abandon, abs=1e-6)
    assert result.queue == pytest.approx(expected.queue, abs=1e-5)


@given(st.floats(0.5, 400), st.integers(1, 200), st.floats(0.01, 10))
def test_who_stays_is_served(load: float, servers: int, leaving: float) -> None:
    result = erlang_a(load, 1.0, servers, leaving)
    assert 0 <= result.abandon <= result.wait <= 1
    assert load * (1 - result.abandon) <= servers * (1 + 1e-9)
    more = erlang_a(load, 1.0, servers + 1, leaving)
    assert more.abandon <= result.abandon + 1e-12


def test_erlang_a_incomplete_gamma() -> None:
    """The tail of Palm's formula: A(x, y) = x·e^y/y^x·γ(x, y)."""
    arrival, service, servers, leaving = 120.0, 1.0, 100, 0.5
    x, y = servers * service / leaving, arrival / leaving
    log_tail = math.log(x) + y - x * math.log(y) + math.log(special.gammainc(x, y)) + math.lgamma(x)
    blocking = 1.0
    for k in range(1, servers + 1):
        blocking = arrival * blocking / (k + arrival * blocking)
    tail = math.exp(log_tail)
    wait = tail * blocking / (1 + (tail - 1) * blocking)
    assert erlang_a(arrival, service, servers, leaving).wait == pytest.approx(wait, rel=1e-9)


def test_erlang_a_extremes() -> None:
    deep = erlang_a(5000.0, 1.0, 1000, 0.01)
    assert deep.wait == pytest.approx(1.0)
    assert deep.abandon == pytest.approx(0.8)
    assert deep.queue == pytest.approx(4000 / 0.01, rel=1e-6)
    calm = erlang_a(1.0, 1.0, 400, 1.0)
    assert calm.wait == pytest.approx(0.0, abs=1e-300)


@given(st.lists(st.floats(0, 1), max_size=20), st.floats(0, 1))
def test_guardrail_splits_at_the_threshold(signals: list[float], threshold: float) -> None:
    decisions = guardrail(signals, threshold)
    assert len(decisions) == len(signals)
    for signal, decision in zip(signals, decisions, strict=True):
        assert decision == ("allow" if signal < threshold else "escalate")


def test_wait_limit_changes_after_an_interval() -> None:
    assert wait_limit(0.0) == INTERVAL_S
    assert wait_limit(INTERVAL_S) == INTERVAL_S
    assert wait_limit(math.nextafter(INTERVAL_S, 1)) == TARGET_S
    assert TARGET_S == INTERVAL_S / 20


def test_codel_drops_at_a_pace_that_rises_with_the_root() -> None:
    times = codel_drop_times(400)
    assert times[0] == 0.0
    assert codel_drop_times(1).tolist() == [0.0]
    gaps = np.diff(times)
    assert gaps * np.sqrt(np.arange(1, 400)) == pytest.approx(np.full(399, INTERVAL_S))


def test_patience_has_a_limit() -> None:
    with pytest.raises(
        ValueError, match=r"abandonment_rate must be positive and finite and above 0\.1"
    ):
        erlang_a(1e6, 1.0, 1, 0.1)
