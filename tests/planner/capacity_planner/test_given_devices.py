"""GPUs that are there: the rate that is found, and the ordinary planner's word on it."""

from __future__ import annotations

import itertools
import math
import re
from concurrent import futures
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.planner import configurations
from serving_mathematics.planner.answers.answer_lines import answer_lines
from serving_mathematics.planner.answers.answers import answer_record, answer_summary, asked_text
from serving_mathematics.planner.answers.given_lines import given_more
from serving_mathematics.planner.capacity_planner import given_devices
from serving_mathematics.planner.capacity_planner.capacity_planner import plan
from serving_mathematics.planner.capacity_planner.fleet_search import (
    STEADY,
    Fleets,
    _four_times,
    _longer,
)
from serving_mathematics.planner.capacity_planner.given_devices import (
    CLOSE,
    LOWEST,
    Carried,
    Rates,
    carried,
    most_carried,
    most_kept,
    settled_carried,
)
from serving_mathematics.planner.capacity_planner.judged_requests import reaches
from serving_mathematics.planner.capacity_planner.refusals import Infeasible
from serving_mathematics.planner.capacity_planner.separate_fleets import settled_apart
from serving_mathematics.planner.configurations import _other_formats, answer, whole_answer
from serving_mathematics.planner.questions.question import Question, _asked_rate, _at_rate
from serving_mathematics.planner.questions.questions import read_choices
from serving_mathematics.support.digits import sized

ONE = {"parallelism": "tp1", "precision": "fp8", "requests": 100, "quantile": 0.9}
ASKED: dict[str, dict[str, object]] = {
    "one GPU": {"gpus": 1},
    "many": {"gpus": 40},
    "a tight promise": {"gpus": 3, "ttft_s": 0.3, "tpot_s": 0.015},
    "bursts": {"gpus": 4, "arrival_scv": 6},
    "two that may fail": {"gpus": 5, "spare_replicas": 2},
    "limits that are given": {"gpus": 2, "batch_limit": 24, "token_budget": 512},
    "a larger model": {"gpus": 9, "model": "Llama-3.1-70B", "parallelism": "tp4", "ttft_s": 2},
    "all limits together": {"gpus": 2, "e2e_s": 12, "goodput": 0.9, "quantile": 0.99},
    "classes": {
        "gpus": 3,
        "requests": 300,
        "classes": "chat:0.7:prompt=400,ttft=0.5; agents:0.3:prompt=4000,ttft=3,tpot=0.1",
    },
    "a trace": {"gpus": 3, "trace": "trace.csv", "ttft_s": 0.3},
}


def trace(_name: str, _columns: str) -> Workload:
    """Requests in two crowds, on an hour of which half is silent."""
    rng = np.random.default_rng(3)
    times = np.sort(np.concatenate([rng.uniform(0, 900, 500), rng.uniform(2700, 3600, 300)]))
    return Workload(times, rng.geometric(1 / 1500, 800), rng.geometric(1 / 200, 800))


def asked(**more: object) -> Question:
    """One deployment, of few requests."""
    return read_choices(ONE | more, trace)[0]


RUN = carried(asked(gpus=1)).run


@given(st.floats(2e-4, 0.999), st.floats(1e-3, 1e5), st.floats(0.0, 2.0))
def test_a_limit_is_found(share: float, most: float, near: float) -> None:
    limit, tried = share * most, []

    def kept(rate: float) -> bool:
        tried.append(rate)
        return rate <= limit

    rate = most_kept(kept, most, near * most)
    assert all(float(f"{one:.3g}") == one for one in tried)
    if rate:
        assert rate <= limit <= 1.01 * most
        assert any(rate < one <= (1 + CLOSE) * rate for one in [*tried, most] if one > limit)
    else:
        assert limit < LOWEST
    assert len(tried) < 40


@given(st.integers(0, 2**20))
def test_whatever_is_kept_the_rate_found_was(seed: int) -> None:
    """And one that is a fiftieth larger was missed, also where chance keeps what is above."""

    def kept(rate: float) -> bool:
        return hash((seed, rate)) % 3 > 0

    rate = most_kept(kept, 100.0)
    assert not rate or kept(rate)
    assert rate < 100.0


