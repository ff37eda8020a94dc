"""The plan: the fewest replicas that keep a latency objective, what binds them, and what would
change them.

What binds is what, if it were lifted alone, would let n − 1 do. Beside the fleet are planned one
replica more and one fewer, the limits that engines start with, and weights in fewer bits.

Assumes: what `fleet_search` assumes.

Source: `fleet_search` for the search; vLLM's engine arguments for the usual limits.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

from serving_mathematics.core.batching.continuous_batching import Engine
from serving_mathematics.core.hardware.deployments import WORKED as LLAMA
from serving_mathematics.core.hardware.deployments import Deployment
from serving_mathematics.planner.capacity_planner.closed_form import Estimate
from serving_mathematics.planner.capacity_planner.fleet_search import (
    WORKED,
    Fleets,
    Performance,
    Told,
    _four_times,
    settled,
)
from serving_mathematics.planner.capacity_planner.judged_requests import _shorter
from serving_mathematics.planner.capacity_planner.refusals import Infeasible
from serving_mathematics.planner.questions.objectives import METRICS, lifted, promised
from serving_mathematics.planner.questions.question import Question
from serving_mathematics.planner.questions.traffic import Traffic
from serving_mathematics.support import checks
from serving_mathematics.support.require import require_non_negative_integer


@dataclass(frozen=True)
class Loosened:
    """A constraint that stands in the way of a smaller fleet, what that fleet would do without it,
    and the blocks of memory that it would take then; or how much traffic it carries."""

    constraint: str
    run: Performance | None = None  # None where it is no single limit that could be looser
    blocks: int = 0
    most_per_s: float = 0.0  # of an overloaded fleet; 0 for others


@dataclass(frozen=True)
class Plan:
    """The answer: fewest replicas, what they do, what binds, and what would change it."""

    best: Performance
    estimate: Estimate  # of the same by the closed form
    loosened: tuple[Loosened, ...]  # constraints, any of which alone stands in the way of n − 1
    deciding: tuple[str, ...]  # classes, any of which alone stands in the way of n − 1
    one_fewer: Performance | None  # the best limits of n − 1; None if overloaded, or n is given
    load: float  # traffic over the most that the fleet could serve
    fewer_load: float  # the same of n − 1; 0 where there is none, or n is given
    one_fewer_may_do: bool  # at limits that were tried, for all that the intervals say
    one_more: Performance
    usual: Performance | None  # the fewest with the limits that engines start with; None if none do
    found: Performance | None  # where limits were asked for: fewer that do with others
    quantized: Performance | None  # the same or fewer with weights in fewer bits, by short runs
    quantized_precision: str  # the next smaller format, or ""
    engine: Engine  # of a replica
    token_bytes: float  # that a token holds in the cache of a replica [B]
    rate_per_s: float  # of the whole fleet
    own_s: tuple[float, float]  # prompt, and cache reading, of a mean request
    alone_s: float  # TTFT of a replica without other requests, at the promised share

    @property
    def binding(self) -> tuple[str, ...]:
        """The constraints' names."""
        return tuple(one.constraint for one in self.loosened)


def plan(
    question: Question,
    alternatives: bool = True,
    told: Told | None = None,
    near: int = 0,
    given: Performance | None = None,
) -> Plan:
    """The smallest fleet for a question, what binds it, and what one replica more, one fewer, the
    usual limits or weights in fewer bits would change.

    alternatives: whether to look for the quantized fleet too. told: hears of every fleet before it
    is simulated. near: of how many replicas it may be, from shorter runs. given: the run of a fleet
    that is there, whose size is not looked for. Raises Infeasible when no fleet keeps the
    objective, ValueError on input outside the ranges.

    >>> from serving_mathematics.planner.capacity_planner.fleet_search import WORKED
    >>> plan(replace(WORKED, requests=200), alternatives=False).best.replicas
    3
    """
    near = require_non_negative_integer(near=near)
    fleet = Fleets(question, told)
    long = _four_times(fleet)
    if given:
        best, below, fewer = given, 0, None
        short = _too_much(fleet, given.replicas), given.replicas
    else:
        best = settled(fleet, long, near)[0]
        below = best.replicas - 1
        found = fleet.best(below) if below else None
        fewer = (
            long.performance(below, found.places, found.budget) or long.best(below)
            if found
            else None
        )
        chance = found and (fewer is None or fleet.keeps(found))  # the search's run may err
        short = long if chance else fleet, below
    may_do = long.may_do(below)
    more = fleet.best(best.replicas + 1)
    # the requests of the search may be longer by chance than those of the longer runs
    more = more or long.performance(best.replicas + 1, best.places, best.budget)
    assert more is not None
    smaller = coarser(question.deployment) if alternatives else None
    return Plan(
        best,
        long.estimate(best),
        binding_constraints(*short),
        deciding_classes(*short),
        fewer,
        long.load(best.replicas, best),
        short[0].load(below, fewer) if below else 0.0,
        may_do,
        more,
        _usual(fleet, long),
        _found(fleet, long, best),
        _quantized(fleet, smaller, best.replicas) if smaller else None,
        smaller.precision if smaller else "",
        fleet.engine,
        fleet.made.token_bytes * _holders(question.deployment),
        fleet.rate_per_s,
        fleet.own_s,
        fleet.alone_s,
    )


