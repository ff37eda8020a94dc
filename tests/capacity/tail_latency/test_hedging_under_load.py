"""The fixed point of hedging under load: scipy roots, Lambert W, limits, properties, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import optimize, special
from serving_mathematics.capacity.tail_latency.hedging_under_load import (
    hedged_load,
    loaded_quantile,
    smallest_stable_delay,
    tipping_load,
)


def excess(load: float, rho: float, delay: float) -> float:
    return load - rho * (1 + math.exp(-(1 - load) * delay))


@given(st.floats(0.5001, 0.999))
def test_smallest_stable_delay_is_a_lambert_function(rho: float) -> None:
    # (1−ρ)d = 1 + ln(ρd)  ⇔  −(1−ρ)d·e^{−(1−ρ)d} = −(1−ρ)/(eρ), the branch below −1
    spare = 1 - rho
    expected = -special.lambertw(-spare / (math.e * rho), -1).real / spare
    assert smallest_stable_delay(rho) == pytest.approx(expected, rel=1e-6)


def test_smallest_stable_delay_at_and_below_half() -> None:
    assert smallest_stable_delay(0.0) == smallest_stable_delay(0.4999) == 0.0
    assert smallest_stable_delay(0.5) == pytest.approx(2.0)
    assert smallest_stable_delay(0.500001) == pytest.approx(2.0, abs=0.01)


@given(st.floats(0.001, 0.98), st.floats(0, 200))
def test_hedged_load_is_the_first_root(rho: float, delay: float) -> None:
    assume(delay > smallest_stable_delay(rho) * (1 + 1e-6) or rho < 0.5)
    load = hedged_load(rho, delay)
    assert rho <= load < 1
    assert excess(load, rho, delay) == pytest.approx(0.0, abs=1e-12)
    below = np.linspace(rho, load, 50)[:-1]
    assert all(excess(x, rho, delay) < 1e-12 for x in below)


@given(st.floats(0.51, 0.98), st.floats(1.001, 5))
def test_tipping_load_is_the_second_root(rho: float, times: float) -> None:
    delay = times * smallest_stable_delay(rho)
    settled, tipping = hedged_load(rho, delay), tipping_load(rho, delay)
    assert settled < tipping < 1
    middle = (settled + tipping) / 2
    assert excess(middle, rho, delay) > 0
    top = 1 - 1e-12
    if excess(middle, rho, delay) > 1e-9 and excess(top, rho, delay) < 0:
        expected = optimize.brentq(excess, middle, top, args=(rho, delay), xtol=1e-14)
        assert tipping == pytest.approx(expected, abs=1e-9)


def test_limits_of_the_loads() -> None:
    assert hedged_load(0.7, math.inf) == 0.7
    assert hedged_load(0.0, 3.0) == pytest.approx(0.0, abs=1e-25)
    assert hedged_load(0.4, 0.0) == pytest.approx(0.8)
    assert tipping_load(0.4, 1.0) == tipping_load(0.5, 3.0) == tipping_load(0.9, math.inf) == 1.0


@given(st.floats(0, 0.49), st.floats(0, 50), st.floats(0.01, 20))
def test_a_later_second_copy_adds_less_load(rho: float, delay: float, more: float) -> None:
    assert hedged_load(rho, delay + more) <= hedged_load(rho, delay) + 1e-12


@given(st.floats(0.01, 0.999), st.floats(0, 0.49), st.floats(0, 30))
def test_loaded_quantile_inverts_the_product_of_tails(q: float, rho: float, delay: float) -> None:
    spare = 1 - hedged_load(rho, delay)
    time = loaded_quantile(q, rho, delay)
    late = math.exp(-spare * time) * (math.exp(-spare * (time - delay)) if time > delay else 1.0)
    assert late == pytest.approx(1 - q, rel=1e-9)


def test_loaded_quantile_without_hedging_is_mm1() -> None:
    assert loaded_quantile(0.5, 0.75, math.inf) == pytest.approx(4 * math.log(2))
    assert loaded_quantile(0.99, 0.0, 0.0) == pytest.approx(math.log(100) / 2)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: hedged_load(0.6, 5.4), "delay must be above 5.47209 for a steady state, got 5.4"),
        (lambda: hedged_load(0.5, 2.0), "delay must be above 2 for a steady state, got 2.0"),
        (lambda: tipping_load(0.8, 10.0), "delay must be above 18.4632 for a steady state"),
    ],
)
def test_refusals(call: Callable[[], object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()
