"""Adaptive limits: the formula's bounds, measurements of what is expected, one cut a round trip."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.overload_control.adaptive import (
    _Answer,
    _Envoy,
    _Fixed,
    _Promise,
    _told,
    gradient_limit,
)
from serving_mathematics.core.batching.continuous_batching import Engine
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.machines.machines import CHAT


@given(st.floats(1, 1e4), st.floats(0.01, 1e3), st.floats(0.01, 1e3), st.floats(0, 1))
def test_a_limit_at_most_halves_or_doubles_beside_its_headroom(
    limit: float, expected_s: float, sampled_s: float, buffer: float
) -> None:
    new = gradient_limit(limit, expected_s, sampled_s, buffer)
    for bound, sign in ((0.5, 1), (2.0, -1)):
        assert sign * new >= sign * (bound * limit + math.sqrt(bound * limit)) - 1e-9
    assert new >= gradient_limit(limit, expected_s, 2 * sampled_s, buffer)


def test_bad_input_is_refused() -> None:
    for arguments in ((0, 1, 1), (1, 0, 1), (1, 1, math.nan), (1, 1, 1, -0.1)):
        with pytest.raises(ValueError, match="must be"):
            gradient_limit(*arguments)


def test_envoy_measures_fifty_answers_at_three_and_goes_back_to_its_limit() -> None:
    """From the beginning, and a minute later, when answers of before do not count."""
    rule = _Envoy(jitter=0.0)
    for end in range(50):
        assert rule.measuring
        assert rule.limit == 3
        rule.hear(_Answer(end + 1.0, float(end), 3, True))
    assert rule.expected_s == 1.0
    rule.pass_to(50.05)
    rule.hear(_Answer(50.06, 49.06, 3, True))
    rule.pass_to(50.2)
    assert rule.limit == math.floor(1.25 * 3 + math.sqrt(1.25 * 3)) == 5
    rule.pass_to(109.9)
    assert not rule.measuring
    rule.pass_to(110.0)
    assert rule.measuring
    assert rule.limit == 3
    rule.hear(_Answer(111.0, 109.0, 3, True))
    assert not rule.seen
    for end in range(50):
        rule.hear(_Answer(end + 122.0, end + 120.0, 3, True))
    assert (rule.limit, rule.expected_s) == (5, 2.0)


def test_an_unpinned_limit_stays_while_it_measures() -> None:
    rule = _Envoy(limit=40.0, unpinned=25.0)
    for end in range(50):
        assert rule.limit == 40
        rule.hear(_Answer(end + 1.0, float(end), 40, True))
    rule.hear(_Answer(50.05, 40.05, 40, True))
    rule.pass_to(50.2)
    assert rule.limit == 25  # and not the 24 of its formula


def test_five_times_at_the_least_is_measured_anew() -> None:
    rule = _Envoy(jitter=0.0)
    for end in range(50):
        rule.hear(_Answer(end + 1.0, float(end), 3, True))
    for tenth in range(1, 6):
        assert not rule.measuring
        rule.hear(_Answer(50 + tenth / 10 - 0.05, 50 + tenth / 10 - 9.05, 3, True))
        rule.pass_to(50 + tenth / 10 + 0.01)
        assert rule.limit == 3
    assert rule.measuring


def test_one_cut_a_round_trip() -> None:
    """Only a broken promise of a request that was sent after the last cut counts again."""
    rule = _Promise(limit=100.0)
    for ended_s, sent_s, limit in ((10.0, 1.0, 90.0), (11.0, 9.0, 90.0), (21.0, 10.5, 81.0)):
        rule.hear(_Answer(ended_s, sent_s, 100, False))
        assert rule.limit == pytest.approx(limit)
    rule.hear(_Answer(22.0, 12.0, 40, True))  # less than half of it was asked for
    assert rule.limit == pytest.approx(81)
    rule.hear(_Answer(22.0, 12.0, 41, True))
    assert rule.limit == pytest.approx(81 + 3 / 81)


def test_a_gateway_counts_what_is_under_way() -> None:
    """Steps of a second; the first ends at two, the second at four."""
    asked = Requests([0.0, 0.5, 1.5, 2.5, 9.0], [1] * 5, [2, 3, 1, 1, 1])
    heard: list[_Answer] = []
    rule = _Fixed(2.0)
    rule.hear = heard.append  # type: ignore[method-assign]
    fleet = Fleet([Engine(1.0)], admit=_told(rule, asked, CHAT))
    assert simulate_fleet(asked, fleet).refused.tolist() == [0, 0, 1, 0, 0]
    assert [(one.ended_s, one.sent_s, one.under_way) for one in heard][:1] == [(2.0, 0.0, 1)]
    assert [one.kept for one in heard] == [False] * 3
