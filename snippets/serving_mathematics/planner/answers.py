"""A plan as lines for a reader, and as one flat record for programs.

Each line has the address of the chapter that explains it. Where the closed form says something
too, it stands beside the simulated value.

Assumes: a plan from `capacity_planner`.

Source: the chapters that the lines name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace

from serving_mathematics import checks
from serving_mathematics.planner.capacity_planner import (
    QUANTILES,
    WORKED,
    Performance,
    Plan,
    Quantile,
    Question,
    plan,
    time_shares,
)
from serving_mathematics.planner.questions import read_question

CHAPTERS = {  # that the lines name, by the address of their page
    "architecture/streaming": "Streaming",
    "capacity/autoscaling": "Autoscaling",
    "capacity/littles-law": "Little's law",
    "definitions/latency-distribution": "Latency distribution",
    "definitions/slo-sla": "SLO and SLA",
    "definitions/throughput": "Throughput",
    "definitions/utilization": "Utilization",
    "intuition/batch-vs-online": "Batch or online",
    "intuition/latency-throughput-cost": "Latency, throughput, cost",
    "optimization/batching": "Batching",
    "optimization/caching": "Caching",
    "optimization/quantization": "Quantization",
}


@dataclass(frozen=True)
class Line:
    """One line of an answer: what, how much, the closed form's value, and the chapter's page."""

    what: str
    value: str
    estimate: str
    chapter: str


def answer_lines(question: Question, found: Plan) -> list[Line]:
    """A plan for a reader, line by line, each with the chapter that explains it.

    question: that was asked. found: its plan.

    >>> from serving_mathematics.planner.capacity_planner import plan
    >>> from serving_mathematics.planner.questions import read_question
    >>> asked = read_question({"rate_per_s": 1, "ttft_s": 3, "tpot_s": 1, "requests": 100})
    >>> answer_lines(asked, plan(asked))[0].what, answer_lines(asked, plan(asked))[0].value
    ('replicas', '1')
    """
    best, engine, told = found.best, found.engine, found.best.estimate
    tokens = engine.kv_blocks * engine.block_tokens
    size = tokens * question.model.token_bytes / 2**30
    weights, arithmetic, cache = (f"{100 * share:.0f}%" for share in time_shares(found))
    lines = [
        Line("replicas", f"{best.replicas}", "", "capacity/autoscaling"),
        Line("batch limit", f"{best.places}", f"{told.places:.0f}", "optimization/batching"),
        Line("binding constraint", " or ".join(found.binding), "", "definitions/throughput"),
        Line("decided by this run", _decided(question, found), "", "definitions/slo-sla"),
        Line(
            "KV memory of a replica",
            f"{size:.1f} GiB, {tokens:,} tokens",
            "",
            "optimization/caching",
        ),
        Line(
            "requests in a replica",
            f"{best.concurrency:.1f}",
            f"{told.concurrency:.1f}",
            "capacity/littles-law",
        ),
        Line(
            "tokens in its cache",
            f"{best.held_tokens:,.0f}",
            f"{told.held_tokens:,.0f}",
            "capacity/littles-law",
        ),
    ]
    for place, quantile in enumerate(QUANTILES):
        line = best.ttft[place]
        lines.append(
            Line(
                f"TTFT at p{100 * quantile:g}",
                f"{_with_interval(line)} s",
                f"{told.ttft_s[place]:.3g} s",
                "definitions/latency-distribution",
            )
        )
    for place, quantile in enumerate(QUANTILES):
        line = best.tpot[place]
        lines.append(
            Line(
                f"TPOT at p{100 * quantile:g}",
                f"{_with_interval(line, 1e3)} ms",
                f"{1e3 * told.tpot_s:.3g} ms" if quantile == 0.5 else "",
                "architecture/streaming",
            )
        )
    lines += [
        Line(
            "utilization",
            f"{100 * best.busy:.0f}% of the time busy",
            f"{100 * told.load:.0f}% of what it could serve",
            "definitions/utilization",
        ),
        Line(
            "where a step's time goes",
            f"weights {weights}, arithmetic {arithmetic}, cache {cache}",
            "",
            "intuition/latency-throughput-cost",
        ),
        Line("preemptions", f"{best.preempted:.3f} a request", "", "optimization/batching"),
        Line(
            "price of the fleet",
            f"${best.usd_per_hour:,.2f} an hour",
            "",
            "intuition/batch-vs-online",
        ),
        Line(
            "price of 10⁶ generated tokens",
            f"${best.usd_per_million:,.3f}",
            "",
            "intuition/latency-throughput-cost",
        ),
    ]
    name = f"p{100 * question.objective.quantile:g}"
    fewer = found.one_fewer
    if best.replicas > 1:
        said = "overloaded" if fewer is None else _briefly(fewer, name)
        lines.append(Line("one replica fewer", said, "", "capacity/autoscaling"))
    lines.append(
        Line("one replica more", _briefly(found.one_more, name), "", "capacity/autoscaling")
    )
    if found.quantized and found.quantized_bits:
        bits = "weights of {} bits, cache of {}".format(*found.quantized_bits)
        fleet = found.quantized.best
        said = f"{_count(fleet.replicas)}: {_briefly(fleet, name)}"
        lines.append(Line(bits, said, "", "optimization/quantization"))
    return lines


def answer_summary(question: Question, found: Plan) -> str:
    """A plan in one sentence.

    question: that was asked. found: its plan.

    >>> from serving_mathematics.planner.capacity_planner import plan
    >>> from serving_mathematics.planner.questions import read_question
    >>> asked = read_question({"rate_per_s": 1, "ttft_s": 3, "tpot_s": 1, "requests": 100})
    >>> answer_summary(asked, plan(asked)).partition(" for ")[0]
    '1 replica of Llama-3-8B on A100-80GB keeps a TTFT of 3 s and a TPOT of 1000 ms at p99'

    It is as certain as the run: a fleet whose interval reaches beyond an objective "may keep" it
    and then one more is named, and it says so when one replica fewer may do, or when a larger token
    budget would save some; and for several devices in a replica, that they are planned too fast.
    """
    goal, best, count = question.objective, found.best, question.devices
    sure = "keeps" if best.replicas == 1 else "keep"
    rest = ""
    if _beyond(question, found.best):
        sure = "may keep"
        if not _beyond(question, found.one_more):
            rest += f" {best.replicas + 1:,} keep both."
    if found.one_fewer_may_do:
        rest += f" {best.replicas - 1:,} may do."
    if found.wider:
        budget, fewer = found.wider
        rest += (
            f" {_count(fewer)} would do with a token budget of {budget:,} instead of "
            f"{question.token_budget:,}, at longer pauses while the prompts of others are read."
        )
    if count > 1:
        rest += f" {count} devices are planned as {count} times as fast as one, which none are."
    rate = f"{found.rate_per_s:,.0f}" if found.rate_per_s >= 1000 else f"{found.rate_per_s:.3g}"
    device = question.device.name if count == 1 else f"{count} × {question.device.name}"
    return (
        f"{_count(best.replicas)} of {question.model.name} on {device} "
        f"{sure} a TTFT of {goal.ttft_s:g} s and a TPOT of "
        f"{1e3 * goal.tpot_s:g} ms at p{100 * goal.quantile:g} for {rate} "
        f"requests/s, at ${best.usd_per_hour:,.2f} an hour.{rest}"
    )


def _with_interval(found: Quantile, scale: float = 1.0) -> str:
    """Value and half-width, with the digits that two of the half-width leave."""
    value, half = scale * found.value, scale * found.half_width
    if not half:
        return f"{value:.3g}"
    digits = max(0, 1 - math.floor(math.log10(half)))
    return f"{value:.{digits}f} ± {half:.{digits}f}"


def _beyond(question: Question, fleet: Performance) -> list[str]:
    """Objectives beyond which the interval of a fleet reaches."""
    goal = question.objective
    return [
        name
        for name, run, limit in (
            ("TTFT", fleet.ttft_at_objective, goal.ttft_s),
            ("TPOT", fleet.tpot_at_objective, goal.tpot_s),
        )
        if run.value + run.half_width > limit
    ]


def _decided(question: Question, found: Plan) -> str:
    """Whether the intervals of this fleet, and of one replica fewer, lie on one side of the
    objectives."""
    doubts = [
        f"the interval of {name} reaches beyond its objective"
        for name in _beyond(question, found.best)
    ]
    if found.one_fewer_may_do:
        doubts.append("by its intervals one replica fewer may do")
    return f"not quite: {', and '.join(doubts)}" if doubts else "yes"


def _briefly(run: Performance, name: str) -> str:
    ttft, tpot = run.ttft_at_objective.value, run.tpot_at_objective.value
    return (
        f"TTFT {ttft:.3g} s, TPOT {1e3 * tpot:.3g} ms at {name}, batch limit {run.places}; "
        f"${run.usd_per_million:,.3f} for 10⁶ tokens"
    )


def _count(replicas: int) -> str:
    return "1 replica" if replicas == 1 else f"{replicas:,} replicas"


def answer_record(question: Question, found: Plan) -> dict[str, float | int | str]:
    """A plan as one flat record of names and numbers, for JSON, CSV and other programs.

    question: that was asked. found: its plan.

    >>> from serving_mathematics.planner.capacity_planner import plan
    >>> from serving_mathematics.planner.questions import read_question
    >>> asked = read_question({"rate_per_s": 1, "ttft_s": 3, "tpot_s": 1, "requests": 100})
    >>> answer_record(asked, plan(asked))["replicas"]
    1
    """
    best, told, engine = found.best, found.best.estimate, found.engine
    record: dict[str, float | int | str] = {
        "model": question.model.name,
        "weight_bits": question.model.weight_bits,
        "cache_bits": question.model.cache_bits,
        "device": question.device.name,
        "devices": question.devices,
        "rate_per_s": found.rate_per_s,
        "replicas": best.replicas,
        "batch_limit": best.places,
        "binding": " or ".join(found.binding),
        "decided": _decided(question, found),
        "kv_bytes": engine.kv_blocks * engine.block_tokens * question.model.token_bytes,
        "kv_tokens": engine.kv_blocks * engine.block_tokens,
        "concurrency": best.concurrency,
        "concurrency_closed": told.concurrency,
        "held_tokens": best.held_tokens,
        "held_tokens_closed": told.held_tokens,
    }
    for place, quantile in enumerate(QUANTILES):
        name = f"p{100 * quantile:g}"
        record[f"ttft_{name}_s"] = best.ttft[place].value
        record[f"ttft_{name}_half_width_s"] = best.ttft[place].half_width
        record[f"ttft_{name}_closed_s"] = told.ttft_s[place]
        record[f"tpot_{name}_s"] = best.tpot[place].value
        record[f"tpot_{name}_half_width_s"] = best.tpot[place].half_width
    record |= {
        "tpot_closed_s": told.tpot_s,
        "busy": best.busy,
        "load": told.load,
        "preemptions_per_request": best.preempted,
        "usd_per_hour": best.usd_per_hour,
        "usd_per_million_tokens": best.usd_per_million,
        "one_more_ttft_s": found.one_more.ttft_at_objective.value,
        "one_more_tpot_s": found.one_more.tpot_at_objective.value,
        "one_more_usd_per_million_tokens": found.one_more.usd_per_million,
        "wider_token_budget": found.wider[0] if found.wider else "",
        "wider_replicas": found.wider[1] if found.wider else "",
        "quantized_replicas": found.quantized.best.replicas if found.quantized else "",
        "quantized_usd_per_million_tokens": (
            found.quantized.best.usd_per_million if found.quantized else ""
        ),
        "simulated_requests": best.simulated,
    }
    return {name: "" if value in (math.inf, math.nan) else value for name, value in record.items()}


def example() -> SimpleNamespace:
    """The lines of the worked example, in order."""
    found = plan(WORKED)
    rows = []
    for line in answer_lines(WORKED, found):
        chapter = f"[{CHAPTERS[line.chapter]}]({line.chapter}.md)"
        cells = " | ".join((line.what, line.value, line.estimate, chapter))
        rows.append(f"| {cells} |".replace("$", r"\$"))
    return SimpleNamespace(
        answer_sentence=answer_summary(WORKED, found).replace("$", r"\$"),
        answer_rows="\n".join(rows),
    )


def check_lines_and_record_agree() -> None:
    """What a reader sees and what a program gets are the same numbers.

    Source: the text of the lines, read back.
    """
    asked = read_question({"rate_per_s": 6, "requests": 500, "ttft_s": 2})
    found = plan(asked)
    lines = {line.what: line for line in answer_lines(asked, found)}
    record = answer_record(asked, found)
    checks.equal("replicas", int(lines["replicas"].value), record["replicas"])
    p99 = float(lines["TTFT at p99"].value.split()[0])
    checks.close("TTFT at p99 [s]", p99, record["ttft_p99_s"], rtol=5e-3)
    price = float(lines["price of 10⁶ generated tokens"].value.strip("$"))
    checks.close("price [$]", price, record["usd_per_million_tokens"], atol=5e-4)
    checks.equal("constraint", lines["binding constraint"].value, record["binding"])