@pytest.mark.parametrize("name", ["one GPU", "bursts", "classes", "a trace"])
def test_fleets_of_another_rate_are_those_that_are_asked_for_it(name: str) -> None:
    question = asked(**ASKED[name])
    moved, made = Fleets(question).at_rate(33.0), Fleets(_at_rate(question, 33.0))
    for fleets in ((2, 64, 2048), (3, 1024, 8192)):
        assert moved.performance(*fleets) == made.performance(*fleets)
    assert (moved.rate_per_s, moved.tokens_per_s) == (made.rate_per_s, made.tokens_per_s)
    assert replace(moved.question, traffic=made.question.traffic) == made.question
    np.testing.assert_array_equal(moved.sample.arrival_s, made.sample.arrival_s)
    assert moved.least == made.least


@pytest.mark.parametrize("name", list(ASKED))
def test_the_ordinary_planner_takes_no_more_and_too_few_are_there_for_more(name: str) -> None:
    """The rate is of one batch limit and token budget, and at a fiftieth more all are tried."""
    question = asked(**ASKED[name])
    there = question.replicas_there
    found = settled_carried(carried(question))
    assert plan(replace(found.question, gpus=None), alternatives=False).best.replicas == there
    more = Fleets(_at_rate(question, (1 + CLOSE) * found.rate_per_s))
    assert _longer(more, _four_times(more), there) is None
    devices = question.deployment.devices * (there + question.spare_replicas)
    assert question.gpus is not None
    assert question.gpus - question.deployment.devices < devices <= question.gpus


def test_more_gpus_and_looser_promises_carry_no_less() -> None:
    """To the fiftieth to which a rate is found, and to its three digits."""
    sure = (1 + CLOSE) * 1.01
    for grown in (
        [{"gpus": gpus} for gpus in (1, 2, 3, 64, 65)],
        [{"gpus": gpus, "arrival_scv": 6} for gpus in (1, 8)],
        [{"gpus": 2, "tpot_s": tpot_s} for tpot_s in (0.012, 0.05, 0.2)],
        [{"gpus": 2, "ttft_s": ttft_s} for ttft_s in (0.1, 0.2, 5)],
        [{"gpus": 2, "quantile": quantile} for quantile in (0.99, 0.5)],
        [{"gpus": 4, "spare_replicas": spare} for spare in (3, 1, 0)],
    ):
        rates = [carried(asked(**one)).rate_per_s for one in grown]
        assert all(less <= sure * more for less, more in itertools.pairwise(rates))
        assert rates[0] <= rates[-1]


def test_the_deployment_that_carries_most_by_brute_force() -> None:
    choices = read_choices(
        {"gpus": 8, "requests": 100, "quantile": 0.9, "model": "Qwen3-30B-A3B", "precision": "fp8"}
    )
    heard: list[tuple[int, int]] = []
    with futures.ThreadPoolExecutor(3) as pool:
        found = most_carried(choices, pool, lambda *told: heard.append(told))
    assert heard[-1] == (len(choices), len(choices))
    assert len(found) == len(choices)
    alone = sorted((one.rate_per_s for one in map(carried, choices) if one.run), reverse=True)
    best = found[0].rate_per_s
    rates = [one.rate_per_s for one in found if one.run]
    assert rates == alone[: len(rates)]
    left = [one for one in found if not one.run and not one.problem]
    assert left
    assert all(one.rate_per_s <= best for one in left)
    assert all(x.rate_per_s >= y.rate_per_s for x, y in itertools.pairwise(left))


