"""Results of AIPerf and genai-perf as runs: summaries, tables, records and raw streams.

Source: AIPerf, record_models.py and its JSON schemas; genai-perf, exporters (2026).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving_mathematics.planner.questions.load_tests import (
    _aiperf_settings,
    _aiperf_table,
    _at,
    _json_number,
    _name,
)
from serving_mathematics.report.evidence import FloatArray, Run, _since_first
from serving_mathematics.report.tool_results import (
    _add_duration,
    _json_column,
    _list,
    _told,
    _with_gaps,
)
from serving_mathematics.support.require import require

PERCENTILES = ("p99", "p99.0", "99")
SECONDS_OF = {"ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def _aiperf_run(data: Mapping[str, Any], where: str) -> Run:
    """AIPerf's and genai-perf's summaries."""

    def stat(name: str, *which: str) -> float:
        value = next((x for w in which if (x := _at(data, f"{name}.{w}")) is not None), None)
        return SECONDS_OF.get(str(_at(data, f"{name}.unit")), 1.0) * _json_number(value)

    settings = _aiperf_settings(data)
    rate = _at(settings, "loadgen.request_rate", "phases.profiling.rate", "request_rate")
    limit = _at(settings, "loadgen.concurrency", "phases.profiling.concurrency", "concurrency")
    limit = _at(settings, "perf_analyzer.stimulus.concurrency") if limit is None else limit
    errors = data.get("error_summary")
    failed = stat("error_request_count", "avg")
    if math.isnan(failed) and isinstance(errors, list):
        failed = sum(_json_number(_at(one, "count")) for one in errors)
    told = _told(
        {
            "concurrency": limit,
            "rate_asked": rate if rate is not None else (math.inf if limit else None),
            "duration_s": stat("benchmark_duration", "avg"),
            "completed": stat("request_count", "avg"),
            "failed": failed,
            "prompt_tokens": stat("input_sequence_length", "avg"),
            "output_tokens": stat("output_sequence_length", "avg"),
            "ttft_s": stat("time_to_first_token", "avg"),
            "ttft_p99_s": stat("time_to_first_token", *PERCENTILES),
            "tpot_s": stat("inter_token_latency", "avg"),
            "tpot_p99_s": stat("inter_token_latency", *PERCENTILES),
            "latency_s": stat("request_latency", "avg"),
            "in_flight": stat("effective_concurrency", "avg"),
            "delay_mean_s": stat("credit_to_start_latency", "avg"),
            "delay_p99_s": stat("credit_to_start_latency", *PERCENTILES),
            "power_w": _telemetry_w(data),
        }
    )
    _add_duration(told, stat("request_throughput", "avg"))
    require("ttft_s" in told or "latency_s" in told, where, "with latencies", ", ".join(data)[:80])
    tool = "AIPerf" if "aiperf_version" in data or "schema_version" in data else "genai-perf"
    names = _at(settings, "endpoint.model_names", "models.items.0.name", "model_names")
    notes = []
    if data.get("is_complete") is False or data.get("was_cancelled") is True:
        why = _name(data.get("incomplete_reason"))[:100]
        notes = [f"{tool} says that this run did not come to its end" + f" ({why})" * bool(why)]
    return Run(where, tool, told=told, model=_name(names), notes=tuple(notes))


def _telemetry_w(data: Mapping[str, Any]) -> float:
    """Mean power of all devices that AIPerf saw, [W]; NaN where it saw none."""
    found = []
    endpoints = _at(data, "telemetry_data.endpoints")
    for one in endpoints.values() if isinstance(endpoints, Mapping) else ():
        devices = _at(one, "gpus")
        for device in devices.values() if isinstance(devices, Mapping) else ():
            names = ("nvidia_power_usage", "gpu_power_usage", "amd_power")
            found.append(_json_number(_at(device, *(f"metrics.{name}.avg" for name in names))))
    return float(np.sum(found)) if found else math.nan


def _of_table(text: str, where: str) -> Run:
    """AIPerf's and genai-perf's CSV, by the planner's reader."""
    read = _aiperf_table(text, where)
    tool = "genai-perf" if "\nTime To Second Token" in text else "AIPerf"
    told = {"completed": float(read.completed), "ttft_s": read.ttft_s, "tpot_s": read.tpot_s}
    told |= {"prompt_tokens": read.prompt_tokens, "output_tokens": read.output_tokens}
    return Run(where, tool, told=told | {"in_flight": read.load})


