"""The comparison: brute force, the front, bounds, executors, and what errors of the steps do."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import Any

import pytest
from serving_mathematics.planner import configurations
from serving_mathematics.planner.capacity_planner import fleet_search, separate_fleets
from serving_mathematics.planner.capacity_planner.capacity_planner import Plan, plan
from serving_mathematics.planner.capacity_planner.deployment_ranking import (
    Ranked,
    least_cost,
    try_deployment,
)
from serving_mathematics.planner.capacity_planner.model_errors import ModelError
from serving_mathematics.planner.capacity_planner.refusals import Infeasible
from serving_mathematics.planner.capacity_planner.separate_fleets import Apart
from serving_mathematics.planner.configurations import (
    Answer,
    Elsewhere,
    Separate,
    _drafter_name,
    answer,
    elsewhere,
    whole_answer,
)
from serving_mathematics.planner.questions.question import Question, _split_name
from serving_mathematics.planner.questions.questions import (
    other_choices,
    read_choices,
    read_question,
)

from .capacity_planner.test_deployment_ranking import all_ranked, made_run


def test_an_answer_is_the_plan_of_the_cheapest() -> None:
    values = {"rate_per_s": 9, "requests": 100, "precision": "bf16"}
    asked = read_choices(values | {"parallelism": "tp1, tp2"})
    found = answer(asked)
    assert isinstance(found, Answer)
    assert _split_name(found.question) == "tp1"
    assert found.plan == plan(asked[0])
    assert found.if_faster <= found.plan.best.replicas + 1
    assert found.if_slower is None or found.if_slower >= found.if_faster
    assert len(found.near) == 3
    (only,) = read_choices(values | {"parallelism": "tp2"})
    assert answer([only]).plan == plan(only)


def test_the_nearest_refusal_is_told_whatever_comes_first() -> None:
    asked = {"rate_per_s": 60, "ttft_s": 0.01, "precision": "fp8", "other_devices": "none"}
    said = []
    for widths in ("tp1,tp8", "tp8,tp1"):
        with pytest.raises(Infeasible) as refused:
            answer(read_choices(asked | {"parallelism": widths}))
        said.append(str(refused.value))
    assert said[0] == said[1]
    assert "on 8 × H100 SXM (tp8) in FP8, the nearest" in said[0]


def test_the_nearest_is_by_the_limit_that_is_missed_most() -> None:
    """One device in 16 bits misses the TTFT by half, but the TPOT by far more than eight do."""
    asked = {"rate_per_s": 3, "model": "Qwen3-8B", "device": "L4", "precision": "fp8, bf16"}
    asked |= {"tpot_s": 0.002, "parallelism": "tp1, tp8", "other_devices": "none"}
    with pytest.raises(
        Infeasible, match=r"a TPOT of 0.002 s .* on 8 × L4 \(tp8\) in FP8, the near"
    ):
        answer(read_choices(asked))


def test_steps_that_err_leave_the_answer_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter runs may say more replicas for faster steps, or fewer for slower ones."""
    asked = read_choices({"rate_per_s": 60, "requests": 100, "parallelism": "tp1"})
    for short in (1, 99):
        monkeypatch.setattr(configurations, "_fewest", lambda *_, short=short: short)
        found = answer(asked)
        assert found.if_slower is not None
        assert found.if_faster <= found.plan.best.replicas <= found.if_slower
        assert {found.if_faster, found.if_slower} == {found.plan.best.replicas, short}


def test_steps_that_err_can_take_the_objective_away() -> None:
    """An objective of a lone step plus a tenth: one run in ten was slower than that."""
    alone = least_cost(read_question({"rate_per_s": 0.1}))[1]
    asked = {"rate_per_s": 0.1, "tpot_s": 1.15 * alone, "requests": 400, "parallelism": "tp1"}
    asked |= {"precision": "bf16"}
    found = answer(read_choices(asked))
    assert found.plan.best.replicas >= 1
    assert found.if_slower is None