def _too_much(fleet: Fleets, replicas: int) -> Fleets:
    """The same at a rate that so many replicas do not carry, a tenth more each time."""
    more = fleet.at_rate(1.1 * fleet.rate_per_s)
    return _too_much(more, replicas) if more.keeps(more.best(replicas)) else more


def _holders(deployment: Deployment) -> int:
    """Devices that hold their part of one sequence's cache."""
    return deployment.tensor * deployment.pipeline


def _usual(fleet: Fleets, long: Fleets) -> Performance | None:
    """The fewest replicas with the limits that engines start with."""
    budget, places = fleet.question.usual_limits
    limits = budget, min(places, budget)
    try:
        return settled(fleet.limited(*limits), long.limited(*limits))[0]
    except Infeasible:
        return None


def _quantized(fleet: Fleets, smaller: Deployment, most: int) -> Performance | None:
    """The fewest replicas with such weights by short runs; None beyond so many."""
    with contextlib.suppress(Infeasible):
        question = replace(_shorter(fleet.question), deployment=smaller)
        return Fleets(question, fleet.told).fewest(most, most)
    return None


def _found(fleet: Fleets, long: Fleets, best: Performance) -> Performance | None:
    """Fewer replicas than those of the limits that were asked for; None where there are none."""
    if fleet.question.token_budget is None and fleet.question.batch_limit is None:
        return None
    found = settled(fleet.limited(None, None), long.limited(None, None))[0]
    return found if found.replicas < best.replicas else None


def coarser(deployment: Deployment) -> Deployment | None:
    """The same with weights in the next smaller format that the device computes with or unpacks;
    None after four bits.

    >>> from serving_mathematics.core.hardware.deployments import WORKED as LLAMA
    >>> coarser(LLAMA).precision
    'fp8'
    """
    smaller = {"bf16": "fp8", "fp8": "int4"}
    if deployment.system.generation == "blackwell":
        smaller["fp8"] = "fp4"
    precision = smaller.get(deployment.precision)
    if precision is None or (precision == "fp8" and deployment.architecture.four_bit_experts):
        return None
    return replace(deployment, precision=precision)


def time_shares(found: Plan) -> tuple[float, float, float]:
    """Shares of a replica's busy time: steps with their weights and kernels, prompts, reading the
    cache.

    found: a plan. The closed form's: own work is certain, the rest of the time are steps.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> round(sum(time_shares(_small_answer().plan)), 9)
    1.0
    """
    prompts, reading = found.own_s
    rate, busy = found.rate_per_s / found.best.replicas, found.best.busy
    prompts, reading = (min(1.0, rate * own / busy) for own in (prompts, reading))
    return 1 - prompts - reading, prompts, reading


