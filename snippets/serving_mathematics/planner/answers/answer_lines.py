"""A plan as lines for a reader, each with the chapter that explains it, and what the closed form
says beside the simulated value.

Assumes: an answer from `configurations`.

Source: the chapters that the lines name.
"""

from __future__ import annotations

import math

import numpy as np

from serving_mathematics.core.hardware.catalogue import find_system
from serving_mathematics.machine.step_time.speculative_decoding import break_even_tokens
from serving_mathematics.planner.answers.costs import cost_lines, power_text, watts_text
from serving_mathematics.planner.answers.given_lines import _given_error, _given_lines
from serving_mathematics.planner.answers.lines import (
    BORROWED,
    NOT_KNOWN,
    Line,
    _all,
    _alone,
    _beyond,
    _count,
    _fleet_lines,
    _per_second,
    _price_line,
    _promised_lines,
    _values,
    listed,
    overloaded,
    with_interval,
)
from serving_mathematics.planner.answers.routing_lines import routed_lines, routed_main
from serving_mathematics.planner.capacity_planner.capacity_planner import Plan, time_shares
from serving_mathematics.planner.capacity_planner.fleet_energy import apart_watts
from serving_mathematics.planner.capacity_planner.fleet_search import EDGE, Performance
from serving_mathematics.planner.capacity_planner.judged_requests import QUANTILES
from serving_mathematics.planner.capacity_planner.routing import Routed
from serving_mathematics.planner.configurations import Answer, Answered, _drafter_name, _pair_text
from serving_mathematics.planner.questions.fields import GIVEN, LIKE
from serving_mathematics.planner.questions.question import Question, _asked_rate, _is_tuned
from serving_mathematics.planner.questions.trace_formats import ReadRequests
from serving_mathematics.support.digits import priced, sized

SAID = {"replicas", "a replica", "steps are those of", "price of the fleet"}  # in the sentence


# In one piece: a line of the answer after the other, in the order of the page.
def answer_lines(told: Answered) -> list[Line]:
    """A plan for a reader, line by line, each with the chapter that explains it.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> answer_lines(_small_answer())[0].what, answer_lines(_small_answer())[0].value
    ('replicas', '1')
    """
    if isinstance(told, Routed):
        return routed_lines(told)
    question, found = told.question, told.plan
    best, engine, closed = found.best, found.engine, found.estimate
    one = question.deployment
    tokens = engine.kv_blocks * engine.block_tokens
    size = tokens * found.token_bytes / 2**30
    steps, prompts, cache = (f"{100 * share:.0f}%" for share in time_shares(found))
    several = len(best.classes) > 1
    lines = main_lines(told)
    lines += [
        *([] if told.rates else _loosened_lines(found)),
        *cost_lines(told),
        *([Line("class that decides", _deciding(found), "definitions/slo-sla")] * several),
        Line("measured runs like it", _measured(told), "machine/predictions"),
        Line(
            "KV memory of a replica", f"{size:.1f} GiB, {tokens:,} tokens", "optimization/caching"
        ),
        Line(
            "requests in a replica",
            f"{best.concurrency:.1f}",
            "capacity/littles-law",
            f"{closed.concurrency:.1f}",
        ),
        *([_guessing(told)] if one.draft_tokens else []),
        Line(
            "tokens in its cache",
            f"{best.held_tokens:,.0f}",
            "capacity/littles-law",
            _said(float(np.rint(closed.held_tokens))),
        ),
        *(_latency_line(told, metric, place) for metric in ("TTFT", "TPOT") for place in (0, 1, 2)),
        *_class_lines(question, best),
        Line(
            "time with a request in a replica", f"{100 * best.busy:.0f}%", "definitions/utilization"
        ),
        Line(
            "traffic over the most that it could serve",
            f"{100 * found.load:.0f}%",
            "definitions/utilization",
            f"{100 * closed.load:.0f}%",
        ),
        Line(
            "where the time goes",
            f"weights and kernels {steps}, prompts {prompts}, cache {cache}",
            "intuition/latency-throughput-cost",
        ),
        Line("preemptions", f"{best.preempted:.3f} a request", "optimization/batching"),
    ]
    fewer = found.one_fewer
    if best.replicas > 1 and not told.rates:
        said = _briefly(fewer) if fewer else overloaded(found.fewer_load, found.rate_per_s)
        lines.append(Line("one replica fewer", said, "capacity/autoscaling"))
    lines.append(Line("one replica more", _briefly(found.one_more), "capacity/autoscaling"))
    budget, places = question.usual_limits
    said = "no fleet" if found.usual is None else _count(found.usual.replicas)
    what = f"with the usual limits, {places:,} and {budget:,}"
    lines.append(Line(what, said, "optimization/batching"))
    if found.quantized_precision:
        said, fleet = f"more than {_count(best.replicas)}", found.quantized
        if fleet:
            said = f"~{_count(fleet.replicas)}: {_briefly(fleet)}"
        what = f"weights in {found.quantized_precision}"
        lines.append(Line(what, said, "optimization/quantization"))
    if told.apart:
        lines.append(Line("separate fleets", _apart(told), "optimization/hardware-scheduling"))
    for run, which in zip(told.near, ("nearest", "second", "third"), strict=False):
        said = (
            f"{run.what}: {sized(1e3 * run.tpot_s)} ms a token, {run.ratio:.2f} times the predicted"
        )
        said += ", less than one token a step takes at the peaks of its data sheet" * run.beyond
        lines.append(Line(f"{which} measured run", said, "machine/predictions"))
    return lines + _read_lines(question)


