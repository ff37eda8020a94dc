"""A log of requests, CSV or JSON lines, with any names of columns and any units.

What a column means is decided by the others: `log_columns` says which has which role, `log_values`
in which unit it is, `log_clocks` whether the moments fit, and `log_doubts` what cannot be. A column
of moments that another clock made (further from the others than a day) is passed over and said, as
is what is left out.

Assumes: moments of one column come from one clock.

Source: vLLM documentation, per-request metrics, and nginx, `ngx_http_log_module`, for times that
count from elsewhere; the planner's `trace_formats`, which read blocks of prompts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from serving_mathematics.core.hardware.catalogue import compared
from serving_mathematics.planner.questions.trace_formats import HASH_IDS, _seen
from serving_mathematics.planner.questions.trace_times import TRACE_YEARS, _unit_of_name
from serving_mathematics.report.evidence import (
    DAY_S,
    FloatArray,
    Run,
    _known_quantile,
    _since_first,
    _tick_s,
)
from serving_mathematics.report.log_cells import _cells, _cells_of_json, _is_json, _rows_of_one
from serving_mathematics.report.log_clocks import (
    _ahead,
    _base,
    _emptiness,
    _leave_across,
    _leave_own_clocks,
    _one_after_another,
)
from serving_mathematics.report.log_columns import (
    ANY_ID,
    ANY_MOMENT,
    MOMENTS,
    REPLICAS,
    _add_plain,
    _chosen,
    _first_lasts,
    _lasts,
    _of_nginx,
    _require_requests,
    _said,
)
from serving_mathematics.report.log_doubts import (
    _bare,
    _count_tries,
    _gaps,
    _leave_endless,
    _leave_milliseconds,
    _leave_whole_answers,
    _numbering,
    _of_one_length,
    _require_no_instant,
    _require_sense,
    _reusable,
    _rows_once,
    _too_fast,
)
from serving_mathematics.report.log_values import (
    LONGEST_NAME,
    _failed,
    _lasted,
    _moments,
    _numbers,
    _places_of,
    _require_counts,
    _seconds,
    _tenants,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import require

FEW_REPLICAS = 0.1  # of the rows: a column of more names something else
READS_S = 2e-4  # of each prompt token, that a first token may come later without another clock
FINE_S = 0.01  # of moments that two requests do not share, with all of their times, by chance
OWN_ENGINE, UNLIKE = 50, 1.5  # requests of a model, and times the time per token of another


def read_log(text: str, where: str, columns: str = "") -> Run:
    """A log as a run.

    text: of the file, CSV with a header or JSON lines. where: its name, for refusals. columns: a
    mapping such as "sent=when,ttft=first_ms,unit=ms", where unit is of times that do not tell
    theirs. Raises ValueError that names row, column and what would do.

    >>> rows = ["start,ttft_ms,latency_ms,input_tokens,output_tokens"]
    >>> rows += [f"{2 * i}.5,{100 + i},900,{50 + i},9" for i in range(3)]
    >>> run = read_log("\\n".join(rows), "a.csv", "unit=s")
    >>> run.columns["ttft_s"].round(3).tolist(), run.columns["sent_s"].tolist()
    ([0.1, 0.101, 0.102], [0.0, 2.0, 4.0])
    """
    mapping, unit = _said(columns)
    text = text.removeprefix("\ufeff")
    try:
        cells, first = _cells_of_json(text) if _is_json(text) else _cells(text)
        return _run(cells, mapping, unit, where, first)
    except ValueError as error:
        told = str(error).replace("trace_columns ", "columns ")
        raise ValueError(f"{where}: {told}") from None


# In one piece: a log's columns in their order, each read or refused.
def _run(
    cells: Mapping[str, Sequence[Any]],
    mapping: Mapping[str, str],
    unit: str,
    where: str,
    first: int,
) -> Run:
    names = list(cells)
    _require_requests(names)
    lasting = [name for name in names if _lasts(name, cells[name])]
    chosen = _chosen(names, mapping, lasting)
    plain = _add_plain(cells, chosen, first)
    if "first" not in mapping and _first_lasts(cells, chosen):
        chosen.setdefault("ttft", chosen.pop("first"))
    cells, twice = _rows_of_one(cells, chosen)
    nginx = chosen.get("latency") in lasting and any(map(_of_nginx, names))
    if nginx and compared(chosen.get("sent", "")) in ANY_MOMENT and "sent" not in mapping:
        chosen.setdefault("end", chosen.pop("sent"))  # it writes when an answer is through
    timed = {"sent", "queued"} & set(chosen)
    if not timed and not {"ttft", "latency"} & set(chosen):
        rule = (
            "a log of requests, with columns such as timestamp, ttft_ms, latency_ms, prompt_tokens"
        )
        rule += " (or say which: columns sent=NAME,ttft=NAME)"
        require(False, "row 1", rule, ", ".join(names)[:200])
    notes = twice + plain
    columns: dict[str, FloatArray] = {}
    for role, name in (
        ("prompt", "prompt_tokens"),
        ("output", "output_tokens"),
        ("cached", "cached_tokens"),
        ("attempt", "attempt"),
        ("joules", "joules"),
    ):
        if role in chosen:
            values = _numbers(cells[chosen[role]], chosen[role], first)
            _require_counts(values, "row ", first, f", column {chosen[role]}")
            columns[name] = values
            if role == "attempt" and "retr" in chosen[role].lower():
                columns[name] = values + 1
    hashes = cells.get(HASH_IDS, [])
    parts = any(isinstance(one, dict) for one in hashes)  # as RAGPulse has them
    usual = "s" if parts else "ms" if len(hashes) else ""
    moments = {
        role: _moments(cells[chosen[role]], chosen[role], first, unit, usual)
        for role in MOMENTS
        if role in chosen
    }
    base = _base(moments, notes, chosen)
    zero_at_s: float | None = None
    own = next((name for name in names if compared(name.rpartition(".")[2]) in REPLICAS), "")
    of, replicas = _places_of(cells[own]) if own else (None, {})
    engines: list[str] = []
    if 1 < len(replicas) < FEW_REPLICAS * len(cells[own]):
        engines = [f"{own} {name[:LONGEST_NAME]}" for name in replicas]
        told = f"{own} names {len(replicas):,}, taken as one engine"
        notes.append(f"{told}: where each is one, cut the log by them")
    if base:
        zero = moments[base][1]
        absolute = {
            role: values + start - zero
            for role, (values, start, _) in moments.items()
            if abs(start - zero) < DAY_S * 366
        }
        columns["sent_s"], back = absolute[base], ""
        if not parts:  # whose rows stand in no order
            columns["sent_s"], back = _one_after_another(absolute[base], chosen[base], first, of)
        if TRACE_YEARS[0] <= zero <= TRACE_YEARS[1] and not back:
            zero_at_s = zero + float(np.nanmin(columns["sent_s"]))
        columns["sent_s"] = _since_first(columns["sent_s"])
        if "due" in absolute:
            columns["due_s"] = absolute["due"] + columns["sent_s"] - absolute[base]
        for role, name in (("scheduled", "queue_s"), ("first", "ttft_s"), ("end", "latency_s")):
            if role in absolute:
                columns[name] = absolute[role] - absolute[base]
        notes.append(f"moments from {chosen[base]}: {moments[base][2]}")
        notes += [back + _leave_across(columns)] if back else []
        reads = READS_S * np.nan_to_num(columns.get("prompt_tokens", np.zeros(1)))
        if "first" in absolute:
            late = columns["ttft_s"] - reads
            notes[:0] = _ahead(late, chosen["first"], chosen[base], of, engines)
        elif "end" in absolute:
            late = _of_short(columns["latency_s"], columns.get("output_tokens")) - reads
            notes[:0] = _ahead(late, chosen["end"], chosen[base], of, engines)
    for role, name in (("latency", "latency_s"), ("ttft", "ttft_s"), ("queue", "queue_s")):
        if role in chosen and name not in columns:
            values = _lasted(cells[chosen[role]], chosen[role], first, notes)
            others = columns.get("latency_s")
            tokens = columns.get("output_tokens") if role == "latency" else None
            own = "s" if nginx and role == "latency" and not unit else unit  # as it counts
            columns[name], told = _seconds(values, chosen[role], own, others, tokens)
            notes.append(told)
    _add_queue(cells, chosen, columns, first, notes)
    if not base and "end" in moments and "latency_s" in columns:
        sent, zero = moments["end"][0] - columns["latency_s"], moments["end"][1]
        if TRACE_YEARS[0] <= zero <= TRACE_YEARS[1] and np.isfinite(sent).any():
            zero_at_s = zero + float(np.nanmin(sent))
        columns["sent_s"] = _since_first(sent)
        notes.append(f"moments from {chosen['end']}, less {chosen['latency']}")
    if (
        "tpot" in chosen
        and "latency_s" not in columns
        and {"ttft_s", "output_tokens"} <= set(columns)
    ):
        each, told = _seconds(
            _numbers(cells[chosen["tpot"]], chosen["tpot"], first), chosen["tpot"], ""
        )
        later = np.maximum(columns["output_tokens"] - 1, 0)
        columns["latency_s"] = columns["ttft_s"] + np.nan_to_num(each) * later
        notes.append(told)
    if "model" in chosen:
        notes[:0] = _models(cells[chosen["model"]], columns)  # first: all numbers are of both
    failed, gave_up = _failed(cells, chosen, notes)
    if failed is not None:
        columns["failed"] = failed
    if gave_up is not None and gave_up.any():
        columns["gave_up"] = gave_up
    _require_no_instant(columns, chosen)
    means = _power(cells, chosen, first, notes)
    tenants: tuple[str, ...] = ()
    if "tenant" in chosen:
        columns["tenant"], tenants = _tenants(cells[chosen["tenant"]], chosen["tenant"])
    if "session" in chosen:
        columns["session"] = _places_of(cells[chosen["session"]])[0]
        _leave_own_clocks(columns, notes)
    either = base == "sent" and compared(chosen["sent"]) in ANY_MOMENT and "end" not in moments
    if either and {"sent_s", "latency_s"} <= set(columns):
        told = f"{chosen['sent']} is taken as when each was sent"
        notes.append(f"{told} (of the end, say --columns end={chosen['sent']})")
    _leave_milliseconds(columns, chosen, first, notes, of if engines else None)
    _require_sense(columns, chosen, first)
    notes += _gaps(columns) + _too_fast(columns)
    _leave_endless(columns, chosen, first, notes)
    _leave_whole_answers(columns, notes)
    share = _reusable(columns, chosen, first, notes)
    if any(isinstance(one, list) for one in hashes) and "prompt" in chosen:
        prompts = columns["prompt_tokens"]
        found = np.minimum(_seen(hashes, prompts, first)[0], prompts)
        share = float(found.sum() / max(prompts.sum(), 1.0))
    if "request" in chosen and "attempt" not in columns and "sent_s" in columns:
        _count_tries(columns, _places_of(cells[chosen["request"]])[0], chosen["request"], notes)
    timed_too = bool({"latency_s", "ttft_s"} & set(columns)) and "sent_s" in columns
    named = "request" in chosen and compared(chosen["request"]) not in ANY_ID
    if named or (timed_too and 0 < _tick_s(columns["sent_s"]) < FINE_S):
        alike = not named and _of_one_length(columns)
        columns = _rows_once(cells, columns, notes, alike, _numbering(cells, chosen))
    bare = _bare(columns)
    if bare.any() and not bare.all():
        columns = {name: x[~bare] for name, x in columns.items()}
        notes.append(f"{int(bare.sum()):,} rows have none of these and were left out")
    if set(columns) == {"sent_s"} and len(names) > 1:
        told = f"of {', '.join(names)[:120]} only {chosen[base]} is read"
        notes.append(f"{told}: each row is taken as a request")
    notes += _emptiness(columns, zero_at_s)
    run = Run(where, "a log of requests", columns, means, notes=tuple(notes), shares_prefix=share)
    run = replace(run, tenants=tenants, zero_at_s=zero_at_s)
    return replace(run.in_order(), tool="a trace" if not run.has("latency_s") else run.tool)


def _of_short(times: FloatArray, tokens: FloatArray | None) -> FloatArray:
    """Times of the shortest quarter of answers, where some of these have less than half as many
    tokens as others and so do not all take nearly as long; NaN elsewhere."""
    if tokens is None:
        return np.full(times.size, math.nan)
    shortest, short = (_known_quantile(tokens, share) for share in (0.05, 0.25))
    return np.where((tokens <= short) & (2 * shortest < short), times, math.nan)


def _add_queue(
    cells: Mapping[str, Sequence[Any]],
    chosen: Mapping[str, str],
    columns: dict[str, FloatArray],
    first: int,
    notes: list[str],
) -> None:
    """Count vLLM's own times of a request (--enable-per-request-metrics) from when it came: theirs
    to the first token begins when it was scheduled, and that of the answer with its first token."""
    own = {compared(_unit_of_name(name.rpartition(".")[2])[0]): name for name in cells}
    forms = {"timetofirsttoken": "ttft", "queuetime": "queue", "meanitl": "tpot"}
    if "generationtime" not in own or "latency_s" in columns:
        return
    if any(chosen.get(role) != own.get(form, "") for form, role in forms.items()):
        return
    column = own["generationtime"]
    later, _ = _seconds(_numbers(cells[column], column, first), column, "ms")
    columns["ttft_s"] = columns["ttft_s"] + columns["queue_s"]
    columns["latency_s"] = columns["ttft_s"] + later
    notes.append("vLLM counts these from when a request was scheduled: its queue is added")


def _models(cells: Sequence[Any], columns: Mapping[str, FloatArray]) -> list[str]:
    """What is to be said of a log of several models; nothing of one."""
    of, names = _places_of(cells)
    if len(names) < 2:
        return []
    told = f"{len(names):,} models, taken as one engine"
    names_of = ("latency_s", "ttft_s", "output_tokens")
    if all(name in columns for name in names_of):
        whole, first, tokens = (columns[name] for name in names_of)
        each = np.where(tokens > 1, (whole - first) / np.maximum(tokens - 1, 1), math.nan)
        enough = [own for i in range(len(names)) if (own := each[of == i]).size >= OWN_ENGINE]
        usual = [x for x in map(_known_quantile, enough) if x > 0]
        if usual and max(usual) > UNLIKE * min(usual):
            low, high = (f"{1e3 * x:.3g}" for x in (min(usual), max(usual)))
            return [f"{told}, of which a token takes {low} to {high} ms: cut the log by them"]
    return [f"{told}: where each has its own, cut the log by them"]


def _power(
    cells: Mapping[str, Sequence[Any]], chosen: Mapping[str, str], first: int, notes: list[str]
) -> dict[str, float]:
    """Mean power of a column that tells it beside each request."""
    if "power" not in chosen:
        return {}
    values = _numbers(cells[chosen["power"]], chosen["power"], first)
    known = values[np.isfinite(values)]
    low = np.flatnonzero(values < 0)
    if low.size:
        at = f"row {int(low[0]) + first}, column {chosen['power']}"
        require(False, at, "a power, not negative", f"{values[low[0]]:g}")
    notes.append(f"{chosen['power']} in watts, of all devices at each request")
    return {"power_w": float(known.mean())} if known.size else {}


def check_forms_are_one_log() -> None:
    """The same requests as CSV in milliseconds, as JSON lines in seconds and as moments give the
    same columns.

    Source: comparison with the numbers that were written.
    """
    rng = np.random.default_rng(3)
    sent = np.cumsum(rng.exponential(0.5, 200)).round(3)
    ttft, whole = rng.uniform(0.05, 0.2, 200).round(4), rng.uniform(1, 3, 200).round(4)
    rows = list(zip(sent.tolist(), ttft.tolist(), whole.tolist(), strict=True))
    table = ["start_time,ttft_ms,latency_ms,prompt_tokens"]
    table += [f"{1.7e9 + s:.3f},{1e3 * a:.1f},{1e3 * b:.1f},7" for s, a, b in rows]
    lines = [
        json.dumps({"ts": 1.7e9 + s, "first_token_at": 1.7e9 + s + a, "end_time": 1.7e9 + s + b})
        for s, a, b in rows
    ]
    for name, text in (("table", "\n".join(table)), ("moments", "\n".join(lines))):
        run = read_log(text, name)
        checks.close(f"{name}: sent [s]", run.columns["sent_s"], sent - sent[0], atol=2e-6)
        checks.close(f"{name}: TTFT [s]", run.columns["ttft_s"], ttft, atol=2e-6)
        checks.close(f"{name}: latency [s]", run.columns["latency_s"], whole, atol=2e-6)


def check_bad_input_is_refused() -> None:
    """Units that nothing tells, clocks that disagree and other logs name row and rule."""
    for label, text, columns, match in (
        ("unit", "ttft,prompt_tokens\n20,1\n30,1", "", "which may be s or ms"),
        ("clocks", "ts,end\n1700000000,5\n1700000001,6", "unit=s", "moments of one clock"),
        ("negative", "ts_s,end_s\n5,4\n6,5", "", "row 2: latency must be not negative"),
        ("other", "name,colour\nx,red", "", "row 1 must be a log of requests"),
        ("cell", "ts_s,latency_ms\n1,x\n", "", "row 2, column latency_ms must be a number"),
        ("mapping", "ts_s,latency_ms\n1,2\n", "sent=when", "columns: sent must be one of"),
        ("whole", '{"ts": 1}\n{"ts": ', "", "row 2 must be one JSON object"),
        ("longer", "ts_s,ttft_s,latency_ms\n1,5,9\n", "", "no longer than the whole"),
    ):
        checks.raises(label, read_log, text, "a", columns, match=match)
