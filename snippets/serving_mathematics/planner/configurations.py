"""Which deployment is cheapest: devices, formats and splits, ranked and planned.

What may be the cheapest of those that were ranked is planned with longer runs, and the answer once
more with steps as much slower and faster as the step model was found to err.

Assumes: what `deployment_ranking` assumes.

Source: `deployment_ranking` for the comparison; `model_errors` for the error.
"""

# In one piece: one answer, of a rate or of GPUs that are there, and what is told beside it.

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass, replace

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.hardware.catalogue import was_measured
from serving_mathematics.core.hardware.deployments import Impossible
from serving_mathematics.core.hardware.fronts import FRONTS
from serving_mathematics.planner.capacity_planner.capacity_planner import Plan, plan
from serving_mathematics.planner.capacity_planner.deployment_ranking import (
    Ranked,
    _in_order,
    _refused,
    pareto_front,
    rank,
)
from serving_mathematics.planner.capacity_planner.fleet_energy import FleetEnergy, fleet_energy
from serving_mathematics.planner.capacity_planner.fleet_search import (
    Fleets,
    Performance,
    Told,
    _four_times,
    _longer,
    settled,
)
from serving_mathematics.planner.capacity_planner.given_devices import (
    Carried,
    Rates,
    _carried_apart,
    carried,
    most_carried,
    settled_carried,
)
from serving_mathematics.planner.capacity_planner.judged_requests import SETTLING, _shorter, reaches
from serving_mathematics.planner.capacity_planner.model_errors import (
    UNKNOWN,
    ModelError,
    NearRun,
    behind_error,
    calibrated_error,
    model_error,
    nearest_runs,
)
from serving_mathematics.planner.capacity_planner.refusals import Infeasible, _nearest_refusal
from serving_mathematics.planner.capacity_planner.routing import Routed, routed_answer
from serving_mathematics.planner.capacity_planner.separate_fleets import (
    Apart,
    SeparateFleets,
    settled_apart,
)
from serving_mathematics.planner.questions.fields import Values
from serving_mathematics.planner.questions.objectives import METRICS
from serving_mathematics.planner.questions.question import (
    Question,
    _asked_rate,
    _at_rate,
    _is_tuned,
    _split_name,
)
from serving_mathematics.planner.questions.questions import other_choices, read_choices
from serving_mathematics.support.digits import priced


@dataclass(frozen=True)
class Separate:
    """The cheapest of the separate fleets for prompts and answers, or why there are none."""

    question: Question
    run: Apart | None
    problem: str
    if_faster: int = 0  # replicas of both where steps are as much faster as one run in ten, or 0
    if_slower: int | None = None


@dataclass(frozen=True)
class Elsewhere:
    """The cheapest deployment on a device without a price, and the price of a device [$/h] below
    which it would be cheaper than the answer."""

    question: Question
    devices: int
    even_usd_per_hour: float


@dataclass(frozen=True)
class Answer:
    """The cheapest deployment that keeps the objective, planned, and how sure that is."""

    question: Question
    plan: Plan
    ranked: tuple[Ranked, ...]  # the cheapest first, then those left out, then those that cannot
    front: tuple[Ranked, ...]  # no other is both cheaper and faster
    error: ModelError
    near: tuple[NearRun, ...]
    if_faster: int  # replicas where steps are as much faster as one run in ten; 0: not said
    if_slower: int | None  # and slower; None where no fleet does, and where the other is not said
    apart: Separate | None = None  # where separate fleets were asked for
    energy: FleetEnergy | None = None  # None where no power of the device is known
    others: tuple[Elsewhere, ...] = ()  # what other devices would have to cost, where it is asked
    rates: Rates | None = None  # where GPUs are given, and the rate of the question was found


Answered = Answer | Routed


def elsewhere(
    told: Answer,
    others: Sequence[Sequence[Question]],
    executor: futures.Executor | None = None,
) -> list[Elsewhere]:
    """What other devices would have to cost, by short runs; those on which no fleet keeps the
    objective are left out.

    told: the answer. others: deployments on each device at $1 an hour, from `other_choices`.
    executor: as for rank.

    >>> from serving_mathematics.planner.configurations import answer
    >>> from serving_mathematics.planner.questions.questions import other_choices, read_choices
    >>> asked = {"rate_per_s": 60, "other_devices": "H200", "parallelism": "tp1", "requests": 100}
    >>> told = answer(read_choices(asked))
    >>> [(one.devices, one.even_usd_per_hour) for one in elsewhere(told, other_choices(asked))]
    [(3, 2.0)]
    """
    found = []
    for one in (map if executor is None else executor.map)(_cheapest_elsewhere, others):
        if one is not None:
            question, replicas = one
            dollars = question.usd_per_hour(replicas)
            devices = round(dollars / question.price_per_hour)
            found.append(Elsewhere(question, devices, told.plan.best.usd_per_hour / dollars))
    return found


