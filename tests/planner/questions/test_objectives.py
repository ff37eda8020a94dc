"""Objectives as data: end-to-end latency and goodput are planned for as TTFT and TPOT are."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.deployments import WORKED as LLAMA
from serving_mathematics.planner.answers.answer_lines import answer_lines
from serving_mathematics.planner.answers.answer_plots import latency_plot
from serving_mathematics.planner.answers.answers import (
    answer_record,
    answer_summary,
    asked_text,
    summary_text,
)
from serving_mathematics.planner.capacity_planner import fleet_search
from serving_mathematics.planner.capacity_planner.capacity_planner import binding_constraints, plan
from serving_mathematics.planner.capacity_planner.fleet_search import Fleets, settled
from serving_mathematics.planner.capacity_planner.judged_requests import reaches
from serving_mathematics.planner.capacity_planner.refusals import Infeasible
from serving_mathematics.planner.capacity_planner.separate_fleets import (
    SeparateFleets,
    settled_apart,
)
from serving_mathematics.planner.configurations import answer
from serving_mathematics.planner.planner_command import main
from serving_mathematics.planner.planner_form import form_answer
from serving_mathematics.planner.questions.fields import FIELDS, Field
from serving_mathematics.planner.questions.objectives import (
    METRICS,
    Metric,
    Objective,
    RequestTimes,
    kept_by_all,
    lifted,
    promise_text,
    promised,
)
from serving_mathematics.planner.questions.question import Question
from serving_mathematics.planner.questions.questions import read_choices, read_classes
from serving_mathematics.planner.questions.traffic import Traffic, TrafficClass, mixed_traffic

SLOW = replace(LLAMA.system, bf16_flops_per_s=2e14, bandwidth_bytes_per_s=1.5e12)
BASE = Question(
    replace(LLAMA, system=SLOW),
    Traffic(60.0, 1.0, 200.0, 60.0),
    promised(2.0, 0.1, 0.9, e2e_s=2.3),
    requests=200,
    token_budget=512,
)
ASKED: dict[str, object] = {
    "rate_per_s": 40,
    "requests": 100,
    "parallelism": "tp1",
    "precision": "bf16",
    "other_devices": "none",
    "ttft_s": 2,
}
LIMITS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512]


@pytest.mark.parametrize(
    "promise",
    [
        BASE.promise,
        promised(0.5, 0.03, 0.9),
        promised(0.5, 0.03, goodput=0.9),
        promised(0.5, 0.03, e2e_s=2.2, goodput=0.8),
    ],
)
def test_the_smallest_fleet_by_brute_force(promise: Any) -> None:
    """No smaller fleet keeps the promise at any of sixteen batch limits, by counts of requests."""
    fleet = Fleets(replace(BASE, promise=promise))
    found = fleet.fewest()
    assert fleet.keeps(found)
    assert found.replicas > 1
    for limit in LIMITS:
        run = fleet.performance(found.replicas - 1, limit, 512)
        assert run is None or not fleet.keeps(run), limit


def test_an_end_to_end_limit_takes_more_than_none_and_is_what_binds() -> None:
    any_budget = replace(BASE, token_budget=None)
    free, _ = settled(Fleets(replace(any_budget, promise=BASE.promise[:2])))
    bound = plan(any_budget, alternatives=False)
    assert bound.best.replicas > free.replicas
    assert bound.binding == ("E2E latency objective",)
    assert bound.best.nearest.of("e2e").value <= 2.3


def test_goodput_asks_more_than_each_limit_alone() -> None:
    """All limits together for 90% are kept by no smaller fleet than each of them for 90%, and by no
    larger one than each for 97%, of which at least 91% keep all three."""
    counts = [
        Fleets(replace(BASE, promise=promise)).fewest().replicas
        for promise in (
            promised(0.5, 0.03, 0.9, e2e_s=3.2),
            promised(0.5, 0.03, e2e_s=3.2, goodput=0.9),
            promised(0.5, 0.03, 0.97, e2e_s=3.2),
        )
    ]
    assert counts == sorted(counts)
    fleet = Fleets(replace(BASE, promise=promised(0.5, 0.03, goodput=0.9)))
    run = fleet.fewest()
    assert run.both.value >= 0.9 - 1 / run.simulated


def test_without_one_limit_the_others_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lifted, a limit is none in the goodput either, which is judged anew on the same run."""
    fleet = Fleets(replace(BASE, promise=promised(0.5, 0.0145, goodput=0.9)))
    run = fleet.performance(4, 64, 512)
    assert run is not None
    goals = lifted(fleet.goals[0], "tpot")
    free, alone = fleet.promising((goals,)), Fleets(replace(fleet.question, promise=goals))
    expected = alone.performance(4, 64, 512)
    with monkeypatch.context() as patched:
        patched.setattr(fleet_search, "simulate", None)
        other = free.performance(4, 64, 512)
    assert other is not None
    assert other == expected
    assert other.both.value > run.both.value
    assert free.runs is not fleet.runs
    assert free.performance(4, 24, 512) is not None
    assert fleet.performance(4, 24, 512) == Fleets(fleet.question).performance(4, 24, 512)
    assert fleet.limited(512, 64).seen is fleet.seen
    same = Fleets(BASE)
    assert same.promising((lifted(BASE.promise),)).seen is same.seen
    found = binding_constraints(fleet, fleet.fewest().replicas - 1)
    assert {one.constraint for one in found} <= {
        "TTFT objective",
        "TPOT objective",
        "goodput objective",
    }


