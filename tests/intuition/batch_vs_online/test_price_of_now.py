"""The price of now: limits, accounting, the machine's promise, published scores, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.intuition.batch_vs_online.price_of_now import (
    LOADS,
    _gaps_s,
    _load_of,
    cost_ratio,
    example,
    shared_prices,
)


@given(st.floats(1.0, 9.0), st.floats(0.05, 1.0))
def test_now_is_never_cheaper(peak: float, load: float) -> None:
    assert cost_ratio(peak, load) >= 1
    assert cost_ratio(peak, 1.0) == peak
    assert cost_ratio(1.0, load) == pytest.approx(1 / load)


@given(st.integers(1, 50), st.floats(0.01, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_prices_add_up(engines: int, busy: float, filled: float, share: float) -> None:
    online = busy * engines
    batch = filled * (engines - online)
    price, batch_price = shared_prices(engines, online, batch, share)
    assert online * price + batch * batch_price == pytest.approx(engines)
    assert batch_price == pytest.approx(share * price)


def test_tokens_slow_down_with_the_load() -> None:
    gaps = _gaps_s()
    assert np.all(np.diff(gaps) > 0)
    assert gaps[0] > float(CHAT.step_s(1))
    rng = np.random.default_rng(77)  # other requests at the load of one of them
    run = run_engine(CHAT, LOADS[3] * CHAT.ceiling_per_s, 4000, rng)
    assert np.nanquantile(run.tpot_s, 0.99) == pytest.approx(gaps[3], rel=0.1)
    assert _load_of(1e3 * float(gaps[3])) == pytest.approx(LOADS[3])


def test_numbers_of_the_page() -> None:
    told = example()
    printed = float(f"{told.promised_percent:.0f}")  # a reader divides what stands on the page
    assert f"{told.now_factor:.1f}" == f"{100 * told.day_peak / printed:.1f}"
    assert told.hurried_factor > 1.5 * told.now_factor
    assert 7 * told.now_factor == pytest.approx(20, abs=0.2)  # engines of the fleet alone
    assert 7 * told.alone_online_price == pytest.approx(20)
    assert told.shared_batch_price == pytest.approx(told.shared_online_price / 2)
    assert told.shared_batch_price < 1
    assert told.kept_interactive == pytest.approx(31.8, abs=0.05)
