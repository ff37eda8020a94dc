"""The simulator of fleets against programs that skip nothing, and what no fleet may lose."""

from __future__ import annotations

import dataclasses
import math
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    Engine,
    Workload,
    chat_workload,
    simulate_steps,
)
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.fleet import simulator
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.outcomes import Outcome
from serving_mathematics.core.fleet.policies import (
    back_off,
    few_sessions,
    shortest_answer,
    shortest_prompt,
    token_budgets,
)
from serving_mathematics.core.fleet.requests import Requests, closed_loop
from serving_mathematics.core.fleet.routers import least_requests, power_of_two
from serving_mathematics.core.fleet.scaling import Scaling
from serving_mathematics.core.fleet.scaling_rules import fixed
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.fleet.view import View

from ...profiles import THOROUGH, TODAY, costly
from .cases import random_case
from .plain import simulate_plainly

PLAIN = 2000  # small fleets that the plain program is tried on in a thorough run
SAMPLE = 120  # on any other day, another every day
TELLING = (5, 38, 46, 145, 862, 1512)  # in which faults showed that most cases do not see


def compared(number: int) -> dict[str, float]:
    """Largest difference of everything that both programs tell."""
    case = random_case(np.random.default_rng([32, number]))
    got = simulate_fleet(case.requests, case.fleet)
    plain = simulate_plainly(case.requests, case.fleet, case.kind, case.weights)
    pairs = {
        "due": (plain.due, got.due_s),
        "sent": (plain.sent, got.sent_s),
        "admitted": (plain.admitted, got.admitted_s),
        "first token": (plain.first, got.first_token_s),
        "completion": (plain.completion, got.completion_s),
        "engine": (plain.engine, got.engine),
        "refused": (plain.refused, got.refused),
        "preemptions": (plain.preemptions, got.preemptions),
        "found": (plain.found, got.found_tokens),
        "loaded": (plain.loaded, got.tier_tokens.sum(axis=0)),
    }
    failed = {place for _, place in case.fleet.failures}  # of whose last steps nothing is counted
    whole = [place for place in range(len(case.fleet.engines)) if place not in failed]
    if whole:
        pairs |= {
            "work": (plain.work[whole], got.work[whole]),
            "busy": (plain.busy_s[whole], got.busy_s[whole]),
            "evicted": (plain.evicted[whole], got.evicted_blocks[whole]),
        }
    return {
        name: float(np.abs(np.nan_to_num(one, nan=-5.0) - np.nan_to_num(other, nan=-5.0)).max())
        for name, (one, other) in pairs.items()
    }


def test_equal_to_a_plain_program() -> None:
    """To 1e-9, whatever is scarce: places, blocks, budget, queues, the client, a router's news."""
    start = SAMPLE * TODAY % PLAIN
    sample = [*TELLING, *(number % PLAIN for number in range(start, start + SAMPLE))]
    for number in range(PLAIN) if THOROUGH else sample:
        differs = {name: by for name, by in compared(number).items() if by > 1e-9}
        assert not differs, f"case {number}: {differs}"


def test_the_plain_cases_meet_everything() -> None:
    """What the comparison is about happens in it: preemption, hits, eviction, refusal, losses."""
    seen = np.zeros(7)
    for number in range(60):
        case = random_case(np.random.default_rng([32, number]))
        got = simulate_fleet(case.requests, case.fleet)
        lost = np.isnan(got.completion_s)
        seen += [
            got.preemptions.sum(), got.found_tokens.sum(), got.evicted_blocks.sum(),
            got.refused.sum(), lost.sum(), (np.isfinite(case.requests.patience_s) & lost).sum(),
            len(case.fleet.stalls),
        ]  # fmt: skip
    assert (seen > [10, 500, 500, 50, 20, 50, 20]).all(), seen


def asked_of(workload: Workload) -> Requests:
    return Requests(
        workload.arrival_s,
        workload.prompt_tokens,
        workload.output_tokens,
        cached_tokens=workload.cached_tokens,
    )


def same_times(got: Outcome, expected: Any) -> None:
    for name in ("admitted_s", "first_token_s", "completion_s"):
        assert np.array_equal(getattr(got, name), getattr(expected, name)), name
    assert np.array_equal(got.preemptions, expected.preemptions)
    totals = expected.steps, expected.prefill_tokens, expected.decode_tokens
    assert got.work[0].tolist() == [*totals, expected.context_tokens]
    assert got.busy_s[0] == pytest.approx(expected.busy_s, abs=1e-9)