def test_two_fleets_keep_what_both_take_part_in() -> None:
    base = Question(LLAMA, Traffic(60.0), promised(1.0, 0.015), requests=400)
    goals = (promised(1.0, 0.015, e2e_s=8.0, goodput=0.95),)
    found = settled_apart(replace(base, promise=goals[0]))
    assert reaches(found.classes, goals)
    assert found.both.value >= 0.95 - 1 / found.simulated
    alone = SeparateFleets(replace(base, promise=promised(1.0, 0.015, 0.9, e2e_s=3.94)))
    with pytest.raises(
        Infeasible, match=r"separate fleets keep no E2E latency of 3.94 s at p90: with"
    ):
        alone.fewest()


def test_a_value_over_a_limit_is_said_to_be() -> None:
    ttft = METRICS["ttft"]
    said = [ttft.plain(x, 0.2) for x in (0.2003, 0.20004, 1234.5, 0.1)]
    assert said == ["0.2003 s", "0.20004 s", "1,234 s", "0.1 s"]


@pytest.mark.parametrize(
    ("promise", "words"),
    [
        (promised(9, 9, e2e_s=0.5), "no fleet keeps an E2E latency of 0.5 s at p99: a replica wit"),
        (  # each of which nine of ten keep, and both eight
            promised(0.181, 9, e2e_s=1.94, goodput=0.9),
            "no fleet keeps all limits together for 90% of the requests: a replica without other "
            "requests takes 1.",
        ),
    ],
)
def test_what_an_idle_replica_misses_no_fleet_keeps(promise: Any, words: str) -> None:
    with pytest.raises(Infeasible, match=words):
        Fleets(replace(BASE, promise=promise))


@given(st.integers(0, 50), st.floats(0.1, 3), st.floats(0.01, 0.2), st.floats(1, 20))
def test_all_limits_are_counted_by_hand(seed: int, ttft: float, tpot: float, e2e: float) -> None:
    rng = np.random.default_rng(seed)
    later = rng.integers(0, 4, 40).astype(float)
    got = RequestTimes(
        rng.exponential(1.0, 40), np.where(later > 0, rng.exponential(0.05, 40), np.nan), later
    )
    promise = promised(ttft, tpot, 0.9, e2e_s=e2e, goodput=0.9)
    kept = kept_by_all(got, promise)
    over = promise[-1].of(got, promise)
    for i in range(40):
        each = got.tpot[i] if later[i] else 0.0
        whole = got.ttft[i] + each * later[i]
        inside = got.ttft[i] <= ttft and each <= tpot and whole <= e2e
        assert kept[i] == inside
        assert over[i] == pytest.approx(max(got.ttft[i] / ttft, each / tpot, whole / e2e))
    mine = np.arange(40) < 7
    assert got.part(mine).whole.tolist() == got.whole[:7].tolist()


def test_every_metric_is_asked_for_by_a_field_and_a_class() -> None:
    for name, metric in METRICS.items():
        assert isinstance(metric, Metric)
        assert metric.field in FIELDS
        assert metric.none_keeps.startswith("no fleet keeps ")
        text = f"a:1:{name}={0.9 if metric.of_all else 1.5}"
        (_, (goals,)) = read_classes(text)
        assert name in {goal.metric for goal in goals}
    assert promise_text(promised(1, 0.05, e2e_s=9)) == (
        "a TTFT of 1 s, a TPOT of 50 ms and an E2E latency of 9 s at p99"
    )
    only = (Objective("e2e", 9.0, 0.9),)
    assert promise_text(only) == "an E2E latency of 9 s at p90"


def test_what_nobody_measures_is_not_promised() -> None:
    with pytest.raises(ValueError, match="metric must be one of ttft, tpot"):
        Objective("itl", 1.0)
    with pytest.raises(ValueError, match="others must be among e2e_s, goodput, got itl_s"):
        promised(1.0, 1.0, itl_s=1.0)


