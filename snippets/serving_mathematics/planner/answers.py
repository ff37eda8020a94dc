"""A plan as lines for a reader, and as one flat record for programs.

Each line has the address of the chapter that explains it. Where the closed form says something
too, it stands beside the simulated value.

Assumes: an answer from `configurations`.

Source: the chapters that the lines name.
"""

# In one piece: lines and record tell the same fields, and whoever adds one has to add it to both; a
# check compares them.

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.hardware.catalogue import find_system, was_measured
from serving_mathematics.machine.predictions.own_runs import calibration_rows, calibration_text
from serving_mathematics.machine.step_time.speculative_decoding import break_even_tokens
from serving_mathematics.planner.capacity_planner import Plan, time_shares
from serving_mathematics.planner.configurations import (
    Answer,
    Answered,
    Elsewhere,
    _devices_and_split,
    _drafter_name,
    _other_formats,
    _pair_text,
    answer,
)
from serving_mathematics.planner.costs import (
    _api_summary,
    cost_lines,
    cost_record,
    energy_summary,
    power_text,
    watts_text,
)
from serving_mathematics.planner.deployment_ranking import Ranked
from serving_mathematics.planner.fields import GIVEN, LIKE
from serving_mathematics.planner.fleet_energy import apart_watts
from serving_mathematics.planner.fleet_search import EDGE, Performance
from serving_mathematics.planner.given_lines import (
    _given_amount,
    _given_error,
    _given_lines,
    _given_record,
    _they_carry,
    given_more,
    given_said,
)
from serving_mathematics.planner.judged_requests import QUANTILES
from serving_mathematics.planner.lines import (
    BORROWED,
    NOT_KNOWN,
    Line,
    _all,
    _alone,
    _count,
    _cut_said,
    _for_installed,
    _is_tuned,
    _left_out,
    _lengths_line,
    _model,
    _of_steps,
    _paid_said,
    _per_second,
    _promised,
    _promised_lines,
    _tuned,
    _values,
    _with_spare,
    listed,
    overloaded,
    unmeasured,
    with_interval,
)
from serving_mathematics.planner.question import Question, _asked_rate, _split_name
from serving_mathematics.planner.questions import read_choices
from serving_mathematics.planner.routing import Routed
from serving_mathematics.planner.routing_lines import (
    ROWS_ARE,
    routed_lines,
    routed_main,
    routed_parts,
    routed_record,
    routed_rows,
)
from serving_mathematics.planner.separate_fleets import Apart
from serving_mathematics.planner.trace_formats import ReadRequests
from serving_mathematics.support import checks
from serving_mathematics.support.digits import priced, sized

WIDTH = 100  # characters of a line in a terminal
SAID = {"replicas", "a replica", "steps are those of", "price of the fleet"}  # in the sentence
SAID_HERE = {*SAID, "if steps err", "tokens of a request, mean"}  # in the notes, in the question
LONG_ALONE = 0.4  # of a TTFT's limit: equal prompts took 20 to 67% fewer replicas from there on
LONG_PROMPT = 8000  # tokens: with an 8B an engine carries a fifth more if all are equal


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
    best, one = found.best, question.deployment
    kept = f"{with_interval(best.both, 100)}%"
    goodput = sum(run.goodput_per_s for run in best.classes)
    worst = best.nearest
    whose = f" of {worst.name}" if len(best.classes) > 1 else ""
    hour, million = f"${priced(best.usd_per_hour)}", f"${priced(best.usd_per_million, 3)}"
    traffic = question.traffic
    read = [traffic.told] if isinstance(traffic, ReadRequests) else []
    return [
        Line("replicas", _with_spare(question, best.replicas), "capacity/autoscaling"),
        Line(
            "a replica",
            f"{one.devices} × {one.system.shown}, {_split_name(question)}, {one.precision}",
            "machine/predictions",
        ),
        _lengths_line(question, question.mean_lengths),
        Line(
            "batch limit",
            f"{best.places:,}",
            "optimization/batching",
            f"{found.estimate.places:.0f}",
        ),
        Line("token budget", f"{best.budget:,}", "optimization/batching"),
        *_promised_lines(worst, whose),
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
        Line("price of the fleet", f"{hour} an hour", "intuition/batch-vs-online"),
        Line("price of 10⁶ generated tokens", million, "intuition/latency-throughput-cost"),
        Line("power and energy", power_text(told), "intuition/latency-throughput-cost"),
        *(Line("what was read", one, "capacity/arrival-rates") for one in read),
    ]