def main_lines(told: Answered) -> list[Line]:
    """The lines that decide, as a reader sees them first.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> [line.value for line in main_lines(_small_answer())][2:5]
    ['1,000 in, 250 out', '1,024', '2,048']
    """
    if isinstance(told, Routed):
        return routed_main(told)
    question, found = told.question, told.plan
    best = found.best
    kept = f"{with_interval(best.both, 100)}%"
    goodput = sum(run.goodput_per_s for run in best.classes)
    million = f"${priced(best.usd_per_million, 3)}"
    traffic = question.traffic
    read = [traffic.told] if isinstance(traffic, ReadRequests) else []
    return [
        *_fleet_lines(question, best.replicas, question.mean_lengths),
        Line(
            "batch limit",
            f"{best.places:,}",
            "optimization/batching",
            f"{found.estimate.places:.0f}",
        ),
        Line("token budget", f"{best.budget:,}", "optimization/batching"),
        *_promised_lines(best.classes),
        Line(
            f"requests that keep {_all(question)}",
            f"{kept}, {sized(goodput)} a second",
            "definitions/slo-sla",
        ),
        *_given_lines(told),
        Line("binding constraint", " or ".join(found.binding), "definitions/throughput"),
        Line("decided by this run", _decided(told), "definitions/slo-sla"),
        Line("if steps err", _if_steps_err(told), "machine/predictions"),
        Line("steps are those of", _front(told), "machine/predictions"),
        _price_line(best.usd_per_hour),
        Line("price of 10⁶ generated tokens", million, "intuition/latency-throughput-cost"),
        Line("power and energy", power_text(told), "intuition/latency-throughput-cost"),
        *(Line("what was read", one, "capacity/arrival-rates") for one in read),
    ]


def _if_steps_err(told: Answer) -> str:
    """What it takes, or what the GPUs that are there carry, where steps are faster and slower."""
    error = told.error
    if not error.known:
        return NOT_KNOWN
    fast = _count(told.if_faster)
    slow = "no fleet does" if told.if_slower is None else f"{told.if_slower:,}"
    if told.rates:
        fast, slow = _given_error(told)
    low, high = error.span()
    return f"{fast} at {low:.2f} of the predicted times, {slow} at {high:.2f}"


def _loosened_lines(found: Plan) -> list[Line]:
    """How much more of what binds one replica fewer needs, where that is one limit."""
    if found.best.replicas == 1:
        return []
    said = []
    for one in found.loosened:
        if one.most_per_s:
            load = found.rate_per_s / one.most_per_s
            value = f"no limit: one replica fewer is {overloaded(load, found.rate_per_s)}"
            return [Line("what would save one", value, "definitions/throughput")]
        if one.run is None:
            continue
        if one.constraint == "KV memory":
            blocks = max(0, one.blocks - found.engine.kv_blocks)
            size = blocks * found.engine.block_tokens * found.token_bytes / 2**30
            said.append(f"at most {size:.1f} GiB more of KV memory")
        elif one.constraint == "batch limit":
            said.append(f"a batch limit of {one.run.places:,}")
        elif one.constraint == "token budget":
            said.append(f"a token budget of {one.run.budget:,}")
        else:
            said.append(_looser(one.run, one.constraint))
    value = f"one replica fewer needs {' or '.join(said)}"
    return [Line("what would save one", value, "definitions/throughput")] if said else []


