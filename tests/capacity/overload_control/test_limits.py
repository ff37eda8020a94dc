"""Limits: what an engine answers below its ceiling, sums over classes, the rule, and the errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.overload_control.limits import (
    InTime,
    _best,
    _places,
    _sent_within,
    _served,
    _unread_below,
    example,
    queue_room,
)
from serving_mathematics.core.batching.continuous_batching import Engine
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.machines.machines import CHAT

from builder import ROOT


def test_below_the_ceiling_a_limit_changes_nothing() -> None:
    free = _served.again(CHAT, 0.6, "nothing", 0.0, 256)
    assert isinstance(free, InTime)
    assert free.requests == 1.0
    for policy in ("requests", "tokens", "with its own"):
        limited = _served.again(CHAT, 0.6, policy, _best(CHAT, policy), _places(CHAT))
        assert limited.requests > 0.995
        assert limited.work == pytest.approx(free.work, rel=0.01)


def test_the_page_says_what_ran() -> None:
    told = example()
    page = (ROOT / "docs" / "capacity" / "overload-control.md").read_text("utf-8")
    limits = f"--max-num-seqs {told.kept_places} --max-num-queued-reqs {told.queued_requests}"
    assert limits in page


def test_vllm_counts_prompts_until_their_first_token_and_not_who_comes() -> None:
    """The second finds one token below four and comes in; the third finds ten, until the first
    step has read the first; the last finds all read."""
    asked = Requests([0.0, 0.25, 0.5, 1.75, 9.0], [1, 9, 1, 1, 1], [3, 1, 1, 1, 1])
    engine = Engine(1.0, max_sequences=1)
    for most, refused in ((4, [0, 0, 1, 1, 0]), (9, [0, 0, 1, 1, 0]), (10, [0, 0, 1, 0, 0])):
        fleet = Fleet([engine], admit=_unread_below(most))
        assert simulate_fleet(asked, fleet).refused.tolist() == refused


def test_who_has_waited_too_long_for_a_place_is_never_sent() -> None:
    """The place is free after two seconds: by then the second has waited for 1.75, the third for
    1.25."""
    asked = Requests([0.0, 0.25, 0.75], [1, 1, 1], [2, 1, 1], patience_s=[9.0, 9.0, 9.0])
    for wait_s, first_s in ((1.5, [1.0, np.nan, 3.0]), (2.5, [1.0, 3.0, 4.0])):
        fleet = Fleet([Engine(1.0, max_sequences=1)], route=_sent_within(wait_s, asked, 1))
        found = simulate_fleet(asked, fleet).first_token_s
        assert found == pytest.approx(first_s, nan_ok=True)


@given(st.floats(1, 1e6), st.floats(0.01, 100), st.floats(0.01, 1))
def test_queue_room_is_the_largest_whole_number(rate: float, ttft: float, share: float) -> None:
    tokens = queue_room(rate, ttft, share)
    assert tokens <= share * rate * ttft * (1 + 1e-12) + 1e-9
    assert tokens + 1 > share * rate * ttft