def _lines_in_order(told: Answered) -> tuple[list[Line], list[Line], list[Line]]:
    """The lines as the page has them: what is promised, what decides and nothing else has said, and
    all others."""
    lines, main = answer_lines(told), main_lines(told)
    promised = [line for line in main if line.what.endswith(", promised")]
    left = [line for line in main if line not in promised and line.what not in SAID_HERE]
    return promised, left, [line for line in lines if line not in promised and line not in left]


def _if_steps_err(told: Answer) -> str:
    """What it takes, or what the GPUs that are there carry, where steps are faster and slower."""
    error = told.error
    if not error.known:
        return NOT_KNOWN
    fast = _count(told.if_faster)
    slow = "no fleet does" if told.if_slower is None else f"{told.if_slower:,}"
    if told.rates:
        fast, slow = _given_error(told)
    low, high = min(1.0, error.low), max(1.0, error.high)
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


def answer_summary(told: Answered) -> str:
    """A plan in one sentence, and what makes it uncertain.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> answer_summary(_small_answer()).partition(" keeps ")[0]
    '1 replica of Llama-3.1-8B in FP8 on 1 × H100 SXM'

    Where formats were compared it says what the others cost. It is as certain as the run and the
    step model: a fleet whose interval reaches beyond an objective "may keep" it and then one more
    is named; it says so when one replica fewer may do, or other limits would save some; and how
    many replicas it takes where steps err as measured ones did. Where no run of the device was
    measured, that comes first.
    """
    sentence, notes = answer_parts(told)
    return " ".join([sentence, *notes])


def answer_head(told: Answered) -> tuple[str, str]:
    """The answer in two words: GPUs and dollars, or of GPUs that are there what they carry.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> answer_head(_small_answer())
    ('1 × H100 SXM', '$2.00 an hour')
    """
    question = told.question
    fleet = told if isinstance(told, Routed) else told.plan.best
    devices = question.deployment.devices * (fleet.replicas + question.spare_replicas)
    gpus = f"{question.gpus or devices:,} × {question.deployment.system.shown}"
    dollars = f"${priced(fleet.usd_per_hour)} an hour"
    if question.gpus:
        return _per_second(_asked_rate(question)), f"{gpus}, {dollars}"
    return gpus, dollars


