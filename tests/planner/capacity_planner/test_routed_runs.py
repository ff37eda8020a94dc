"""What a fleet serves behind a router: by hand, limits, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.planner.answers.answer_lines import answer_lines
from serving_mathematics.planner.answers.answers import answer_record, answer_summary
from serving_mathematics.planner.capacity_planner import routed_runs
from serving_mathematics.planner.capacity_planner.fleet_search import Fleets
from serving_mathematics.planner.capacity_planner.routed_runs import (
    Way,
    _just_below,
    _Limits,
    _load,
    _margin,
    _of_parts,
    _serve,
)
from serving_mathematics.planner.configurations import whole_answer
from serving_mathematics.planner.questions.questions import read_choices
from serving_mathematics.planner.questions.routed_requests import read_routers
from serving_mathematics.support.digits import sized

from .test_routing import SMALL, told


def test_customers_are_found_where_they_were() -> None:
    """Prompts share 4,096 tokens of some 5,300 with those of their customer."""
    found = told(like="customers", routers="random, cache-aware")
    ways = {way.router.name: way for way in found.ways}
    assert ways["cache-aware"].found.value > ways["random"].found.value
    assert 0.3 < ways["cache-aware"].found.value < 4096 / 5000


def test_with_one_replica_all_routers_are_equal() -> None:
    rules = "random, round-robin, two-choices, least-requests, session, cache-aware, least-work"
    found = told(replicas=1, like="customers", rate_per_s=4, routers=f"{rules}, endpoint-picker")
    first, *others = found.ways
    assert len(others) == 7
    for way in others:
        assert (way.kept, way.found, way.ttft, way.tpot) == (
            first.kept,
            first.found,
            first.ttft,
            first.tpot,
        )
    assert found.best is first


@pytest.mark.parametrize("like", ["chat", "customers"])
def test_of_an_overloaded_fleet_it_is_told_by_how_much(like: str) -> None:
    """A request waits for those that came before it and were not served yet: at a load of 2, as
    long as the run has been. What is found of prompts makes the load less."""
    asked = {"like": like, "rate_per_s": 100, "batch_limit": 32, "requests": 1600}
    found = told(**asked, routers="least-requests")
    limits = _Limits(found.question, found.places, found.budget, found.longest, found.replicas)
    (seen,) = _serve(limits, 0, ((found.best.router, 0.0),))
    slope = np.polyfit(seen.moments, seen.got.ttft, 1)[0]
    assert found.load == pytest.approx(1 + slope, rel=0.05)
    none = replace(seen, found=0 * seen.found)
    without = _load(limits, none)
    assert without >= found.load
    assert (without > 1.1 * found.load) is (like == "customers") is bool(found.best.found.value)
    record, text = answer_record(found), answer_summary(found)
    most = f"at {100 * found.load:.0f}% of the {sized(100 / found.load)} requests/s that it could"
    assert f" The fleet is overloaded, {most} serve" in text
    assert ("prefixes that caches found" in text) is (like == "customers")
    assert record["load"] == found.load
    (line,) = [one for one in answer_lines(found) if "over the most" in one.what]
    assert line.value.startswith(f"{100 * found.load:.0f}%")


def test_the_load_of_a_fleet_without_prefixes_is_the_plain_planners() -> None:
    """Of the same limits; its requests are other ones."""
    found = told(rate_per_s=30, requests=2000, routers="random")
    plain = Fleets(replace(found.question, routing=None))
    run = plain.performance(found.replicas, found.places, found.budget)
    assert found.load == pytest.approx(plain.load(found.replicas, run), rel=0.05)


def test_a_match_that_a_threshold_just_misses_is_told() -> None:
    router, other = read_routers("cache-aware:cache_threshold=0.4; random")
    matched = np.array([0.0, 0.3, 0.301, 0.4, 0.401])
    assert _just_below(router, matched) == pytest.approx(2 / 5)
    assert _just_below(other, matched) == 0.0
    found = told(like="customers", routers="random, cache-aware")
    words = " Most prompts match a little less than cache-aware asks for, 30%; "
    for short in (0.5, 0.6):
        ways = tuple(replace(way, short=short) for way in found.ways[1:])
        said = answer_summary(replace(found, ways=(found.ways[0], *ways)))
        assert (words in said) is (short > 0.5)


def test_parts_are_compared_pair_by_pair() -> None:
    found = told(like="customers", routers="random, cache-aware")
    one, other = found.ways
    assert isinstance(one, Way)
    margin = _margin(one, other)
    pairs = np.subtract(one.parts, other.parts)
    assert margin.value == pytest.approx(float(pairs.mean()))
    assert _of_parts([0.0, 1.0]).half_width == pytest.approx(12.7062 * 0.5, rel=1e-4)
    with pytest.raises(ValueError, match="values must be of two parts or more, got 1"):
        _of_parts([1.0])


def test_a_kind_of_which_nothing_counts_is_told_in_requests() -> None:
    """Clumps of a hundred put one kind before the end of the beginning."""
    asked = {"classes": "a:0.5:like=chat; b:0.5:like=customers", "arrival_scv": 100}
    with pytest.raises(ValueError, match=r"^requests must be more: of one kind 0 come after"):
        told(**asked, rate_per_s=27.23, requests=200, replicas=7, weights="0.001,1")


def test_times_that_outgrow_their_ticks_are_refused() -> None:
    """A prompt of 131,072 tokens takes 153,104 s at 0.1 TFLOP/s, and 64 bits of ticks held 8,191:
    the time was negative."""
    slow: dict[str, object] = {"peak_tflops": 0.1, "bandwidth_gb_per_s": 1000, "memory_gib": 200}
    slow |= {"rate_per_s": 0.1, "precision": "auto"}
    assert told(**slow).best.ttft[0].value > 1
    with pytest.raises(ValueError, match=r"prompts must be read in 4,096 s on the given GPU"):
        told(**slow, like="agents", requests=200)


@pytest.mark.parametrize("split", ["tp1", "tp2"])
def test_host_memory_holds_as_many_blocks_as_its_bytes_say(
    split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """32 layers with 8 heads of keys and of values, of 128 numbers of two bytes: 128 KiB a token,
    on however many devices, which all load at once; below it, what each replica has of its own
    and what all have."""
    seen = list[Fleet]()
    simulate = routed_runs.simulate_fleet

    def noted(asked: object, fleet: Fleet, rng: object) -> object:
        seen.append(fleet)
        return simulate(asked, fleet, rng)  # type: ignore[arg-type]

    monkeypatch.setattr(routed_runs, "simulate_fleet", noted)
    asked = SMALL | {"parallelism": split, "precision": "bf16", "rate_per_s": 1, "like": "agents"}
    asked |= {"routers": "session", "host_memory_gib": 10, "host_link_gb_per_s": 20}
    asked |= {"requests": 100}
    asked |= {"disk_gib": 1, "store_gib": 1} if split == "tp2" else {}
    whole_answer(read_choices(asked), asked)
    tier, *below = seen[0].tiers
    assert [one.for_all for one in seen[0].tiers] == [False, False, True][: 1 + len(below)]
    assert len(seen[-1].tiers) == len(below)  # what would be kept without one
    engine = seen[0].engines[0]
    assert tier.block_bytes == engine.block_tokens * 128 * 2**10
    assert 0 <= 10 * 2**30 - tier.blocks * tier.block_bytes < tier.block_bytes
    assert tier.bytes_per_s == {"tp1": 20e9, "tp2": 40e9}[split]
