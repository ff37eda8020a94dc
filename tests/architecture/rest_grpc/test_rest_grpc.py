"""The latency model at its limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.rest_grpc.rest_grpc import (
    CallParts,
    call_parts,
    flights,
    window_to_fill,
)

SIZES = st.integers(1, 10**9)


@given(st.integers(1, 10**12), st.integers(1, 10**6))
def test_flights_are_the_fewest_that_hold_the_bytes(size: int, window: int) -> None:
    count = flights(size, window)
    assert window * (2 ** (count - 1) - 1) < size <= window * (2**count - 1)


def sent_by_flights_s(size: float, trip: float, rate: float, first: float = 14_600) -> float:
    """When the last byte leaves: a flight begins when the one before is sent and acknowledged."""
    begins, window = 0.0, first
    while size > window:
        begins += max(trip, window / rate)
        size, window = size - window, 2 * window
    return begins + size / rate


@given(SIZES, SIZES, st.integers(0, 3), st.floats(0, 1), st.floats(0, 1))
def test_parts_add_up(asked: int, answered: int, handshakes: int, trip: float, work: float) -> None:
    parts = call_parts(asked, answered, trip, 1e6, handshakes, work)
    sent = sum(sent_by_flights_s(size, trip, 1e6) for size in (asked, answered))
    assert parts.total_s == pytest.approx((handshakes + 1) * trip + sent + work)
    trips = handshakes + flights(asked) + flights(answered) - 1
    assert parts.total_s <= (trips * trip + (asked + answered) / 1e6 + work) * (1 + 1e-9)
    assert parts.waits_s >= trip * (1 - 1e-9)
    again = CallParts(parts.connect_s, parts.waits_s, parts.transfer_s, parts.work_s)
    assert again == parts


def test_round_trips_by_hand() -> None:
    for asked, answered, handshakes, trips in (
        (1, 1, 0, 1),
        (14_601, 14_601, 0, 3),
        (1, 43_801, 1, 4),
    ):
        parts = call_parts(asked, answered, 1.0, 1e12, handshakes)
        assert parts.connect_s + parts.waits_s == pytest.approx(trips, rel=1e-6)


@given(SIZES, st.floats(1e-4, 1), st.floats(1e4, 1e9))
def test_a_filling_window_costs_one_round_trip_of_waiting(
    size: int, trip: float, rate: float
) -> None:
    """With a window that fills the link, all flights but one hide behind the transfer."""
    window = window_to_fill(trip, rate)
    if window >= 1:
        count = flights(size, window, window)
        assert (count - 1) * trip <= size / rate * (1 + 1e-9)