@given(st.integers(0, 2**32), st.integers(0, 2))
def test_one_engine_is_the_engine(seed: int, watermark: int) -> None:
    """To the bit, with memory, budget or places scarce, and prefixes that are known beforehand."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 40))
    prompts, outputs = rng.integers(1, 60, size), rng.integers(1, 40, size)
    workload = Workload(
        np.sort(rng.integers(0, 40, size) * rng.choice([0.5, 0.013])),
        prompts, outputs, np.minimum(rng.integers(0, 60, size), prompts - 1),
    )  # fmt: skip
    places = int(rng.integers(1, 9))
    engine = Engine(
        step_s=float(rng.choice([0.5, 0.01])),
        prefill_token_s=float(rng.choice([0, 0.5])),
        context_token_s=float(rng.choice([0, 0.001])),
        kv_blocks=int((prompts + outputs).max()) // 2 + int(rng.choice([1, 9, 500])),
        block_tokens=2,
        token_budget=places + int(rng.choice([0, 7, 50])),
        max_sequences=places,
    )
    got = simulate_fleet(asked_of(workload), Fleet([engine], watermark_blocks=watermark))
    same_times(got, simulate_steps(workload, engine, watermark))
    same_times(got, simulate(workload, engine, watermark))


def test_a_router_that_looks_at_nothing_leaves_engines_alone() -> None:
    """Each of four is the event-skipping engine on its own requests, to the bit."""
    workload = chat_workload(np.random.default_rng(5), 3.0, 800)

    def by_number(request: int, _view: object) -> int:
        return request % 4

    got = simulate_fleet(asked_of(workload), Fleet([EIGHT_BILLION] * 4, by_number))
    for place in range(4):
        own = slice(place, None, 4)
        alone = simulate(workload.part(own), EIGHT_BILLION)
        assert np.array_equal(got.completion_s[own], alone.completion_s)
        assert got.work[place, 0] == alone.steps


@costly
@given(st.integers(0, 2**32))
def test_nothing_is_lost(seed: int) -> None:
    """Tokens: every answer is written once, every prompt read once but for what was cached, and
    again only after a preemption, or for clients who have left. Time: engines are busy as long as
    their steps cost. Requests: each is answered or was refused to the end."""
    case = random_case(np.random.default_rng(seed))
    got, asked = simulate_fleet(case.requests, case.fleet), case.requests
    done = ~np.isnan(got.completion_s)
    assert (done | (got.refused > 0) | (asked.after >= 0)).all()
    assert (got.engine[done] >= 0).all()
    orphans = asked.after[~done & np.isnan(got.due_s)]
    assert np.isnan(got.completion_s[orphans]).all()
    failed = {place for _, place in case.fleet.failures}
    apart = case.fleet.prompt_engines > 0
    left = bool(np.isfinite(asked.patience_s).any())
    once = done & (got.refused == 0)
    assert (got.first_token_s[once] <= (got.sent_s + asked.patience_s)[once]).all()
    for place, engine in enumerate(case.fleet.engines):
        own = done & (got.engine == place)
        steps, read, written, context = (int(x) for x in got.work[place])
        if not (got.preemptions.any() or apart or failed):
            for all_of, answers in (
                (read, asked.prompt_tokens - got.found_tokens),
                (written, asked.output_tokens - 1),
            ):
                assert all_of == answers[own].sum() or (left and all_of > answers[own].sum())
        if engine.table is None and place not in failed and not case.fleet.tiers:
            costs = engine.elapsed_s(steps, read, written, context)
            assert got.busy_s[place] == pytest.approx(costs, rel=1e-9, abs=1e-9)
    for early, late in (("due_s", "sent_s"), ("sent_s", "admitted_s"), ("first_token_s",) * 2):
        assert (getattr(got, early)[done] <= getattr(got, late)[done]).all()
    assert (got.admitted_s[done] < got.first_token_s[done]).all()
    assert (got.first_token_s[done] <= got.completion_s[done]).all()


def run_of_seed(seed: int) -> bytes:
    case = random_case(np.random.default_rng(seed))
    got = simulate_fleet(case.requests, case.fleet, np.random.default_rng(seed))
    return b"".join(getattr(got, one.name).tobytes() for one in dataclasses.fields(got))


def test_equal_on_any_executor() -> None:
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(run_of_seed, range(24))) == [run_of_seed(seed) for seed in range(24)]


def test_a_session_waits_for_its_answers() -> None:
    """Traced by hand: steps of 1 s; 0 ends at 3 s, 1 is due 2.5 s later and joins the step that
    begins at 6.25 s, when the first of 2, of another session, ends."""
    asked = Requests([0.0, 0.0, 5.25], [4, 6, 2], [3, 1, 2], after=[-1, 0, -1], pause_s=2.5)
    got = simulate_fleet(asked, Fleet([Engine(1.0)]))
    assert got.due_s.tolist() == [0.0, 5.5, 5.25]
    assert got.completion_s.tolist() == [3.0, 7.25, 7.25]


def test_a_late_client_leaves_late() -> None:
    """One request at a time: the second leaves when the first is answered, though due at 0."""
    got = simulate_fleet(
        Requests([0.0, 0.0], [4, 4], [2, 1]), Fleet([Engine(1.0)], most_in_flight=1)
    )
    assert got.due_s.tolist() == [0.0, 0.0]
    assert got.sent_s.tolist() == [0.0, 2.0]
    assert got.completion_s.tolist() == [2.0, 3.0]


def test_a_full_queue_refuses_and_a_retry_comes_back() -> None:
    asked = Requests([0.0, 0.25, 0.5], [4, 4, 4], [2, 1, 1])
    engine = Engine(1.0, max_sequences=1)
    lost = simulate_fleet(asked, Fleet([engine], most_waiting=1))
    assert lost.refused.tolist() == [0, 0, 1]
    assert np.isnan(lost.completion_s).tolist() == [False, False, True]
    back = simulate_fleet(asked, Fleet([engine], most_waiting=1, retry=lambda *_: 1.75))
    assert back.completion_s.tolist() == [2.0, 3.0, 4.0]
    assert back.refused.tolist() == [0, 0, 1]
    tokens = simulate_fleet(asked, Fleet([engine], most_waiting_tokens=7))
    assert tokens.refused.tolist() == [0, 0, 1]


def test_a_limit_on_tokens_counts_who_comes() -> None:
    asked = Requests([0.0, 0.25, 0.5, 0.75], [1, 9, 1, 1], [3, 1, 1, 1])
    fleet = Fleet([Engine(1.0, max_sequences=1)], most_waiting_tokens=4)
    assert simulate_fleet(asked, fleet).refused.tolist() == [0, 1, 0, 0]


def test_a_held_request_goes_when_somebody_ends() -> None:
    def one_each(_request: int, view: Any) -> int:
        place = int(view.least())
        return place if view.requests[place] == 0 else -1

    asked = Requests([0.0, 0.0, 0.0], [4, 4, 4], [2, 3, 1])
    got = simulate_fleet(asked, Fleet([Engine(1.0)] * 2, one_each))
    assert got.engine.tolist() == [0, 1, 0]
    assert got.admitted_s.tolist() == [0.0, 0.0, 2.0]


def test_what_a_policy_says_is_looked_at() -> None:
    asked = Requests([0.0, 0.0], [4, 4], [2, 1])
    for answer in (2, -2, 0.5, None):
        with pytest.raises(ValueError, match=f"what route returns must be an engine .*{answer}"):
            simulate_fleet(asked, Fleet([Engine(1.0)] * 2, lambda *_, a=answer: a))
    with pytest.raises(ValueError, match=r"what route returns must be an engine at last, got −1"):
        simulate_fleet(asked, Fleet([Engine(1.0)], lambda *_: -1))
    with pytest.raises(ValueError, match="what retry returns must be not negative, got -1"):
        simulate_fleet(asked, Fleet([Engine(1.0)], most_waiting=0, retry=lambda *_: -1.0))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"engines": []}, "engines must be one or more, got none"),
        ({"watermark_blocks": -1}, "watermark_blocks must be a non-negative integer"),
        ({"refresh_s": math.nan}, "refresh_s must be non-negative"),
        ({"most_waiting": -1}, "most_waiting must be at least 0"),
        ({"most_waiting_tokens": 0}, "most_waiting_tokens must be positive"),
        ({"most_in_flight": 0}, "most_in_flight must be at least 1"),
        ({"weights": [1.0, 0.0]}, "weights must be positive"),
        ({"weights": []}, "weights must be one for each tenant"),
        ({"weights": [1.0], "schedule": lambda *_: 0.0}, "weights must be None where there is"),
        ({"stalls": [(2.0, 1.0, 0)]}, "stalls_end must be from 2 on, and finite, got 1"),
        ({"stalls": [(2.0, math.inf, 0)]}, "stalls_end must be from 2 on, and finite, got inf"),
        ({"failures": [(2.0, 1)]}, "failures_engine must be one of 1 engines, from 0, got 1"),
        ({"stalls": [(2.0, 3.0, 1)]}, "stalls_engine must be one of 1 engines, from 0, got 1"),
        (
            {"cancels": False, "scaling": Scaling(lambda: fixed(1), Engine(1.0))},
            "cancels must be True where an autoscaler counts requests",
        ),
        ({"hears_s": -1.0}, "hears_s must be non-negative"),
        (
            {"hears_s": 1.0, "failures": [(1.0, 0)]},
            "hears_s must be 0 where engines come, go or are apart, got 1",
        ),
    ],
)
def test_a_fleet_that_is_none(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Fleet(**({"engines": [Engine(1.0)]} | change))


def test_a_patience_that_is_none() -> None:
    for patience in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=r"patience_s\[1\] must be positive"):
            Requests([0.0, 1.0], [9, 9], [1, 1], patience_s=[1.0, patience])


def test_requests_that_do_not_fit_a_fleet() -> None:
    asked = Requests([0.0, 0.0], [4, 40], [2, 1], tenant=[0, 1])
    with pytest.raises(
        ValueError, match=r"engines\[1\].kv_blocks must be enough for request 1, of"
    ):
        simulate_fleet(asked, Fleet([Engine(1.0), Engine(1.0, kv_blocks=2)]))
    with pytest.raises(ValueError, match="tenant must be below 1, of which there are weights"):
        simulate_fleet(asked, Fleet([Engine(1.0)], weights=[1.0]))
    with pytest.raises(
        ValueError, match=r"requests.prefixes must be given, for a fleet that caches"
    ):
        simulate_fleet(asked, Fleet([Engine(1.0)], caching=True))


def test_closed_clients_keep_so_many_inside() -> None:
    """Three clients on engines with room for all: each sends when it is answered, so that three
    requests are inside until one of them has no more, and times add up to the bit."""
    rng = np.random.default_rng(10)
    prompts, outputs = rng.integers(1, 50, 60), rng.integers(1, 30, 60)
    got = simulate_fleet(closed_loop(prompts, outputs, 3), Fleet([Engine(1.0)] * 2))
    last = got.completion_s[-3:].min()
    inside = np.minimum(got.completion_s, last) - np.minimum(got.due_s, last)
    assert inside.sum() == 3 * last
    thinking = simulate_fleet(closed_loop(prompts, outputs, 3, 5.0), Fleet([Engine(1.0)]))
    assert np.array_equal(thinking.due_s[3:], thinking.completion_s[:-3] + 5.0)


def test_a_fleet_goes_to_other_processes() -> None:
    """What a sweep sends away comes back the same, and serves the same."""
    case = random_case(np.random.default_rng(5))
    budgets = partial(token_budgets, tokens_per_s=[9.0] * 3, burst_tokens=[99.0] * 3)
    fleet = Fleet(case.fleet.engines, power_of_two, budgets, most_waiting=3, retry=back_off)
    there = pickle.loads(pickle.dumps((case.requests, fleet)))
    one = simulate_fleet(case.requests, fleet)
    other = simulate_fleet(*there)
    assert np.array_equal(one.completion_s, other.completion_s, equal_nan=True)


def test_back_off_by_hand() -> None:
    """Half a second, then one, then eight at most; without chance to the bit, with it shorter by a
    quarter at most."""
    view: Any = SimpleNamespace(chance=lambda: 1.0)
    steady = [back_off(0, n, view, max_retries=9, jitter=0.0) for n in (1, 2, 3, 6, 9, 10)]
    assert steady == [0.5, 1.0, 2.0, 8.0, 8.0, math.inf]
    assert back_off(0, 2, view) == 0.75


def test_no_more_sessions_are_open_than_may_be() -> None:
    """Of what was let in, counted at each moment; a later request of a session is never refused,
    and who comes back gets in when another has been idle."""
    rng, first = np.random.default_rng(8), np.arange(60) % 3 == 0
    asked = Requests(
        np.where(first, np.sort(rng.uniform(0, 300, 60)), 0.0),
        [50] * 60,
        [5] * 60,
        after=np.where(first, -1, np.arange(60) - 1),
        pause_s=np.tile([0.0, 8.0, 25.0], 20),  # the last is longer than a session stays open
    )
    gate = partial(few_sessions, most=3, idle_s=20.0)
    got = simulate_fleet(asked, Fleet([Engine(0.1)], admit=gate, retry=lambda *_: 5.0))
    assert np.isfinite(got.completion_s).all()
    assert got.refused[first].max() > 1
    assert not got.refused[~first].any()
    for moment in got.admitted_s[first]:
        last = [
            (seen := got.admitted_s[k : k + 3])[seen <= moment + 1e-9].max(initial=-np.inf)
            for k in range(0, 60, 3)
        ]
        assert sum(moment - one < 19.0 for one in last) <= 3
    waited = got.refused[first] > 0  # nobody for longer than it takes until one is idle
    assert (got.admitted_s - got.due_s)[first][waited].max() < 200


def test_a_budget_holds_a_rate() -> None:
    """A tenant that floods gets its rate and its burst, the other is not held up at all."""
    size = 200
    asked = Requests(np.arange(size) * 0.01, [60] * size, [40] * size, tenant=np.arange(size) % 2)
    budgets = partial(token_budgets, tokens_per_s=[1000.0, 1e6], burst_tokens=[500.0, 1e6])
    engine = Engine(1e-4)
    got = simulate_fleet(asked, Fleet([engine], admit=budgets))
    flood = np.sort(got.admitted_s[::2])
    for k in (20, 50, 99):
        assert 100 * (k + 1) <= 500 + 1000 * flood[k] + 1e-6
    assert flood[-1] == pytest.approx((100 * 100 - 500) / 1000, abs=0.02)
    assert (got.admitted_s[1::2] - got.due_s[1::2]).max() < 1e-3
    shut = simulate_fleet(asked, Fleet([engine], admit=lambda i, _view: math.inf if i % 2 else 0.0))
    assert np.isnan(shut.completion_s[1::2]).all()
    assert (shut.refused[1::2] == 1).all()
    with pytest.raises(ValueError, match="what admit returns must be not negative, got -1"):
        simulate_fleet(asked, Fleet([engine], admit=lambda *_: -1.0))


@pytest.mark.parametrize(
    ("cancels", "retries", "hears_s", "first_of_2", "work"),
    [
        # 1 is read from 2 s on, leaves at 3.5 s, and is let go at 4 s, so that 2 is read
        (True, 0, 0.0, 5.0, [5, 4 + 4 + 2, 0, 0]),
        # it comes back at 4.25 s, is read from 5 s to 8 s, and from then to 12 s
        (True, 2, 0.0, 5.0, [12, 4 + 4 + 2 + 6 + 8, 0, 0]),
        # the engine hears of it at 5.25 s, and lets it go at 6 s
        (True, 0, 1.75, 7.0, [7, 4 + 8 + 2, 0, 0]),
        # it is read and written to the end, at 8 s
        (False, 0, 0.0, 8.0, [8, 4 + 9 + 2, 1, 10]),
    ],
)
def test_who_leaves_before_the_first_token(
    cancels: bool, retries: int, hears_s: float, first_of_2: float, work: list[int]
) -> None:
    """Traced by hand in steps of a second, each of two tokens."""
    patience = [math.inf, 3.0, math.inf]
    asked = Requests([0.0, 0.5, 1.0], [4, 9, 2], [1, 2, 1], patience_s=patience)
    engine = Engine(1.0, token_budget=2, max_sequences=2)
    fleet = Fleet(
        [engine],
        cancels=cancels,
        hears_s=hears_s,
        retry=lambda _request, attempt, _view: 0.75 if attempt <= retries else math.inf,
    )
    got = simulate_fleet(asked, fleet)
    assert np.array_equal(got.first_token_s, [2.0, math.nan, first_of_2], equal_nan=True)
    assert np.array_equal(got.completion_s, [2.0, math.nan, first_of_2], equal_nan=True)
    assert got.refused.tolist() == [0, retries + 1, 0]
    assert got.work[0].tolist() == work


def test_who_waits_and_leaves_frees_the_line() -> None:
    """One place and one that may wait: the third finds room because the second has left."""
    asked = Requests([0.0, 0.5, 2.5], [4, 4, 4], [5, 1, 1], patience_s=1.0)
    engine = Engine(1.0, max_sequences=1)
    got = simulate_fleet(asked, Fleet([engine], most_waiting=1))
    assert got.refused.tolist() == [0, 1, 1]  # the third waited, and left at 3.5 s
    long = simulate_fleet(asked, Fleet([engine], most_waiting=1, cancels=False))
    assert long.work[0].tolist() == [6, 8, 4, 5 + 6 + 7 + 8]  # the second, and nobody asked for it


def test_an_engine_that_stands_still_begins_no_step() -> None:
    """The step under way at 0.5 s ends at 1 s, and the next begins at 3 s; nothing is lost."""
    asked = Requests([0.0, 1.2], [4, 4], [3, 1])
    got = simulate_fleet(asked, Fleet([Engine(1.0)], stalls=[(0.5, 3.0, 0)]))
    assert got.first_token_s.tolist() == [1.0, 4.0]
    assert got.completion_s.tolist() == [5.0, 4.0]
    assert got.busy_s.tolist() == [3.0]
    under_way = simulate_fleet(Requests([0.0], [4], [5]), Fleet([Engine(1.0)], stalls=[(2, 4, 0)]))
    assert under_way.completion_s.tolist() == [6.0]  # the step that begins at 2 s ends at 3 s


def test_orders_by_hand() -> None:
    """One place, three requests at once: by prompt and by answer the shortest comes first."""
    asked = Requests([0.0] * 3, [9, 5, 7], [2, 4, 3])
    engine = Engine(1.0, max_sequences=1)
    for schedule, completion in (
        (shortest_prompt, [9.0, 4.0, 7.0]),
        (shortest_answer, [2.0, 9.0, 5.0]),
    ):
        got = simulate_fleet(asked, Fleet([engine], schedule=schedule))
        assert got.completion_s.tolist() == completion


@costly
@given(st.integers(0, 2**32))
def test_blocks_come_back(seed: int) -> None:
    """When all is done nobody runs, waits or holds a block, and caches keep no more than there is
    room for; while it goes on, neither. Where no engine hears that clients leave, it answers them
    all."""
    case = random_case(np.random.default_rng(seed))
    run = simulator._FleetRun(case.requests, case.fleet, np.random.default_rng(0))
    failed = {place for _, place in case.fleet.failures}
    looked = 0

    def watching(request: int, view: Any) -> int:
        nonlocal looked
        for place, cache in enumerate(view.caches):
            if cache is not None and place not in failed:
                looked += 1
                assert 0 <= cache.pinned <= case.fleet.engines[place].kv_blocks
                assert cache.pinned <= cache.resident
                assert cache.resident == sum(
                    kept - cache.begins[chain] for chain, kept in cache.kept.items()
                )
        return case.fleet.route(request, view)

    run.pick = watching
    run.go()
    assert run.in_flight == 0
    for one in (run, run.ledger):
        assert len(vars(one)) < 30  # from where on Python calls methods half as fast
    ledger, fleet = run.ledger, case.fleet
    if not (fleet.cancels or fleet.prompt_engines or failed or sum(ledger.preemptions)):
        served = np.array(ledger.completion_s) >= 0
        assert np.array_equal(served, np.array(ledger.at) >= 0)
        read = (np.array(ledger.prompt) - np.array(ledger.found))[served].sum()
        run.replicas.paid_s(run.now)  # which closes them
        assert sum(work[1] for work in ledger.work) == read
    for place, engine in enumerate(case.fleet.engines):
        assert run.ledger.running[place] == run.ledger.waiting[place] == 0
        cache = run.view.caches[place]
        if cache is not None and place not in failed:
            assert cache.pinned == 0
            assert not cache.holders
            assert cache.resident <= engine.kv_blocks
    assert looked or failed or not case.fleet.caching


def test_engines_that_are_never_idle_keep_nothing_of_who_is_done() -> None:
    """Beyond the columns, which are there from the beginning."""
    size, engine = 1500, Engine(0.01, decode_token_s=1e-4, max_sequences=16)
    kept: list[int] = []

    def route(request: int, view: View) -> int:
        if request in (size // 4, size - 1):
            kept.append(tracemalloc.get_traced_memory()[0])
        return least_requests(request, view)

    asked = Requests(0.02 * np.arange(size), [20] * size, [9] * size)
    tracemalloc.start()
    try:
        seen = simulate_fleet(asked, Fleet([engine] * 2, route))
    finally:
        tracemalloc.stop()
    assert seen.busy_s.sum() > 0.9 * 0.02 * size
    assert kept[1] - kept[0] < 8 * size
