"""Plans: brute force, traces, order in every input, made-up bottlenecks, and every refusal."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.arrival_standin import fit_rate_signal, signal_arrivals
from serving_mathematics.definitions.queue_simulator import fifo_waits
from serving_mathematics.intuition.latency_throughput_cost import cost_per_million
from serving_mathematics.optimization.continuous_batching import Workload, latencies_s
from serving_mathematics.optimization.event_skipping import simulate
from serving_mathematics.planner.capacity_planner import (
    QUANTILES,
    Fleet,
    Infeasible,
    Objective,
    Performance,
    Plan,
    Quantile,
    Question,
    binding_constraints,
    plan,
    requests_to_judge,
    sectioned_quantile,
    settled,
    time_shares,
)
from serving_mathematics.planner.presets import RESERVED_BYTES, Device, Model
from serving_mathematics.planner.traffic import Traffic, share_of_traffic, shares_of_trace

from ..profiles import costly

SMALL = Model("small", 1e9, 32, 8, 128)
ROUND = Device("round", 1e14, 1e12, 40e9)
BASE = Question(
    SMALL,
    ROUND,
    Traffic(200.0, 1.0, 200.0, 60.0),
    Objective(0.3, 0.02, 0.9),
    requests=400,
    batch_limit=64,
    reserved_bytes=0.0,
)


def standin(requests: int = 1500) -> Workload:
    """A trace with the statistics of a real one."""
    rng = np.random.default_rng(5)
    signal = fit_rate_signal(5.53014, 1.094198, (1, 10, 60), (1.385538, 3.868047, 16.411211))
    times = signal_arrivals(rng, signal, requests / 4)[:requests]
    return Workload(times, rng.geometric(1 / 800, times.size), rng.geometric(1 / 200, times.size))


def test_the_smallest_by_brute_force() -> None:
    fleet = Fleet(BASE)
    limits = [1, 2, 4, 8, 16, 32, 64]
    kept = [
        n for n in range(1, 12) if any(fleet.keeps(fleet.performance(n, limit)) for limit in limits)
    ]
    best = plan(BASE).best
    assert best.replicas == kept[0]
    assert kept == list(range(kept[0], 12))
    larger = [limit for limit in limits if limit > best.places]
    assert all(
        run is None or run.tpot_at_objective.value > 0.02
        for limit in larger
        for run in [fleet.performance(best.replicas, limit)]
    )


def test_a_plan_is_the_simulation_of_a_share() -> None:
    found = plan(BASE, alternatives=False)
    rng = np.random.default_rng(np.random.SeedSequence(0))
    assert isinstance(BASE.traffic, Traffic)
    share = share_of_traffic(rng, BASE.traffic, found.best.replicas, 1600)
    served = simulate(share, replace(found.engine, max_sequences=found.best.places))
    ttft, tpot = latencies_s(share, served)
    for place, quantile in enumerate(QUANTILES):
        assert found.best.ttft[place] == sectioned_quantile(ttft[160:], quantile)
        assert found.best.tpot[place] == sectioned_quantile(tpot[160:], quantile)
    assert found.best.simulated == 1440


def test_a_trace_is_served_whole() -> None:
    trace = standin()
    asked = replace(BASE, traffic=trace, requests=trace.arrival_s.size)
    fleet = Fleet(asked)
    run = fleet.performance(3, 64)
    assert run is not None
    assert run.simulated == trace.arrival_s.size
    rng = np.random.default_rng(np.random.SeedSequence(0))
    ttft = [
        latencies_s(share, simulate(share, replace(fleet.engine, max_sequences=64)))[0]
        for share in shares_of_trace(rng, trace, 3, trace.arrival_s.size)
    ]
    assert run.ttft[2].value == pytest.approx(np.quantile(np.concatenate(ttft), 0.99))
    span = trace.arrival_s[-1] - trace.arrival_s[0]
    assert fleet.rate_per_s == pytest.approx((trace.arrival_s.size - 1) / span)
    tokens = trace.output_tokens.mean() * fleet.rate_per_s
    assert run.usd_per_million == pytest.approx(float(cost_per_million(6.0, tokens)))


def test_bursts_of_a_trace_need_more_than_its_rate() -> None:
    trace = standin(4000)
    shuffled = np.sort(np.random.default_rng(0).uniform(0, trace.arrival_s[-1], 4000))
    flat = Workload(shuffled, trace.prompt_tokens, trace.output_tokens)
    slow = replace(BASE, device=replace(ROUND, peak_flops=2.2e13), objective=Objective(9, 9))
    both = [Fleet(replace(slow, traffic=t, requests=4000)) for t in (trace, flat)]
    runs = [fleet.performance(1, 64) for fleet in both]
    assert all(runs)
    bursty, level = (run.ttft[2].value for run in runs if run)
    assert bursty > 1.2 * level


def test_one_place_is_a_queue_with_one_server() -> None:
    asked = replace(BASE, traffic=Traffic(2.0, 4.0, 50.0, 30.0), batch_limit=1)
    fleet = Fleet(asked)
    run = fleet.performance(1, 1)
    assert run is not None
    engine, share = fleet.engine, fleet.sample
    later = share.output_tokens - 1
    service = engine.step_s * share.output_tokens + engine.prefill_token_s * share.prompt_tokens
    service = service + engine.decode_token_s * later
    service += engine.context_token_s * later * (share.prompt_tokens + (later + 1) / 2)
    chunks = -(-share.prompt_tokens // engine.token_budget)
    service += engine.step_s * (chunks - 1)
    first = engine.step_s * chunks + engine.prefill_token_s * share.prompt_tokens
    ttft = fifo_waits(share.arrival_s, service) + first
    assert run.ttft[1].value == pytest.approx(np.quantile(ttft[40:], 0.9))
    assert run.busy == pytest.approx(
        service.sum() / (ttft + service - first + share.arrival_s).max(), rel=0.02
    )


changes = st.fixed_dictionaries(
    {
        "rate": st.floats(1.0, 80.0),
        "scv": st.sampled_from([0.0, 1.0, 5.0]),
        "prompt": st.floats(1.0, 600.0),
        "output": st.floats(1.0, 150.0),
        "seed": st.integers(0, 9),
    }
)


@given(changes)
@costly
def test_what_every_plan_keeps(change: dict[str, Any]) -> None:
    traffic = Traffic(change["rate"], change["scv"], change["prompt"], change["output"])
    asked = replace(BASE, traffic=traffic, objective=Objective(0.8, 0.05, 0.9), seed=change["seed"])
    found = plan(asked)
    best = found.best
    assert isinstance(found, Plan)
    assert isinstance(best, Performance)
    assert best.ttft_at_objective.value <= 0.8
    assert best.tpot_at_objective.value <= 0.05
    assert 0 < best.busy <= 1 + 1e-12
    assert best.concurrency <= best.places + 1e-9
    for three in (best.ttft, best.tpot):
        assert [q.value for q in three] == sorted(q.value for q in three)
        assert all(q.half_width >= 0 for q in three)
    assert found.one_more.replicas == best.replicas + 1
    assert found.quantized is not None
    assert found.quantized.quantized is None
    assert found.quantized.engine.kv_blocks > found.engine.kv_blocks
    assert math.isclose(sum(time_shares(found)), 1.0)
    assert found.binding
    assert (found.binding == ("one replica is the least",)) == (best.replicas == 1)
    assert best.usd_per_hour == 2.0 * best.replicas


def test_same_seed_same_plan_and_another_differs() -> None:
    assert plan(BASE) == plan(BASE)
    assert plan(BASE) != plan(replace(BASE, seed=1))


def test_looser_objectives_need_fewer() -> None:
    counts = [
        plan(replace(BASE, objective=Objective(t, 0.02, 0.9)), alternatives=False).best.replicas
        for t in (0.025, 0.05, 3.0)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_bottlenecks_by_construction() -> None:
    slow = Fleet(replace(BASE, device=replace(ROUND, peak_flops=5e12), objective=Objective(9, 9)))
    assert binding_constraints(slow, 1) == ("arithmetic",)
    long = replace(
        BASE,
        device=replace(ROUND, peak_flops=1e17, memory_bytes=200e9),
        traffic=Traffic(30.0, 1.0, 3000.0, 300.0),
        objective=Objective(9, 9),
    )
    assert binding_constraints(Fleet(long), 1) == ("memory bandwidth",)
    assert binding_constraints(slow, 0) == ("one replica is the least",)
    found = plan(replace(BASE, objective=Objective(0.025, 0.02, 0.9)), alternatives=False)
    assert set(found.binding) <= {
        "TTFT objective",
        "TPOT objective",
        "TTFT and TPOT objectives together",
        "token budget",
    }
    narrow = replace(
        BASE,
        traffic=Traffic(60.0, 1.0, 400.0, 60.0),
        token_budget=32,
        batch_limit=32,
        objective=Objective(2, 0.05, 0.9),
    )
    assert plan(narrow, alternatives=False).binding == ("TTFT objective", "token budget")


def test_a_plan_tells_of_every_fleet_before_it_is_simulated() -> None:
    heard: list[tuple[int, int]] = []
    found = plan(BASE, told=lambda replicas, places: heard.append((replicas, places)))
    assert (found.best.replicas, found.best.places) in heard
    assert (found.best.replicas + 1, BASE.batch_limit) in heard
    alone: list[tuple[int, int]] = []
    plan(BASE, alternatives=False, told=lambda replicas, places: alone.append((replicas, places)))
    assert len(heard) > len(alone)  # the quantized fleets are told of too


def test_one_replica_fewer_may_do_when_its_intervals_say_so() -> None:
    for seed in range(4):
        question = replace(BASE, seed=seed)
        found, fleet = plan(question, alternatives=False), Fleet(question)
        goal, fewer = question.objective, found.best.replicas - 1
        runs = [fleet.performance(fewer, 2**k) for k in range(7)]
        near = [
            run is not None
            and run.ttft_at_objective.value - run.ttft_at_objective.half_width <= goal.ttft_s
            and run.tpot_at_objective.value - run.tpot_at_objective.half_width <= goal.tpot_s
            for run in runs
        ]
        assert [fleet.may_keep(run) for run in runs] == near
        assert found.one_fewer_may_do <= any(near)
        assert found.one_fewer_may_do >= near[-1]


def test_the_answer_rests_on_longer_runs() -> None:
    """Whatever the search found, the fleet keeps the objective in the longer run, and no limit of
    one replica fewer that the search could not exclude does."""
    changed = 0
    for seed in range(6):
        question = replace(BASE, seed=seed, requests=150, objective=Objective(0.05, 0.02, 0.9))
        fleet = Fleet(question)
        best, long = settled(fleet)
        assert best.simulated == 540
        assert long.keeps(best)
        near = [long.performance(best.replicas - 1, p) for p in fleet.near(best.replicas - 1)]
        assert not any(long.keeps(run) for run in near)
        changed += best.replicas != fleet.fewest().replicas
    assert changed > 0


def test_a_question_reserves_what_the_presets_do() -> None:
    assert Question(SMALL, ROUND, Traffic(1.0), Objective(1, 1)).reserved_bytes == RESERVED_BYTES


def test_near_limits_are_different_and_may_do() -> None:
    fleet = Fleet(BASE)
    found = plan(BASE, alternatives=False).best
    places = fleet.near(found.replicas)
    assert places == sorted(places, reverse=True)
    assert places[0] == BASE.batch_limit
    runs = [fleet.performance(found.replicas, limit) for limit in places]
    assert len({(run.ttft, run.tpot) for run in runs if run}) == len(places)
    assert all(fleet.may_keep(run, 2.0) for run in runs)
    assert Fleet(replace(BASE, objective=Objective(0.3, 0.011, 0.9))).near(1) == []


def test_a_larger_token_budget_is_named_where_it_saves_replicas() -> None:
    long = replace(
        BASE,
        traffic=Traffic(30.0, 1.0, 2000.0, 60.0),
        token_budget=128,
        batch_limit=32,
        objective=Objective(0.6, 0.05, 0.9),
    )
    found = plan(long, alternatives=False)
    assert "token budget" in found.binding
    assert found.wider is not None
    budget, count = found.wider
    assert budget in (256, 512, 1024)
    assert count < found.best.replicas
    assert Fleet(replace(long, token_budget=budget)).fewest().replicas == count
    for times in (2, 4, 8):
        assert Fleet(replace(long, token_budget=times * 128)).fewest().replicas >= count
    assert plan(BASE, alternatives=False).wider is None


@pytest.mark.parametrize(("quantile", "least"), [(0.5, 5), (0.9, 29), (0.99, 299), (0.9999, 29956)])
def test_requests_that_say_something_about_a_quantile(quantile: float, least: int) -> None:
    """By the binomial: a run of n keeps below the quantile altogether with probability qⁿ."""
    assert requests_to_judge(quantile) == least
    assert quantile**least <= 0.05 < quantile ** (least - 1)


def test_too_few_requests_are_refused_with_the_number_that_would_do() -> None:
    rare = replace(BASE, objective=Objective(9, 9, 0.9999), requests=100)
    with pytest.raises(ValueError, match=r"requests must be at least 8,322 to say anything about"):
        plan(rare)
    assert Fleet(replace(rare, requests=8322))
    with pytest.raises(ValueError, match=r"the trace must be at least 299 requests for p99, got"):
        Fleet(replace(BASE, traffic=standin(298), objective=Objective(9, 9, 0.99)))
    for bad in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="quantile must be in"):
            requests_to_judge(bad)


def test_what_the_requests_hold() -> None:
    """Tokens in the cache by counting them at many instants, from when each is written."""
    fleet = Fleet(replace(BASE, traffic=Traffic(20.0, 1.0, 200.0, 60.0)))
    run = fleet.performance(1, 64)
    assert run is not None
    share, engine = fleet.sample, replace(fleet.engine, max_sequences=64)
    served = simulate(share, engine)
    instants = np.linspace(share.arrival_s[0], served.completion_s.max(), 4001)[:, None]
    inside = (served.admitted_s <= instants) & (instants < served.completion_s)
    later = (instants - served.first_token_s) / (served.completion_s - served.first_token_s + 1e-12)
    held = inside * (share.prompt_tokens + np.clip(later, 0, 1) * share.output_tokens)
    assert run.held_tokens == pytest.approx(held.sum(axis=1).mean(), rel=0.02)


def test_sections() -> None:
    series = np.random.default_rng(0).exponential(1.0, 1005)
    got = sectioned_quantile(series, 0.5)
    assert isinstance(got, Quantile)
    assert got.value == np.quantile(series, 0.5)
    parts = np.array_split(series, 10)
    gaps = [np.quantile(part, 0.5) - got.value for part in parts]
    scatter = 2.2621571628 * math.sqrt(np.square(gaps).sum() / 90)
    below = [float(np.mean(part <= got.value)) for part in parts]
    share = 2.2621571628 * np.std(below, ddof=1) / math.sqrt(10)
    ends = np.quantile(series, [0.5 - share, 0.5 + share])
    expected = max(scatter, ends[1] - got.value, got.value - ends[0])
    assert got.half_width == pytest.approx(expected)
    flat = np.concatenate([np.zeros(900), np.arange(100.0)])  # a crowd in the last section alone
    assert sectioned_quantile(flat, 0.95).half_width >= 49  # no quantile of a section shows it
    holes = np.insert(series, 7, np.nan)
    assert sectioned_quantile(holes, 0.5) == got
    for bad, words in (
        ((np.ones((5, 5)), 0.5), "values must be one-dimensional"),
        ((np.ones(19), 0.5), "values must be at least 20"),
        ((np.ones(30), 1.0), "quantile must be in"),
    ):
        with pytest.raises(ValueError, match=words):
            sectioned_quantile(*bad)


def test_student_t() -> None:
    stats = pytest.importorskip("scipy.stats")
    assert stats.t.ppf(0.975, 9) == pytest.approx(2.2621571628)


def test_answers_of_a_single_token_have_no_pace() -> None:
    found = plan(replace(BASE, traffic=Traffic(5.0, 1.0, 100.0, 1.0)))
    assert [q.value for q in found.best.tpot] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"objective": Objective(0.001, 1)}, "no fleet keeps a TTFT of 0.001 s at p99: a replica"),
        ({"objective": Objective(9, 0.0001, 0.5)}, "no fleet keeps a TPOT of 0.0001 s at p50"),
        ({"device": replace(ROUND, memory_bytes=2.3e9)}, "no fleet holds the longest request"),
        ({"traffic": Traffic(1e9, 1.0, 200.0, 60.0)}, "no fleet of up to 100,000 replicas"),
    ],
)
def test_what_no_fleet_can_do(change: dict[str, Any], words: str) -> None:
    with pytest.raises(Infeasible, match=words):
        plan(replace(BASE, **change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"requests": 99}, "requests must be at least 100, got 99"),
        ({"batch_limit": 513}, "batch_limit must be from 1 to token_budget = 512, got 513"),
        ({"batch_limit": 0}, "batch_limit must be from 1"),
        ({"efficiency": 0.0}, "efficiency must be in"),
        ({"memory_share": 2.0}, "memory_share must be in"),
        ({"price_per_hour": -1.0}, "price_per_hour must be positive"),
        ({"device": replace(ROUND, memory_bytes=2e9)}, "model weights must be smaller"),
    ],
)
def test_questions_that_are_none(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plan(replace(BASE, **change))


@pytest.mark.parametrize("values", [(0.0, 1.0), (1.0, -1.0), (1.0, math.nan)])
def test_objectives_that_are_none(values: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Objective(*values)
    with pytest.raises(ValueError, match="quantile must be in"):
        Objective(1.0, 1.0, 1.0)
