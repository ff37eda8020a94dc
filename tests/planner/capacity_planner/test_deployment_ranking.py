"""The ranking: brute force, the front, bounds, rounds, and refusals."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from dataclasses import replace
from typing import Any

import pytest
from serving_mathematics.planner.capacity_planner import deployment_ranking
from serving_mathematics.planner.capacity_planner.deployment_ranking import (
    Ranked,
    least_cost,
    pareto_front,
    rank,
    try_deployment,
)
from serving_mathematics.planner.capacity_planner.fleet_search import Performance
from serving_mathematics.planner.capacity_planner.judged_requests import Quantile
from serving_mathematics.planner.capacity_planner.refusals import Infeasible
from serving_mathematics.planner.configurations import answer
from serving_mathematics.planner.questions.objectives import promised
from serving_mathematics.planner.questions.question import Question, _split_name
from serving_mathematics.planner.questions.questions import read_choices, read_question

ASKED = {
    "rate_per_s": 15,
    "model": "Qwen3-32B",
    "device": "H100, B200",
    "precision": "bf16, fp8",
    "price_per_hour": "2, 4",
    "ttft_s": 2,
    "requests": 200,
}
CHOICES = read_choices(ASKED)


@functools.cache
def all_ranked() -> list[Ranked]:
    """Of the choices, where they are first looked at."""
    return rank(CHOICES)


def test_the_cheapest_by_brute_force() -> None:
    costs = [run.usd_per_hour for run, _ in map(try_deployment, CHOICES) if run]
    best = all_ranked()[0]
    assert isinstance(best, Ranked)
    assert best.run is not None
    assert best.run.usd_per_hour == min(costs)
    assert len(all_ranked()) == len(CHOICES)
    order = [one.run.usd_per_hour for one in all_ranked() if one.run]
    assert order == sorted(order)


def test_only_what_a_deployment_cannot_be_is_passed_over() -> None:
    """Weights that do not fit, and a fleet that keeps nothing, are rows of the comparison; a wrong
    question is an error, also where the other deployments would have an answer."""
    small = replace(CHOICES[0].deployment.system, memory_bytes=1e9)
    tight = replace(CHOICES[0], deployment=replace(CHOICES[0].deployment, system=small))
    fast = replace(CHOICES[0], promise=promised(1e-4, 1.0))
    told = [one.problem for one in rank([tight, fast, all_ranked()[0].question])]
    assert [text.partition(" must")[0].partition(" of")[0] for text in told] == [
        "",
        "model weights",
        "no fleet keeps a TTFT",
    ]
    wrong = replace(CHOICES[0], batch_limit=9999)
    with pytest.raises(ValueError, match="must be") as refused:
        rank([all_ranked()[0].question, wrong])
    assert refused.type is ValueError
    with pytest.raises(ValueError, match="must be"):
        try_deployment(wrong)


def test_the_front_by_comparing_each_with_each() -> None:
    runs = [one for one in all_ranked() if one.run]

    def beaten(one: Ranked) -> bool:
        return any(
            (x.run.usd_per_million, x.run.tpot[0].value)
            != (one.run.usd_per_million, one.run.tpot[0].value)
            and x.run.usd_per_million <= one.run.usd_per_million
            and x.run.tpot[0].value <= one.run.tpot[0].value
            for x in runs
            if x.run and one.run
        )

    front = pareto_front(all_ranked())
    expected = [one for one in runs if not beaten(one)]
    names = [{_split_name(x.question) for x in group} for group in (front, expected)]
    assert names[0] <= names[1]
    assert not any(beaten(one) for one in front)
    assert pareto_front([]) == []


def made_run(usd_per_hour: float, median_s: float, p99_s: float) -> Performance:
    """A run of this price and these times per token."""
    found = all_ranked()[0].run
    assert isinstance(found, Performance)
    tpot = (Quantile(median_s, 0.0), *[Quantile(p99_s, 0.0)] * (len(found.tpot) - 1))
    return replace(found, usd_per_hour=usd_per_hour, usd_per_million=usd_per_hour, tpot=tpot)


class Rounds(futures.Executor):
    """Runs at once, and keeps how many it was given each time."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def map(self, do: Any, given: Iterable[Any], **_: Any) -> Iterator[Any]:  # type: ignore[override]
        asked = list(given)
        self.sizes.append(len(asked))
        return map(do, asked)


