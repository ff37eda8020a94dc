"""Fleets: brute force, traces, searches from anywhere, longer runs, classes, and every refusal."""

from __future__ import annotations

import copy
import math
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import Workload, latencies_s
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.hardware.deployments import WORKED as LLAMA
from serving_mathematics.core.hardware.roofline import cost_per_million
from serving_mathematics.core.machines.traffic import draw_minutes
from serving_mathematics.planner.capacity_planner import fleet_search
from serving_mathematics.planner.capacity_planner.capacity_planner import plan
from serving_mathematics.planner.capacity_planner.closed_form import closed_form_alone
from serving_mathematics.planner.capacity_planner.fleet_search import (
    BUDGETS,
    EDGE,
    Fleets,
    Performance,
    _four_times,
    _longer,
    _smallest,
    settled,
)
from serving_mathematics.planner.capacity_planner.judged_requests import (
    QUANTILES,
    ClassRun,
    reaches,
    sectioned_quantiles,
    worst_shares,
)
from serving_mathematics.planner.capacity_planner.refusals import Infeasible
from serving_mathematics.planner.configurations import answer
from serving_mathematics.planner.questions.objectives import promised
from serving_mathematics.planner.questions.question import Question
from serving_mathematics.planner.questions.questions import read_choices, read_question
from serving_mathematics.planner.questions.traffic import (
    Traffic,
    TrafficClass,
    drawn_classes,
    mixed_traffic,
    share_of_traffic,
    shares_of_trace,
)

from ...profiles import its_turn

SLOW = replace(LLAMA.system, bf16_flops_per_s=2e14, bandwidth_bytes_per_s=1.5e12)
ONE = replace(LLAMA, system=SLOW)  # steps of 11 ms
BASE = Question(
    ONE, Traffic(60.0, 1.0, 200.0, 60.0), promised(0.5, 0.03, 0.9), requests=400, token_budget=512
)


def standin(requests: int = 1500) -> Workload:
    """A trace with the statistics of a real one."""
    rng = np.random.default_rng(5)
    whole, _ = draw_minutes(rng, 5.53014, 19_245, "conversations")  # an hour
    times = whole[:requests]
    return Workload(times, rng.geometric(1 / 800, times.size), rng.geometric(1 / 200, times.size))


def test_other_limits_are_planned_with_what_was_simulated() -> None:
    """A fleet with other limits is the one that is made anew, and runs nothing twice."""
    asked = Question(LLAMA, Traffic(60.0), promised(1.0, 0.05), requests=400)
    fleet = Fleets(asked)
    run = fleet.performance(4, 256, 2048)
    limited = fleet.limited(2048, 256)
    anew = Fleets(replace(asked, token_budget=2048, batch_limit=256))
    assert limited.budgets == anew.budgets == (2048,)
    assert limited.best(4) is run
    assert anew.best(4) == run
    assert fleet.limited(None, None).budgets == fleet.budgets
    with pytest.raises(ValueError, match="batch_limit must be from 1 to token_budget = 512, got"):
        fleet.limited(512, 600)


