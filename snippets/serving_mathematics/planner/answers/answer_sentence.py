"""A plan in one sentence, and the notes that say what makes it uncertain.

Assumes: an answer from `configurations`.

Source: the lines of the answer, which are the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.hardware.catalogue import was_measured
from serving_mathematics.planner.answers.answer_tables import _is_short
from serving_mathematics.planner.answers.costs import _api_summary, energy_summary
from serving_mathematics.planner.answers.given_lines import _they_carry, given_more, given_said
from serving_mathematics.planner.answers.lines import (
    _all,
    _beyond,
    _count,
    _cut_said,
    _deployed,
    _for_installed,
    _left_out,
    _of_steps,
    _paid_said,
    _per_second,
    _promised,
    _tuned,
    unmeasured,
)
from serving_mathematics.planner.answers.routing_lines import routed_parts
from serving_mathematics.planner.capacity_planner.fleet_search import EDGE
from serving_mathematics.planner.capacity_planner.routing import Routed
from serving_mathematics.planner.configurations import Answer, Answered, Elsewhere, _other_formats
from serving_mathematics.planner.questions.question import _asked_rate
from serving_mathematics.support.digits import priced, sized

LONG_ALONE = 0.4  # of a TTFT's limit: equal prompts took 20 to 67% fewer replicas from there on
LONG_PROMPT = 8000  # tokens: with an 8B an engine carries a fifth more if all are equal


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
    best = found.best
    sure = "keeps" if best.replicas == 1 else "keep"
    given, tuned = told.rates is not None, _tuned(question, told.error)
    safer = "smallest number" if given else "largest number"  # of requests, or of replicas
    notes = [_for_installed(tuned, safer), _lengths_summary(told), *_left_out(question)]
    notes += given_more(told) if given else _other_costs(told)
    if _beyond(found.best.classes) or found.load > EDGE:
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
    spare = f", and {question.spare_replicas} more that may fail" if question.spare_replicas else ""
    said = (
        f"{_count(best.replicas)} of {_deployed(question)} {sure} {_promised(question)} for "
        f"{_per_second(found.rate_per_s)}"
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
    return "" if _beyond(found.one_more.classes) else f"{more:,} keep {_all(told.question)}."


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