@pytest.mark.parametrize(("spare", "need"), [(0, 2), (1, 4)])
def test_too_few_gpus_are_told_how_many_would_do(spare: int, need: int) -> None:
    """One does not hold the requests, two do, and as many again replace a replica that fails."""
    question = {"model": "Llama-3.1-70B", "spare_replicas": spare, "precision": "fp8"}
    question |= {"requests": 100, "quantile": 0.9}
    with futures.ThreadPoolExecutor(1) as pool:
        few = read_choices(question | {"gpus": need // 2})
        with pytest.raises(Infeasible, match=f"with {need} GPUs one request alone would"):
            most_carried(few, pool, lambda *_: None)
        enough = read_choices(question | {"gpus": need})
        assert most_carried(enough, pool, lambda *_: None)[0].rate_per_s > 0


def test_what_cannot_carry_more_is_left_out_after_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight are tried, and then those whose bound is above the most that one of them carries."""
    bounds = [100.0, 90, 80, 70, 60, 50, 40, 30, 29, 28, 20, 9]
    rates = [20.0, 25, 28, 10, 9, 8, 7, 6, 5, 4, 3, 2]
    choices = [replace(asked(gpus=1), seed=seed) for seed in range(len(bounds))]
    tried: list[int] = []

    def made(question: Question) -> Carried:
        tried.append(question.seed)
        run = RUN if question.seed else None  # the first carries nothing
        return Carried(_at_rate(question, rates[question.seed]), run, "" if run else "nothing")

    monkeypatch.setattr(given_devices, "_bound", lambda question: bounds[question.seed])
    monkeypatch.setattr(given_devices, "carried", made)
    found = [one.question.seed for one in most_carried(choices[::-1])]
    assert sorted(tried) == [*range(9)]
    assert found == [2, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0]


def test_what_is_carried_for_sure_has_its_intervals_within() -> None:
    question = asked(**ASKED["a tight promise"] | {"requests": 400})
    most = settled_carried(carried(question))
    sure = settled_carried(most, sure=True)
    assert most.run
    assert sure.run
    assert not reaches(most.run.classes, question.goals, 1.0)
    assert reaches(sure.run.classes, question.goals, 1.0)
    assert sure.rate_per_s < most.rate_per_s


def test_replicas_for_which_there_are_too_few_are_said() -> None:
    found = most_carried(read_choices({"gpus": 3, "requests": 100, "precision": "fp8"}))
    assert [one.problem for one in found if one.problem] == [
        "a replica takes 4 GPUs",
        "a replica takes 8 GPUs",
    ]


def test_what_is_carried_at_no_rate_says_what_would_do() -> None:
    late = {"requests": 200, "tpot_s": 0.003, "precision": "bf16"}
    told = (
        r"^no fleet keeps a TPOT of 0.003 s at p99: a replica without other requests takes "
        r"0.00\d+ s, on 2 × H100 SXM \(tp2\) in BF16, the nearest; with 8 GPUs one request alone "
        r"would be in time$"
    )
    with pytest.raises(Infeasible, match=told):
        most_carried(read_choices(late | {"gpus": 2}))
    with pytest.raises(Infeasible, match=r"0\d+ s, on 8 × H100 SXM \(tp8\) in BF16, the nearest$"):
        most_carried(read_choices(late | {"gpus": 800, "tpot_s": 0.0005}))
    one = late | {"gpus": 800, "tpot_s": 0.0005, "parallelism": "tp1"}
    with pytest.raises(Infeasible, match=r"takes 0.0\d+ s$"):
        most_carried(read_choices(one))


def test_more_gpus_than_carry_what_can_be_asked_for_are_refused_with_how_many_would_do() -> None:
    with pytest.raises(ValueError, match="gpus must be at most") as refused:
        most_carried([asked(gpus=90_000)])
    enough = int(
        str(refused.value).partition("at most ")[2].partition(", because")[0].replace(",", "")
    )
    assert carried(asked(gpus=enough)).rate_per_s < given_devices.HIGHEST
    with pytest.raises(ValueError, match=f"at most {enough:,}, "):
        most_carried([asked(gpus=enough + 1)])


def test_all_gpus_are_put_to_work() -> None:
    """Many carry a rate that is found to a fiftieth, which a few less would carry too."""
    told = answer([asked(gpus=510)])
    assert told.plan.best.replicas == 510
    assert not [text for text in given_more(told) if "left over" in text]
    assert not told.plan.one_fewer_may_do


def test_longer_runs_may_turn_two_that_are_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are settled that may carry more, and the answer is the largest of them; the rest, of
    which one is not settled, follows by what each carries."""
    choices = read_choices(ONE | {"gpus": 2, "precision": "fp8,bf16", "parallelism": "tp1,tp2"})
    settled: list[str] = []
    bounds: list[float] = []

    def lower(one: Carried, *_: object, sure: bool = False, above: float = 0.0) -> Carried:
        precision = one.question.deployment.precision
        settled.append(f"{precision}{' sure' if sure else ''}")
        bounds.append(above)
        share = 0.5 if precision == "fp8" else 0.9
        return replace(one, question=_at_rate(one.question, share * one.rate_per_s))

    monkeypatch.setattr(configurations, "settled_carried", lower)
    told = answer(choices)
    assert [name for name in settled if "sure" not in name] == ["fp8", "bf16", "fp8"]
    assert bounds[0] == 0 < bounds[1] == _asked_rate(told.ranked[2].question)
    assert told.question.deployment.precision == "bf16"
    order = [(x.question.deployment.precision, x.question.deployment.tensor) for x in told.ranked]
    assert order == [("bf16", 1), ("bf16", 2), ("fp8", 1), ("fp8", 2)]
    assert told.ranked[0].question is told.question
    assert told.ranked[0].run == told.plan.best


def test_other_devices_are_asked_at_the_rate_that_was_found() -> None:
    values = ONE | {"gpus": 4, "other_devices": "H200"}
    told = whole_answer(read_choices(values), values)
    assert told.rates
    assert _asked_rate(told.question) == told.plan.rate_per_s
    (other,) = told.others
    rate = {key: x for key, x in values.items() if key != "gpus"}
    rate |= {"rate_per_s": told.plan.rate_per_s}
    assert whole_answer(read_choices(rate), rate).others == (other,)
    assert _asked_rate(other.question) == told.plan.rate_per_s


def test_a_trace_is_carried_so_many_times() -> None:
    """Its requests come in the same order and rhythm, and other devices get them as often."""
    values = ONE | ASKED["a trace"] | {"other_devices": "H200"}
    choices = read_choices(values, trace)
    told = whole_answer(choices, values, trace)
    own, sped = choices[0].traffic, told.question.traffic
    assert isinstance(own, Workload)
    assert isinstance(sped, Workload)
    assert told.rates
    over = told.rates.over_trace
    assert over == pytest.approx(told.plan.rate_per_s / _asked_rate(choices[0]))
    np.testing.assert_allclose(over * sped.arrival_s, own.arrival_s)
    assert sped.prompt_tokens is own.prompt_tokens
    (other,) = told.others
    assert _asked_rate(other.question) == pytest.approx(told.plan.rate_per_s)
    assert f", {sized(over)} times the load of the trace: 3 replicas " in answer_summary(told)
    assert answer_record(told)["rate_over_trace"] == over
    assert "a trace of 800 requests, as fast as they carry it" in asked_text(told.question)


def test_two_fleets_carry_what_a_plan_of_two_fleets_takes_all_gpus_for() -> None:
    more: dict[str, object] = {"gpus": 3, "tpot_s": 0.012}
    values = ONE | more | {"fleets": "two", "other_devices": "none"}
    told = answer(read_choices(values, trace))
    assert told.rates
    assert told.apart
    run, rate = told.apart.run, _asked_rate(told.apart.question)
    assert run
    assert run.replicas == more["gpus"]
    assert settled_apart(told.apart.question).replicas == more["gpus"]
    assert settled_apart(_at_rate(told.apart.question, 1.15 * rate)).replicas > run.replicas
    pairs = f"{run.prompts} for prompts and {run.answers} for answers, "
    assert re.search(f" Separate fleets, {pairs}(may )?carry {sized(rate)} ", answer_summary(told))
    assert answer_record(told)["apart_rate_per_s"] == rate
    (line,) = [one.value for one in answer_lines(told) if one.what == "separate fleets"]
    assert f"; {sized(rate)} requests/s; " in line
    assert "steps err" not in line


def test_gpus_of_which_two_fleets_are_too_many_say_so() -> None:
    told = answer(read_choices(ONE | {"gpus": 3, "fleets": "two", "spare_replicas": 1}))
    assert " Two fleets cannot: two fleets take 4 GPUs." in answer_summary(told)


def test_rates_lie_in_order() -> None:
    told = answer([asked(gpus=2)])
    assert isinstance(told.rates, Rates)
    assert told.rates.if_slower_per_s < _asked_rate(told.question) < told.rates.if_faster_per_s
    assert 0 < told.rates.sure_per_s <= _asked_rate(told.question)
    fleet = Fleets(_at_rate(told.question, told.rates.sure_per_s))
    assert math.isclose(fleet.rate_per_s, told.rates.sure_per_s)


def test_one_replica_that_is_there_is_short_of_something() -> None:
    """As two are at their rate: what a plan for a rate calls the least replica is given here."""
    ones = [settled_carried(carried(asked(gpus=gpus, batch_limit=4))) for gpus in (1, 2)]
    found, two = (plan(one.question, given=one.run) for one in ones)
    question = ones[0].question
    assert found.best.replicas == 1
    assert set(found.binding) & set(two.binding)
    assert plan(replace(question, gpus=None)).binding == ("one replica is the least",)


def test_a_deployment_that_carries_no_more_keeps_its_short_run() -> None:
    """At no more than what another carries, of which it is a fiftieth too little."""
    one = carried(asked(gpus=1))
    alone = settled_carried(one)
    left = settled_carried(one, above=1.5 * one.rate_per_s)
    assert (left.run, left.rate_per_s, left.problem) == (one.run, one.rate_per_s, "")
    more = settled_carried(one, above=0.5 * one.rate_per_s)
    assert 1 / (1 + CLOSE) <= more.rate_per_s / alone.rate_per_s <= 1 + CLOSE


def test_other_formats_carry_what_their_best_deployment_does() -> None:
    """Also where longer runs left that one out: BF16 on two devices was told, of half the rate."""
    asked = {"gpus": 2, "model": "Qwen2.5-14B", "device": "A100", "requests": 100}
    asked |= {"mean_prompt_tokens": 50, "mean_output_tokens": 1, "ttft_s": 2}
    told = answer(read_choices(asked))
    ((name, one, more),) = _other_formats(told)
    best = most_carried(read_choices(asked | {"precision": name}))[0].rate_per_s
    assert not more
    assert _asked_rate(one.question) == min(best, _asked_rate(told.question))


def test_what_was_left_out_may_be_better_than_what_was_run_in_a_format() -> None:
    """The sentence then says so: of rates the least, of dollars the most."""
    for values, words in (({"gpus": 2}, "at least"), ({"rate_per_s": 25}, "at most")):
        told = answer(read_choices(ONE | {"precision": "fp8,bf16"} | values))
        first, other = told.ranked
        assert words not in answer_summary(told)
        rate = 2 * max(_asked_rate(first.question), _asked_rate(other.question))
        better = replace(other, question=_at_rate(other.question, rate), least_usd_per_hour=0.5)
        left = replace(told, ranked=(first, other, replace(better, run=None)))
        assert f"In BF16 {'they carry' if 'gpus' in values else 'it costs'} {words}" in (
            answer_summary(left)
        )
        assert answer_summary(replace(left, ranked=(first, other))) == answer_summary(told)


def test_a_loose_promise_carries_no_more_than_can_be_served() -> None:
    """In a short run two carried 121% of what both could serve, with so few tokens a step that
    prompts alone queued."""
    loose = {"gpus": 2, "ttft_s": 60, "tpot_s": 0.5, "precision": "fp8", "parallelism": "tp1"}
    told = answer(read_choices(loose | {"requests": 500}))
    assert 0.9 < told.plan.load < STEADY
    assert told.plan.estimate.load < 1


def test_more_than_two_are_settled_where_longer_runs_say_less() -> None:
    """The rate of the answer is no less than that of any run in its table."""
    choices = read_choices(
        {"gpus": 8, "cached_share": 0.9, "mean_prompt_tokens": 30000, "requests": 100}
        | {"precision": "any", "other_devices": "none", "seed": 2}
    )
    told = answer(choices)
    rates = [_asked_rate(one.question) for one in told.ranked if one.run]
    assert rates[0] == max(rates)