@pytest.mark.parametrize("spare_blocks", [0, 10**6])
def test_limits_that_nobody_met_are_not_simulated_again(
    monkeypatch: pytest.MonkeyPatch, spare_blocks: int
) -> None:
    """Runs that a fleet knows are those that each pair of limits gives by itself, be memory scarce
    or not; and there are fewer of them."""
    calls = []
    monkeypatch.setattr(
        fleet_search, "simulate", lambda *given: calls.append(given) or simulate(*given)
    )
    fleet = Fleets(BASE)
    (longest,) = (fleet.sample.prompt_tokens + fleet.sample.output_tokens - 1).max(keepdims=True)
    memory = -(-int(longest) // 16) + spare_blocks
    fleet.engine = replace(fleet.engine, kv_blocks=memory)
    ample = fleet.with_all_memory()
    for places in (30, 400, 34, 1, 40, 10, 20, 30, 14, 25, 60, 80, 500):
        for one in (fleet, ample):
            again = Fleets(BASE)
            again.engine = one.engine
            known = one.performance(3, places, 512)
            calls_of_one, anew = len(calls), again.performance(3, places, 512)
            del calls[calls_of_one:]
            assert known == anew, (places, one is ample)
            assert known is None or known.places == places
    met = sum(len(set(map(id, runs))) for runs in fleet.runs.values())
    calls = [(asked, engine) for asked, engine in calls if asked.arrival_s.any()]  # not all at once
    assert len(calls) == met < 16
    same = fleet.performance(3, 500, 512) == ample.performance(3, 500, 512)
    assert same == (spare_blocks == 10**6)


def test_the_smallest_number_is_found_from_anywhere() -> None:
    for most in (1, 2, 7, 40):
        for wanted in range(1, most + 2):  # the last is beyond
            for near in (0, 1, 2, 5, 33, 99):
                asked: list[int] = []

                def kept(count: int, wanted: int = wanted, asked: list[int] = asked) -> bool:
                    asked.append(count)
                    return count >= wanted

                assert _smallest(kept, 1, most, near) == wanted
                assert set(asked) <= set(range(1, most + 1))
                assert len(asked) == len(set(asked)) <= 2 * math.log2(most + 1) + 2


def test_the_largest_fleet_that_is_tried_may_be_the_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found where so many replicas are allowed, and none where one fewer are."""
    needed = Fleets(BASE).fewest().replicas
    monkeypatch.setattr(fleet_search, "MOST_REPLICAS", needed)
    assert Fleets(BASE).fewest().replicas == needed
    monkeypatch.setattr(fleet_search, "MOST_REPLICAS", needed - 1)
    with pytest.raises(Infeasible, match=f"no fleet of up to {needed - 1} replicas keeps"):
        Fleets(BASE).fewest()


def test_a_limit_between_the_powers_of_two_is_found() -> None:
    """Where a limit of 16 is too slow and one of 8 keeps requests waiting."""
    tight = replace(BASE, traffic=Traffic(16.0, 1.0, 100.0, 60.0), requests=1000)
    fleet = Fleets(replace(tight, promise=promised(0.5, 0.01554, 0.9)))
    kept = [p for p in range(4, 33) if fleet.keeps(fleet.performance(2, p, 512))]
    assert kept
    assert not {4, 8, 16, 32} & set(kept)
    found = fleet.best(2)
    assert found is not None
    assert fleet.keeps(found), (kept, found.places)


def test_a_plan_is_the_simulation_of_a_share() -> None:
    found = plan(BASE, alternatives=False)
    rng = np.random.default_rng(np.random.SeedSequence(0))
    assert isinstance(BASE.traffic, Traffic)
    fleet = Fleets(replace(BASE, requests=1600))
    share = share_of_traffic(rng, BASE.traffic, found.best.replicas, 1600)
    limits = {"max_sequences": found.best.places, "token_budget": found.best.budget}
    served = simulate(share, replace(fleet.engine, **limits))
    ttft, tpot = latencies_s(share, served)
    ttft = ttft + fleet.made.around_s
    assert found.best.ttft == sectioned_quantiles(ttft[160:], QUANTILES)
    assert found.best.tpot == sectioned_quantiles(tpot[160:], QUANTILES)
    assert found.best.simulated == 1440
    both = np.mean((ttft[160:] <= 0.5) & ~(tpot[160:] > 0.03))
    assert found.best.both.value == pytest.approx(both)


def test_a_trace_is_served_whole() -> None:
    trace = standin()
    asked = replace(BASE, traffic=trace, requests=trace.arrival_s.size)
    fleet = Fleets(asked)
    run = fleet.performance(3, 64, 512)
    assert run is not None
    assert run.simulated == trace.arrival_s.size
    rng = np.random.default_rng(np.random.SeedSequence(0))
    ttft = [
        latencies_s(
            share, simulate(share, replace(fleet.engine, max_sequences=64, token_budget=512))
        )[0]
        + fleet.made.around_s
        for share in shares_of_trace(rng, trace, 3, trace.arrival_s.size)
    ]
    assert run.ttft[2].value == pytest.approx(np.quantile(np.concatenate(ttft), 0.99))
    span = trace.arrival_s[-1] - trace.arrival_s[0]
    assert fleet.rate_per_s == pytest.approx((trace.arrival_s.size - 1) / span)
    tokens = trace.output_tokens.mean() * fleet.rate_per_s
    assert run.usd_per_million == pytest.approx(float(cost_per_million(6.0, tokens)))


@pytest.mark.parametrize(
    ("loads", "sure", "chosen"),
    [
        ((0.95, 0.8, 0.5), (True, True, True), 1),  # the first is too full for its intervals
        ((0.5, 0.8, 0.5), (True, True, True), 0),
        ((0.5, 0.5, 0.5), (False, False, True), 2),
        ((0.95, 0.8, 0.6), (True, False, False), 2),  # none: of those less full what reaches least
        ((0.99, 0.95, 0.95), (True, False, False), 0),
    ],
)
def test_limits_that_decide_are_taken_in_their_order(
    loads: tuple[float, ...], sure: tuple[bool, ...], chosen: int
) -> None:
    """Two largest batch limits, one that may not do beside them, and what the search found."""
    limits = [(1024, 2048), (1024, 8192), (17, 512)]
    reach = (0.9, 1.3, 1.2)
    fleet: Any = SimpleNamespace(
        budgets=(2048, 8192, 512),
        most_places=lambda budget: 512 if budget == 512 else 1024,
        performance=lambda _, *some: some,
        may_keep=lambda some, _: some[1] != 512,
        near=lambda _: limits[2:],
    )
    long: Any = SimpleNamespace(
        keeping=lambda _, *some: SimpleNamespace(place=limits.index(some), replicas=2),
        sure=lambda one: sure[one.place],
        load=lambda _, one: loads[one.place],
        _reach=lambda one: reach[one.place],
    )
    long.decides = lambda one: Fleets.decides(long, one)
    run: Any = SimpleNamespace(replicas=2, places=1024, budget=8192)
    found: Any = fleet_search._first_decided(fleet, long, run)
    assert found.place == chosen


def decided(values: dict[str, object]) -> tuple[Performance, bool]:
    """A fleet of one device each, and whether its intervals decide."""
    best, long = settled(Fleets(read_question({"parallelism": "tp1", "precision": "fp8"} | values)))
    return best, long.decides(best)


def test_a_looser_promise_makes_no_fleet_fuller_or_later() -> None:
    """At a TTFT of 7 s the smallest token budget kept it too in a run, with a queue that grew."""
    fast: dict[str, object] = {"rate_per_s": 120, "requests": 1000}
    found = [decided(fast | {"ttft_s": limit}) for limit in (0.2, 7)]
    assert [(run.replicas, sure) for run, sure in found] == [(5, True)] * 2
    first = [run.nearest.of("ttft") for run, _ in found]
    assert max(run.value for run in first) < 0.25
    small, sure = decided(fast | {"ttft_s": 7, "token_budget": 512})
    assert (small.replicas, sure) == (6, True)
    assert small.nearest.of("ttft").value < 1


def test_no_token_budget_that_is_tried_alone_decides_more() -> None:
    """Of 2,048 tokens the search finds 61 sequences, which just keep the promise."""
    small = {"model": "Qwen3-32B", "device": "H200", "rate_per_s": 8, "cache_precision": "fp8"}
    small |= {"ttft_s": 2, "requests": 1000}
    best, sure = decided(small)
    alone = [decided(small | {"token_budget": budget}) for budget in BUDGETS]
    assert (best.replicas, sure) == (1, True)
    assert [(run.replicas, one) for run, one in alone] == [(1, False), (1, False), (1, True)]


def test_the_answer_rests_on_longer_runs() -> None:
    """Whatever the search found, the fleet keeps the objective in the longer run, and no limit of
    one replica fewer that the search could not exclude does."""
    changed = 0
    for seed in range(4):
        question = replace(BASE, seed=seed, requests=150, promise=promised(0.21, 0.03, 0.9))
        fleet = Fleets(question)
        best, long = settled(fleet)
        assert best.simulated == 540
        assert long.keeps(best)
        near = [long.performance(best.replicas - 1, *p) for p in fleet.near(best.replicas - 1)]
        assert not any(long.keeps(run) for run in near)
        changed += best.replicas != fleet.fewest().replicas
    assert changed > 0


def test_near_limits_are_different_and_may_do() -> None:
    fleet = Fleets(replace(BASE, token_budget=None))
    found = fleet.fewest()
    near = fleet.near(found.replicas)
    runs = [fleet.performance(found.replicas, *limits) for limits in near]
    assert len({(run.ttft, run.tpot) for run in runs if run}) == len(near) > 0
    assert all(fleet.may_keep(run, 2.0) for run in runs)
    assert Fleets(replace(BASE, promise=promised(0.5, 0.0135, 0.9))).near(1) == []


def test_slower_steps_need_no_fewer() -> None:
    counts = [Fleets(BASE, slowness=f).fewest().replicas for f in (0.7, 1.0, 1.4)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
    fast, slow = (Fleets(BASE, slowness=f).performance(9, 64, 512) for f in (1.0, 1.5))
    assert fast is not None
    assert slow is not None
    assert slow.tpot[0].value > 1.5 * fast.tpot[0].value


def test_requests_end_with_the_context() -> None:
    short = replace(ONE, architecture=replace(ONE.architecture, context_tokens=300))
    drawn = Fleets(replace(BASE, deployment=short)).sample
    assert (drawn.prompt_tokens + drawn.output_tokens).max() == 300
    assert drawn.output_tokens.min() >= 1
    with pytest.raises(ValueError, match="the trace must be within the context of 300 tokens"):
        Fleets(replace(BASE, deployment=short, traffic=standin()))


def test_what_the_requests_hold() -> None:
    """Tokens in the cache by counting them at many instants, from when each is written."""
    fleet = Fleets(replace(BASE, traffic=Traffic(10.0, 1.0, 200.0, 60.0)))
    run = fleet.performance(1, 64, 512)
    assert run is not None
    share, engine = fleet.sample, replace(fleet.engine, max_sequences=64, token_budget=512)
    served = simulate(share, engine)
    instants = np.linspace(share.arrival_s[0], served.completion_s.max(), 4001)[:, None]
    inside = (served.admitted_s <= instants) & (instants < served.completion_s)
    later = (instants - served.first_token_s) / (served.completion_s - served.first_token_s + 1e-12)
    held = inside * (share.prompt_tokens + np.clip(later, 0, 1) * share.output_tokens)
    assert run.held_tokens == pytest.approx(held.sum(axis=1).mean(), rel=0.02)


SMALL = replace(ONE, system=replace(SLOW, memory_bytes=16.2e9 / 0.9 + 4.8e9))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"promise": promised(0.001, 1)}, "no fleet keeps a TTFT of 0.001 s at p99: a replica"),
        ({"promise": promised(9, 0.0001, 0.5)}, "no fleet keeps a TPOT of 0.0001 s at p50"),
        ({"deployment": SMALL}, "no fleet holds the longest request"),
        ({"traffic": Traffic(1e9, 1.0, 200.0, 60.0)}, "no fleet of up to 100,000 replicas"),
    ],
)
def test_what_no_fleet_can_do(change: dict[str, Any], words: str) -> None:
    with pytest.raises(Infeasible, match=words):
        plan(replace(BASE, **change))


def test_an_objective_that_a_replica_alone_just_keeps_is_possible() -> None:
    fleet = Fleets(BASE)
    alone = [
        closed_form_alone(fleet.sample, replace(fleet.engine, token_budget=n, max_sequences=1))
        for n in fleet.budgets
    ]
    first = np.min([ttft for ttft, _ in alone], axis=0) + fleet.beside(fleet.sample)
    each = alone[0][1][~np.isnan(alone[0][1])]
    share, later = BASE.promise[0].share, fleet.sample.output_tokens - 1
    whole = first + np.nan_to_num(alone[0][1]) * later
    limits = [float(np.quantile(x, share)) for x in (first, each, whole)]
    least = promised(limits[0], limits[1], share, e2e_s=limits[2])
    assert Fleets(replace(BASE, promise=least)).goals == (least,)
    for place, name in enumerate(("a TTFT", "a TPOT", "an E2E latency")):
        goals = list(least)
        goals[place] = replace(goals[place], limit=math.nextafter(limits[place], 0))
        with pytest.raises(Infeasible, match=f"no fleet keeps {name} of"):
            Fleets(replace(BASE, promise=tuple(goals)))


@pytest.mark.parametrize(("needed", "runs"), [(1, 2), (2, 2), (3, 3), (5, 5)])
def test_the_longer_runs_go_down_to_one_replica_and_up_to_what_is_needed(
    needed: int, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search said two. One fewer is tried where its limits might do, and 1 of these."""
    monkeypatch.setattr(fleet_search, "_first_decided", lambda _short, _long, run: run)
    for limits in ([], [(8, 512), (9, 512)]):
        short: Any = SimpleNamespace(
            question=BASE,
            told=None,
            fewest=lambda _near: SimpleNamespace(replicas=2, places=8, budget=512),
            near=lambda replicas, limits=limits: limits if replicas < 2 else [(9, 512)],
        )
        long: Any = SimpleNamespace(
            keeping=lambda replicas, places, _: (
                SimpleNamespace(replicas=replicas, places=places)
                if replicas >= needed and replicas + places > 9
                else None
            ),
        )
        best, same = settled(short, long)
        assert same is long
        assert best.replicas == (1 if limits and needed == 1 else runs)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"requests": 99}, "requests must be at least 100, got 99"),
        ({"batch_limit": 513}, "batch_limit must be from 1 to token_budget = 512, got 513"),
        ({"memory_share": 2.0}, "memory_share must be in"),
        ({"price_per_hour": -1.0}, "price_per_hour must be positive"),
        (
            {"deployment": replace(ONE, system=replace(SLOW, memory_bytes=2e9))},
            "model weights must be smaller",
        ),
    ],
)
def test_questions_that_are_none(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plan(replace(BASE, **change))


KINDS = TrafficClass("chat", 0.7, 300.0, 60.0), TrafficClass("agents", 0.3, 2000.0, 120.0)
MIXED = replace(
    BASE,
    traffic=mixed_traffic(40.0, KINDS),
    class_promises=(promised(0.5, 0.05, 0.9), promised(4.0, 0.05, 0.9)),
)


def test_classes_are_judged_one_by_one() -> None:
    """Quantiles, joint shares and goodput from the requests of a class alone."""
    fleet = Fleets(MIXED)
    run = fleet.performance(6, 256, 512)
    assert run is not None
    which = drawn_classes(np.random.default_rng([0, 1]), mixed_traffic(40.0, KINDS), 400)
    share = share_of_traffic(np.random.default_rng(0), mixed_traffic(40.0, KINDS), 6, 400, which)
    engine = replace(fleet.engine, max_sequences=256, token_budget=512)
    ttft, tpot = latencies_s(share, simulate(share, engine))
    ttft = ttft + fleet.beside(share)
    counted = np.arange(400) >= 40
    both = 0.0
    for place, (one, goal) in enumerate(zip(run.classes, MIXED.goals, strict=True)):
        mine = (which == place) & counted
        assert isinstance(one, ClassRun)
        assert one.of("ttft").value == pytest.approx(np.quantile(ttft[mine], 0.9))
        assert one.of("tpot").value == pytest.approx(np.nanquantile(tpot[mine], 0.9))
        kept = (ttft[mine] <= goal[0].limit) & ~(tpot[mine] > goal[1].limit)
        assert one.both.value == pytest.approx(kept.mean())
        assert one.goodput_per_s == pytest.approx(40 * kept.sum() / 360)
        both += kept.sum() / 360
    assert run.both.value == pytest.approx(both)
    assert run.nearest.worse == max(one.worse for one in run.classes)
    assert run.nearest.worse == max(worst_shares(run.classes, MIXED.goals).values())
    assert reaches(run.classes, MIXED.goals) is fleet.keeps(run)


def test_intervals_reach_as_far_as_the_worst_of_any_class() -> None:
    """Of limits that decide nothing those are taken whose intervals reach least far."""
    fleet = Fleets(MIXED)
    for replicas, places in ((5, 32), (6, 256)):
        run = fleet.performance(replicas, places, 512)
        assert run is not None
        ends = [
            (got.value + got.half_width) / goal.limit
            for one, promise in zip(run.classes, MIXED.class_promises, strict=True)
            for got, goal in zip(one.got, promise, strict=True)
        ]
        assert len(ends) == 4
        assert fleet._reach(run) == max(ends)


@pytest.mark.parametrize("kind", ["one", "two"])
def test_a_rare_class_has_enough_requests_for_its_intervals(kind: str) -> None:
    """Seventeen of a short run were too few for an interval, and refused as an argument that nobody
    gave."""
    asked = {"rate_per_s": 60, "quantile": 0.5, "parallelism": "tp1", "precision": "fp8"}
    rare = asked | {"classes": "a:0.98:prompt=800; b:0.02:prompt=3000,ttft=3", "fleets": kind}
    assert answer(read_choices(rare)).plan.best.classes[1].both.half_width < 0.2
    rarer = asked | {"classes": "a:0.995; b:0.005", "fleets": kind}
    with pytest.raises(ValueError, match=r"^requests must be at least 9,530 to have 20 of b"):
        answer(read_choices(rarer))


def test_no_fleet_for_one_class_names_it() -> None:
    strict = promised(0.5, 0.05, 0.9), promised(0.001, 0.05, 0.9)
    with pytest.raises(Infeasible, match=r"no fleet keeps a TTFT of 0.001 s at p90 of agents: "):
        Fleets(replace(MIXED, class_promises=strict))


def test_what_is_too_long_is_cut_to_what_a_request_may_be() -> None:
    """One token is left for the answer, and one of the prompt that is not cached."""
    drawn = Workload(np.zeros(3), np.array([10, 3, 4]), np.array([3, 9, 1]), np.array([8, 1, 3]))
    cut = Fleets(BASE).within(drawn, 5)
    assert cut.prompt_tokens.tolist() == [4, 3, 4]
    assert cut.output_tokens.tolist() == [1, 2, 1]
    assert cut.cached_tokens.tolist() == [3, 1, 3]


def test_the_largest_limit_is_tried_where_a_longer_run_finds_the_best_too_small() -> None:
    """Six places wait for little in a run, and for long in one four times as long, while as many
    as there are keep both objectives in either: the fleet was one too small to be."""
    asked = {"rate_per_s": 7.9, "model": "gemma-3-12b", "device": "L4", "parallelism": "tp8"}
    asked |= {"precision": "bf16", "ttft_s": 5, "mean_prompt_tokens": 2000, "cached_share": 0.3}
    fleet = Fleets(read_question(asked | {"requests": 300, "seed": 3}))
    long = _four_times(fleet)
    limits = fleet.near(8)
    assert limits[0][0] < 12
    assert not long.keeps(long.performance(8, *limits[0]))
    run = _longer(fleet, long, 8)
    assert run is not None
    assert run.places == fleet.most_places(run.budget)


@its_turn(2)
def test_a_tight_question_simulates_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the search finds 6 replicas by chance and 72 are needed, neither every number between
    them is tried, nor low batch limits that only lengthen the wait."""
    counts: Counter[int] = Counter()
    simulated = Fleets._simulated

    def counted(self: Fleets, *limits: int) -> Any:
        counts[self.question.requests] += 1
        return simulated(self, *limits)

    monkeypatch.setattr(Fleets, "_simulated", counted)
    fields = {"rate_per_s": 50, "e2e_s": 3.2, "precision": "fp8", "parallelism": "tp8"}
    found, _ = settled(Fleets(read_question(fields | {"requests": 400, "seed": 1})))
    assert found.replicas == 72
    assert counts[400] <= 170
    assert counts[1600] <= 45


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({"tpot_s": 0.011, "quantile": 0.9, "requests": 400}, (5, 9)),
        ({"e2e_s": 9, "goodput": 0.95, "requests": 1000}, (5, 8)),
    ],
)
def test_whether_some_limits_do_is_known_before_the_best_is(
    fields: dict[str, Any], counts: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shorter search says of each fleet what the whole one does, after fewer runs."""
    calls = []
    simulated = Fleets._simulated
    monkeypatch.setattr(
        Fleets, "_simulated", lambda self, *some: calls.append(some) or simulated(self, *some)
    )
    asked = {"rate_per_s": 60, "parallelism": "tp1", "precision": "bf16"}
    question = read_question(fields | asked)
    kept, sizes = [], []
    for any_one in (True, False):
        fleet = Fleets(question)
        kept.append([fleet.keeps(fleet.best(n, any_one)) for n in counts])
        sizes.append(len(calls))
    assert kept == [[False, True]] * 2
    assert sizes[0] < sizes[1] - sizes[0]


def test_what_nobody_fills_changes_nothing_when_there_is_more_of_it() -> None:
    """Fleets whose memory lasts with the largest limits are those with unlimited memory."""
    for promise in (BASE.promise, promised(0.5, 0.0145, 0.9), promised(0.2, 0.03, 0.9)):
        fleet = Fleets(replace(BASE, promise=promise, token_budget=None))
        for count in (4, 6):
            if fleet.has_room(count):
                assert fleet.best(count) == fleet.with_all_memory().best(count)
        scarce = copy.copy(fleet)
        scarce.engine, scarce.runs = replace(fleet.engine, kv_blocks=400), {}
        scarce.seen, scarce.pool = {}, {}
        assert not scarce.has_room(4)
    assert fleet.has_room(4)


@its_turn(1)
def test_intervals_are_too_narrow_near_what_a_fleet_could_serve() -> None:
    """Of a run three times as long, the p99 of the first token lies within them below 90%
    of it, and far outside at 94%."""
    for rate, within in ((80.0, True), (86.4, False)):
        found = []
        for requests in (14_400, 40_000):
            asked = {"rate_per_s": rate, "parallelism": "tp1", "precision": "fp8"}
            fleet = Fleets(read_question(asked | {"requests": requests}))
            found.append(fleet.performance(3, 1024, 2048))
            assert (fleet.load(3) < EDGE) == within
        short, long = (run.ttft[2] for run in found if run)
        assert (long.value < short.value + 2 * short.half_width) == within
