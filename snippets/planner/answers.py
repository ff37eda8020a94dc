"""A plan as lines for a reader, and as one flat record for programs.

Each line has the address of the chapter that explains it. Where the closed form says something
too, it stands beside the simulated value.

Assumes: a plan from `capacity_planner`.

Source: the chapters that the lines name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from snippets import checks
from snippets.planner.capacity_planner import (
    QUANTILES,
    WORKED,
    Performance,
    Plan,
    Question,
    plan,
    time_shares,
)
from snippets.planner.questions import read_question


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
        Line("binding constraint", " or ".join(found.binding), "", "definitions/slo-sla"),
        Line("decided by this run", _decided(question, best), "", "definitions/slo-sla"),
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
        Line("tokens in its cache", "", f"{told.held_tokens:,.0f}", "capacity/littles-law"),
    ]
    for place, quantile in enumerate(QUANTILES):
        line = best.ttft[place]
        lines.append(
            Line(
                f"TTFT at p{100 * quantile:g}",
                f"{line.value:.3g} ± {line.half_width:.2g} s",
                f"{told.ttft_s[place]:.3g} s",
                "definitions/latency-distribution",
            )
        )
    for place, quantile in enumerate(QUANTILES):
        line = best.tpot[place]
        lines.append(
            Line(
                f"TPOT at p{100 * quantile:g}",
                f"{1e3 * line.value:.3g} ± {1e3 * line.half_width:.2g} ms",
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
        said = f"{found.quantized.best.replicas} replicas; {_briefly(found.quantized.best, name)}"
        lines.append(Line(bits, said, "", "optimization/quantization"))
    return lines


def _decided(question: Question, best: Performance) -> str:
    """Whether the intervals lie on one side of the objectives."""
    goal = question.objective
    open_ones = [
        name
        for name, found, limit in (
            ("TTFT", best.ttft_at_objective, goal.ttft_s),
            ("TPOT", best.tpot_at_objective, goal.tpot_s),
        )
        if found.value + found.half_width > limit
    ]
    if not open_ones:
        return "yes"
    return f"not quite: the interval of {' and of '.join(open_ones)} reaches beyond its objective"


def _briefly(run: Performance, name: str) -> str:
    ttft, tpot = run.ttft_at_objective.value, run.tpot_at_objective.value
    return (
        f"TTFT {ttft:.3g} s, TPOT {1e3 * tpot:.3g} ms at {name}, "
        f"${run.usd_per_million:,.3f} for 10⁶ tokens"
    )


def answer_record(question: Question, found: Plan) -> dict[str, float | int | str]:
    """A plan as one flat record of names and numbers, for JSON, CSV and other programs.

    question: that was asked. found: its plan.

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
        "kv_bytes": engine.kv_blocks * engine.block_tokens * question.model.token_bytes,
        "kv_tokens": engine.kv_blocks * engine.block_tokens,
        "concurrency": best.concurrency,
        "concurrency_closed": told.concurrency,
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
        "quantized_replicas": found.quantized.best.replicas if found.quantized else "",
        "quantized_usd_per_million_tokens": (
            found.quantized.best.usd_per_million if found.quantized else ""
        ),
        "simulated_requests": best.simulated,
    }
    return {name: "" if value in (math.inf, math.nan) else value for name, value in record.items()}


@dataclass(frozen=True)
class Example:
    """The answer of the worked example: the cells of a row of the page's table for each line."""

    row_replicas: str
    row_limit: str
    row_binding: str
    row_decided: str
    row_memory: str
    row_inside: str
    row_held: str
    row_ttft_p50: str
    row_ttft_p90: str
    row_ttft_p99: str
    row_tpot_p50: str
    row_tpot_p90: str
    row_tpot_p99: str
    row_utilization: str
    row_time: str
    row_preemptions: str
    row_hourly: str
    row_million: str
    row_fewer: str
    row_more: str
    row_quantized: str


def example() -> Example:
    """The lines of the worked example, in order."""
    rows = []
    for line in answer_lines(WORKED, plan(WORKED)):
        name = line.chapter.partition("/")[2].replace("-", " ")
        chapter = f"[{name}]({line.chapter}.md)"
        rows.append(" | ".join((line.what, line.value, line.estimate, chapter)))
    return Example(*rows)


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