def test_separate_fleets_are_planned_with_longer_runs() -> None:
    """The row of the cheapest pair is that of the answer, and never dearer than another pair."""
    asked = TIGHT | {"requests": 120, "quantile": 0.9, "parallelism": "tp1, tp2"}
    told = answer(read_choices(asked | {"fleets": "two"}))
    assert isinstance(told.apart, Separate)
    assert told.apart.run is not None
    pairs = [one for one in told.ranked if one.question.separate and one.run]
    assert told.apart.run in [one.run for one in pairs]
    assert told.apart.run.usd_per_hour == min(one.run.usd_per_hour for one in pairs if one.run)
    assert told.apart.if_faster <= told.apart.run.replicas
    assert told.apart.if_slower is not None
    assert told.apart.if_slower >= told.apart.run.replicas
    costs = [one.run.usd_per_hour for one in told.ranked if one.run]
    assert costs == sorted(costs)
    assert answer(read_choices(asked)).apart is None


def test_pairs_run_longer_until_the_next_is_no_cheaper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up costs by search and by longer runs: the next is run where its cost is below that of
    the first by a longer run, three in all, and the first of two of one cost is told."""
    both = read_choices({"rate_per_s": 9, "parallelism": "tp1", "fleets": "two"})
    asked = replace(next(one for one in both if one.separate), requests=400)
    run, _ = try_deployment(asked)
    assert isinstance(run, Apart)
    monkeypatch.setattr(configurations, "_fewest", lambda *_: None)

    def told(searched: list[float], longer: list[float]) -> tuple[list[int], int | None]:
        ran: list[int] = []

        def settled(question: Question) -> Apart:
            ran.append(question.seed)
            if math.isinf(longer[question.seed]):
                raise Infeasible(f"no {question.seed}")
            return replace(run, usd_per_hour=longer[question.seed])

        monkeypatch.setattr(configurations, "settled_apart", settled)
        ranked = [
            Ranked(replace(asked, seed=n), cost, replace(run, usd_per_hour=cost), "")
            for n, cost in enumerate(searched)
        ]
        _, found = configurations._separate(ranked)
        assert found is not None
        assert found.if_faster == (2 if found.run else 0)
        return ran, found.question.seed if found.run else None

    assert told([2.0, 3.0, 4.0], [3.0, 3.0, 3.0]) == ([0], 0)
    assert told([2.0, 2.99, 4.0], [3.0, 2.99, 3.0]) == ([0, 1], 1)
    assert told([2.0, 2.5, 2.6, 2.7], [3.0, 3.0, 3.0, 1.0]) == ([0, 1, 2], 0)
    assert told([2.0, 2.5], [math.inf, 2.5]) == ([0, 1], 1)
    assert told([2.0, 2.5], [math.inf, math.inf]) == ([0, 1], None)


def test_two_are_planned_where_longer_runs_may_turn_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up costs by search and in plans: the next is planned where its cost is below that of the
    plans so far, or fewer do that cost less, and told where its plan costs less. A plan that ends
    in a refusal is none."""
    question = next(one.question for one in all_ranked() if one.run)
    whole = plan(replace(question, requests=100))
    errs = ModelError(0.9, 1.25, 9, 3)
    asked_of: list[float] = []

    def fewest(_: Question, slowness: float) -> None:
        asked_of.append(slowness)

    def told(
        searched: list[float], planned: list[float], least: float = math.inf, left: float = math.inf
    ) -> tuple[list[int], int]:
        ran: list[int] = []

        def made(one: Question, **_: Any) -> Plan:
            ran.append(one.seed)
            if math.isinf(planned[one.seed]):
                raise Infeasible(f"no {one.seed}")
            return replace(whole, best=made_run(planned[one.seed], 0.01, 0.02))

        ranked = [
            Ranked(replace(question, seed=n), min(cost, least), made_run(cost, 0.01, 0.02), "")
            for n, cost in enumerate(searched)
        ]
        ranked.append(Ranked(replace(question, seed=len(searched)), left, None, ""))
        monkeypatch.setattr(configurations, "plan", made)
        monkeypatch.setattr(configurations, "rank", lambda *_: ranked)
        found = answer([one.question for one in ranked])
        assert (found.if_faster, found.if_slower, found.apart) == (1, None, None)
        return ran, found.question.seed

    monkeypatch.setattr(configurations, "_fewest", fewest)
    monkeypatch.setattr(configurations, "_error", lambda _: errs)

    def below(one: Ranked, usd_per_hour: float) -> bool:
        return one.least_usd_per_hour < usd_per_hour

    monkeypatch.setattr(configurations, "_is_below", below)
    assert told([2.0, 3.0, 3.5], [3.0, 1.0, 1.0]) == ([0], 0)
    assert told([2.0, 2.9, 2.9], [3.0, 1.0, 0.5]) == ([0, 1], 1)
    assert told([2.0, 2.9], [3.0, 3.0]) == ([0, 1], 0)
    assert asked_of == [0.9, 1.25] * 3
    assert told([2.0, 2.9, 2.95], [3.0, 3.5, 2.0]) == ([0, 1, 2], 2)
    assert told([4.0, 4.0, 4.0], [4.0, 2.0, 1.0]) == ([0], 0)
    assert told([4.0, 4.0, 4.0], [4.0, 2.0, 1.0], 2.0) == ([0, 1], 1)
    assert told([4.0, 5.0, 6.0], [4.0, 3.0, 2.0], 2.0) == ([0, 1, 2], 2)
    assert told([2.0, 2.5], [math.inf, 2.5]) == ([0, 1], 1)
    assert told([2.0], [3.0, 2.8], left=2.5) == ([0, 1], 1)  # left out, and may be cheaper
    assert told([2.0], [2.5, 1.0], left=2.5) == ([0], 0)
    assert told([2.0], [math.inf, 4.0], left=3.0) == ([0, 1], 1)  # it was refused in no words
    with pytest.raises(Infeasible, match=r"^no 0$"):
        told([2.0, 2.5], [math.inf] * 3, left=9.0)