def _looser(run: Performance, constraint: str) -> str:
    """The limit that a fleet would keep, of the class where it is worst."""
    found = [
        (got.value / goal.limit, goal, got.value, one.both.value)
        for one in run.classes
        for goal, got in zip(one.promise, one.got, strict=True)
        if constraint == f"{goal.measure.shown} objective"
    ]
    _, goal, value, kept = max(found, key=lambda each: each[0])
    if goal.measure.of_all:
        return f"a goodput of {sized(100 * kept)}%"
    return f"{goal.measure.article} of {sized(goal.measure.scale * value)} {goal.measure.unit}"


def _said(value: float, unit: str = "") -> str:
    """What the closed form says, which knows no steady state where it takes all places for busy."""
    return f"{sized(value)} {unit}".rstrip() if math.isfinite(value) else "without end"


def _latency_line(told: Answer, metric: str, place: int) -> Line:
    """One quantile of a latency, beside what the closed form says of it."""
    closed, name = told.plan.estimate, f"{metric} at p{100 * QUANTILES[place]:g}"
    if metric == "TTFT":
        run, said = told.plan.best.ttft[place], _said(closed.ttft_s[place], "s")
        return Line(name, f"{with_interval(run)} s", "definitions/latency-distribution", said)
    run, said = told.plan.best.tpot[place], _said(1e3 * closed.tpot_s, "ms")
    said = said if place == 0 else ""
    return Line(name, f"{with_interval(run, 1e3)} ms", "architecture/streaming", said)


def _read_lines(question: Question) -> list[Line]:
    """What was read of a model, and of a device that is given by its numbers."""
    model = question.deployment.architecture
    all_of_it, active = model.parameters / 1e9, model.active_parameters / 1e9
    sizes = f"{sized(all_of_it)}·10⁹ parameters, {sized(active)}·10⁹ for a token"
    if question.deployment.backend in model.half_states:
        sizes += "; states in 16 bits"
    if any(attention.own_bytes for _, attention, _ in model.layers):
        sizes += "; a cache in eight bits, as engines keep it whatever is asked"
    left_out = f"; not counted: {', '.join(model.beside)}" if model.beside else ""
    lines = [Line("model", sizes + left_out, "machine/step-time")]
    if question.deployment.system.name == GIVEN:
        like = find_system(LIKE).shown
        said = f"peak in 16 bits, bandwidth and memory; {BORROWED.lower()} are those of {like}"
        lines.append(Line("what is given of the device", said, "machine/predictions"))
    return lines


def _guessing(told: Answer) -> Line:
    """What guesses, what a step yields, and what it must yield at the load of a replica."""
    question, held = told.question, max(1.0, told.plan.best.concurrency)
    one = question.deployment
    context = one.mean_input_tokens + one.mean_output_tokens / 2
    least = float(break_even_tokens(one, question.constants, held, context)[0])
    return Line(
        "guesses",
        f"{_drafter_name(question)}; a step yields {one.accepted_tokens:g} tokens, and must yield "
        f"{least:.2f} to be worth it with so many requests",
        "machine/step-time",
    )


def _front(told: Answer) -> str:
    """Whose steps the plan has, and what to ask where these are not the reader's."""
    question = told.question
    if question.calibration:
        named = question.calibration.front
        return f"the load test, behind {named}" if named else "the load test (front is not named)"
    if not told.error.known:
        return f"the front {question.front.name}, of other devices"
    if _is_tuned(question):
        return "tuned benchmarks; an engine as installed takes longer for a token (front: unknown)"
    return f"the front {question.front.name}"


