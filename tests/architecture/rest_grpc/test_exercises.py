"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.rest_grpc.exercises import (
    compression_pays_below,
    photo_round_trips,
    what_it_waits_for,
)


@given(st.integers(1, 10**9), st.integers(1, 10**7), st.integers(1, 10**6))
def test_a_window_holds_what_it_holds(size: int, window: int, first: int) -> None:
    busy, idle = photo_round_trips(size, window, first)
    assert (busy - 1) * window < size <= busy * window
    assert first * (2 ** (idle - 1) - 1) < size <= first * (2**idle - 1)


@given(st.floats(0, 10), st.floats(0, 10), st.floats(0, 10))
def test_the_largest_part_is_named(connected: float, engine: float, way: float) -> None:
    told = what_it_waits_for(connected, engine + way, engine)
    parts = {"connection": connected, "engine": engine, "way": way}
    assert parts[told] >= max(parts.values()) - 1e-9


def test_compression_pays_on_a_narrow_link() -> None:
    limit = compression_pays_below(0.3, 1e8, 3e8)
    for bandwidth, pays in ((0.9 * limit, True), (1.1 * limit, False)):
        plain = 1e6 / bandwidth
        packed = 0.3e6 / bandwidth + 1e6 / 1e8 + 1e6 / 3e8
        assert (packed < plain) == pays
    assert compression_pays_below(1.0, 1.0, 1.0) == 0