def _cheapest_elsewhere(choices: Sequence[Question]) -> tuple[Question, int] | None:
    """The cheapest deployment by short runs, each in as many replicas as would be cheaper, and its
    replicas; None where none keeps the objective."""
    found: tuple[Question, int] | None = None
    bounds = []
    for place, question in enumerate(choices):
        with contextlib.suppress(Impossible, Infeasible):
            fleet = Fleets(_shorter(question))
            bounds.append((question.usd_per_hour(fleet.least), place, fleet))
    for cost, place, fleet in sorted(bounds, key=lambda bound: bound[:2]):
        question, most = choices[place], None
        if found:
            dollars = found[0].usd_per_hour(found[1])
            if cost >= dollars:
                break
            most = question.replicas_below(dollars)
        with contextlib.suppress(Infeasible):
            found = question, fleet.count(most or 0, most)
    return found


def _devices_and_split(question: Question) -> tuple[str, str]:
    """What a replica is on and how it is split; where those for prompts are unlike, of both."""
    both = dict.fromkeys((question.of_prompts(), question))
    devices = [f"{x.deployment.devices} × {x.deployment.system.shown}" for x in both]
    return " and ".join(devices), " and ".join(_split_name(x) for x in both)


def _pair_text(question: Question, run: Apart) -> str:
    """Two fleets in words: "3 for prompts and 2 for answers of 1 × H100 SXM, tp1, bf16"."""
    other = question.of_prompts()
    of, its = (
        f" of {one.deployment.devices} × {one.deployment.system.shown}, {_split_name(one)}"
        for one in (question, other)
    )
    mine = its + "," if its != of else ""
    precision = question.deployment.precision
    return f"{run.prompts:,} for prompts{mine} and {run.answers:,} for answers{of}, {precision}"


def _drafter_name(question: Question) -> str:
    """What guesses and how many tokens a step, in short: "Qwen3-0.6B guesses 3"; "" where nothing
    does."""
    one = question.deployment
    name = one.drafter if isinstance(one.drafter, str) else one.drafter.name.split("/")[-1]
    return f"{name} guesses {one.draft_tokens}" if one.draft_tokens else ""


def _by_cost(
    choices: Sequence[Question],
    told: Told | None,
    executor: futures.Executor | None,
    progress: Callable[[int, int], object] | None,
) -> tuple[Question, Plan, list[Ranked]]:
    """The cheapest deployment and its plan, and all deployments. Longer runs may turn those that
    are close, dearer ones too, where fewer replicas do then; or refuse one, whose longest request
    is longer then."""
    ranked = rank(choices, executor, progress)
    plans: list[tuple[Question, Plan]] = []
    for place, one in enumerate(ranked):
        usd = min((found.best.usd_per_hour for _, found in plans), default=math.inf)
        if one.problem or one.question.separate:
            continue
        costs = one.run.usd_per_hour if one.run else one.least_usd_per_hour
        if costs >= usd and not (one.run and _is_below(one, usd)):
            continue
        try:
            found = plan(one.question, told=told, near=one.run.replicas if one.run else 0)
        except Infeasible as problem:
            ranked[place] = _refused(one.question, problem)
            continue
        ranked[place] = replace(one, run=found.best)
        plans.append((one.question, found))
    ranked.sort(key=lambda one: bool(one.problem))
    if not plans:
        refused = [
            (one.question, Infeasible(one.problem, one.over))
            for one in ranked
            if not one.question.separate
        ]
        raise Infeasible(f"{_nearest_refusal(refused)}{_instead(choices, executor)}")
    return *min(plans, key=lambda pair: pair[1].best.usd_per_hour), ranked


