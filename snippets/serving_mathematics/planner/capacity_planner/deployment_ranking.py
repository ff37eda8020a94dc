"""Deployments ranked by cost, and the front of cost against speed.

No fleet is smaller than the load over the rate of a replica that is always full, so every
deployment has a least cost without a simulation. They are simulated in that order, in rounds, with
the same requests for all (common random numbers); one whose least cost is no less than the cost of
one that was simulated cannot win, and is left out unless it may be faster for a user.

Assumes: what `fleet_search` assumes; a deployment that costs more than four times the cheapest is
of no interest, however fast.

Source: the saturated rate of `event_skipping` for the bound; Glasserman and Yao (1992) for common
random numbers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.hardware.deployments import Impossible
from serving_mathematics.planner.capacity_planner.closed_form import closed_form_alone
from serving_mathematics.planner.capacity_planner.fleet_search import Fleets, Performance
from serving_mathematics.planner.capacity_planner.given_devices import ROUND
from serving_mathematics.planner.capacity_planner.judged_requests import _require_enough, _shorter
from serving_mathematics.planner.capacity_planner.refusals import Infeasible, _over
from serving_mathematics.planner.capacity_planner.separate_fleets import Apart, SeparateFleets
from serving_mathematics.planner.questions.question import Question, _split_name
from serving_mathematics.planner.questions.questions import read_choices
from serving_mathematics.support import checks
from serving_mathematics.support.require import require

OF_INTEREST = 4.0  # times the cheapest


@dataclass(frozen=True)
class Ranked:
    """A deployment in the comparison: its least cost, and what it came to where it was simulated;
    why not, where it cannot keep the objective."""

    question: Question
    least_usd_per_hour: float
    run: Performance | Apart | None
    problem: str
    over: float = math.inf  # of a lone request, times its limit


@functools.lru_cache(maxsize=2 * ROUND)  # what says the bound is asked again for the fleet
def _short_runs(question: Question) -> Fleets | SeparateFleets:
    """Fleets of one deployment with a quarter of its requests."""
    short = _shorter(question)
    return SeparateFleets(short) if question.separate else Fleets(short)


def least_cost(question: Question) -> tuple[float, float]:
    """A bound of a fleet's dollars an hour, and the time per token of one request alone [s].

    question: of one deployment. Raises Infeasible and Impossible where it cannot keep the
    objective, ValueError on a question that is wrong.

    >>> from serving_mathematics.planner.questions.questions import read_question
    >>> least_cost(read_question({"rate_per_s": 60}))[0]
    6.0
    """
    runs = _short_runs(question)
    if isinstance(runs, SeparateFleets):
        fleet, least = runs.fleet, question.usd_apart(*runs.least)
    else:
        fleet, least = runs, question.usd_per_hour(runs.least)
    engine = replace(fleet.engine, max_sequences=1, token_budget=fleet.budgets[0])
    _, alone = closed_form_alone(fleet.sample, engine)
    alone = alone[~np.isnan(alone)]
    return least, float(np.median(alone)) if alone.size else 0.0


def try_deployment(question: Question) -> tuple[Performance | Apart | None, str]:
    """The fewest replicas of one deployment by short runs, or why there are none.

    question: of one deployment.

    >>> from serving_mathematics.planner.questions.questions import read_question
    >>> try_deployment(read_question({"rate_per_s": 60}))[1]
    ''
    """
    try:
        return _short_runs(question).fewest(), ""
    except (Impossible, Infeasible) as problem:
        return None, str(problem)


def rank(
    choices: Sequence[Question],
    executor: futures.Executor | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[Ranked]:
    """All deployments, the cheapest of those that were simulated first.

    choices: one question for each deployment. executor: any of `concurrent.futures`, or None; the
    ranking is the same. progress: told how many of how many are decided. Raises ValueError when
    there is none, and on what is wrong with the question and not with one deployment.

    >>> from serving_mathematics.planner.questions.questions import read_choices
    >>> asked = {"rate_per_s": 9, "requests": 100, "parallelism": "tp1,tp2", "precision": "auto"}
    >>> found = rank(read_choices(asked))
    >>> [one.question.deployment.devices for one in found]
    [1, 2]
    """
    require(len(choices) > 0, "choices", "one deployment or more", "none")
    for question in choices:
        _require_enough(question)
    bounds: list[tuple[float, float, int]] = []
    impossible = []
    for place, question in enumerate(choices):
        try:
            bounds.append((*least_cost(question), place))
        except (Impossible, Infeasible) as problem:
            impossible.append(_refused(question, problem))
    bounds.sort()
    simulated: list[Ranked] = []
    left_out: list[Ranked] = []
    cheapest, fastest = math.inf, math.inf
    while bounds:
        now: list[tuple[float, float, int]] = []
        while bounds and len(now) < ROUND:
            cost, alone, place = bounds.pop(0)
            faster = alone < 0.9 * fastest and cost < OF_INTEREST * cheapest
            if cost < cheapest or faster:
                now.append((cost, alone, place))
            else:
                left_out.append(Ranked(choices[place], cost, None, ""))
        asked = [choices[place] for _, _, place in now]
        tried = (
            map(try_deployment, asked) if executor is None else executor.map(try_deployment, asked)
        )
        for (cost, _, place), (run, why) in zip(now, tried, strict=True):
            if run is None:
                impossible.append(Ranked(choices[place], cost, None, why))
                continue
            simulated.append(Ranked(choices[place], cost, run, ""))
            cheapest = min(cheapest, run.usd_per_hour)
            fastest = min(fastest, run.tpot[0].value)
        if progress:
            progress(len(choices) - len(bounds), len(choices))
    for separate in (False, True):  # one of either kind, to be seen beside the other
        left = [one for one in left_out if one.question.separate is separate]
        while left and not any(one.question.separate is separate for one in simulated):
            one = left.pop(0)
            left_out.remove(one)
            run, why = try_deployment(one.question)
            (simulated if run else impossible).append(replace(one, run=run, problem=why))
    _short_runs.cache_clear()  # of one question nothing is left for another
    return [*_in_order(simulated), *left_out, *impossible]


def _in_order(ranked: Sequence[Ranked]) -> list[Ranked]:
    """Those that were simulated first, the cheapest and then the fastest at the front."""
    simulated = [one for one in ranked if one.run]
    simulated.sort(key=lambda one: (one.run.usd_per_hour, one.run.tpot[0].value) if one.run else ())
    return [*simulated, *(one for one in ranked if not one.run)]


def _refused(question: Question, problem: ValueError) -> Ranked:
    """A deployment that cannot keep the objective, even for a lone request."""
    return Ranked(question, math.inf, None, str(problem), _over(problem))


def pareto_front(ranked: Sequence[Ranked]) -> list[Ranked]:
    """Those that are faster a user than all that cost as little a token or less, the cheapest
    first.

    ranked: deployments; those that were not simulated are passed over.

    >>> from serving_mathematics.planner.capacity_planner.deployment_ranking import rank
    >>> from serving_mathematics.planner.questions.questions import read_choices
    >>> found = rank(read_choices({"rate_per_s": 9, "requests": 100, "parallelism": "tp1,tp2"}))
    >>> [one.question.deployment.devices for one in pareto_front(found)]
    [1, 2]
    """
    front: list[Ranked] = []
    runs = [one for one in ranked if one.run]
    runs.sort(key=lambda one: (one.run.usd_per_million, one.run.tpot[0].value) if one.run else ())
    for one in runs:
        last = front[-1].run if front else None
        if last is None or (one.run and one.run.tpot[0].value < last.tpot[0].value):
            front.append(one)
    return front


COMPARED = {  # the page's comparison
    "rate_per_s": 20,
    "model": "Llama-3.1-70B",
    "device": "H100, H200, B200",
    "precision": "bf16, fp8",
    "price_per_hour": "2, 2.6, 4",
    "ttft_s": 2,
    "requests": 2000,
}


def example() -> SimpleNamespace:
    """A comparison of devices, formats and splits, and what was left out."""
    ranked = rank(read_choices(COMPARED))
    simulated = sum(one.run is not None for one in ranked)
    return SimpleNamespace(compared=len(ranked), compared_simulated=simulated)


def check_the_bound_holds() -> None:
    """No deployment that was simulated costs less than its bound, and none that was left out could
    have been the cheapest.

    Source: brute force, every deployment of a small comparison simulated.
    """
    asked = {"rate_per_s": 40, "requests": 200, "device": "H100, B200", "price_per_hour": "2, 4"}
    ranked = rank(read_choices(asked))
    costs = []
    for one in ranked:
        run, _ = try_deployment(one.question)
        if run:
            holds = run.usd_per_hour >= one.least_usd_per_hour
            device = one.question.deployment.system.name
            name = f"{device} {_split_name(one.question)}"
            checks.holds(f"{name}: cost above the bound", holds, got=run.usd_per_hour)
            costs.append(run.usd_per_hour)
    assert ranked[0].run is not None
    checks.equal("the cheapest [$/h]", ranked[0].run.usd_per_hour, min(costs))