def ranked_with(
    monkeypatch: pytest.MonkeyPatch,
    table: dict[int, tuple[float, float, Performance]],
    progress: Callable[[int, int], object] | None = None,
) -> tuple[list[int], list[int], list[int]]:
    """Deployments of made-up least costs, times alone and runs, by number: which were simulated,
    which were left out, both in their order, and the sizes of the rounds."""

    def bound(question: Question) -> tuple[float, float]:
        cost, alone, _ = table[question.seed]
        return cost, alone

    def tried(question: Question) -> tuple[Performance, str]:
        return table[question.seed][2], ""

    monkeypatch.setattr(deployment_ranking, "least_cost", bound)
    monkeypatch.setattr(deployment_ranking, "try_deployment", tried)
    rounds = Rounds()
    found = rank([replace(CHOICES[0], seed=number) for number in table], rounds, progress)
    simulated = [one.question.seed for one in found if one.run]
    return simulated, [one.question.seed for one in found if not one.run], rounds.sizes


def test_who_is_simulated_after_the_first_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight whose cheapest costs $2 an hour and whose fastest takes 0.5 s a token in the median:
    another is simulated where its least cost is below $2, or where a request alone takes less than
    0.45 s and the cost is below $8."""
    first = {n: (1.0 + n / 100, 1.0, made_run(2.0 + n, 0.5 + n, 0.1)) for n in range(8)}
    later = made_run(9.0, 0.7, 0.7)
    more = {
        10: (1.99, 1.0, later),
        11: (2.0, 1.0, later),
        12: (2.0, 0.45, later),
        13: (7.99, 0.44, later),
        14: (8.0, 0.44, later),
    }
    simulated, left, sizes = ranked_with(monkeypatch, first | more)
    assert sizes == [8, 2]
    assert set(simulated) == {*range(8), 10, 13}
    assert left == [12, 11, 14]


def test_the_median_tells_the_faster_of_two_of_one_price(monkeypatch: pytest.MonkeyPatch) -> None:
    medians = {1: 0.03, 2: 0.01, 3: 0.02}
    table = {n: (1.0, 1.0, made_run(2.0, s, 1 - s)) for n, s in medians.items()}
    assert ranked_with(monkeypatch, table)[0] == [2, 3, 1]
    costs = {1: (2.0, 0.03, 0.1), 2: (3.0, 0.02, 0.2), 3: (3.0, 0.01, 0.3), 4: (4.0, 0.01, 0.05)}
    of_these = [Ranked(CHOICES[0], 0.0, made_run(*run), str(n)) for n, run in costs.items()]
    assert [one.problem for one in pareto_front(of_these)] == ["1", "3"]


def test_progress_counts_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    table = {n: (1.0, 1.0, made_run(2.0, 0.5, 0.1)) for n in range(20)}
    ranked_with(monkeypatch, table, lambda done, total: told.append((done, total)))
    assert told == [(8, 20), (16, 20), (20, 20)]


def test_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="choices must be one deployment or more"):
        rank([])
    hopeless = read_choices({"rate_per_s": 1, "tpot_s": 0.0001, "requests": 200})
    ranked = rank(hopeless)
    assert all(one.problem.startswith("no fleet keeps a TPOT") for one in ranked)
    assert all(math.isinf(one.least_usd_per_hour) for one in ranked)
    with pytest.raises(Infeasible, match="no fleet keeps a TPOT"):
        answer(hopeless)


def test_replicas_that_may_fail_are_in_the_bound_and_in_the_cost() -> None:
    question = read_question({"rate_per_s": 9, "requests": 400, "spare_replicas": 3})
    without = replace(question, spare_replicas=0)
    assert least_cost(question)[0] == least_cost(without)[0] + 6.0
    run, _ = try_deployment(question)
    other, _ = try_deployment(without)
    assert run is not None
    assert other is not None
    assert run.usd_per_hour == other.usd_per_hour + 6.0
