"""An answer: its head, its sentence with the lines that decide, and one flat record for programs.

Assumes: an answer from `configurations`.

Source: the lines of the answer, which a check compares with the record.
"""

from __future__ import annotations

import math
import textwrap

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.hardware.catalogue import find_system
from serving_mathematics.planner.answers.answer_lines import (
    SAID,
    _decided,
    answer_lines,
    main_lines,
)
from serving_mathematics.planner.answers.answer_sentence import answer_parts
from serving_mathematics.planner.answers.answer_tables import WIDTH, table_text
from serving_mathematics.planner.answers.costs import cost_record
from serving_mathematics.planner.answers.given_lines import _given_record
from serving_mathematics.planner.answers.lines import _alone, _model, _per_second, _promised
from serving_mathematics.planner.answers.routing_lines import routed_record
from serving_mathematics.planner.capacity_planner.fleet_energy import apart_watts
from serving_mathematics.planner.capacity_planner.judged_requests import QUANTILES
from serving_mathematics.planner.capacity_planner.routing import Routed
from serving_mathematics.planner.configurations import Answer, Answered, _drafter_name, answer
from serving_mathematics.planner.questions.fields import GIVEN, LIKE
from serving_mathematics.planner.questions.question import Question, _asked_rate, _split_name
from serving_mathematics.planner.questions.questions import read_choices
from serving_mathematics.planner.questions.trace_formats import ReadRequests
from serving_mathematics.support import checks
from serving_mathematics.support.digits import priced


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


def asked_text(question: Question) -> str:
    """What an answer belongs to, in a line.

    question: that was asked.

    >>> from serving_mathematics.planner.questions.questions import read_question
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
