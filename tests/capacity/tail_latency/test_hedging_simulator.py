"""The hedging simulator against a naive third one, exact limits, properties, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity.tail_latency.hedging_simulator import (
    BUDGET_BURST,
    Workload,
    hedged_responses,
    poisson_workload,
    quantile_estimate,
    responses_by_event,
    tied_responses,
)
from serving_mathematics.core.queues.queue_simulator import fifo_waits
from serving_mathematics.support.intervals import STUDENT_T_975


def test_quantile_of_four_runs() -> None:
    assert pytest.approx(stats.t.ppf(0.975, 3), abs=1e-9) == STUDENT_T_975[3]


def workload(
    seed: int, rho: float, fleet: int = 3, requests: int = 200, fleets: int = 2
) -> Workload:
    return poisson_workload(np.random.default_rng(seed), rho, fleet, requests, fleets)


def naive_hedges(work: Workload, delay: float, budget: float = math.inf) -> tuple[list[float], int]:
    """First fleet, losers run on: events in a sorted list, one free time per server."""
    free = [0.0] * work.fleet
    events = [(t, 1, i) for i, t in enumerate(work.arrivals[0].tolist())]
    answers = [math.inf] * len(events)
    tokens, hedged = 0.0, 0
    while events:
        events.sort()
        now, order, i = events.pop(0)
        copy = 0 if order else 1
        if copy and budget < math.inf:
            if tokens < 1:
                continue
            tokens -= 1
        hedged += copy
        place = int(work.servers[copy, 0, i])
        free[place] = max(now, free[place]) + float(work.services[copy, 0, i])
        answer = free[place] - float(work.arrivals[0, i])
        answers[i] = min(answers[i], answer)
        if not copy:
            tokens = min(tokens + min(budget, 1.0), BUDGET_BURST)
            if answer > delay:
                events.append((now + delay, 0, i))
    return answers, hedged


def one_fleet(work: Workload, i: int) -> Workload:
    """The i-th fleet alone."""
    row = slice(i, i + 1)
    return Workload(work.arrivals[row], work.services[:, row], work.servers[:, row], work.fleet)


@given(st.integers(0, 10_000), st.floats(0.1, 1.3), st.floats(0, 6), st.floats(0, 6))
def test_lanes_equal_a_naive_loop(seed: int, rho: float, delay: float, other: float) -> None:
    # The fleets finish after different numbers of events, and none may disturb another.
    work = workload(seed, rho, requests=60, fleets=3)
    delays = [delay, math.inf, other]
    responses, share = hedged_responses(work, delays)
    for i, d in enumerate(delays):
        expected, hedged = naive_hedges(one_fleet(work, i), d)
        assert responses[i] == pytest.approx(expected, abs=1e-9)
        assert share[i] == hedged / 60


@given(st.integers(0, 10_000), st.floats(0.02, 1.5))
def test_budget_equals_a_naive_loop(seed: int, budget: float) -> None:
    work = workload(seed, 1.1, requests=80, fleets=2)
    responses, share = hedged_responses(work, 0.5, budget=budget)
    for i in range(2):
        expected, hedged = naive_hedges(one_fleet(work, i), 0.5, budget)
        assert responses[i] == pytest.approx(expected, abs=1e-9)
        assert share[i] == hedged / 80
    assert share.max() <= min(budget, 1.0) + 1e-12


def test_fleets_side_by_side_keep_their_own_delay_budget_and_work() -> None:
    rng, settings = np.random.default_rng(5), [(6.0, math.inf), (1.0, 0.1), (math.inf, 0.3)]
    apart = [poisson_workload(rng, load, 4, 300, 2) for load in (0.95, 0.8, 0.6)]
    work = rng.exponential(2.0, (3, 2, 4))
    together, shares = hedged_responses(
        apart[0].beside(*apart[1:]),
        np.repeat([delay for delay, _ in settings], 2),
        budget=np.repeat([budget for _, budget in settings], 2),
        initial_work=work.reshape(6, 4),
    )
    for i, (one, (delay, budget)) in enumerate(zip(apart, settings, strict=True)):
        alone, share = hedged_responses(one, delay, budget=budget, initial_work=work[i])
        assert together[2 * i : 2 * i + 2].tolist() == alone.tolist()
        assert shares[2 * i : 2 * i + 2].tolist() == share.tolist()
    with pytest.raises(ValueError, match="budget must be positive"):
        hedged_responses(apart[0], 1.0, budget=[0.1, 0.0])


def test_a_second_copy_goes_before_a_request_of_the_same_time() -> None:
    workload = Workload(
        arrivals=np.array([[0.0, 0.0]]),
        services=np.array([[[4.0, 2.0]], [[1.0, 3.0]]]),
        servers=np.array([[[0, 1]], [[1, 0]]]),
        fleet=2,
    )
    assert hedged_responses(workload, 0.0)[0].tolist() == [[1.0, 3.0]]
    assert responses_by_event(workload, 0.0, "never")[0].tolist() == [1.0, 3.0]


def test_an_unused_budget_is_saved_up_to_the_burst() -> None:
    # 1000 spaced requests earn more than the burst; then 100 at once want a second copy each.
    quiet = np.arange(1000) * 10.0
    arrivals = np.concatenate([quiet, np.full(100, 2e4)])[None, :]
    first = np.zeros((1, 1100), dtype=np.int64)
    service = np.ones((2, 1, 1100))
    work = Workload(arrivals, service, np.stack([first, first + 1]), 2)
    _, share = hedged_responses(work, 1.5, budget=0.02)
    earned_late = 2  # by the burst's own 100 arrivals, of which the cap swallows what is over it
    assert BUDGET_BURST <= share[0] * 1100 <= BUDGET_BURST + earned_late
    assert share[0] * 1100 == pytest.approx(BUDGET_BURST)


def test_tied_fleets_do_not_see_each_other() -> None:
    both = workload(3, 0.7, fleets=2)
    assert np.array_equal(tied_responses(both)[1], tied_responses(one_fleet(both, 1))[0])


def test_delays_may_differ_between_fleets() -> None:
    work = workload(4, 0.6, fleets=2)
    mixed, shares = hedged_responses(work, np.array([0.5, math.inf]))
    assert np.array_equal(mixed[0], hedged_responses(work, 0.5)[0][0])
    assert np.array_equal(mixed[1], hedged_responses(work, math.inf)[0][1])
    assert shares[0] > shares[1] == 0.0


def test_initial_work_delays_the_first_requests() -> None:
    work = workload(5, 0.3, fleets=1)
    late, _ = hedged_responses(work, math.inf, initial_work=7.0)
    expected = 7.0 - work.arrivals[0, 0] + work.services[0, 0, 0]
    assert late[0, 0] == pytest.approx(expected)
    per_server, _ = hedged_responses(work, math.inf, initial_work=np.full((1, 3), 7.0))
    assert np.array_equal(late, per_server)


def test_initial_work_belongs_to_its_fleet() -> None:
    work = workload(5, 0.3, fleets=3)
    busy = np.array([[0.0, 0.0, 0.0], [9.0, 8.0, 7.0], [0.0, 5.0, 0.0]])
    together, _ = hedged_responses(work, 2.0, initial_work=busy)
    for i in range(3):
        alone, _ = hedged_responses(one_fleet(work, i), 2.0, initial_work=busy[i : i + 1])
        assert np.array_equal(together[i], alone[0])


@given(st.integers(0, 10_000), st.sampled_from(["never", "completion", "start"]))
def test_no_rule_answers_before_the_shorter_service(seed: int, cancel: str) -> None:
    work = workload(seed, 0.8, requests=60, fleets=1)
    responses, mean_work = responses_by_event(work, 0.7, cancel)  # type: ignore[arg-type]
    assert np.all(responses >= work.services[:, 0].min(axis=0) - 1e-9)
    assert np.all(responses < math.inf)
    assert mean_work > 0


def test_work_is_accounted_by_rule() -> None:
    work = workload(6, 0.5, fleet=4, requests=3000, fleets=1)
    even = replace(work, services=np.ones_like(work.services))
    _, share = hedged_responses(even, 1.2)
    assert responses_by_event(even, 1.2, "never")[1] == pytest.approx(1 + share[0])
    assert responses_by_event(even, 1.2, "start")[1] == pytest.approx(1.0)
    between = responses_by_event(even, 1.2, "completion")[1]
    assert 1.0 <= between < 1 + share[0]
    assert responses_by_event(even, math.inf, "completion")[1] == pytest.approx(1.0)


def test_without_hedging_all_rules_are_separate_fifo_queues() -> None:
    work = workload(7, 0.8, requests=500, fleets=1)
    expected = np.empty(500)
    for server in range(3):
        mine = work.servers[0, 0] == server
        service = work.services[0, 0, mine]
        expected[mine] = fifo_waits(work.arrivals[0, mine], service) + service
    for cancel in ("never", "completion", "start"):
        got, _ = responses_by_event(work, math.inf, cancel)
        assert got == pytest.approx(expected, abs=1e-9)
    assert hedged_responses(work, math.inf)[0][0] == pytest.approx(expected, abs=1e-9)


def test_two_servers_with_removal_on_completion_are_one_of_double_speed() -> None:
    work = workload(8, 0.7, fleet=2, requests=400, fleets=1)
    responses, _ = responses_by_event(work, 0.0, "completion")
    # Both copies start together at both servers, so the request takes the shorter service.
    shorter = work.services[:, 0].min(axis=0)
    assert responses == pytest.approx(fifo_waits(work.arrivals[0], shorter) + shorter, abs=1e-9)


def test_tied_requests_start_at_the_freer_server() -> None:
    # Server 0 is busy until 5; both copies of the next request go to 0 and 1 in either order.
    for first, second in ((0, 1), (1, 0)):
        work = Workload(
            arrivals=np.array([[0.0, 1.0]]),
            services=np.array([[[5.0, 1.0]], [[5.0, 1.0]]]),
            servers=np.array([[[0, first]], [[2, second]]]),
            fleet=3,
        )
        assert tied_responses(work).tolist() == [[5.0, 1.0]]


def test_poisson_workload_has_the_stated_law() -> None:
    work = workload(9, 0.7, fleet=5, requests=20_000, fleets=2)
    gaps = np.diff(work.arrivals, axis=1, prepend=0.0)
    assert gaps.mean() == pytest.approx(1 / 3.5, rel=0.02)
    assert gaps.std() == pytest.approx(1 / 3.5, rel=0.02)
    assert work.services.mean() == pytest.approx(1.0, rel=0.02)
    assert np.all(work.servers[0] != work.servers[1])
    pairs = 5 * work.servers[0].ravel() + work.servers[1].ravel()
    counts = np.bincount(pairs, minlength=25).reshape(5, 5)
    assert np.all(np.diag(counts) == 0)
    off_diagonal = counts[~np.eye(5, dtype=bool)]
    assert np.all(np.abs(off_diagonal - 2000) < 5 * math.sqrt(2000))


def test_quantile_estimate() -> None:
    responses = np.random.default_rng(10).exponential(1.0, (200, 400))
    estimate = quantile_estimate(responses, 0.9)
    assert abs(estimate.mean - math.log(10)) < 4 * estimate.standard_error
    assert estimate.standard_error == pytest.approx(3 / math.sqrt(200 * 400), rel=0.2)
    assert estimate.half_width == pytest.approx(1.96 * estimate.standard_error)
    pooled = quantile_estimate(np.array([[0.0, 0.0, 0.0, 9.0], [1.0, 1.0, 1.0, 1.0]]), 0.5)
    assert pooled.mean == 1.0
    assert quantile_estimate(np.array([[1.0], [2.0]]), 0.5).mean == 1.5


WORK = poisson_workload(np.random.default_rng(0), 0.5, 2, 5, 2)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: responses_by_event(WORK, 1.0, "late"), "cancel must be one of"),  # type: ignore[arg-type]
    ],
)
def test_refusals(call: Callable[[], object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()
