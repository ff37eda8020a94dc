"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.intuition.batch_vs_online.exercises import (
    fair_batch_load,
    places_for_promise,
    spot_price,
)
from serving_mathematics.intuition.batch_vs_online.price_of_now import shared_prices


@given(st.floats(1e-3, 0.02), st.floats(1e-5, 1e-3), st.floats(0.03, 1.0), st.floats(1.0, 1.4))
def test_one_place_more_breaks_the_promise(
    step: float, each: float, promise: float, tail: float
) -> None:
    few, many = ((n, n / (step + n * each)) for n in (32, 200))
    places = places_for_promise(few, many, promise, tail)
    assert tail * (step + places * each) <= promise * (1 + 1e-6)
    assert tail * (step + (places + 1) * each) > promise * (1 - 1e-6)


@given(st.integers(2, 60), st.floats(0.02, 0.9), st.floats(0.05, 1.0))
def test_fair_load_makes_batch_pay_one(engines: int, busy: float, share: float) -> None:
    online = busy * engines
    load = fair_batch_load(engines, online, share)
    assert 0 <= load <= engines - online + 1e-9
    price = shared_prices(engines, online, min(load, engines - online), share)[1]
    assert price == pytest.approx(1.0) if load else price <= 1 + 1e-12


@given(st.floats(0.01, 2.0), st.floats(0.1, 4.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_spot_price_by_its_recursion(
    rate: float, every: float, write: float, restart: float
) -> None:
    stretch = every + write
    through = math.exp(-rate * stretch)
    cut = stats.truncexpon.mean(rate * stretch, scale=1 / rate)  # length of a cut attempt
    expected = stretch + (1 - through) / through * (cut + restart)
    assert spot_price(0.3, rate, every, write, restart) == pytest.approx(0.3 * expected / every)


def test_spot_without_interruptions() -> None:
    assert spot_price(1.0, 0.0, 2.0, 0.5, 9.0) == 1.25
    assert spot_price(1.0, 1e-9, 2.0, 0.5, 9.0) == pytest.approx(1.25)


def test_two_engines_that_tell_nothing() -> None:
    with pytest.raises(ValueError, match="many must be of more places"):
        places_for_promise((20, 600.0), (10, 500.0), 0.05, 1.2)
    with pytest.raises(ValueError, match="many must be an engine whose tokens are slower"):
        places_for_promise((10, 500.0), (20, 1100.0), 0.05, 1.2)
