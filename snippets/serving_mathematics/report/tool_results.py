"""Results of vLLM's and SGLang's benchmarks, of GuideLLM and of inference-perf as runs.

What a file says is read once: fields that cannot be are refused by name, and nothing is mended.

Assumes: times of the tools' own fields in the unit that their names or the file say.

Source: vLLM, vllm/benchmarks/serve.py; SGLang, bench_serving.py; GuideLLM, request_stats.py;
inference-perf, reportgen (2026).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from serving_mathematics.planner.questions.load_tests import (
    MOST_TOKENS,
    TPOT_S,
    TTFT_S,
    _at,
    _json_number,
    _name,
    _require_time,
)
from serving_mathematics.report.evidence import (
    DAY_S,
    MOST_GUESSED,
    FloatArray,
    Run,
    _known_mean,
    _known_quantile,
    _since_first,
)
from serving_mathematics.report.log_values import _require_counts
from serving_mathematics.support.require import require

MOST_COUNTED = 1e12  # seconds, requests or guesses of a run
LARGEST_READ = 1e30  # of what a file may say, so that sums of it are finite
VLLM_COLUMNS = {  # lists of its results; without details 0.34 keeps latencies and times in line
    "ttft_s": "ttfts",
    "latency_s": "latencies",
    "prompt_tokens": "input_lens",
    "output_tokens": "output_lens",
    "sent_s": "start_times",
    "waited_s": "queue_times",
    "queue_s": "server_queue_times",
}
VLLM_GUESSES = {  # what it counts of the engine's guesses meanwhile
    "draft_tokens": "spec_decode_draft_tokens",
    "accepted_tokens": "spec_decode_accepted_tokens",
    "drafts": "spec_decode_num_drafts",
}
VLLM_LISTS = (*VLLM_COLUMNS.values(), "itls", "errors")


def _told(pairs: Mapping[str, Any]) -> dict[str, float]:
    """Those that are numbers."""
    numbers = {name: _json_number(value) for name, value in pairs.items()}
    return {name: value for name, value in numbers.items() if not math.isnan(value)}


def _plausible_run(run: Run) -> Run:
    """Refuse what cannot be a time or a count: a unit was taken for another."""
    for name, span in (("ttft_s", TTFT_S), ("tpot_s", TPOT_S), ("latency_s", TTFT_S)):
        value = run.said(name)
        if not (math.isnan(value) or value == 0):
            _require_time(f"{run.where}: mean {name.removesuffix('_s')}", value, span)
    for name in ("prompt_tokens", "output_tokens", "duration_s", "completed", "failed"):
        value = run.told.get(name, 0.0)
        most = MOST_TOKENS if name.endswith("tokens") else MOST_COUNTED
        require(0 <= value <= most, f"{run.where}: {name}", f"from 0 to {most:g}", f"{value:g}")
    require(run.said("duration_s") != 0, f"{run.where}: duration", "positive", "0")
    for name, column in run.columns.items():
        if name.endswith("_s") and name not in ("sent_s", "due_s"):
            _require_forward(column, f"{run.where}: request", f", {name.removesuffix('_s')}")
        if name.endswith("_tokens"):
            _require_counts(column, f"{run.where}: request ", 1, f", {name.replace('_', ' ')}")
    _require_forward(run.gaps_s, f"{run.where}: time between tokens")
    return run.in_order()


def _require_forward(times_s: FloatArray, what: str, which: str = "") -> None:
    early = np.flatnonzero(times_s < -1e-6)
    if early.size:
        at = f"{what} {int(early[0]) + 1}{which}"
        rule = "not negative (do two clocks disagree?)"
        require(False, at, rule, f"{times_s[early[0]]:g} s")


def _add_duration(told: dict[str, float], rate_done: float) -> None:
    """Take how long a run lasted from its rate of answers, where nothing else tells it."""
    if "duration_s" not in told and "completed" in told and rate_done > 0:
        told["duration_s"] = told["completed"] / rate_done


def _list(data: Mapping[str, Any], name: str, where: str) -> list[Any]:
    found = data.get(name)
    if found is None:
        return []
    require(isinstance(found, list), f"{where}: {name}", "a list", type(found).__name__)
    listed: list[Any] = found
    return listed


def _json_column(values: Sequence[Any]) -> FloatArray:
    found = np.array([_json_number(value) for value in values], dtype=float)
    far = np.flatnonzero(np.abs(found) > LARGEST_READ)
    if far.size:
        require(
            False, "a time or a count", f"at most {LARGEST_READ:g}", repr(values[int(far[0])])[:40]
        )
    return found


def _with_gaps(run: Run, gaps_s: Sequence[FloatArray]) -> Run:
    """A run with the times between the tokens of each of its requests."""
    first = (run.column("sent_s") + run.column("ttft_s")).tolist()
    ends = [base + np.cumsum(one) for base, one in zip(first, gaps_s, strict=True)]
    none = [np.zeros(0)]
    gap_s, end_s = (np.concatenate([*none, *x]) for x in (gaps_s, ends))
    return replace(run, gaps_s=gap_s, gap_end_s=end_s)


def _vllm_run(data: Mapping[str, Any], where: str) -> Run:
    sglang = "total_output_tokens_retokenized" in data or "mean_e2e_latency_ms" in data
    completed = _json_number(data.get("completed"))
    require(completed >= 0, f"{where}: completed", "a count", repr(data.get("completed"))[:40])
    rate = data.get("request_rate")
    limit = _json_number(data.get("max_concurrency"))
    told = _told(
        {
            "concurrency": limit,
            "rate_asked": math.inf if rate in ("inf", "Infinity") else rate,
            "duration_s": data.get("duration"),
            "completed": completed,
            "failed": data.get("failed"),
            "in_flight": data.get("concurrency"),
            "prompt_tokens": _share(data.get("total_input_tokens"), completed),
            "output_tokens": _share(data.get("total_output_tokens"), completed),
            **{
                f"{ours}_s": 1e-3 * _json_number(_at(data, f"mean_{theirs}_ms"))
                for ours, theirs in (("ttft", "ttft"), ("tpot", "tpot"), ("latency", "e2el"))
            },
            "ttft_p99_s": 1e-3 * _json_number(data.get("p99_ttft_ms")),
            "tpot_p99_s": 1e-3 * _json_number(data.get("p99_tpot_ms")),
        }
    )
    if sglang:
        whole = 1e-3 * _json_number(data.get("mean_e2e_latency_ms"))
        told |= _told({"latency_s": whole})
    told |= _guesses_told(data)
    lists = {name: _list(data, name, where) for name in VLLM_LISTS}
    count = len(lists["ttfts"] or lists["latencies"])
    run = Run(where, "SGLang bench_serving" if sglang else "vLLM bench serve", told=told)
    run = replace(run, model=_name(data.get("model_id")))
    if not count:
        return run
    for name, listed in lists.items():
        fits = len(listed) in (0, count)
        require(fits, f"{where}: {name}", f"as many as {VLLM_LISTS[0]}, {count}", len(listed))
    columns = {
        name: _json_column(lists[theirs]) for name, theirs in VLLM_COLUMNS.items() if lists[theirs]
    }
    ttft = columns.get("ttft_s", np.full(count, math.nan))
    failed = np.array([bool(one) for one in lists["errors"]] or [False] * count)
    columns["failed"] = (failed | ((ttft == 0) & (columns.get("output_tokens", ttft) == 0))) * 1.0
    waited = columns.pop("waited_s", None)  # in the client, before it left
    if "sent_s" in columns:
        columns["sent_s"] = _since_first(columns["sent_s"])
    if waited is not None and told.get("rate_asked", math.inf) < math.inf:
        late = {"delay_mean_s": _known_mean(waited), "delay_p99_s": _known_quantile(waited, 0.99)}
        run = replace(run, told={**told, **_told(late)})
        if "sent_s" in columns:
            columns["due_s"] = columns["sent_s"] - waited
    gaps = [_json_column(one if isinstance(one, list) else []) for one in lists["itls"]]
    if not any(one.size for one in gaps):
        return replace(run, columns=columns)
    columns["latency_s"] = ttft + np.array([float(one.sum()) for one in gaps])
    return _with_gaps(replace(run, columns=columns), gaps)


def _guesses_told(data: Mapping[str, Any]) -> dict[str, float]:
    """What vLLM's benchmark counts of guesses, in all and at each place."""
    found = _told({ours: data.get(theirs) for ours, theirs in VLLM_GUESSES.items()})
    shares = data.get("spec_decode_per_position_acceptance_rates")
    for place, share in enumerate(shares[:MOST_GUESSED] if isinstance(shares, list) else []):
        found |= _told({f"accepted_at_{place + 1}": _json_number(share) * found.get("drafts", 0.0)})
    return {name: value for name, value in found.items() if 0 <= value <= MOST_COUNTED}


