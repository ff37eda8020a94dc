"""A line of an answer, and numbers as lines say them.

Assumes: nothing about the numbers.

Source: GUM (JCGM 100:2008), section 7.2.6, for two digits of an uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.hardware.architectures import UNSEEN
from serving_mathematics.core.hardware.catalogue import find_system
from serving_mathematics.core.hardware.deployments import OWN_HEADS
from serving_mathematics.core.hardware.fronts import crossing, untuned
from serving_mathematics.planner.capacity_planner.judged_requests import ClassRun, Quantile
from serving_mathematics.planner.capacity_planner.model_errors import ModelError
from serving_mathematics.planner.questions.fields import GIVEN, LIKE
from serving_mathematics.planner.questions.objectives import Objective, promise_text
from serving_mathematics.planner.questions.question import Question, _is_tuned, _split_name
from serving_mathematics.planner.questions.traffic import KINDS, Traffic
from serving_mathematics.support.digits import priced, sized
from serving_mathematics.support.require import require, require_positive

BORROWED = "Links, kernels and twice the peak in 8 bits"  # of a device given by its numbers
MISFIT = 1.5  # times what the other runs of a load test say of one, from which they contradict it


@dataclass(frozen=True)
class Line:
    """One line of an answer: what, how much, the chapter's page, the closed form's value and, of a
    latency that is promised, which share of its limit it is."""

    what: str
    value: str
    chapter: str
    estimate: str = ""
    of_limit: float | None = None


def with_interval(found: Quantile, scale: float = 1.0) -> str:
    """Value and half-width, with the digits that two of the half-width leave.

    found: the quantile. scale: to another unit, positive and finite; else ValueError.

    >>> from serving_mathematics.planner.capacity_planner.judged_requests import Quantile
    >>> with_interval(Quantile(0.012345, 0.00067), 1e3)
    '12.35 ± 0.67'
    """
    scale = require_positive(scale=scale)
    value, half = scale * found.value, scale * found.half_width
    if not half:
        return sized(value)
    digits = max(0, 1 - math.floor(math.log10(half)))
    return f"{value:.{digits}f} ± {half:.{digits}f}"


def listed(words: Sequence[str]) -> str:
    """Several of one kind in a sentence.

    words: one or more. Raises ValueError for none.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    require(len(words) > 0, "words", "one or more", "none")
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def overloaded(load: float, rate_per_s: float) -> str:
    """What is said of a fleet for which no latency is steady.

    load: traffic over the most that it could serve. rate_per_s: that traffic. Both positive and
    finite; else ValueError.

    >>> overloaded(1.25, 60.0)
    'overloaded, at 125% of the 48 requests/s that it could serve'
    """
    load, rate_per_s = require_positive(load=load), require_positive(rate_per_s=rate_per_s)
    how, most = "overloaded" if load >= 1 else "full", _per_second(rate_per_s / load)
    return f"{how}, at {100 * load:.0f}% of the {most} that it could serve"


NOT_KNOWN = "not known: no run on this device was measured"


def unmeasured(question: Question, held: float) -> str:
    """What an answer begins with on a device of which no run was measured: the option that settles
    it, with loads that the reader is to test.

    question: of the answer. held: requests in a replica, positive. Raises ValueError otherwise.

    >>> from serving_mathematics.planner.questions.questions import read_question
    >>> asked = {"rate_per_s": 1, "device": "L4", "precision": "fp8", "parallelism": "tp2"}
    >>> unmeasured(read_question(asked), 5.2).partition("seconds: ")[2]
    '--precision fp8 --parallelism tp2 --load-test "1:TTFT:TPOT,6:TTFT:TPOT". '
    """
    load = max(2, math.ceil(require_positive(held=held)))
    split, precision = _split_name(question).replace(" ", ""), question.deployment.precision
    return (
        f"No run on this device was measured: how far this is off is not known. Test it with 1 and "
        f"with {load:,} at a time, and ask again with what you measured, in seconds: --precision "
        f'{precision} --parallelism {split} --load-test "1:TTFT:TPOT,{load}:TTFT:TPOT". '
    )