def answer_parts(told: Answered) -> tuple[str, list[str]]:
    """The sentence of an answer, and each of the notes that follow it.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> answer_parts(_small_answer())[0].partition(" keeps ")[0]
    '1 replica of Llama-3.1-8B in FP8 on 1 × H100 SXM'
    """
    if isinstance(told, Routed):
        return routed_parts(told)
    question, found = told.question, told.plan
    best, one = found.best, question.deployment
    sure = "keeps" if best.replicas == 1 else "keep"
    given, tuned = told.rates is not None, _tuned(question, told.error)
    safer = "smaller number" if given else "larger number"  # of requests, or of replicas
    notes = [_for_installed(tuned, safer), _lengths_summary(told), *_left_out(question)]
    notes += given_more(told) if given else _other_costs(told)
    if _beyond(found.best) or found.load > EDGE:
        sure = "may keep"
        notes.append("" if given else _enough(told))
    if found.deciding:
        notes.append(f"What decides is {' or '.join(found.deciding)}.")
    if found.one_fewer_may_do:
        notes.append(f"{best.replicas - 1:,} may do.")
    if found.found:
        other = found.found
        more = f"{_they_carry(told).capitalize()} more" if given else ""
        would = more or f"{_count(other.replicas)} would do"
        notes.append(
            f"{would} with a token budget of {other.budget:,} and a batch limit of "
            f"{other.places:,}."
        )
    low, high = told.if_faster, told.if_slower
    if not given and told.error.known and (low, high) != (best.replicas, best.replicas):
        many = f"{low:,}" if low == high else f"{low:,} to {high:,}" if high else f"{low:,} or more"
        notes.append(f"If steps are as far off as in measured runs, it takes {many}.")
    notes += _of_steps(question)
    notes += [_apart_summary(told), energy_summary(told), _api_summary(told)]
    notes += [_elsewhere(told.others), _unmeasured_others(told)]
    split = f" ({_split_name(question)})" if one.devices > 1 else ""
    device = f"{one.devices} × {one.system.shown}{split}"
    spare = f", and {question.spare_replicas} more that may fail" if question.spare_replicas else ""
    said = (
        f"{_count(best.replicas)} of {_model(question)} in {one.precision.upper()} on {device} "
        f"{sure} {_promised(question)} for {_per_second(found.rate_per_s)}"
    )
    first = "" if told.error.known else unmeasured(question, best.concurrency)
    sentence = (
        f"{first}{given_said(told, sure) if given else said}{spare}, "
        f"{_paid_said(question, best.replicas)}{tuned}."
    )
    return sentence, [note.strip() for note in notes if note]


def _enough(told: Answer) -> str:
    """How many replicas keep the objectives where the answer's may miss them."""
    found, most = told.plan, 100 * EDGE
    more = found.best.replicas + 1
    enough = math.ceil(found.best.replicas * found.load / EDGE)
    if enough > more:
        return (
            f"{enough:,} stay below {most:.0f}% of what they could serve, beyond which intervals "
            "are too narrow."
        )
    return "" if _beyond(found.one_more) else f"{more:,} keep {_all(told.question)}."


def _lengths_summary(told: Answer) -> str:
    """What the model's context cut of drawn requests; else that lengths spread, where prompts are
    long, or one of those that the promise counts takes much of it alone."""
    question, traffic = told.question, told.question.traffic
    if isinstance(traffic, Workload):
        return ""
    prompt, _ = question.mean_lengths
    if question.left_by_context:
        most = f"context of {question.deployment.architecture.context_tokens:,} tokens"
        return _cut_said(traffic, question.left_by_context, most)
    drawn = "Lengths are drawn geometric, and"
    if prompt >= LONG_PROMPT:
        return f" {drawn} equal prompts take less time: a trace has its own."
    first = next((goal for goal in question.promise if goal.metric == "ttft"), None)
    if traffic.classes or first is None or told.plan.alone_s < LONG_ALONE * first.limit:
        return ""
    if not told.rates and told.plan.best.replicas * question.deployment.devices == 1:
        return ""  # there is no fewer
    long = -math.log1p(-first.share) * prompt
    equal = f"{_they_carry(told)} more equal ones" if told.rates else "equal ones take fewer GPUs"
    return (
        f" {drawn} {sized(100 * (1 - first.share))}% of the prompts have {long:,.0f} tokens or "
        f"more, which take {sized(told.plan.alone_s)} s alone: {equal}. A trace "
        "has its own."
    )


def _other_costs(told: Answer) -> list[str]:
    """What the cheapest with the weights in each other format costs, by the runs that there are."""
    said = []
    for name, one, less in _other_formats(told):
        usd = one.run.usd_per_hour if one.run else 0.0
        about = "~" * _is_short(told, one)
        said.append(f"In {name} it costs {'at most ' * less}{about}${priced(usd)}.")
    return said


