"""What GPUs that are there carry, in words and as numbers, beside what is said of every plan.

Assumes: an answer from `configurations` to a question with GPUs that are given.

Source: `given_devices` for the rates; Little's law for the people behind them.
"""

from __future__ import annotations

from serving_mathematics.planner.answers.lines import (
    Line,
    _all,
    _count,
    _model,
    _per_second,
    _promised,
)
from serving_mathematics.planner.capacity_planner.deployment_ranking import Ranked
from serving_mathematics.planner.capacity_planner.given_devices import Rates
from serving_mathematics.planner.configurations import Answer, _other_formats
from serving_mathematics.planner.questions.question import _asked_rate, _split_name
from serving_mathematics.support.digits import sized

MINUTE_S = 60.0


def _rates(told: Answer) -> Rates:
    assert told.rates is not None
    return told.rates


def _verb(told: Answer) -> str:
    return "carries" if told.question.gpus == 1 else "carry"


def _over_trace(told: Answer) -> str:
    """How many times a trace is carried, where one was given."""
    times = _rates(told).over_trace
    return f", {sized(times)} times the load of the trace" if times else ""


def _they_carry(told: Answer) -> str:
    return f"{'it' if told.question.gpus == 1 else 'they'} {_verb(told)}"


def given_said(told: Answer, keeps: str) -> str:
    """The answer's first words: GPUs, the rate that they carry, and how.

    told: the answer. keeps: how sure that is, such as "may keep".

    >>> from serving_mathematics.planner.configurations import answer
    >>> from serving_mathematics.planner.questions.questions import read_choices
    >>> asked = {"gpus": 1, "requests": 100, "quantile": 0.9, "precision": "fp8"}
    >>> given_said(answer(read_choices(asked)), "keeps").partition(" of ")[2]
    'Llama-3.1-8B: 1 replica in FP8 keeps a TTFT of 1 s and a TPOT of 50 ms at p90'
    """
    question, one = told.question, told.question.deployment
    gpus = f"{question.gpus:,} × {one.system.shown}"
    of = f" of {one.devices} × {one.system.shown} ({_split_name(question)})"
    of = of if one.devices > 1 else ""
    return (
        f"{gpus} {_verb(told)} {_per_second(_asked_rate(question))} of {_model(question)}"
        f"{_over_trace(told)}: "
        f"{_count(told.plan.best.replicas)}{of} in {one.precision.upper()} {keeps} "
        f"{_promised(question)}"
    )


def given_more(told: Answer) -> list[str]:
    """Sentences that follow: the rate of which the run is sure, those of other formats, GPUs that
    are left over, and rates where steps err.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import answer
    >>> from serving_mathematics.planner.questions.questions import read_choices
    >>> asked = {"gpus": 3, "requests": 100, "quantile": 0.9, "parallelism": "tp2"}
    >>> [text for text in given_more(answer(read_choices(asked))) if "left" in text]
    ['1 of the GPUs is left over.']
    """
    question, best, rates = told.question, told.plan.best, _rates(told)
    carry, said = _they_carry(told), []
    if 0 < rates.sure_per_s < _asked_rate(question):
        keep = "it keeps" if best.replicas == 1 else "they keep"
        said.append(f"At {_per_second(rates.sure_per_s)} {keep} {_all(question)}.")
    for name, one, more in _other_formats(told):
        said.append(f"In {name} {carry} {'at least ' * more}{_given_amount(one)}.")
    taken = question.deployment.devices * (best.replicas + question.spare_replicas)
    left = (question.gpus or taken) - taken
    if left:
        said.append(f"{left:,} of the GPUs {'is' if left == 1 else 'are'} left over.")
    if not told.error.known:
        return said
    most = sized(rates.if_faster_per_s)
    least = rates.if_slower_per_s
    many = f"{sized(least)} to {most}" if least else f"at most {most}"
    said.append(f"If steps are as far off as in measured runs, {carry} {many}.")
    return said


def _given_error(told: Answer) -> tuple[str, str]:
    """What is carried where steps are faster, and where they are slower."""
    rates = _rates(told)
    slower = sized(rates.if_slower_per_s) if rates.if_slower_per_s else "none"
    return _per_second(rates.if_faster_per_s), slower


def _given_lines(told: Answer) -> list[Line]:
    """Lines beside those of every plan; none where a rate was given."""
    if told.rates is None:
        return []
    rate = _asked_rate(told.question)
    return [
        Line(
            "people who each ask once a minute", f"{MINUTE_S * rate:,.0f}", "capacity/littles-law"
        ),
    ]


def _given_amount(*ones: Ranked) -> str:
    """What the one carries that carries most, in the table of those that were compared."""
    return sized(max(_asked_rate(one.question) for one in ones))


def _given_record(told: Answer) -> dict[str, float | int | str]:
    """GPUs and rates [1/s] as numbers; nothing where a rate was given."""
    if told.rates is None:
        return {}
    rates = {f"rate_{name}": rate for name, rate in vars(told.rates).items()}
    over = rates.pop("rate_over_trace")
    unknown = {} if told.error.known else {name: "" for name in rates if "_if_" in name}
    record = {"gpus": told.question.gpus or 0, **rates, **unknown}
    return record | ({"rate_over_trace": over} if over else {})