def _promised_lines(classes: Sequence[ClassRun]) -> list[Line]:
    """What requests get of each metric that is promised, of the class with the least room."""
    worst, lines = max(classes, key=lambda one: one.worse), []
    whose = f" of {worst.name}" if len(classes) > 1 else ""
    for goal, run in zip(worst.promise, worst.got, strict=True):
        metric, of_limit = goal.measure, None
        if metric.of_all:
            what, got = metric.shown, f"{with_interval(worst.both, 100)}%"
            limit = f"{100 * goal.share:g}%"
        else:
            what, got = f"{metric.shown} at {goal.at}", with_interval(run, metric.scale)
            limit, of_limit = metric.limit_text(goal.limit), run.value / goal.limit
        value = f"{got} of {limit}"
        lines.append(Line(f"{what}{whose}, promised", value, metric.chapter, of_limit=of_limit))
    return lines


def _alone(one: ClassRun) -> list[tuple[Objective, Quantile]]:
    """Objectives of one metric each, with what is got."""
    pairs = zip(one.promise, one.got, strict=True)
    return [(goal, run) for goal, run in pairs if not goal.measure.of_all]


def _all(question: Question) -> str:
    """How many limits there are to keep."""
    return "both" if len([x for x in question.goals[0] if not x.measure.of_all]) == 2 else "all"


def _model(question: Question) -> str:
    """The model's name in prose: that of a folder is its architecture's."""
    name = question.served
    if name.startswith((".", "/", "~")):
        name = question.deployment.architecture.name
    return name.split("/")[-1].removeprefix("Meta-")


def _promised(question: Question) -> str:
    """The objectives in words, those of each class with its name."""
    said = [promise_text(promise) for promise in question.goals]
    if len(said) == 1:
        return said[0]
    names = question.class_names
    return ", ".join(f"{what} for {name}" for name, what in zip(names, said, strict=True))


def _count(many: int, what: str = "replica") -> str:
    return f"1 {what}" if many == 1 else f"{many:,} {what}s"


def _per_second(rate_per_s: float) -> str:
    rate = sized(rate_per_s)
    return f"{rate} request{'' if rate == '1' else 's'}/s"


def _deployed(question: Question) -> str:
    """Model, format and devices of a replica, and how it is split where these are several."""
    one = question.deployment
    split = f" ({_split_name(question)})" if one.devices > 1 else ""
    on = f"{one.devices} × {one.system.shown}{split}"
    return f"{_model(question)} in {one.precision.upper()} on {on}"


def _fleet_lines(
    question: Question, replicas: int, lengths: tuple[float, float]
) -> tuple[Line, Line, Line]:
    """What an answer begins with: the fleet, a replica, and what a request brings, which the reader
    may have left to the planner."""
    one, cached = question.deployment, _cached_share(question)
    replica = f"{one.devices} × {one.system.shown}, {_split_name(question)}, {one.precision}"
    asks = f"{lengths[0]:,.0f} in, {lengths[1]:,.0f} out"
    asks += f", {100 * cached:.0f}% of those in cached" if cached else ""
    return (
        Line("replicas", _with_spare(question, replicas), "capacity/autoscaling"),
        Line("a replica", replica, "machine/predictions"),
        Line("tokens of a request, mean", asks, "capacity/arrival-rates"),
    )


def _price_line(usd_per_hour: float) -> Line:
    said = f"${priced(usd_per_hour)} an hour"
    return Line("price of the fleet", said, "intuition/batch-vs-online")


def _cut_said(traffic: Traffic, left: tuple[float, float, float], most: str) -> str:
    """What was cut of drawn requests, and for which the answer is. left: share that is cut, and
    means. most: what cut it, in words."""
    share, prompt, answer = left
    drawn = {kind.like for kind in traffic.classes or (traffic,)} == {KINDS[0]}
    asked = f"{traffic.mean_prompt_tokens:,.0f} and {traffic.mean_output_tokens:,.0f}"
    return (
        f" Of the drawn requests {100 * share:.0f}% are cut at the {most}: this is for "
        f"{prompt:,.0f} in and {answer:,.0f} out on average."
        + f" For {asked} give a trace."
        * drawn
    )


def _cached_share(question: Question) -> float:
    """Share of all prompt tokens that caches are taken to hold; behind routers it is found."""
    traffic = question.traffic
    if question.routing:
        return 0.0
    if isinstance(traffic, Workload):
        return float(traffic.cached_tokens.sum() / traffic.prompt_tokens.sum())
    if not traffic.classes:
        return traffic.cached_share
    each = [(one.share * one.mean_prompt_tokens, one.cached_share) for one in traffic.classes]
    return sum(size * part for size, part in each) / sum(size for size, _ in each)


