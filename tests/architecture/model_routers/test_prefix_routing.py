"""Prefix against load: rules by hand, by property and on small fleets."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.model_routers.prefix_routing import (
    _spilling,
    _sticky,
    hash_bounded,
    prefix_first,
    slack_that_pays,
)
from serving_mathematics.core.fleet.prefixes import Prefixes

from ...core.fleet.test_routers import HALVES, view_of

NOBODY = np.array([-1] * 6)
SHARED = Prefixes(np.array([-1, -1]), np.array([100, 100]), np.array([0, 0, 1, 0, 1, 0]), NOBODY)


def test_the_prefix_counts_up_to_the_slack_and_then_the_load() -> None:
    view = view_of([0, 0, 0], SHARED)
    route = partial(prefix_first, slack=2)
    assert route(0, view) == 0
    view.sent(0, 2)
    assert route(1, view) == 0  # two more than the idlest
    view.sent(0, 1)
    assert route(3, view) == 1  # three more: a copy at the idlest
    view.sent(1, 1)
    assert route(5, view) == 1  # the less busy of the two that have it
    assert route(2, view) == 2  # nobody has the other prefix


def test_a_short_record_forgets() -> None:
    view = view_of([0, 0], SHARED)
    route = partial(prefix_first, record_blocks=10)
    assert route(0, view) == 0
    view.sent(0, 1)
    assert route(2, view) == 1
    view.sent(1, 1)
    view.sent(0, 5)
    assert route(4, view) == 1
    assert route(1, view) == 0  # still on record: ten blocks each
    view = view_of([0], SHARED)
    for request in (0, 2, 1):
        assert route(request, view) == 0
    assert view.memory["records"][0].resident == 10


def test_loads_of_the_last_look_are_what_engines_said() -> None:
    view = view_of([0, 0, 0], SHARED)
    view.refresh_s = 1.0
    view.waiting, view.running = [0, 2, 5], [5, 2, 0]  # neither of them alone says the second
    assert prefix_first(0, view) == 1


def test_a_slack_in_time_by_hand() -> None:
    """The engine that was sent all of a prompt has 100 tokens more to read than the other; and half
    of one is enough, a fifth too little."""
    view = view_of([0, 0], HALVES)
    route = partial(_sticky, block_tokens=10, by_requests=True)
    owner = _sticky(3, view, block_tokens=10)
    view.ledger.at[3] = owner
    other = _sticky(0, view, block_tokens=10)  # where nothing is to be read
    assert other == 1 - owner
    view.ledger.at[0] = other
    view.sent(owner, 3)
    assert route(4, view, penalty_tokens=0) == owner  # both have 100 tokens to read
    view.ledger.first_s[0] = view.now
    assert route(4, view, penalty_tokens=100) == owner
    assert route(4, view, penalty_tokens=99) == other
    view.sent(other, 9)
    assert route(1, view, affinity=0.5) == other  # which has half of it
    assert route(2, view) == owner  # the fewest requests: of a fifth nobody asks
    assert max(record.resident for record in view.memory["records"]) <= 100


def test_a_gate_at_the_engine_alone_by_hand() -> None:
    """An engine keeps its prefix while it has at most two deviations more than the mean of all, or
    four requests, or what both thresholds say where that is less; how busy another is is nothing to
    it. Of engines that have the prefix, and of all where none has enough, the one with fewest."""
    view = view_of([0, 0, 40], HALVES)
    assert [_spilling(3, view), _spilling(4, view)] == [0, 0]
    view.sent(0, 33)  # of which 24.3 + 9.9 may be
    assert _spilling(4, view) == 0
    view.sent(0, 3)  # 36, of which 25.3 + 10.1 may be
    assert _spilling(4, view) == 1
    view.sent(1, 38)
    assert _spilling(4, view) == 0  # of the two that have it
    assert _spilling(2, view_of([3, 1], HALVES)) == 1
    for sent, thresholds, place in ((8, {}, 0), (9, {}, 1), (8, {"most": 2}, 1)):
        few = view_of([0, 0], HALVES)
        assert _spilling(3, few) == 0
        few.sent(0, sent)  # the mean is half of it, and four more may be
        assert _spilling(4, few, **thresholds) == place


@given(st.lists(st.integers(0, 40), min_size=2, max_size=6), st.floats(1, 3))
def test_a_bound_is_kept_and_the_owner_taken_where_it_may(loads: list[int], bound: float) -> None:
    view = view_of(loads, SHARED)
    place = hash_bounded(0, view, bound)
    most = math.ceil(bound * (1 + sum(loads)) / len(loads))
    assert loads[place] < most
    owner = hash_bounded(0, view_of(loads, SHARED), math.inf)
    assert place == owner or loads[owner] >= most
    assert hash_bounded(3, view, math.inf) == owner  # which begins like it


@given(st.floats(0, 10), st.floats(1, 1e4), st.floats(1e-6, 1e-2), st.floats(1.1, 10))
def test_slack_grows_with_what_is_saved(s: float, m: float, d: float, times: float) -> None:
    assert slack_that_pays(times * s, m, d) == pytest.approx(times * slack_that_pays(s, m, d))
    assert slack_that_pays(s, times * m, d) == pytest.approx(slack_that_pays(s, m, d) / times)