def _is_below(one: Ranked, usd_per_hour: float) -> bool:
    """Whether so few replicas that they cost less than so much do by longer runs, where short ones
    found more."""
    assert isinstance(one.run, Performance)
    fewer = min(one.run.replicas - 1, one.question.replicas_below(usd_per_hour))
    with contextlib.suppress(Infeasible):
        fleet = Fleets(one.question)
        near = fewer >= fleet.least and fleet.near(fewer)
        return bool(near) and _longer(fleet, _four_times(fleet), fewer) is not None
    return False


def _by_rate(
    choices: Sequence[Question],
    told: Told | None,
    executor: futures.Executor | None,
    progress: Callable[[int, int], object] | None,
) -> tuple[Plan, list[Ranked], Rates]:
    """The plan of the deployment that carries most on the GPUs that are there, all deployments with
    that one first, and what it carries for sure and where steps err."""
    found = most_carried(choices, executor, progress)
    settled: list[
        tuple[Carried[Performance], Carried[Performance]]
    ] = []  # by longer and by short runs
    for one in [one for one in found if one.run]:  # longer runs may turn those that are close
        most = max((known.rate_per_s for known, _ in settled if known.run), default=0.0)
        if one.rate_per_s <= most:
            break
        settled.append((settled_carried(one, told, above=most), one))
    best, short = max(settled, key=lambda pair: (pair[0].run is not None, pair[0].rate_per_s))
    if best.run is None:
        raise Infeasible(best.problem)
    rest = [*(one for one, _ in settled if one is not best), *found[len(settled) :]]
    rest.sort(key=lambda one: -one.rate_per_s if one.run else 0.0)
    ranked = [Ranked(one.question, 0.0, one.run, one.problem) for one in (best, *rest)]
    planned = plan(best.question, False, told, given=best.run)
    rates = _carried_rates(best, short, told)
    if isinstance(best.question.traffic, Workload):
        rates = replace(rates, over_trace=best.rate_per_s / _asked_rate(choices[0]))
    return planned, ranked, rates


def _apart_by_rate(
    pairs: Sequence[Question], executor: futures.Executor | None
) -> list[Carried[Apart]]:
    """The most that separate fleets of each deployment carry on the GPUs that are there, the one
    first that carries most by longer runs; none where none were asked for."""
    found = list((map if executor is None else executor.map)(_carried_apart, pairs))
    found.sort(key=lambda one: -one.rate_per_s if one.run else 0.0)
    settled: list[Carried[Apart]] = []
    for one in [one for one in found if one.run]:
        if one.rate_per_s <= max((known.rate_per_s for known in settled), default=0.0):
            break
        long = _carried_apart(one.question, True, one.rate_per_s)
        settled += [long] if long.run else []
    best = max(settled, key=lambda one: one.rate_per_s, default=None)
    if best is None:
        return found
    mine = best.question.deployment
    return [best, *(one for one in found if one.question.deployment != mine)]


def _carried_rates(
    asked: Carried[Performance], short: Carried[Performance], told: Told | None
) -> Rates:
    """What the GPUs that are there carry for sure, and where all steps are faster and slower, in
    proportion to short runs with steps as they are."""
    question, rate = asked.question, asked.rate_per_s
    assert asked.run
    if reaches(asked.run.classes, question.goals, 1.0):
        sure = rate
    else:
        found = settled_carried(asked, told, sure=True)
        sure = found.rate_per_s if found.run else 0.0

    def erring(slowness: float) -> float:
        other = carried(question, slowness, short.rate_per_s / slowness) if slowness != 1 else short
        return rate * other.rate_per_s / short.rate_per_s if other.run else 0.0

    error = _error(question)
    if not error.known:
        return Rates(sure, 0.0, 0.0)
    faster, slower = map(erring, error.span())
    return Rates(sure, max(rate, faster), min(rate, slower))


def _other_formats(told: Answer) -> list[tuple[str, Ranked, bool]]:
    """The best run with weights in each other format, and whether a deployment that was left out
    may be better."""
    able = [one for one in told.ranked if not one.problem and not one.question.separate]
    best: dict[str, Ranked] = {}
    for one in able:
        if one.run:
            best.setdefault(one.question.deployment.precision, one)

    def cost(one: Ranked) -> float:
        if told.rates:
            return -_asked_rate(one.question)
        return one.run.usd_per_hour if one.run else one.least_usd_per_hour

    return [
        (
            name.upper(),
            one,
            any(cost(x) < cost(one) for x in able if x.question.deployment.precision == name),
        )
        for name, one in best.items()
        if name != told.question.deployment.precision
    ]