def _share(total: Any, count: float) -> float:
    return _json_number(total) / count if count else math.nan


# In one piece: a file's fields in their order, each read or refused.
def _guidellm_run(data: Any, where: str) -> Run:
    metrics = _at(data, "metrics")

    def mean(name: str, which: str = "mean") -> float:
        return _json_number(_at(metrics, f"{name}.successful.{which}"))

    strategy = _at(data, "config.strategy", "args.strategy") or {}
    kind = _name(_at(strategy, "type_", "kind"))
    closed = kind in ("concurrent", "synchronous")
    streams = _at(strategy, "streams", "max_concurrency") if closed else None
    rate = (
        math.inf if kind in ("concurrent", "synchronous", "throughput") else _at(strategy, "rate")
    )
    told = _told(
        {
            "concurrency": 1.0 if kind == "synchronous" else streams,
            "rate_asked": rate,
            "duration_s": _at(data, "duration", "run_stats.duration"),
            "completed": _at(metrics, "request_totals.successful"),
            "failed": _at(metrics, "request_totals.errored"),
            "in_flight": mean("request_concurrency"),
            "prompt_tokens": mean("prompt_token_count"),
            "output_tokens": mean("output_token_count"),
            "ttft_s": 1e-3 * mean("time_to_first_token_ms"),
            "tpot_s": 1e-3 * mean("inter_token_latency_ms"),
            "latency_s": mean("request_latency"),
            "ttft_p99_s": 1e-3 * mean("time_to_first_token_ms", "percentiles.p99"),
            "tpot_p99_s": 1e-3 * mean("inter_token_latency_ms", "percentiles.p99"),
        }
    )
    _add_duration(told, mean("requests_per_second"))
    requests = _at(data, "requests")
    rows: list[Any] = []
    for group in ("successful", "errored", "incomplete"):
        listed = _at(requests, group)
        rows += [(one, group) for one in listed] if isinstance(listed, list) else []
    model = _at(data, "config.backend.model", "config.backend.target_model")
    run = Run(where, "GuideLLM", told=told, model=_name(model))
    if not rows:
        return run
    names = {
        "sent_s": ("request_start_time", "info.timings.request_start"),
        "due_s": ("info.timings.targeted_start", "info.timings.scheduled_at"),
        "latency_s": ("request_latency",),
        "ttft_ms": ("time_to_first_token_ms",),
        "prompt_tokens": ("prompt_tokens", "input_metrics.text_tokens"),
        "output_tokens": ("output_tokens", "output_metrics.text_tokens"),
    }
    columns = {
        name: _json_column([_at(one, *paths) for one, _ in rows]) for name, paths in names.items()
    }
    columns["ttft_s"] = 1e-3 * columns.pop("ttft_ms")
    columns["failed"] = np.array([group == "errored" for _, group in rows], dtype=float)
    cut = np.array([group == "incomplete" for _, group in rows])
    columns["latency_s"][cut] = math.nan
    columns["output_tokens"][cut & (columns["output_tokens"] == 0)] = math.nan
    left = ~cut | np.isfinite(columns["sent_s"])
    columns = {name: x[left] for name, x in columns.items()}
    if (cut & left).any():
        those = f"{int((cut & left).sum()):,} of {int(left.sum()):,} requests"
        note = f"{those} were cut off at the end, so whole answers are of the shorter ones"
        run = replace(run, notes=(note,))
    late = columns["sent_s"] - columns["due_s"]
    columns["sent_s"] = _since_first(columns["sent_s"])
    columns["due_s"] = columns["sent_s"] - late
    if np.any(np.abs(late) > DAY_S):  # 0.8.1 writes some before its clock is set
        del columns["due_s"]
        due = "when requests were due is of another clock: not used"
        run = replace(run, notes=(*run.notes, due))
    return replace(run, columns=columns)