def binding_constraints(fleet: Fleets, replicas: int) -> tuple[Loosened, ...]:
    """What stands in the way of a fleet that is too small: every constraint that, lifted alone,
    would let it keep the objective, with what it does then (against an infinite limit, if that was
    lifted, and where least of it is needed); not memory where it does at the same limits as it is.

    fleet: of the question. replicas: 0 says that one is the least there is. When the replicas are
    overloaded the name is that of the largest part of their time: prompts, the reading of the
    cache, or the steps themselves, unless the other two alone are too much.

    >>> from serving_mathematics.planner.capacity_planner.fleet_search import WORKED
    >>> binding_constraints(Fleets(WORKED), 1)[0].constraint
    'arithmetic of prompts'
    """
    replicas = require_non_negative_integer(replicas=replicas)
    if replicas == 0:
        return (Loosened("one replica is the least"),)
    question = fleet.question
    names = [*dict.fromkeys(goal.metric for promise in fleet.goals for goal in promise)]
    without = {
        f"{METRICS[name].shown} objective": fleet.promising(
            tuple(lifted(promise, name) for promise in fleet.goals)
        )
        for name in names
    }
    if not fleet.has_room(replicas):
        roomy = fleet.with_all_memory()
        found = roomy.best(replicas)
        if not (found and fleet.keeps(fleet.performance(replicas, found.places, found.budget))):
            without["KV memory"] = roomy
    if question.batch_limit is not None:
        without["batch limit"] = fleet.limited(question.token_budget, None)
    if question.token_budget is not None:
        without["token budget"] = fleet.limited(None, question.batch_limit)
    binding = []
    for name, other in without.items():
        run = other.best(replicas)
        if run and other.keeps(run):
            if name.endswith(" objective"):
                run = _least_looser(fleet, other, run)
            held = [one.blocks for one in other.runs[replicas, run.budget] if one.found.is_as(run)]
            binding.append(Loosened(name, run, min(held)))
    if not binding and (load := fleet.load(replicas)) >= fleet.steady:
        return (_largest_part(fleet, replicas, fleet.rate_per_s / replicas / load),)
    together = " and ".join(METRICS[name].shown for name in names)
    return tuple(binding) or (Loosened(f"{together} objectives together"),)


def _least_looser(fleet: Fleets, other: Fleets, kept: Performance) -> Performance:
    """Of all limits that were tried, what needs least of the promise that was lifted, and keeps the
    others: a search that no longer looks at it ends anywhere."""
    tried = {
        (one.found.places, budget): one.found
        for (count, budget), runs in other.runs.items()
        if count == kept.replicas
        for one in runs
        if other.keeps(one.found)
    }
    for limits in sorted(tried, key=lambda some: fleet._worse(tried[some])):
        if run := other.performance(kept.replicas, *limits):
            return run
    return kept


def _largest_part(fleet: Fleets, replicas: int, most: float) -> Loosened:
    """What takes most of the time of replicas that serve at most so many requests a second each."""
    prompts, reading = fleet.own_s
    own = {"arithmetic of prompts": prompts, "memory bandwidth": reading}
    steps = {"weights and kernels": 1 / most - prompts - reading}  # in the largest batch
    parts = own if fleet.rate_per_s / replicas * (prompts + reading) >= 1 else own | steps
    return Loosened(max(parts, key=lambda part: parts[part]), most_per_s=replicas * most)


def deciding_classes(fleet: Fleets, replicas: int) -> tuple[str, ...]:
    """The classes of requests of which each, without objectives of its own, would let a fleet that
    is too small do; none where all requests are alike, or the load of all is too high.

    fleet: of the question. replicas: of the fleet that is too small, 0 for none.

    >>> from serving_mathematics.planner.capacity_planner.fleet_search import WORKED
    >>> deciding_classes(Fleets(WORKED), 1)
    ()
    """
    replicas = require_non_negative_integer(replicas=replicas)
    if len(fleet.goals) == 1 or replicas == 0:
        return ()
    names = []
    for place, name in enumerate(fleet.question.class_names):
        goals = list(fleet.goals)
        goals[place] = lifted(goals[place])
        other = fleet.promising(tuple(goals))
        if other.keeps(other.best(replicas)):
            names.append(name)
    return tuple(names)


def check_binding_constraints_by_construction() -> None:
    """Questions made to be bound by one thing name it.

    Source: a memory of 200 blocks where everything else is ample; one place; objectives loose but
    for one; a rate above what the arithmetic allows.
    """
    few = Traffic(6.0, mean_prompt_tokens=100.0, mean_output_tokens=100.0)
    loose = promised(2.0, 1.0, 0.9)
    question = replace(WORKED, traffic=few, promise=loose, requests=400, reserved_bytes=0.0)
    weights = 2 * LLAMA.architecture.parameters
    tight = replace(LLAMA.system, memory_bytes=(weights + 200 * 16 * 131_072) / 0.9)
    small = replace(LLAMA, system=tight)
    for name, asked in (
        ("KV memory", replace(question, deployment=small, traffic=replace(few, rate_per_s=40.0))),
        ("batch limit", replace(question, batch_limit=1)),
        ("arithmetic of prompts", replace(question, traffic=replace(few, rate_per_s=900.0))),
        ("TPOT objective", replace(question, promise=promised(2.0, 0.0069, 0.9))),
    ):
        found = [one.constraint for one in binding_constraints(Fleets(asked), 1)]
        checks.equal(name, name in found, True)