def answer(
    choices: Sequence[Question],
    told: Told | None = None,
    executor: futures.Executor | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Answer:
    """The cheapest deployment, planned, with the others and with what the step model's error does.

    choices: one question for each deployment, from `read_choices`. told: hears of every fleet of
    the plan before it is simulated. executor, progress: as for rank. Raises Infeasible when no
    deployment keeps the objective, ValueError where a single one is refused.

    >>> from serving_mathematics.planner.questions.questions import read_choices
    >>> found = answer(read_choices({"rate_per_s": 9, "requests": 100}))
    >>> found.question.deployment.devices, found.plan.best.replicas
    (1, 1)
    """
    rates, apart = None, None
    if choices and choices[0].gpus is not None:
        together = [one for one in choices if not one.separate]
        found, ranked, rates = _by_rate(together, told, executor, progress)
        question = ranked[0].question
        if two := _apart_by_rate([one for one in choices if one.separate], executor):
            ranked += [Ranked(one.question, 0.0, one.run, one.problem) for one in two]
            apart = Separate(two[0].question, two[0].run, two[0].problem)
    elif len(choices) == 1:
        ranked = [Ranked(choices[0], 0.0, None, "")]
        try:
            question, found = choices[0], plan(choices[0], told=told)
        except Infeasible as problem:
            raise Infeasible(f"{problem}{_instead(choices, executor)}") from None
    else:
        question, found, ranked = _by_cost(choices, told, executor, progress)
    if not rates:
        ranked, apart = _separate(_in_order(ranked))
    error = _error(question)
    near = nearest_runs(
        question.deployment, max(1.0, found.best.concurrency), *question.mean_lengths
    )
    return Answer(
        question,
        found,
        tuple(ranked),
        tuple(pareto_front(ranked)),
        error,
        tuple(near),
        *((0, None) if rates else _replicas_if_off(question, found.best.replicas, [error])),
        apart,
        fleet_energy(question, found.best),
        rates=rates,
    )


def whole_answer(
    choices: Sequence[Question],
    values: Values,
    load: Callable[[str, str], Workload] | None = None,
    told: Told | None = None,
    executor: futures.Executor | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Answered:
    """All that command and form have to say of a question: the answer, and what other devices would
    have to cost; or, where replicas are given, what they do behind each router.

    choices: from `read_choices`. values, load: that they were read from. told, executor, progress:
    as for answer, which says what is raised.

    >>> from serving_mathematics.planner.questions.questions import read_choices
    >>> asked = {"rate_per_s": 60, "other_devices": "H200", "parallelism": "tp1", "requests": 100}
    >>> [one.devices for one in whole_answer(read_choices(asked), asked).others]
    [3]
    """
    if choices and choices[0].routing:
        return routed_answer(choices, _error, told, executor)
    try:
        found = answer(choices, told, executor, progress)
    except Infeasible as problem:
        raise Infeasible(f"{problem}{_behind_unknown(choices, str(problem))}") from None
    if found.rates:  # other devices at the rate that was found
        values = {name: value for name, value in values.items() if name != "gpus"}
        values |= {} if "trace" in values else {"rate_per_s": found.plan.rate_per_s}
    others = other_choices(values, load)
    if found.rates:
        others = [[_at_rate(one, found.plan.rate_per_s) for one in choices] for choices in others]
    return replace(found, others=tuple(elsewhere(found, others, executor)))


@functools.cache
def _small_answer() -> Answer:
    """The answer to a small question, which examples show parts of."""
    return answer(read_choices({"rate_per_s": 1, "parallelism": "tp1", "requests": 100}))


@functools.cache
def _small_routed() -> Routed:
    """The same for two replicas behind routers."""
    asked = {"rate_per_s": 9, "replicas": 2, "requests": 100, "parallelism": "tp1"}
    return routed_answer(read_choices(asked), _error)


def _instead(choices: Sequence[Question], executor: futures.Executor | None) -> str:
    """What separate fleets would do where one fleet cannot, as the end of a refusal."""
    pairs = [replace(one, separate=True) for one in choices if not one.separate]
    best = rank(pairs, executor)[0]
    if not isinstance(best.run, Apart):
        return ""
    try:  # as `settled_apart` does: of more requests the longest may not fit
        for times in (1, SETTLING):
            SeparateFleets(replace(best.question, requests=times * best.question.requests))
    except Infeasible:
        return ""
    pair, usd = _pair_text(best.question, best.run), best.run.usd_per_hour
    return f"; separate fleets do (fleets: two), {pair}, ${priced(usd)} an hour"


def _behind_unknown(choices: Sequence[Question], problem: str) -> str:
    """Whether a TTFT that is refused behind the benchmark's front has an answer behind the front
    unknown, as the end of a refusal: where a lone request keeps the promise in every run on which
    an answer rests."""
    if not (_is_tuned(choices[0]) and problem.startswith(METRICS["ttft"].none_keeps)):
        return ""
    for one in choices:
        if one.separate or (one.gpus is not None and not one.replicas_there):
            continue
        asked = replace(one, front=FRONTS["unknown"])
        first = _shorter(asked) if len(choices) > 1 or one.gpus else asked  # as they are planned
        with contextlib.suppress(Impossible, Infeasible):
            for size in sorted({first.requests, asked.requests, SETTLING * asked.requests}):
                Fleets(replace(asked, requests=size))
            return (
                "; with front: unknown, behind which fewer steps pass around a prompt, one request "
                "alone would be in time"
            )
    return ""


def _error(question: Question) -> ModelError:
    """How far steps may be off: less where a load test is of this very split, more behind a front
    that was not tuned; unknown on a device of which no run was measured.
    """
    one, calibration = question.deployment, question.calibration
    if calibration:
        tested = replace(question, deployment=calibration.runs[0].deployment)
        if _split_name(tested) == _split_name(question):
            return calibrated_error(calibration, calibration.front)
    if not was_measured(one.system.name):
        return UNKNOWN
    return behind_error(model_error(one.kind, one.devices), question.front.name)


def _separate(ranked: list[Ranked]) -> tuple[list[Ranked], Separate | None]:
    """The cheapest of separate fleets by longer runs, and where steps err, None where none were
    asked for; and all deployments, with these runs."""
    pairs = [one for one in ranked if one.question.separate]
    if not pairs:
        return ranked, None
    found: list[tuple[Question, Apart]] = []
    problem = pairs[0].problem
    for one in [one for one in pairs if one.run][:3]:
        if found and one.run and found[0][1].usd_per_hour <= one.run.usd_per_hour:
            break
        try:
            run = settled_apart(one.question)
        except Infeasible as why:
            problem = str(why)
            continue
        found.append((one.question, run))
        ranked[ranked.index(one)] = replace(one, run=run)
    if not found:
        return ranked, Separate(pairs[0].question, None, problem)
    question, run = min(found, key=lambda pair: pair[1].usd_per_hour)
    errors = [_error(one) for one in (question, question.of_prompts())]
    few_and_many = _replicas_if_off(question, run.replicas, errors)
    return _in_order(ranked), Separate(question, run, "", *few_and_many)


def _replicas_if_off(
    question: Question, replicas: int, errors: Sequence[ModelError]
) -> tuple[int, int | None]:
    """Replicas where all steps are as much faster, and slower, as one measured run in ten, of a
    plan with so many; 0 and None where an error is not known."""
    if not all(error.known for error in errors):
        return 0, None
    fast, slow = min(error.low for error in errors), max(error.high for error in errors)
    fewest = _fewest(question, min(1.0, fast)) or (2 if question.separate else 1)
    return min(replicas, fewest), _no_fewer(replicas, question, slow)


def _few_and_many(question: Question) -> tuple[int, int | None]:
    """Replicas of the plan of one deployment, and those where steps are slow: what an answer says
    of them."""
    replicas = settled(Fleets(question))[0].replicas
    return replicas, _no_fewer(replicas, question, _error(question).high)


def _no_fewer(replicas: int, question: Question, slowness: float) -> int | None:
    """Replicas where all steps are so much slower, no fewer than the longer run of the answer says;
    None where no fleet does."""
    found = _fewest(question, max(1.0, slowness))
    return found and max(replicas, found)


def _fewest(question: Question, slowness: float) -> int | None:
    """Replicas where all steps are so much slower; None where no fleet does."""
    try:
        if question.separate:
            return SeparateFleets(_shorter(question), slowness=slowness).fewest().replicas
        return Fleets(_shorter(question), slowness=slowness).count()
    except Infeasible:
        return None