def _stage(data: Any, where: str) -> Run:
    """A stage of inference-perf, or its summary of all."""
    good, load = _at(data, "successes"), _at(data, "load_summary")
    count = _json_number(_at(good, "count"))
    require(count >= 0, f"{where}: successes.count", "a count", repr(_at(good, "count"))[:40])

    def mean(name: str, which: str = "mean") -> float:
        return _json_number(_at(good, f"latency.{name}.{which}"))

    told = _told(
        {
            "rate_asked": _at(load, "requested_rate"),
            "rate_sent": _at(load, "achieved_rate"),
            "duration_s": _at(data, "benchmark_time_seconds", "load_summary.send_duration"),
            "completed": count,
            "failed": _at(data, "failures.count"),
            "prompt_tokens": _at(good, "prompt_tokens.mean", "prompt_len.mean"),
            "output_tokens": _at(good, "output_tokens.mean", "output_len.mean"),
            "ttft_s": mean("time_to_first_token"),
            "ttft_p99_s": mean("time_to_first_token", "p99"),
            "tpot_s": mean("time_per_output_token"),
            "tpot_p99_s": mean("time_per_output_token", "p99"),
            "latency_s": mean("request_latency"),
            "delay_mean_s": _at(load, "schedule_delay.mean"),
            "delay_p99_s": _at(load, "schedule_delay.p99"),
        }
    )
    if count == 0:
        require(told.get("failed", 0.0) > 0, where, "a stage with requests", "an empty one")
    return Run(where, "inference-perf", told=told)


def _perf_records(rows: Sequence[Any], where: str) -> Run:
    start = _json_column([row.get("start_time") for row in rows])
    end = _json_column([row.get("end_time") for row in rows])
    info = [row.get("info") or {} for row in rows]
    times = [_at(one, "output_token_times", "response_metrics.output_token_times") for one in info]
    tokens = [_json_column(one) if isinstance(one, list) else np.zeros(0) for one in times]
    columns = {
        "sent_s": _since_first(start),
        "latency_s": end - start,
        "ttft_s": np.array([one[0] if one.size else math.nan for one in tokens]) - start,
        "prompt_tokens": _json_column(
            [_at(one, "input_tokens", "request_metrics.text.input_tokens") for one in info]
        ),
        "output_tokens": _json_column(
            [_at(one, "output_tokens", "response_metrics.output_tokens") for one in info]
        ),
        "failed": np.array([bool(row.get("error")) for row in rows], dtype=float),
    }
    return _with_gaps(Run(where, "inference-perf", columns), [np.diff(one) for one in tokens])