def test_answers_say_what_was_promised() -> None:
    told = answer(read_choices(ASKED | {"e2e_s": 8, "goodput": 0.9, "tpot_s": 0.03}))
    lines = {line.what: line.value for line in answer_lines(told)}
    one, record = told.plan.best.nearest, answer_record(told)
    assert lines["E2E latency at p90, promised"].endswith(" of 8 s")
    assert lines["goodput, promised"].endswith("% of 90%")
    assert "requests that keep all" in lines
    words = "a TTFT of 2 s, a TPOT of 30 ms and an E2E latency of 8 s together in 90% of cases"
    assert words in answer_summary(told)
    assert words in asked_text(told.question)
    assert record["e2e_s"] == one.of("e2e").value
    assert record["one_more_e2e_s"] == told.plan.one_more.nearest.of("e2e").value
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert max(map(len, summary_text(told).splitlines())) <= 100
    plot = latency_plot(told)
    assert plot.rows[0][1:5] == [
        "p90 of TTFT [s]",
        "p90 of TPOT [ms]",
        "p90 of E2E latency [s]",
        "goodput [%]",
    ]
    assert plot.svg.count('class="limit"') == 4
    plain = answer_record(answer(read_choices(ASKED)))
    assert not [name for name in plain if "e2e" in name]


def test_the_command_and_the_form_take_them(capsys: Any) -> None:
    asked = ASKED | {"e2e_s": 8, "goodput": 0.9}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in asked.items()]
    assert main([*options, "--whole"]) == 0
    typed = capsys.readouterr().out
    empty = {"token_budget": "", "batch_limit": "", "classes": ""}
    piece = json.loads(form_answer(json.dumps(asked | empty | {"quantile": "0.99"})))["html"]
    assert "--e2e-s 8 --goodput 0.9" in piece
    line = next(line for line in typed.splitlines() if line.startswith("E2E latency at p90"))
    assert " ".join(line.split()[5:8]) in piece
    told = json.loads(form_answer(json.dumps(asked | {"e2e_s": 0.01})))
    assert told["field"] == "e2e_s"
    assert main([*options, "--e2e-s=0.01"]) == 1
    assert capsys.readouterr().err.startswith("no fleet keeps an E2E latency of 0.01 s at p90")


def test_classes_have_their_own() -> None:
    kinds = TrafficClass("chat", 0.7, 300.0, 60.0), TrafficClass("agents", 0.3, 2000.0, 120.0)
    goals = promised(1.0, 0.05, 0.9), promised(4.0, 0.05, 0.9, e2e_s=6.0)
    question = replace(BASE, traffic=mixed_traffic(40.0, kinds), class_promises=goals)
    found, _ = settled(Fleets(question))
    assert reaches(found.classes, goals)
    assert [len(one.got) for one in found.classes] == [2, 3]


def test_a_new_objective_is_a_row_of_metrics_and_a_row_of_fields(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Time a token of the answer, the wait in it, is planned, said, plotted, recorded and refused
    without another line of code."""
    slow = Metric(
        *("norm", "normalized latency", "norm_s", lambda got, _: got.whole / (got.later + 1), 0),
        *("definitions/service", 1e3, "ms"),
    )
    monkeypatch.setitem(METRICS, "norm", slow)
    with pytest.raises(ValueError, match=r"rows of FIELDS, got \['norm_s'\]"):
        read_choices(ASKED)
    field = Field(
        "norm_s", "Time from arrival, a token", "s", 1e-4, 10, group=FIELDS["e2e_s"].group
    )
    monkeypatch.setitem(FIELDS, "norm_s", field)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in ASKED.items()]
    assert main([*options, "--norm-s=0.2", "--goodput=0.9", "--whole"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("normalized latency at p90, promised  ") for line in lines)
    told = answer(read_choices(ASKED | {"norm_s": 0.2}))
    fleet = Fleets(replace(told.question, requests=400))
    run = fleet.performance(told.plan.best.replicas, told.plan.best.places, told.plan.best.budget)
    assert run is not None
    assert run.nearest.of("norm") == told.plan.best.nearest.of("norm")
    assert answer_record(told)["norm_s"] == run.nearest.of("norm").value <= 0.2
    assert "a normalized latency of 200 ms at p99" in answer_summary(told)
    assert latency_plot(told).rows[0][3] == "p99 of normalized latency [ms]"
    with pytest.raises(Infeasible, match=r"no fleet keeps a normalized latency of 0.001 s at p99"):
        answer(read_choices(ASKED | {"norm_s": 0.001}))
