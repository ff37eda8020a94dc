"""Limits, oracles, properties and errors beyond the checks of the exercises."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.part_slug.chapter_slug.chapter_slug import busy_servers, busy_share
from serving_mathematics.part_slug.chapter_slug.exercises import (
    busy_with_classes,
    rate_for_share,
    servers_for_share,
)

RATES = st.floats(0.0, 1e4)
SERVICES = st.floats(1e-3, 1e3)
SERVERS = st.integers(1, 500)


@given(st.floats(0.01, 1.0), SERVICES, SERVERS)
def test_rate_inverts_the_share(share: float, service: float, servers: int) -> None:
    rate = rate_for_share(share, service, servers)
    assert busy_share(rate, service, servers) == pytest.approx(share)


@given(st.floats(0.05, 1.0), RATES, st.floats(1e-3, 1.0))
def test_one_server_fewer_is_too_busy(share: float, rate: float, service: float) -> None:
    servers = servers_for_share(share, rate, service)
    assert busy_share(rate, service, servers) <= share * (1 + 1e-12)
    if servers > 1:
        assert busy_share(rate, service, servers - 1) > share * (1 - 1e-12)


def test_classes_add_up() -> None:
    assert busy_with_classes([], []) == 0
    assert busy_with_classes([3.0, 3.0], [0.5, 0.5]) == busy_servers(6.0, 0.5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_bad_numbers_are_named(bad: float) -> None:
    with pytest.raises(ValueError, match=r"share must be in \[0, 1\]"):
        rate_for_share(bad, 1.0, 2)
    with pytest.raises(ValueError, match="arrival_rates must be non-negative"):
        busy_with_classes([bad], [1.0])
