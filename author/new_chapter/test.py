"""Limits, oracles, properties and errors beyond the checks of the module."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.part_slug.chapter_slug.chapter_slug import (
    busy_servers,
    busy_share,
    example,
    slider_busy_share,
)

# WRITE: tests of your own functions in the place of these; change an operator and see one fail.
RATES = st.floats(0.0, 1e4)
SERVICES = st.floats(1e-3, 1e3)
SERVERS = st.integers(1, 500)


@given(RATES, SERVICES, st.floats(0.01, 100.0))
def test_busy_servers_scale_with_the_unit_of_time(rate: float, service: float, unit: float) -> None:
    assert busy_servers(rate / unit, service * unit) == pytest.approx(busy_servers(rate, service))


@given(RATES, SERVICES, SERVERS)
def test_more_servers_are_less_busy(rate: float, service: float, servers: int) -> None:
    assert 0 <= busy_share(rate, service, servers + 1) <= busy_share(rate, service, servers) <= 1


def test_numbers_of_the_page() -> None:
    assert example().busy_at_12 == 3
    assert example().share_at_12 == 0.75


def test_the_slider_says_the_numbers_of_the_page() -> None:
    told = slider_busy_share()
    rates, servers = (control["values"] for control in told["controls"])
    [share] = told["panels"][0]["curves"]
    for rate, row in zip(rates, share["values"], strict=True):
        assert row == pytest.approx([min(100, 25 * rate / count) for count in servers])
    assert share["values"][list(rates).index(12.0)][0] == 100 * example().share_at_12


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_bad_numbers_are_named(bad: float) -> None:
    with pytest.raises(ValueError, match="arrival_rate must be non-negative and finite"):
        busy_servers(bad, 1.0)
    with pytest.raises(ValueError, match="mean_service_s must be positive and finite"):
        busy_share(1.0, bad, 2)