SMALL: dict[str, object] = {"peak_tflops": 400, "bandwidth_gb_per_s": 2000, "memory_gib": 24}
SMALL |= {"precision": "bf16", "mean_output_tokens": 50, "ttft_s": 20, "tpot_s": 0.1}
SMALL |= {"mean_prompt_tokens": 3000, "quantile": 0.9, "requests": 200}
CLOSE: dict[str, object] = {"model": "Qwen3-30B-A3B", "precision": "fp8", "mean_output_tokens": 50}
CLOSE |= {"mean_prompt_tokens": 10000, "cached_share": 0.95, "quantile": 0.9, "requests": 400}


def test_more_devices_are_no_dearer() -> None:
    """Short runs took three H100 ($6), and said that fewer would be overloaded, where two do ($4);
    so two H200 of $5.20 were the answer to both."""
    asked: dict[str, object] = {"rate_per_s": 60, "arrival_scv": 0, "cached_share": 0.5}
    asked |= {"ttft_s": 4, "quantile": 0.5, "requests": 200, "precision": "fp8"}
    asked |= {"device": "H100,H200", "price_per_hour": "2,2.6", "parallelism": "tp1"}
    found = answer(read_choices(asked))
    assert (found.question.deployment.system.name, found.plan.best.replicas) == ("h100_sxm", 2)


