"""Lines by hand and by property: ties, virtual counters, and what a fair line promises."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import Engine
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.policies import by_priority
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.fleet.waiting_lines import Fair, RankedLine, WaitingLine

from ...profiles import costly


def test_first_come_first_served_but_for_the_preempted() -> None:
    line = WaitingLine()
    for request in (3, 1, 2):
        line.push(request)
    line.pop()
    line.back(3)
    assert (line.head(), list(line.everybody()), line.overtakes) == (3, [3, 1, 2], False)


def test_ranks_and_their_ties() -> None:
    line = RankedLine([2.0, 1.0, 2.0, 1.0])
    for request in (2, 0, 3, 1):
        line.push(request)
    order = []
    while line.head() >= 0:
        order.append(line.head())
        line.pop()
    assert order == [3, 1, 2, 0]
    line.back(2)
    line.push(0)
    assert line.head() == 2
    assert sorted(line.everybody()) == [0, 2]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(0, 2**32))
def test_who_leaves_changes_no_order(ranks: list[int], seed: int) -> None:
    size = len(ranks)
    gone = np.flatnonzero(np.random.default_rng(seed).random(size) < 0.4).tolist()
    makers = (
        WaitingLine,
        partial(RankedLine, [float(one) for one in ranks]),
        partial(Fair, [one % 3 for one in ranks], [1.0] * 3),
    )
    for maker in makers:
        line, never = maker(), maker()
        for request in range(size):
            line.push(request)
            if request not in gone:
                never.push(request)
        for request in gone:
            line.drop(request)
        for _ in range(size - len(gone)):
            assert line.head() == never.head()
            line.pop()
            never.pop()
        assert line.head() == -1
        assert not list(line.everybody())


def test_virtual_counters_by_hand() -> None:
    """Of weights 1 and 2: the second may have twice as many tokens; who comes back after a pause is
    lifted to who waits, and owes and is owed nothing."""
    line = Fair([0, 0, 0, 1, 1, 1], [1.0, 2.0])
    for request in (0, 1, 2, 3, 4):
        line.push(request)
    served = []
    for tokens in (100, 100, 90, 20):
        served.append(line.head())
        line.pop()
        line.read(served[-1], tokens)
    assert served == [0, 3, 4, 1]  # 100 against 50, then 95, and 120
    line.started(1)
    line.emitted(10)
    assert line.served(0) == 100 + 20 + 2 * 10
    assert line.served(1) == 95.0
    line.push(5)
    assert line.head() == 2  # of equal ones the first tenant
    assert line.served(1) == 140.0
    assert line.steady_steps() == 1  # and the other after a step


def test_who_comes_while_nobody_waits_is_level_with_who_waited_last() -> None:
    """A day without a queue is no credit: not for somebody new, nor for who was away."""
    line = Fair([0, 1, 2, 1], [1.0, 1.0, 1.0])
    for request, lifted, tokens in ((0, 0.0, 1000), (1, 1000.0, 50), (2, 1050.0, 300)):
        line.push(request)
        assert line.head() == request
        assert line.served(line.tenant[request]) == lifted
        line.pop()
        line.read(request, tokens)
    line.push(3)
    assert line.head() == 3
    assert line.served(1) == 1350.0


@costly
@given(st.integers(0, 2**32))
def test_two_that_wait_are_served_alike(seed: int) -> None:
    """While both tenants always wait, weighted tokens differ by no more than one request's and one
    batch's (Sheng et al., theorem 4.4): a flood does not starve anybody, first come first served
    does."""
    rng = np.random.default_rng(seed)
    size = 120
    tenant = np.r_[np.zeros(80), np.ones(40)].astype(int)
    prompts, outputs = rng.integers(1, 60, size), rng.integers(1, 30, size)
    asked = Requests(np.zeros(size), prompts, outputs, tenant=tenant)
    engine = Engine(1.0, prefill_token_s=0.01, max_sequences=4, token_budget=64)
    got = simulate_fleet(asked, Fleet([engine], weights=[1.0, 1.0]))
    until = min(got.admitted_s[tenant == who].max() for who in (0, 1))
    done = got.completion_s <= until
    tokens = prompts + 2 * (outputs - 1)
    apart = abs(int(tokens[done & (tenant == 0)].sum()) - int(tokens[done & (tenant == 1)].sum()))
    assert apart <= 2 * (4 + 1) * int(tokens.max())
    flood = simulate_fleet(asked, Fleet([engine]))
    assert flood.completion_s[tenant == 1].min() > flood.admitted_s[tenant == 0].max()
    assert got.completion_s[tenant == 1].mean() < flood.completion_s[tenant == 1].mean()


def test_priorities_first_and_last() -> None:
    """One place: the urgent one that came last is served second."""
    asked = Requests([0.0] * 3, [4] * 3, [2] * 3, priority=[1, 1, 0])
    engine = Engine(1.0, max_sequences=1)
    got = simulate_fleet(asked, Fleet([engine], schedule=by_priority, preempt=by_priority))
    assert got.completion_s.tolist() == [4.0, 6.0, 2.0]
    with pytest.raises(ValueError, match="what a rank returns must be a number for 0, got nan"):
        simulate_fleet(asked, Fleet([engine], schedule=lambda *_: float("nan")))