def _streams(data: Any, where: str) -> Run:
    """An experiment of genai-perf's raw export: when each request left and each piece came."""
    listed = _at(data, "requests")
    fine = isinstance(listed, list) and len(listed) > 0
    require(fine, where, "with requests", repr(listed)[:40])
    rows = [row if isinstance(row, Mapping) else {} for row in listed]
    sent = _json_column([row.get("timestamp") for row in rows]) * 1e-9
    ends = [_list(row, "response_timestamps", where) for row in rows]
    pieces = [_list(row, "response_outputs", where) for row in rows]
    times = []
    for end, piece in zip(ends, pieces, strict=True):
        says = [_says_something(str(_at(one, "response"))) for one in piece] or [True] * len(end)
        require(len(says) == len(end), where, "a time for each response", f"{len(end)} times")
        times.append(_json_column([x for x, fine in zip(end, says, strict=True) if fine]) * 1e-9)
    columns = {
        "sent_s": _since_first(sent),
        "ttft_s": np.array([one[0] if one.size else math.nan for one in times]) - sent,
        "latency_s": np.array([one[-1] if one.size else math.nan for one in times]) - sent,
        "output_tokens": np.array([float(one.size) for one in times]),
        "failed": np.array([0.0 if one.size else 1.0 for one in times]),
    }
    mode, value = (_at(data, f"experiment.{name}") for name in ("mode", "value"))
    held = "concurrency" if mode == "concurrency" else "rate_asked"
    told = {held: value} | ({"rate_asked": math.inf} if held == "concurrency" else {})
    notes = ("tokens are pieces of the stream",)
    run = Run(where, "genai-perf", columns, _told(told), notes=notes)
    return _with_gaps(run, [np.diff(one) for one in times])


def _says_something(response: str) -> bool:
    """Whether a piece of a stream has text: neither its end nor its role alone."""
    return "[DONE]" not in response and not re.search(r'"(content|text)": ?(""|null)', response)


def _aiperf_records(rows: Sequence[Any], where: str) -> Run:
    def metric(name: str) -> FloatArray:
        found = [_at(row, f"metrics.{name}") for row in rows]
        scales = [SECONDS_OF.get(str(_at(one, "unit")), 1.0) for one in found]
        return np.array(scales) * [_json_number(_at(one, "value")) for one in found]

    start = _json_column([_at(row, "metadata.request_start_ns") for row in rows]) * 1e-9
    end = _json_column([_at(row, "metadata.request_end_ns") for row in rows]) * 1e-9
    columns = {
        "sent_s": _since_first(start),
        "ttft_s": metric("time_to_first_token"),
        "latency_s": np.where(
            np.isnan(metric("request_latency")), end - start, metric("request_latency")
        ),
        "prompt_tokens": metric("input_sequence_length"),
        "output_tokens": metric("output_sequence_length"),
        "failed": np.array([bool(_at(row, "error")) for row in rows], dtype=float),
    }
    due = _json_column([_at(row, "metadata.credit_issued_ns") for row in rows]) * 1e-9
    if np.isfinite(due).any():
        columns["due_s"] = due - start + columns["sent_s"]
    listed = [_at(row, "metrics.inter_chunk_latency.value") for row in rows]
    gaps = [1e-3 * _json_column(one) if isinstance(one, list) else np.zeros(0) for one in listed]
    return _with_gaps(Run(where, "AIPerf", columns), gaps)