def test_what_short_runs_find_far_too_dear_is_looked_at_again() -> None:
    """Short runs, of few agents, took nine of two H200 ($36), and long ones take three ($12): two
    of four ($16) were the answer, and two alone were cheaper."""
    asked: dict[str, object] = {"rate_per_s": 20, "device": "H200", "precision": "fp8"}
    asked["classes"] = "chat:0.7:prompt=800,ttft=1;agents:0.3:prompt=8000,ttft=5"
    found = answer(read_choices(asked | {"parallelism": "tp2,tp4"}))
    assert (found.question.deployment.devices, found.plan.best.replicas) == (2, 3)
    assert found.plan.best.usd_per_hour == 12


@pytest.mark.parametrize(
    ("asked", "one", "two"),
    [
        (SMALL | {"rate_per_s": 1}, math.inf, 4.0),  # short runs have no prompt that is too long
        (SMALL | {"gpus": 2}, math.inf, 4.0),
        (CLOSE | {"ttft_s": 5, "tpot_s": 0.1, "e2e_s": 40, "rate_per_s": 17.1}, 2.0, 4.0),
    ],
)
def test_more_splits_are_no_dearer_and_refuse_nothing(
    asked: dict[str, object], one: float, two: float
) -> None:
    """Of two splits that are asked for together the answer is the better of both alone."""

    def usd_per_hour(splits: str) -> float:
        try:
            return answer(read_choices(asked | {"parallelism": splits})).plan.best.usd_per_hour
        except Infeasible:
            return math.inf

    assert (usd_per_hour("tp1"), usd_per_hour("tp2")) == (one, two)
    assert usd_per_hour("tp1,tp2") == min(one, two)


TIGHT = {"rate_per_s": 60, "tpot_s": 0.015, "requests": 400, "parallelism": "tp1"}
TIGHT |= {"precision": "bf16"}


