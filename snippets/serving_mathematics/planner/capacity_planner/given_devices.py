"""The most requests a second that GPUs which are there carry within a promise.

The planner's question turned round: not the fewest replicas for a rate, but for every deployment
the largest rate at which as many replicas as there are GPUs for keep the promise. A rate is tried
by what settles a fleet of one size for a rate that is given, with the limits that are best there.
No rate is above that of replicas which are always full, a closed form; below it the search steps
down until the promise is kept, and halves what is left, on rates of three digits. Deployments are
compared by short runs, and the rate of the best is settled by longer ones.

Requests of a trace come so much closer together, or farther apart, that their mean rate is the one
that is tried.

Of separate fleets a rate is carried where a plan for it takes no more GPUs than there are.

Assumes: what `fleet_search` assumes; what is kept at a rate is kept at lower ones. Simulated
quantiles do not rise everywhere with the rate: within the interval of the run a rate may be missed
below one that is kept, and the answer is then either of both. The same requests come at every rate,
closer together, so that this is rare.

Source: the saturated rate of `event_skipping` for the bound; `fleet_search` for what keeps a
promise; Glasserman and Yao (1992) for common random numbers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from serving_mathematics.core.hardware.deployments import Impossible
from serving_mathematics.planner.capacity_planner.capacity_planner import plan
from serving_mathematics.planner.capacity_planner.fleet_search import (
    Fleets,
    Performance,
    Told,
    _first_decided,
    _four_times,
    _longer,
)
from serving_mathematics.planner.capacity_planner.judged_requests import _require_enough, _shorter
from serving_mathematics.planner.capacity_planner.refusals import Infeasible, _nearest_refusal
from serving_mathematics.planner.capacity_planner.separate_fleets import (
    Apart,
    SeparateFleets,
    settled_apart,
)
from serving_mathematics.planner.questions.fields import FIELDS
from serving_mathematics.planner.questions.question import Question, _asked_rate, _at_rate
from serving_mathematics.planner.questions.questions import read_choices
from serving_mathematics.support import checks
from serving_mathematics.support.require import require, require_non_negative, require_positive

ROUND = 8  # deployments that are compared before the rest is looked at again
CLOSE = 0.02  # the rate is found to one part in fifty
BEGIN = 0.8  # of the rate of full replicas, where nothing is known
SURE_FROM = 0.95  # of the rate that is kept, where one begins that is kept for sure
LOWEST, HIGHEST = FIELDS["rate_per_s"].low, FIELDS["rate_per_s"].high  # of requests a second
SMALL: dict[str, object] = {"parallelism": "tp1", "precision": "fp8"}  # of the checks


Run = TypeVar("Run", Performance, Apart)


@dataclass(frozen=True)
class Carried(Generic[Run]):
    """A deployment, or separate fleets of it, with the rate that it carries, and what its replicas
    do then; or with the bound of that rate, where it was not simulated; or why it carries none."""

    question: Question
    run: Run | None
    problem: str

    @property
    def rate_per_s(self) -> float:
        """Requests a second to all replicas."""
        return _asked_rate(self.question)


@dataclass(frozen=True)
class Rates:
    """Requests a second that the answer's deployment carries with all intervals within the promise,
    and where steps are as much faster and slower as one measured run in ten; 0 for none."""

    sure_per_s: float
    if_faster_per_s: float
    if_slower_per_s: float
    over_trace: float = 0.0  # rate of the answer over the trace's; or 0


def most_kept(kept: Callable[[float], bool], most: float, near: float = 0.0) -> float:
    """The largest rate of three digits that is kept, to one part in fifty; 0 where none is.

    kept: of each rate whether it is, and of all smaller ones then. most: that is not, positive.
    near: where the search begins, 0 where nothing is known. Raises ValueError outside these ranges.

    >>> most_kept(lambda rate: rate <= 163.0, 200.0), most_kept(lambda rate: False, 200.0)
    (162.0, 0.0)
    """
    most = require_positive(most=most)
    near = require_non_negative(near=near)
    low, high, step = 0.0, most, 1 + CLOSE if near else 1 / BEGIN
    rate = near or BEGIN * most
    while high > max(LOWEST, (1 + CLOSE) * low):
        rate = float(f"{max(LOWEST, rate):.3g}")
        if kept(rate):
            low = rate
        else:
            high = rate
        rate = math.sqrt(low) * math.sqrt(high)
        if not low:
            rate = high / step
        elif near and high == most:
            rate = min(rate, low * step)
        step *= step
    return low


def carried(question: Question, slowness: float = 1.0, near: float = 0.0) -> Carried[Performance]:
    """The most that a deployment carries on the GPUs that are there, by short runs.

    question: of one deployment. slowness: of all steps. near: the rate that it may be [1/s], or 0.
    Raises ValueError on what is wrong with the question and not with this deployment.

    >>> from serving_mathematics.planner.questions.questions import read_question
    >>> found = carried(read_question({"gpus": 2, "requests": 400}))
    >>> found.run.replicas, 20 < found.rate_per_s < 60
    (2, True)
    """
    replicas = question.replicas_there
    try:
        fleet = Fleets(_shorter(question), slowness=slowness)
    except (Impossible, Infeasible) as problem:
        return Carried(question, None, str(problem))

    kept = fleet  # at the largest rate so far, which comes last

    def tried(rate: float) -> Performance | None:
        nonlocal kept
        other = fleet.at_rate(rate)
        run = other.best(replicas, any_one=True)
        kept = other if other.keeps(run) else kept
        return run if kept is other else None

    found = _most_of(question, replicas, tried, replicas * fleet.fullest_rate(), near)
    return replace(found, run=kept.best(replicas)) if found.run else found


def most_carried(
    choices: Sequence[Question],
    executor: futures.Executor | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[Carried[Performance]]:
    """All deployments by short runs, the one that carries most first, then those that were left out
    because their bound is no more, then those that carry nothing.

    choices: one question for each deployment, with GPUs that are given. executor: any of
    `concurrent.futures`, or None; the order is the same. progress: told how many of how many are
    decided. Raises Infeasible where none carries anything, with what would do; ValueError on what
    is wrong with the question and not with one deployment, and where a bound is above what can be
    asked for.

    >>> from serving_mathematics.planner.questions.questions import read_choices
    >>> asked = {"gpus": 2, "requests": 100, "precision": "fp8"}
    >>> [one.question.deployment.tensor for one in most_carried(read_choices(asked))][0]
    1
    """
    require(len(choices) > 0, "choices", "one deployment or more", "none")
    bounds: list[tuple[float, int]] = []
    nothing: list[Carried[Performance]] = []
    refused: list[tuple[Question, ValueError]] = []
    for place, question in enumerate(choices):
        _require_enough(question)
        devices = question.deployment.devices
        if not question.replicas_there:
            nothing.append(Carried(question, None, f"a replica takes {devices:,} GPUs"))
            continue
        try:
            bounds.append((-_bound(question), place))
        except (Impossible, Infeasible) as problem:
            nothing.append(Carried(question, None, str(problem)))
            refused.append((question, problem))
    bounds.sort()
    found: list[Carried[Performance]] = []
    left_out: list[Carried[Performance]] = []
    most = 0.0
    for first in range(0, len(bounds), ROUND):
        asked = []
        for bound, place in bounds[first : first + ROUND]:
            if -bound > most:
                asked.append(choices[place])
            else:
                left_out.append(Carried(_at_rate(choices[place], -bound), None, ""))
        for one in map(carried, asked) if executor is None else executor.map(carried, asked):
            if one.run:
                found.append(one)
                most = max(most, one.rate_per_s)
            else:
                nothing.append(one)
                refused.append((one.question, Infeasible(one.problem)))
        if progress:
            progress(len(nothing) + len(found) + len(left_out), len(choices))
    if not found:
        raise Infeasible(f"{_nearest_refusal(refused)}{_would_do(choices)}")
    found.sort(key=lambda one: (-one.rate_per_s, one.run.usd_per_hour if one.run else 0.0))
    return [*found, *left_out, *nothing]


def _bound(question: Question) -> float:
    """Requests a second of replicas that are always full; refused above what can be asked for."""
    fleet, replicas = Fleets(_shorter(question)), question.replicas_there
    full = fleet.fullest_rate()
    one = question.deployment.devices
    enough = one * (math.floor(HIGHEST / full) + question.spare_replicas)
    rule = f"at most {enough:,}, because more might carry over {HIGHEST:,.0f} requests/s"
    require(replicas * full <= HIGHEST, "gpus", rule, f"{question.gpus:,}")
    return replicas * full


def _would_do(choices: Sequence[Question]) -> str:
    """How many GPUs a replica takes on which one request alone keeps the promise, as the end of a
    refusal; of those for which there are too few."""
    for question in sorted(choices, key=lambda one: one.deployment.devices):
        if question.replicas_there:
            continue
        try:
            Fleets(_shorter(question))
        except (Impossible, Infeasible):
            continue
        need = question.deployment.devices * (1 + question.spare_replicas)
        return f"; with {need:,} GPUs one request alone would be in time"
    return ""


def settled_carried(
    asked: Carried[Performance], told: Told | None = None, sure: bool = False, above: float = 0.0
) -> Carried[Performance]:
    """The most that a deployment carries by the longer runs on which an answer rests.

    asked: what it carries by short runs. told: hears of every fleet before it is simulated. sure:
    whether the intervals must lie within the promise too, with the limits of asked, which is then
    what is carried without, and not for sure. above: what another carries [1/s]; one that carries
    no more by a fiftieth keeps its short run, at no more than that. Raises ValueError unless it is
    non-negative.

    >>> from serving_mathematics.planner.capacity_planner.given_devices import carried
    >>> from serving_mathematics.planner.questions.questions import read_question
    >>> short = carried(read_question({"gpus": 1, "requests": 100, "quantile": 0.9}))
    >>> settled_carried(short).run.simulated, short.run.simulated  # 4 times the requests
    (360, 90)
    """
    question, above = asked.question, require_non_negative(above=above)
    replicas, most, near = question.replicas_there, asked.rate_per_s, SURE_FROM * asked.rate_per_s
    try:
        fleet = Fleets(question, told)
        long = _four_times(fleet)
    except Infeasible as problem:  # of a request that is longer than those of short runs
        return Carried(question, None, str(problem))
    if not sure:
        most, near = replicas * fleet.fullest_rate(), asked.rate_per_s

    @functools.cache
    def both_at(rate: float) -> tuple[Fleets, Fleets]:
        return fleet.at_rate(rate), long.at_rate(rate)

    def tried(rate: float) -> Performance | None:
        return _longer(*both_at(rate), replicas)

    def as_it_is(rate: float) -> Performance | None:
        if asked.run is None:
            return None
        run = both_at(rate)[1].performance(replicas, asked.run.places, asked.run.budget)
        return run if run and (long.sure if sure else long.keeps)(run) else None

    if above and tried((1 + CLOSE) * above) is None:
        return replace(asked, question=_at_rate(question, min(above, asked.rate_per_s)))
    with_its_limits = _most_of(
        question, replicas, as_it_is, most, near
    )  # one run a rate, others take twenty
    if sure:
        return with_its_limits
    found = _most_of(question, replicas, tried, most, with_its_limits.rate_per_s)
    if found.run is None:
        return found
    return replace(found, run=_first_decided(*both_at(found.rate_per_s), found.run))


def _carried_apart(question: Question, settle: bool = False, near: float = 0.0) -> Carried[Apart]:
    """The most that two fleets of one deployment carry on the GPUs that are there, with as many
    replicas for prompts and for answers as a plan for that rate takes. settle: by the longer runs
    on which an answer rests. near: the rate that it may be [1/s], 0 where nothing is known."""
    there = question.replicas_there - question.spare_replicas  # each fleet has its own
    if there < 2:
        devices = 2 * question.deployment.devices * (1 + question.spare_replicas)
        return Carried(question, None, f"two fleets take {devices:,} GPUs")

    def tried(rate: float) -> Apart | None:
        other = _at_rate(question, rate)
        try:
            run = settled_apart(other) if settle else SeparateFleets(_shorter(other)).fewest()
        except Infeasible:
            return None
        return run if run.replicas <= there else None

    try:
        prompts, answers = SeparateFleets(_shorter(question)).full_rates()
    except (Impossible, Infeasible) as problem:
        return Carried(question, None, str(problem))
    return _most_of(question, there, tried, there / (1 / prompts + 1 / answers), near)


def _most_of(
    question: Question,
    replicas: int,
    tried: Callable[[float], Run | None],
    most: float,
    near: float,
) -> Carried[Run]:
    """The most that so many replicas carry, with the run at it. tried: of each rate a run that
    keeps the promise, None where none does."""
    runs: dict[float, Run] = {}

    def kept(rate: float) -> bool:
        run = tried(rate)
        if run is not None:
            runs[rate] = run
        return run is not None

    rate = most_kept(kept, most, near)
    if not rate:
        problem = f"no rate from {LOWEST:g} requests/s on is kept by {replicas:,} replicas"
        return Carried(question, None, problem)
    return Carried(_at_rate(question, rate), runs[rate], "")


def check_the_ordinary_planner_agrees() -> None:
    """At the rate that GPUs carry the planner takes no more of them, and at a tenth more it does.

    Source: the plan for the rate, of the same deployment and seed.
    """
    for gpus in (1, 3):
        (asked,) = read_choices({"gpus": gpus, "requests": 200, "quantile": 0.9} | SMALL)
        found = settled_carried(carried(asked))
        for share in (1.0, 1.1):
            question = replace(_at_rate(asked, share * found.rate_per_s), gpus=None)
            enough = plan(question, alternatives=False).best.replicas <= gpus
            checks.equal(f"GPUs: {gpus}, enough at {share:g} of their rate", enough, share == 1.0)
