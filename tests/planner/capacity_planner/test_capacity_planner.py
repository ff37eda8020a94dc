"""Plans: what every one keeps, made-up bottlenecks, and what would save a replica."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.catalogue import find_model
from serving_mathematics.core.hardware.deployments import WORKED as LLAMA
from serving_mathematics.planner.capacity_planner.capacity_planner import (
    Loosened,
    Plan,
    binding_constraints,
    coarser,
    deciding_classes,
    plan,
    time_shares,
)
from serving_mathematics.planner.capacity_planner.fleet_search import BUDGETS, Fleets, Performance
from serving_mathematics.planner.capacity_planner.refusals import Infeasible
from serving_mathematics.planner.questions.objectives import lifted, promised
from serving_mathematics.planner.questions.question import Question
from serving_mathematics.planner.questions.questions import read_question
from serving_mathematics.planner.questions.traffic import Traffic

from ...profiles import costly
from .test_fleet_search import BASE, MIXED, SLOW

changes = st.fixed_dictionaries(
    {
        "rate": st.floats(1.0, 40.0),
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
    asked = replace(BASE, traffic=traffic, promise=promised(1.8, 0.05, 0.9), seed=change["seed"])
    found = plan(asked)
    best = found.best
    assert isinstance(found, Plan)
    assert isinstance(best, Performance)
    assert best.nearest.of("ttft").value <= 1.8
    assert best.nearest.of("tpot").value <= 0.05
    assert 0 < best.busy <= 1 + 1e-12
    assert best.concurrency <= best.places + 1e-9
    for three in (best.ttft, best.tpot):
        assert [q.value for q in three] == sorted(q.value for q in three)
        assert all(q.half_width >= 0 for q in three)
    assert found.one_more.replicas == best.replicas + 1
    assert found.quantized is not None
    assert found.quantized_precision == "fp8"
    assert found.usual is None or found.usual.replicas >= 1
    assert math.isclose(sum(time_shares(found)), 1.0)
    assert found.binding
    assert (found.binding == ("one replica is the least",)) == (best.replicas == 1)
    assert best.usd_per_hour == 2.0 * best.replicas


def test_bottlenecks_by_construction() -> None:
    loose = replace(BASE, promise=promised(9, 9), traffic=Traffic(900.0, 1.0, 200.0, 20.0))
    slow = Fleets(loose)
    assert [one.constraint for one in binding_constraints(slow, 1)] == ["arithmetic of prompts"]
    fast = replace(SLOW, bf16_flops_per_s=1e17, memory_bytes=400e9)
    long = replace(
        BASE,
        deployment=replace(LLAMA, system=fast),
        traffic=Traffic(60.0, 1.0, 3000.0, 900.0),
        promise=promised(9, 9),
    )
    (one,) = binding_constraints(Fleets(long), 1)
    assert one.constraint == "memory bandwidth"
    assert binding_constraints(slow, 0) == (Loosened("one replica is the least"),)
    narrow = replace(
        BASE,
        traffic=Traffic(14.0, 1.0, 800.0, 60.0),
        token_budget=64,
        batch_limit=32,
        promise=promised(1.5, 0.05, 0.9),
    )
    found = plan(narrow, alternatives=False)
    assert "token budget" in found.binding
    assert found.found is not None
    assert found.found.replicas < found.best.replicas
    assert found.found.budget in BUDGETS


def test_weights_in_fewer_bits_that_are_slower_refuse_nothing() -> None:
    """Prompts take longer in four bits: a TTFT that eight bits keep was refused for theirs."""
    asked = {"rate_per_s": 5, "ttft_s": 0.24, "mean_prompt_tokens": 2000, "requests": 400}
    question = read_question(asked | {"precision": "fp8", "parallelism": "tp1"})
    smaller = coarser(question.deployment)
    assert smaller is not None
    with pytest.raises(Infeasible, match=r"keeps a TTFT of 0\.24 s at p99"):
        Fleets(replace(question, deployment=smaller))
    found = plan(question)
    assert found.best.replicas == 1
    assert (found.quantized, found.quantized_precision) == (None, "int4")


def test_a_plan_tells_of_every_fleet_before_it_is_simulated() -> None:
    few = replace(BASE, requests=100)
    heard: list[tuple[int, int]] = []
    found = plan(few, told=lambda replicas, places: heard.append((replicas, places)))
    assert (found.best.replicas, found.best.places) in heard
    assert (found.best.replicas + 1, 512) in heard
    alone: list[tuple[int, int]] = []
    plan(few, alternatives=False, told=lambda replicas, places: alone.append((replicas, places)))
    assert len(heard) > len(alone)  # the quantized fleets are told of too
    again: list[tuple[int, int]] = []
    plan(few, told=lambda replicas, places: again.append((replicas, places)))
    assert again == heard  # though all of them are known


def test_formats_get_smaller_and_end() -> None:
    names, one = [], LLAMA
    while (smaller := coarser(one)) is not None:
        one = smaller
        names.append(one.precision)
    assert names == ["fp8", "int4"]
    blackwell = replace(LLAMA, precision="fp8", system=replace(SLOW, generation="blackwell"))
    four = coarser(blackwell)
    assert four is not None
    assert four.precision == "fp4"
    mixed = replace(LLAMA, architecture=find_model("gpt-oss-120b")[0])  # 8 bits would be no fewer
    assert coarser(mixed) is None
    assert coarser(replace(mixed, precision="fp8")) == replace(mixed, precision="int4")


def test_the_class_that_is_strict_decides() -> None:
    """With a strict class the fleet grows, and only without its objectives would one fewer do."""
    few = replace(MIXED, requests=200)
    loose = plan(few, alternatives=False)
    strict = promised(0.3, 0.05, 0.9), promised(4.0, 0.05, 0.9)
    tight = plan(replace(few, class_promises=strict), alternatives=False)
    assert tight.best.replicas > loose.best.replicas
    assert tight.deciding == ("chat",)
    fleet = Fleets(replace(few, class_promises=strict))
    assert deciding_classes(fleet, 0) == ()
    assert deciding_classes(Fleets(BASE), 1) == ()
    free = lifted(strict[0]), strict[1]
    long = Fleets(replace(few, class_promises=strict, requests=800))
    fewer = tight.best.replicas - 1
    judge = long if fleet.keeps(fleet.best(fewer)) else fleet
    other = judge.promising(free)
    assert other.keeps(other.best(fewer))


def test_what_would_save_a_replica_does() -> None:
    """At the limit that a smaller fleet is said to need, it keeps the promise; just below not."""
    fleet = Fleets(replace(BASE, promise=promised(0.2, 0.03, 0.9)))
    fewer = fleet.fewest().replicas - 1
    found = {one.constraint: one for one in binding_constraints(fleet, fewer)}
    one = found["TTFT objective"]
    assert one.run is not None
    needed = one.run.nearest.of("ttft").value
    assert needed > 0.2
    for limit, kept in ((needed, True), (0.999 * needed, False)):
        looser = fleet.promising((promised(limit, 0.03, 0.9),))
        assert looser.keeps(one.run) is kept


def test_no_limits_of_the_smaller_fleet_need_less() -> None:
    """It was said to need 0.78 s, of the limits at which a search for the TPOT alone ended."""
    fleet = Fleets(replace(BASE, token_budget=None, promise=promised(0.25, 0.05)))
    fewer = fleet.fewest().replicas - 1
    (one,) = binding_constraints(fleet, fewer)
    assert one.constraint == "TTFT objective"
    assert one.run is not None
    needed = one.run.nearest.of("ttft").value
    assert 0.25 < needed < 0.3
    for budget in fleet.budgets:
        for places in (16, 64, fleet.most_places(budget)):
            other = fleet.performance(fewer, places, budget)
            assert other is None or other.nearest.of("ttft").value >= needed


def test_so_much_more_memory_would_save_a_replica() -> None:
    """With the blocks that a run without limits takes at most, the smaller fleet is that run."""
    few = Traffic(40.0, mean_prompt_tokens=100.0, mean_output_tokens=100.0)
    weights = 2 * LLAMA.architecture.parameters
    tight = replace(LLAMA.system, memory_bytes=(weights + 200 * 16 * 131_072) / 0.9)
    small, goal = replace(LLAMA, system=tight), promised(2.0, 1.0, 0.9)
    asked = Question(small, few, goal, requests=400, reserved_bytes=0.0)
    fleet = Fleets(asked)
    found = {one.constraint: one for one in binding_constraints(fleet, 1)}
    one = found["KV memory"]
    assert one.run is not None
    assert one.blocks > fleet.engine.kv_blocks
    more = (one.blocks - fleet.engine.kv_blocks + 1) * 16 * 131_072 / 0.9
    roomy = replace(tight, memory_bytes=tight.memory_bytes + more)
    larger = Fleets(replace(asked, deployment=replace(LLAMA, system=roomy)))
    assert larger.performance(1, one.run.places, one.run.budget) == one.run
    assert larger.keeps(one.run)
    assert one.run.is_as(replace(one.run, places=3))
    assert not one.run.is_as(replace(one.run, replicas=3))


def test_what_is_overloaded_says_by_what_and_how_much_it_carries() -> None:
    """Short prompts and answers in a large fleet: steps take the time, no promise helps."""
    few = replace(BASE, traffic=Traffic(200.0, 1.0, 20.0, 60.0), promise=promised(9, 9, 0.9))
    fleet = Fleets(few)
    fewer = 1
    while fleet.rate_per_s / (fewer + 1) >= fleet.full_rate(512):
        fewer += 1
    (one,) = binding_constraints(fleet, fewer)
    prompts, reading = fleet.own_s
    assert 1 / fleet.full_rate(512) > prompts + 2 * reading
    assert one == Loosened("weights and kernels", most_per_s=fewer * fleet.full_rate(512))
    assert fleet.performance(fewer, 512, 512) is None
    assert one.most_per_s <= 200.0
