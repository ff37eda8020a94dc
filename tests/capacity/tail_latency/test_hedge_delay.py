"""The slider of the delay against the equation, and against the numbers of the page."""

from __future__ import annotations

import math

import pytest
from serving_mathematics.capacity.tail_latency.hedge_delay import example, slider_hedge_delay
from serving_mathematics.capacity.tail_latency.hedging_under_load import (
    smallest_stable_delay,
)


def test_slider_says_what_the_fixed_point_says_and_where_there_is_none() -> None:
    told = slider_hedge_delay()
    delays, loads = (control["values"] for control in told["controls"])
    ratio = told["curves"][0]["values"]
    p99, extra, busy = (readout["values"] for readout in told["readouts"])
    for j, load in enumerate(loads):
        for i, delay in enumerate(delays.tolist()):
            stable = delay > smallest_stable_delay(load) or smallest_stable_delay(load) == 0
            assert (ratio[i, j] is not None) == stable
            if stable:  # the equation, and what it means for the tail
                later = busy[i, j] / 100
                assert later == pytest.approx(load * (1 + math.exp(-(1 - later) * delay)))
                assert extra[i, j] == pytest.approx(100 * (later / load - 1))
                alone = math.log(100) / (1 - later)
                assert p99[i, j] == pytest.approx(min(alone, (alone + delay) / 2))
                assert ratio[i, j] == pytest.approx(p99[i, j] * (1 - load) / math.log(100))
    assert ratio[-1, loads.index(0.8)] is not None
    assert ratio[0, loads.index(0.5)] is None
    assert example().best_ratio == pytest.approx(
        min(one for one in ratio[:, loads.index(0.6)] if one is not None)
    )