def _misfit(question: Question) -> str:
    """Which run of a load test is furthest off what the others say of it, as a sentence, where one
    engine of the step model does not explain them all; empty elsewhere."""
    found = question.calibration
    if found is None or found.held_out is None:
        return ""
    off = [
        run.per_token_s / float(told)
        for run, told in zip(found.runs, found.held_out.per_token_s, strict=True)
    ]
    far = max(range(len(off)), key=lambda place: abs(math.log(off[place])))
    if 1 / MISFIT < off[far] < MISFIT:
        return ""
    return (
        f" Of the load test, the run of {found.runs[far].label} took {sized(off[far], 2)} times "
        "what its other runs say: one engine of the step model does not explain them all, so "
        "measure it again, or give the runs near this load alone."
    )


def _tuned(question: Question, error: ModelError) -> str:
    """The end of the answer's first sentence: for which engine it is."""
    return ", with a tuned engine" * (_is_tuned(question) and error.known)


def _for_installed(tuned: str, safer: str) -> str:
    """What to do where the engine is not tuned. tuned: as above. safer: what to take, of both
    answers, because the front unknown may take fewer where a TTFT is strict."""
    said = (
        f"For an engine as installed, ask with front: unknown too and take the {safer} of both "
        "answers."
    )
    return said if tuned else ""


def _of_steps(question: Question) -> list[str]:
    """What is to be known of the steps: where a load test contradicts itself, and what is taken for
    given."""
    one = question.deployment
    notes = [_misfit(question), _needs_heads(question)]
    if one.system.name == GIVEN:
        notes.append(f"{BORROWED} are taken from {find_system(LIKE).shown}.")
    if question.calibration is None:
        taken = (untuned(one), crossing(one))
        notes += [f"{note[0].upper()}{note[1:]}." for note in taken if note]
    return notes


def _left_out(question: Question) -> list[str]:
    """What a reader may take for counted: caches that miss, images, GPUs that are taken away."""
    notes, cached = [], _cached_share(question)
    if cached:
        like = "" if isinstance(question.traffic, Workload) else " and like: agents"
        notes.append(
            f"That caches hold {100 * cached:.0f}% of the prompt tokens, whichever "
            f"replica they come to, is taken as given: replicas: auto{like} simulates caches."
        )
    if not all(part.endswith(UNSEEN) for part in question.deployment.architecture.beside):
        notes.append(
            "Images and sound are tokens of the prompt here: the time and the memory of what "
            "encodes them are not counted."
        )
    if question.spot_saves:
        notes.append(
            "That spot GPUs are taken away is not counted: buy as many spare_replicas as may go "
            "at once."
        )
    return notes


def _paid_said(question: Question, replicas: int) -> str:
    """What a fleet costs, and for how many GPUs, where that is not told before."""
    paid, devices = replicas + question.spare_replicas, question.deployment.devices
    told = question.gpus == paid * devices if question.gpus else min(paid, devices) == 1
    gpus = "" if told else f" for {_count(paid * devices, 'GPU')}"
    return f"at ${priced(question.usd_per_hour(replicas))} an hour{gpus}, {_price_said(question)}"


def _with_spare(question: Question, replicas: int) -> str:
    """Replicas, and those that are bought beside them."""
    more = question.spare_replicas
    return f"{replicas:,}" + f" and {more} that may fail" * bool(more)


def _price_said(question: Question) -> str:
    """The price of a GPU, whether the reader gave it, and what spot has saved of it."""
    notes = [] if question.priced else ["you gave no price"]
    notes += [f"{100 * question.spot_saves:.0f}% less by spot"] if question.spot_saves else []
    return f"${priced(question.price_per_hour)} a GPU" + (f" ({', '.join(notes)})" if notes else "")


def _needs_heads(question: Question) -> str:
    """What guesses need and a plan does not count, where the model's own heads make them."""
    one = question.deployment
    if not one.draft_tokens or one.drafter != OWN_HEADS:
        return ""
    return (
        "Guesses need MTP or EAGLE heads for this checkpoint, each taken for one of its layers in "
        "a step; their memory is not counted."
    )


def _values(one: ClassRun) -> list[str]:
    """What a class gets of each metric, with intervals."""
    return [
        f"{goal.measure.shown} {with_interval(run, goal.measure.scale)} {goal.measure.unit}"
        for goal, run in _alone(one)
    ]


def _beyond(classes: Sequence[ClassRun]) -> list[str]:
    """Objectives beyond which the intervals of a fleet reach, with the class where there are
    several."""
    return [
        f"{goal.measure.shown} of {one.name}" if len(classes) > 1 else goal.measure.shown
        for one in classes
        for goal, run in zip(one.promise, one.got, strict=True)
        if run.value + run.half_width > goal.limit
    ]