def _measured(told: Answer) -> str:
    """Between what measured runs of such deployments lie, and how many there are."""
    error, one = told.error, told.question.deployment
    if not error.known:
        return "none on this device"
    low, high = error.span()
    kind = f"{error.kind}, {error.on.get(one.system.name, 0):,} of them on this device"
    if error.calibrated_by:
        others = f"{error.calibrated_by} other{'s' if error.calibrated_by > 1 else ''}"
        kind = f"{error.kind} that {others} calibrated, and the load test"
    if error.behind:
        return (
            f"nine in ten of {error.behind} took at most {high:.2f} times the predicted time per "
            f"token behind this front, and nine in ten of {error.runs:,} tuned ones at least "
            f"{low:.2f}"
        )
    return (
        f"eight in ten of {error.runs:,} took {low:.2f} to {high:.2f} times the predicted time per "
        f"token: {kind}"
    )


def _apart(told: Answer) -> str:
    """Two fleets, in one line."""
    apart = told.apart
    assert apart is not None
    run = apart.run
    if run is None:
        return apart.problem
    worst, watts = max(run.classes, key=lambda one: one.worse), apart_watts(apart.question, run)
    low, high = apart.if_faster, apart.if_slower
    doubts = ["an interval reaches beyond its objective"] * run.beyond
    doubts += ["one replica fewer may do"] * (run.fewer_may_do and not told.rates)
    err = f"where steps err {low:,} to {high:,}" if high else f"where steps err {low:,} or more"
    err = err if low else "where steps err, not known"
    parts = (
        _pair_text(apart.question, run),
        *([_per_second(_asked_rate(apart.question))] if told.rates else []),
        f"${priced(run.usd_per_hour)} an hour",
        f"{listed(_values(worst))} at {worst.promise[0].at}",
        f"{with_interval(run.both, 100)}% keep {_all(apart.question)}",
        f"a cache travels {sized(1e3 * run.transfer_s)} ms",
        *([] if told.rates else [err]),
        *([] if watts is None else [watts_text(watts)]),
        f"decided: {'not quite, ' + ' and '.join(doubts) if doubts else 'yes'}",
    )
    return "; ".join(parts)


def _class_lines(question: Question, fleet: Performance) -> list[Line]:
    """What each class gets, where there are several."""
    lines = []
    for one in fleet.classes if len(fleet.classes) > 1 else ():
        each = [
            f"{goal.measure.shown} {with_interval(run, goal.measure.scale)} of "
            f"{goal.measure.limit_text(goal.limit)}"
            for goal, run in _alone(one)
        ]
        said = (
            f"{listed(each)} at {one.promise[0].at}; {with_interval(one.both, 100)}% keep "
            f"{_all(question)}, {sized(one.goodput_per_s)} a second"
        )
        lines.append(Line(f"of {one.name}", said, "definitions/slo-sla"))
    return lines


def _deciding(found: Plan) -> str:
    if found.deciding:
        return " or ".join(found.deciding)
    one = found.best.nearest
    return f"none alone; {one.name} comes nearest, at {100 * one.worse:.0f}% of an objective"


def _decided(told: Answer) -> str:
    """Whether the intervals of this fleet, and of one replica fewer, lie on one side of the
    objectives."""
    doubts = [
        f"the interval of {name} reaches beyond its objective"
        for name in _beyond(told.plan.best.classes)
    ]
    if told.plan.load > EDGE:
        load = 100 * told.plan.load
        doubts.append(f"at {load:.0f}% of what it could serve its intervals are too narrow")
    if told.plan.one_fewer_may_do:
        doubts.append("by its intervals one replica fewer may do")
    return f"not quite: {', and '.join(doubts)}" if doubts else "yes"


def _briefly(run: Performance) -> str:
    """What a fleet gets, of the class with the least room where there are several."""
    one = run.nearest
    whose = f" of {one.name}" if len(run.classes) > 1 else ""
    got = ", ".join(
        f"{goal.measure.shown} {sized(goal.measure.scale * each.value)} {goal.measure.unit}"
        for goal, each in _alone(one)
    )
    return (
        f"{got} at {one.promise[0].at}{whose}, limits {run.places:,} and {run.budget:,}; "
        f"${priced(run.usd_per_million, 3)} for 10⁶ tokens"
    )