@pytest.mark.parametrize("fleets", ["one", "two"])
def test_what_two_fleets_would_do_is_said_where_one_cannot(
    fleets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no more than three replicas in the search of one fleet; two are not limited by that."""
    monkeypatch.setattr(fleet_search, "MOST_REPLICAS", 3)
    choices = read_choices(TIGHT | {"fleets": fleets})
    run, _ = try_deployment(replace(choices[0], separate=True))
    assert isinstance(run, Apart)
    told = (
        rf"^no fleet of up to 3 replicas keeps the objective; separate fleets do \(fleets: two\), "
        rf"{run.prompts} for prompts and {run.answers} for answers of 1 × H100 SXM, tp1, bf16, "
        rf"\${run.usd_per_hour:.2f} an hour$"
    )
    with pytest.raises(Infeasible, match=told):
        answer(choices)


def test_nothing_is_proposed_where_two_fleets_are_no_faster() -> None:
    for limits in ({"ttft_s": 0.001}, {"tpot_s": 0.001}):
        with pytest.raises(Infeasible, match=r"takes [\d.]+ s$"):
            answer(read_choices(TIGHT | limits))


def test_nothing_is_proposed_that_has_no_room_for_the_longest_request_either() -> None:
    with pytest.raises(Infeasible, match=r"where the KV memory of a replica holds 21,648$"):
        answer(read_choices(SMALL | {"rate_per_s": 1, "parallelism": "tp1"}))


STRICT = {"rate_per_s": 5, "requests": 400, "precision": "fp8", "other_devices": "none"}
PROPOSED = (
    "; with front: unknown, behind which fewer steps pass around a prompt, one request alone would "
    "be in time"
)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ({"ttft_s": 0.05}, True),
        ({"ttft_s": 0.05, "fleets": "two", "parallelism": "tp4"}, True),
        ({"ttft_s": 0.05, "tpot_s": 0.001, "parallelism": "tp8"}, False),  # which no front keeps
        ({"ttft_s": 0.082, "parallelism": "tp1"}, True),
        ({"ttft_s": 0.08, "parallelism": "tp1"}, False),
        ({"ttft_s": 0.082, "parallelism": "tp1", "requests": 4000}, True),  # without short runs
        ({"ttft_s": 0.077, "parallelism": "tp1", "requests": 4000}, False),  # of longer runs
        ({"ttft_s": 0.08, "parallelism": "tp1", "precision": "fp8, bf16", "requests": 4000}, False),
        ({"ttft_s": 0.09, "parallelism": "tp1", "rate_per_s": None, "gpus": 1}, True),
        ({"ttft_s": 0.05, "rate_per_s": None, "gpus": 2}, False),  # four would do
    ],
)
def test_a_first_token_that_the_front_unknown_keeps_is_said(
    asked: dict[str, object], answered: bool
) -> None:
    """Where the same question is answered behind it, and nowhere else."""
    values = {name: value for name, value in (STRICT | asked).items() if value is not None}
    with pytest.raises(Infeasible, match=r"^no fleet keeps a TTFT") as refused:
        whole_answer(read_choices(values), values)
    assert str(refused.value).count(PROPOSED) == answered
    assert not answered or str(refused.value).endswith(PROPOSED)
    behind = values | {"front": "unknown"}
    with contextlib.nullcontext() if answered else pytest.raises(Infeasible) as again:
        whole_answer(read_choices(behind), behind)
    assert again is None or PROPOSED not in str(again.value)


def test_no_front_is_proposed_where_first_tokens_are_not_why() -> None:
    for limits in ({"tpot_s": 0.001}, {"ttft_s": 0.05, "front": "ml-energy"}):
        values = STRICT | limits | {"parallelism": "tp1"}
        with pytest.raises(Infeasible) as refused:
            whole_answer(read_choices(values), values)
        assert "front" not in str(refused.value)


def test_two_fleets_have_a_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    (choice,) = read_choices(TIGHT)
    run, _ = try_deployment(replace(choice, separate=True))
    assert isinstance(run, Apart)
    for most, problem in (
        (run.replicas, ""),
        (run.replicas - 1, f"no two fleets of {run.replicas - 1} replicas keep the objective"),
    ):
        monkeypatch.setattr(separate_fleets, "MOST_REPLICAS", most)
        assert try_deployment(replace(choice, separate=True))[1] == problem


@pytest.mark.parametrize(
    ("drafter", "name"),
    [
        ("mtp", "mtp guesses 2"),
        ("ngram", "ngram guesses 2"),
        ("Qwen3-0.6B", "Qwen3-0.6B guesses 2"),
    ],
)
def test_what_guesses_is_said_in_short(drafter: str, name: str) -> None:
    values = {"rate_per_s": 1, "model": "Qwen3-32B", "draft_tokens": 2, "accepted_tokens": 2}
    assert _drafter_name(read_question(values | {"drafter": drafter})) == name
    assert not _drafter_name(
        read_question({"rate_per_s": 1, "drafter": "ngram", "draft_tokens": 0})
    )


def test_another_device_is_as_cheap_at_the_price_that_is_said() -> None:
    """Asked with that price it costs what the answer does, and nothing where no fleet is."""
    asked: dict[str, object] = {"rate_per_s": 60, "requests": 100, "parallelism": "tp1"}
    asked |= {"other_devices": "B200, L4", "spot_share": 0.5, "ttft_s": 0.6}
    found = answer(read_choices(asked))
    (one,) = elsewhere(found, other_choices(asked))  # an L4 keeps no TTFT of 0.6 s
    assert whole_answer(read_choices(asked), asked) == replace(found, others=(one,))
    assert isinstance(one, Elsewhere)
    assert one.question.deployment.system.name == "b200_sxm"
    price = {"device": "B200", "price_per_hour": one.even_usd_per_hour}
    run, _ = try_deployment(replace(one.question, price_per_hour=0.7 * one.even_usd_per_hour))
    assert run
    assert one.devices == run.replicas
    assert run.usd_per_hour == pytest.approx(found.plan.best.usd_per_hour)
    assert read_choices(asked | price)[0].price_per_hour == pytest.approx(
        0.7 * one.even_usd_per_hour
    )
    assert elsewhere(found, []) == []