def _elsewhere(others: Sequence[Elsewhere]) -> str:
    """What other devices would have to cost, by short runs."""
    said = [
        f"~{one.devices:,} × {one.question.deployment.system.shown} below "
        f"${_rounded_down(one.even_usd_per_hour)} a GPU"
        for one in others
    ]
    spot = " before what spot saves" if any(one.question.spot_saves for one in others) else ""
    return f" Cheaper would be {', '.join(said)}{spot}." if said else ""


def _unmeasured_others(told: Answer) -> str:
    """Devices that the answer was compared with, of which no run was measured."""
    ones = [*(one.question for one in told.ranked), *(one.question for one in told.others)]
    compared = dict.fromkeys(one.deployment.system for one in ones)
    mine = told.question.deployment.system
    names = [one.shown for one in compared if one != mine and not was_measured(one.name)]
    return f" No run on {' or '.join(names)} was measured." if names else ""


def _rounded_down(usd: float) -> str:
    """A price below which something holds: in cents, or two digits below ten of them."""
    steps = 100 if usd >= 0.1 else 10.0 ** (1 - math.floor(math.log10(usd)))
    return priced(math.floor(steps * usd + 1e-9) / steps, 2 if usd >= 0.1 else 3)


def summary_text(told: Answered) -> str:
    """A plan in some fifteen lines of a hundred characters: the sentence, and what it leaves out of
    the lines that decide.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> text = summary_text(_small_answer()).splitlines()
    >>> len(text) <= 15, max(map(len, text)) <= 100
    (True, True)
    """
    rows = [[line.what, line.value] for line in main_lines(told) if line.what not in SAID]
    sentence = textwrap.wrap(answer_summary(told), WIDTH, break_on_hyphens=False)  # options
    return "\n".join([*sentence, table_text(rows)])


def table_text(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as text, in columns as wide as their widest cell, or less: the widest are
    broken until a row fits a terminal, and none to less than eight characters.

    rows: all of one length, at least one row. Raises ValueError otherwise.

    >>> print(table_text([["a", "b"], ["long", "c"]]))
    a     b
    long  c
    """
    if not rows or len({len(row) for row in rows}) != 1:
        raise ValueError(f"rows must be of one length, got {[len(row) for row in rows]}")
    widths = [max(1, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    while sum(widths) + 2 * (len(widths) - 1) > WIDTH and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    lines = []
    for row in rows:
        cells = [textwrap.wrap(cell, wide) for cell, wide in zip(row, widths, strict=True)]
        for place in range(max(1, *map(len, cells))):
            parts = [cell[place] if place < len(cell) else "" for cell in cells]
            told = "  ".join(part.ljust(wide) for part, wide in zip(parts, widths, strict=True))
            lines.append(told.rstrip())
    return "\n".join(lines)


def comparison_rows(told: Answer) -> list[list[str]]:
    """The deployments that were compared, as rows with a header, the cheapest first.

    told: the answer. A price with a ~ is of a short run, which may say a replica too few. Those
    that were left out are one row with the least that any of them costs.

    >>> from serving_mathematics.planner.configurations import answer
    >>> from serving_mathematics.planner.questions import read_choices
    >>> asked = {"rate_per_s": 9, "precision": "bf16", "parallelism": "tp1,tp2", "requests": 100}
    >>> [row[:3] for row in comparison_rows(answer(read_choices(asked)))][1:]
    [['1 of 1 × H100 SXM', 'bf16, tp1', '2.00'], ['1 of 2 × H100 SXM', 'bf16, tp2', '~4.00']]
    """
    left_out = [one for one in told.ranked if not one.run and not one.problem]
    asked = "requests/s" if told.rates else "$/h"
    rows = [
        ["fleet", "weights, split", asked, "$/10⁶ tokens", "TPOT p50 [ms]", "best of its price"]
    ]
    for one in told.ranked:
        deployment, run = one.question.deployment, one.run
        of, split = _devices_and_split(one.question)
        apart = " apart" if one.question.separate else ""
        what = f"{deployment.precision}, {split}{apart}"
        if run:
            count = f"{run.prompts} + {run.answers}" if isinstance(run, Apart) else run.replicas
            about = "~" if _is_short(told, one) else ""
            first = _given_amount(one) if told.rates else priced(run.usd_per_hour)
            usd = [f"{about}{first}", f"{about}{priced(run.usd_per_million, 3)}"]
            front = "yes" if one in told.front else ""
            rows.append([f"{count} of {of}", what, *usd, sized(1e3 * run.tpot[0].value), front])
        elif one.problem:
            rows.append([f"none of {of}", what, "", "", "", one.problem])
    if len(told.ranked) > 1 and left_out:
        least = f"at least {priced(min(one.least_usd_per_hour for one in left_out))}"
        if told.rates:
            least = f"at most {_given_amount(*left_out)}"
        many = f"{len(left_out)} other{'' if len(left_out) == 1 else 's'}"
        rows.append([many, "", least, "", "", ""])
    return rows


@dataclass(frozen=True)
class Table:
    """Rows with a header, under a title, and what must be said of them."""

    title: str
    rows: list[list[str]]
    note: str = ""


def answer_tables(told: Answered) -> list[Table]:
    """Tables beside the lines: runs of a load test as they were predicted, and the deployments that
    were compared.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import answer
    >>> from serving_mathematics.planner.questions import read_choices
    >>> asked = {"rate_per_s": 9, "precision": "bf16", "parallelism": "tp1,tp2", "requests": 100}
    >>> [table.title for table in answer_tables(answer(read_choices(asked)))]
    ['The deployments that were compared']
    """
    if isinstance(told, Routed):
        return [Table("The routers that were compared", routed_rows(told), ROWS_ARE)]
    calibration, tables = told.question.calibration, []
    if calibration:
        note = calibration_text(calibration)
        tables.append(Table("The load test", calibration_rows(calibration), note))
    if len(told.ranked) > 1:
        tables.append(Table("The deployments that were compared", comparison_rows(told)))
    return tables


def _is_short(told: Answer, one: Ranked) -> bool:
    """Whether the runs of a deployment are those of the comparison only."""
    planned = told.apart.run if one.question.separate and told.apart else told.plan.best
    return one.run is not None and planned is not None and one.run.simulated < planned.simulated


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
        return "tuned benchmarks; an engine as installed is slower (front: unknown)"
    return f"the front {question.front.name}"


def _measured(told: Answer) -> str:
    """Between what measured runs of such deployments lie, and how many there are."""
    error, one = told.error, told.question.deployment
    if not error.known:
        return "none on this device"
    low, high = min(1.0, error.low), max(1.0, error.high)
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


def _apart_summary(told: Answer) -> str:
    """What separate fleets would cost, as a sentence after those of the one fleet."""
    if told.apart is None:
        return ""
    run = told.apart.run
    if run is None:
        return f" Two fleets cannot: {told.apart.problem}."
    rate = _asked_rate(told.apart.question)
    over = run.usd_per_hour / told.plan.best.usd_per_hour
    over = rate / told.plan.rate_per_s if told.rates else over
    more = round(100 * (over - 1))
    saying = f"{abs(more)}% {'more' if more > 0 else 'less'}" if more else "as much"
    sure, few = "may " * run.beyond, ""
    if told.rates:
        said = f"{sure}carry {_per_second(rate)}"
    else:
        said = f"{sure}keep them at ${priced(run.usd_per_hour)} an hour"
        few = "; one replica fewer may do" if run.fewer_may_do else ""
    return (
        f" Separate fleets, {run.prompts:,} for prompts and {run.answers:,} for answers, {said}, "
        f"{saying}{few}."
    )


def asked_text(question: Question) -> str:
    """What an answer belongs to, in a line.

    question: that was asked.

    >>> from serving_mathematics.planner.questions import read_question
    >>> asked_text(read_question({"rate_per_s": 5}))[-53:]
    'and 250 out; a TTFT of 1 s and a TPOT of 50 ms at p99'
    """
    one, traffic = question.deployment, question.traffic
    if isinstance(traffic, Workload):
        asked = f"a trace of {traffic.arrival_s.size:,} requests"
        asked += ", as fast as they carry it" if question.gpus else ""
    else:
        lengths = (traffic.mean_prompt_tokens, traffic.mean_output_tokens)
        prompt, output = (f"{tokens:,.0f}" for tokens in lengths)
        asked = f"{traffic.rate_per_s:g} requests/s of {prompt} tokens in and {output} out"
        if question.gpus:
            asked = f"as many requests as they carry, of {prompt} tokens in and {output} out"
    on = f"{question.gpus:,} × {one.system.shown}" if question.gpus else one.system.shown
    return f"{_model(question)} on {on}; {asked}; {_promised(question)}"


def _beyond(fleet: Performance) -> list[str]:
    """Objectives beyond which the interval of a fleet reaches, with the class where there are
    several."""
    return [
        f"{goal.measure.shown} of {one.name}" if len(fleet.classes) > 1 else goal.measure.shown
        for one in fleet.classes
        for goal, run in zip(one.promise, one.got, strict=True)
        if run.value + run.half_width > goal.limit
    ]


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
        f"the interval of {name} reaches beyond its objective" for name in _beyond(told.plan.best)
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


# In one piece: a field of the record after the other.
def answer_record(told: Answered) -> dict[str, float | int | str]:
    """A plan as one flat record of names and numbers, for JSON, CSV and other programs.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> answer_record(_small_answer())["replicas"]
    1
    """
    if isinstance(told, Routed):
        return routed_record(told)
    question, found = told.question, told.plan
    best, closed, engine, one = found.best, found.estimate, found.engine, question.deployment
    record: dict[str, float | int | str] = {
        "model": question.served,
        "parameters": one.architecture.parameters,
        "precision": one.precision,
        "device": one.system.name,
        "devices": one.devices,
        "parallelism": _split_name(question),
        "backend": one.backend,
        "front": "load test" if question.calibration else question.front.name,
        "drafter": _drafter_name(question),
        "accepted_tokens": one.accepted_tokens,
        "rate_per_s": found.rate_per_s,
        "replicas": best.replicas,
        "spare_replicas": question.spare_replicas,
        "replicas_if_faster": told.if_faster or "",
        "replicas_if_slower": "" if told.if_slower is None else told.if_slower,
        "calibrated_by": len(question.calibration.runs) if question.calibration else 0,
        "batch_limit": best.places,
        "token_budget": best.budget,
        "binding": " or ".join(found.binding),
        "decided": _decided(told),
        "kv_bytes": engine.kv_blocks * engine.block_tokens * found.token_bytes,
        "kv_tokens": engine.kv_blocks * engine.block_tokens,
        "concurrency": best.concurrency,
        "concurrency_closed": closed.concurrency,
        "held_tokens": best.held_tokens,
        "held_tokens_closed": closed.held_tokens,
    }
    if isinstance(question.traffic, ReadRequests):
        record["trace_read"] = question.traffic.told
    if one.system.name == GIVEN:
        record["links_and_kernels_of"] = find_system(LIKE).name
    for place, quantile in enumerate(QUANTILES):
        name = f"p{100 * quantile:g}"
        record[f"ttft_{name}_s"] = best.ttft[place].value
        record[f"ttft_{name}_half_width_s"] = best.ttft[place].half_width
        record[f"ttft_{name}_closed_s"] = closed.ttft_s[place]
        record[f"tpot_{name}_s"] = best.tpot[place].value
        record[f"tpot_{name}_half_width_s"] = best.tpot[place].half_width
    for goal, run in _alone(best.nearest)[2:]:
        record[f"{goal.metric}_s"] = run.value
        record[f"{goal.metric}_half_width_s"] = run.half_width
    for one_class in best.classes if len(best.classes) > 1 else ():
        name = one_class.name
        record |= {f"{name}_{goal.metric}_s": run.value for goal, run in _alone(one_class)}
        record |= {
            f"{name}_both_kept": one_class.both.value,
            f"{name}_goodput_per_s": one_class.goodput_per_s,
        }
    record |= {
        "tpot_closed_s": closed.tpot_s,
        "both_kept": best.both.value,
        "both_kept_half_width": best.both.half_width,
        "goodput_per_s": sum(one.goodput_per_s for one in best.classes),
        "deciding": " or ".join(found.deciding),
        "busy": best.busy,
        "load": found.load,
        "load_closed": closed.load,
        "preemptions_per_request": best.preempted,
        "usd_per_hour": best.usd_per_hour,
        "usd_per_million_tokens": best.usd_per_million,
        **{f"one_more_{goal.metric}_s": run.value for goal, run in _alone(found.one_more.nearest)},
        "one_more_usd_per_million_tokens": found.one_more.usd_per_million,
        "one_fewer_load": found.fewer_load or "",
        "usual_replicas": found.usual.replicas if found.usual else "",
        "other_limits_replicas": found.found.replicas if found.found else "",
        "quantized_replicas": found.quantized.replicas if found.quantized else "",
        "quantized_usd_per_million_tokens": (
            found.quantized.usd_per_million if found.quantized else ""
        ),
        **_given_record(told),
        **cost_record(told),
        **_apart_record(told),
        "compared": len(told.ranked),
        "simulated_requests": best.simulated,
    }
    return {
        name: value if isinstance(value, str) or math.isfinite(value) else ""
        for name, value in record.items()
    }


def _apart_record(told: Answer) -> dict[str, float | int | str]:
    """Separate fleets, where they were asked for."""
    if told.apart is None:
        return {}
    if told.apart.run is None:
        return {"apart_problem": told.apart.problem}
    run, one = told.apart.run, told.apart.question.deployment
    prompts = told.apart.question.of_prompts()
    return {
        "apart_prompt_replicas": run.prompts,
        "apart_answer_replicas": run.answers,
        "apart_device": one.system.name,
        "apart_parallelism": _split_name(told.apart.question),
        "apart_prompt_device": prompts.deployment.system.name,
        "apart_prompt_parallelism": _split_name(prompts),
        "apart_precision": one.precision,
        "apart_token_budget": run.budget,
        "apart_ttft_p99_s": run.ttft[2].value,
        "apart_tpot_p99_s": run.tpot[2].value,
        "apart_both_kept": run.both.value,
        "apart_transfer_s": run.transfer_s,
        "apart_link_busy": run.link_busy,
        "apart_watts": "" if (watts := apart_watts(told.apart.question, run)) is None else watts,
        "apart_usd_per_hour": run.usd_per_hour,
        "apart_usd_per_million_tokens": run.usd_per_million,
        **({"apart_rate_per_s": _asked_rate(told.apart.question)} if told.rates else {}),
        "apart_if_faster": told.apart.if_faster or "",
        "apart_if_slower": "" if told.apart.if_slower is None else told.apart.if_slower,
        "apart_problem": "",
    }


def check_lines_and_record_agree() -> None:
    """What a reader sees and what a program gets are the same numbers.

    Source: the text of the lines, read back.
    """
    told = answer(read_choices({"rate_per_s": 20, "requests": 200, "ttft_s": 2}))
    lines = {line.what: line for line in answer_lines(told)}
    record = answer_record(told)
    checks.equal("replicas", int(lines["replicas"].value), record["replicas"])
    p99 = float(lines["TTFT at p99"].value.split()[0])
    checks.close("TTFT at p99 [s]", p99, record["ttft_p99_s"], rtol=2e-2)
    price = float(lines["price of 10⁶ generated tokens"].value.strip("$"))
    checks.close("price [$]", price, record["usd_per_million_tokens"], atol=5e-4)
    checks.equal("constraint", lines["binding constraint"].value, record["binding"])
