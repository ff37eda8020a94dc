"""Files of a reader's as runs, recognised by what they hold and never by their names.

| Read | From |
|---|---|
| means, and with details every request | vLLM's `bench serve`, SGLang's `bench_serving` |
| percentiles; every request | AIPerf and genai-perf; AIPerf's records |
| every request, with when it was due | GuideLLM |
| stages with how late they were sent; every request | inference-perf |
| every request | a log as CSV, JSON lines or a list |
| counters | `/metrics`, a range query of Prometheus, a table by the second |

What a file says is read once: fields that cannot be are refused by name, and nothing is mended.

Assumes: times of the tools' own fields in the unit that their names or the file say.

Source: vLLM, vllm/benchmarks/serve.py; SGLang, bench_serving.py; AIPerf, record_models.py and its
JSON schemas; GuideLLM, request_stats.py; inference-perf, reportgen; genai-perf, exporters (2026).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from serving_mathematics.planner.load_tests import (
    MOST_TOKENS,
    TPOT_S,
    TTFT_S,
    _aiperf_table,
    _at,
    _json_number,
    _name,
)
from serving_mathematics.report.engine_metrics import (
    _looks_scraped,
    _looks_tabled,
    _means,
    range_query_run,
    scrapes_run,
    table_run,
)
from serving_mathematics.report.evidence import FloatArray, Run, _known_quantile, _since_first
from serving_mathematics.report.request_log import _require_counts, read_log
from serving_mathematics.support import checks
from serving_mathematics.support.files import json_values
from serving_mathematics.support.require import require

PERCENTILES = ("p99", "p99.0", "99")


def read_file(text: str, where: str, columns: str = "") -> list[Run]:
    """The runs of one file.

    text: of the file. where: its name, for refusals. columns: of a log, as `read_log` takes them.
    Raises ValueError that names what is wrong, and what would do.

    >>> row = ('{"completed": 2, "duration": 4.0, "total_input_tokens": 8, "request_rate": "inf",'
    ...        '"total_output_tokens": 6, "mean_ttft_ms": 60.0, "mean_tpot_ms": 7.0}')
    >>> read_file(row, "a.json")[0].told["ttft_s"]
    0.06
    """
    text = text.removeprefix("\ufeff")
    begin = text.lstrip()[:1]
    require(bool(begin), where, "a load test, a log or a scrape", "an empty file")
    require("\0" not in text[:1000], where, "text", "something else (unpack it first?)")
    if begin not in ("{", "["):
        if _looks_scraped(text):
            return [scrapes_run([text], where)]
        if _looks_tabled(text):
            return [table_run(text, where)]
        if text.lstrip().startswith(("Metric,", '"Metric",')):
            return [_of_table(text, where)]
        return [read_log(text, where, columns)]
    first = _first_value(text, where)
    if not _is_report(first):
        if _is_record(first):
            return _records(text, where)
        return [read_log(text, where, columns)]
    try:
        values = json_values(text)
    except ValueError as error:
        raise ValueError(f"{where}: {error} (is the file whole?)") from None
    runs: list[Run] = []
    for value in values:
        each = f"{where}, run {len(runs) + 1}" if len(values) > 1 else where
        runs += _of_report(value, each)
    return runs


def _first_value(text: str, where: str) -> Any:
    """The first object of a file: of its first line where that is whole, else of the file."""
    line = text.lstrip().split("\n", 1)[0]
    for part in (line, text):
        try:
            value = json_values(part)[0]
        except (ValueError, IndexError) as error:
            problem = error
            continue
        return value[0] if isinstance(value, list) and value else value
    raise ValueError(f"{where}: {problem} (is the file whole?)")


def _is_report(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    marks = ("benchmarks", "stages", "load_summary", "request_latency", "time_to_first_token")
    return (
        ("completed" in value and "duration" in value)
        or any(mark in value for mark in marks if not isinstance(value.get(mark), int | float))
        or ("data" in value and "status" in value)
    )


def _is_record(value: Any) -> bool:
    """Of AIPerf or inference-perf, a request each."""
    keys = set(value) if isinstance(value, Mapping) else set()
    return {"metadata", "metrics"} <= keys or {"info", "start_time"} <= keys


def _of_report(value: Any, where: str) -> list[Run]:
    require(isinstance(value, Mapping), where, "an object", type(value).__name__)
    if "completed" in value and "duration" in value:
        return [_plausible_run(_vllm_run(value, where))]
    if isinstance(value.get("benchmarks"), list):
        listed = value["benchmarks"]
        require(len(listed) > 0, where, "with benchmarks", "an empty list of them")
        return [
            _plausible_run(_guidellm_run(x, f"{where}, run {i + 1}")) for i, x in enumerate(listed)
        ]
    if "stages" in value or "load_summary" in value:
        stages = value.get("stages", [value])
        fine = isinstance(stages, list) and len(stages) > 0
        require(fine, where, "with a stage or more", str(stages)[:40])
        return [_plausible_run(_stage(one, f"{where}, stage {i}")) for i, one in enumerate(stages)]
    if "data" in value or "error" in value:
        return [range_query_run(value, where)]
    return [_plausible_run(_aiperf_run(value, where))]


def _told(pairs: Mapping[str, Any]) -> dict[str, float]:
    """Those that are numbers."""
    numbers = {name: _json_number(value) for name, value in pairs.items()}
    return {name: value for name, value in numbers.items() if not math.isnan(value)}


def _plausible_run(run: Run) -> Run:
    """Refuse what cannot be a time or a count: a unit was taken for another."""
    for name, (low, high) in (("ttft_s", TTFT_S), ("tpot_s", TPOT_S), ("latency_s", TTFT_S)):
        value = run.said(name)
        if math.isnan(value) or value == 0:
            continue
        rule = f"from {low:g} to {high:g} s"
        if value > high and low <= value / 1000 <= high:
            rule += f" (did you mean {value / 1000:g} s, for {value:g} ms?)"
        if value < low and low <= 1000 * value <= high:
            rule += f" (did you mean {1000 * value:g} s?)"
        where = f"{run.where}: mean {name.removesuffix('_s')}"
        require(low <= value <= high, where, rule, f"{value:g} s")
    for name in ("prompt_tokens", "output_tokens", "duration_s", "completed", "failed"):
        value = run.told.get(name, 0.0)
        most = MOST_TOKENS if name.endswith("tokens") else 1e12
        require(0 <= value <= most, f"{run.where}: {name}", f"from 0 to {most:g}", f"{value:g}")
    require(run.said("duration_s") != 0, f"{run.where}: duration", "positive", "0")
    for name, column in run.columns.items():
        if name.endswith("_s") and name not in ("sent_s", "due_s"):
            early = np.flatnonzero(column < -1e-6)
            rule = "not negative (do two clocks disagree?)"
            if early.size:
                at = f"{run.where}: request {int(early[0]) + 1}, {name.removesuffix('_s')}"
                require(False, at, rule, f"{column[early[0]]:g} s")
        if name.endswith("_tokens"):
            _require_counts(column, f"{run.where}: request ", 1, f", {name.replace('_', ' ')}")
    return run.in_order()


def _list(data: Mapping[str, Any], name: str, where: str) -> list[Any]:
    found = data.get(name)
    if found is None:
        return []
    require(isinstance(found, list), f"{where}: {name}", "a list", type(found).__name__)
    listed: list[Any] = found
    return listed


def _json_column(values: Sequence[Any]) -> FloatArray:
    return np.array([_json_number(value) for value in values], dtype=float)


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
        }
    )
    if sglang:
        whole = 1e-3 * _json_number(data.get("mean_e2e_latency_ms"))
        told |= _told({"latency_s": whole})
    lists = {
        name: _list(data, name, where)
        for name in ("input_lens", "output_lens", "ttfts", "itls", "errors", "start_times")
    }
    count = len(lists["ttfts"])
    run = Run(where, "SGLang bench_serving" if sglang else "vLLM bench serve", told=told)
    run = replace(run, model=_name(data.get("model_id")))
    if not count:
        return run
    for name, listed in lists.items():
        fits = len(listed) in (0, count)
        require(fits, f"{where}: {name}", f"as many as ttfts, {count}", len(listed))
    ttft = _json_column(lists["ttfts"])
    gaps = [np.asarray(_json_column(one if isinstance(one, list) else [])) for one in lists["itls"]]
    columns: dict[str, FloatArray] = {"ttft_s": ttft}
    for name, theirs in (("prompt_tokens", "input_lens"), ("output_tokens", "output_lens")):
        if lists[theirs]:
            columns[name] = _json_column(lists[theirs])
    failed = np.array([bool(one) for one in lists["errors"]] or [False] * count)
    columns["failed"] = (failed | ((ttft == 0) & (columns.get("output_tokens", ttft) == 0))) * 1.0
    if lists["start_times"]:
        start = _json_column(lists["start_times"])
        columns["sent_s"] = _since_first(start)
    if not gaps or not any(one.size for one in gaps):
        return replace(run, columns=columns)
    columns["latency_s"] = ttft + np.array([float(one.sum()) for one in gaps])
    columns["longest_gap_s"] = np.array(
        [float(one.max()) if one.size else math.nan for one in gaps]
    )
    ends = [
        base + np.cumsum(one)
        for base, one in zip(
            (columns.get("sent_s", ttft * math.nan) + ttft).tolist(), gaps, strict=True
        )
    ]
    return replace(
        run, columns=columns, gaps_s=np.concatenate(gaps), gap_end_s=np.concatenate(ends)
    )


def _share(total: Any, count: float) -> float:
    return _json_number(total) / count if count else math.nan


def _aiperf_run(data: Mapping[str, Any], where: str) -> Run:
    """AIPerf's and genai-perf's summaries."""

    def stat(name: str, *which: str) -> float:
        unit = _at(data, f"{name}.unit")
        value = next((x for w in which if (x := _at(data, f"{name}.{w}")) is not None), None)
        scale = {"us": 1e-6, "ms": 1e-3, "ns": 1e-9}.get(str(unit), 1.0)
        return scale * _json_number(value)

    settings: Any = data.get("input_config")
    phases = _at(settings, "phases")
    if isinstance(phases, list):
        settings = dict(settings) | {"phases": {str(_at(one, "name")): one for one in phases}}
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
            "latency_s": stat("request_latency", "avg"),
        }
    )
    if "duration_s" not in told and "completed" in told:
        rate_done = stat("request_throughput", "avg")
        if rate_done > 0:
            told["duration_s"] = told["completed"] / rate_done
    require("ttft_s" in told or "latency_s" in told, where, "with latencies", ", ".join(data)[:80])
    tool = "AIPerf" if "aiperf_version" in data or "schema_version" in data else "genai-perf"
    names = _at(settings, "endpoint.model_names", "models.items.0.name", "model_names")
    return Run(where, tool, told=told, model=_name(names))


def _of_table(text: str, where: str) -> Run:
    """AIPerf's CSV, by the planner's reader."""
    read = _aiperf_table(text, where)
    told = {"completed": float(read.completed), "ttft_s": read.ttft_s, "tpot_s": read.tpot_s}
    told |= {"prompt_tokens": read.prompt_tokens, "output_tokens": read.output_tokens}
    return _plausible_run(Run(where, "AIPerf", told=told | {"in_flight": read.load}))


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
        }
    )
    rate_done = mean("requests_per_second")
    if "duration_s" not in told and rate_done > 0 and "completed" in told:
        told["duration_s"] = told["completed"] / rate_done
    requests = _at(data, "requests")
    rows: list[Any] = []
    for group in ("successful", "errored"):
        listed = _at(requests, group)
        rows += [(one, group == "errored") for one in listed] if isinstance(listed, list) else []
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
    columns["failed"] = np.array([bad for _, bad in rows], dtype=float)
    columns["due_s"] = columns["due_s"] - columns["sent_s"]
    columns["sent_s"] = _since_first(columns["sent_s"])
    columns["due_s"] += columns["sent_s"]
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
            "duration_s": _at(load, "send_duration"),
            "completed": count,
            "failed": _at(data, "failures.count"),
            "prompt_tokens": _at(good, "prompt_len.mean"),
            "output_tokens": _at(good, "output_len.mean"),
            "ttft_s": mean("time_to_first_token"),
            "ttft_p99_s": mean("time_to_first_token", "p99"),
            "tpot_s": mean("time_per_output_token"),
            "latency_s": mean("request_latency"),
            "delay_mean_s": _at(load, "schedule_delay.mean"),
            "delay_p99_s": _at(load, "schedule_delay.p99"),
        }
    )
    if count == 0:
        require(told.get("failed", 0.0) > 0, where, "a stage with requests", "an empty one")
    return Run(where, "inference-perf", told=told)


def _records(text: str, where: str) -> list[Run]:
    """Requests as AIPerf or inference-perf records them."""
    try:
        values = json_values(text)
    except ValueError as error:
        raise ValueError(f"{where}: {error} (is the file whole?)") from None
    rows = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    for place, row in enumerate(rows):
        require(
            _is_record(row), f"{where}: record {place + 1}", "as those before it", str(row)[:40]
        )
    aiperf = "metrics" in rows[0]
    return [_plausible_run((_aiperf_records if aiperf else _perf_records)(rows, where))]


def _aiperf_records(rows: Sequence[Any], where: str) -> Run:
    def metric(name: str) -> FloatArray:
        found = [_at(row, f"metrics.{name}") for row in rows]
        scales = {"ms": 1e-3, "us": 1e-6, "ns": 1e-9}
        return np.array(
            [scales.get(str(_at(x, "unit")), 1.0) * _json_number(_at(x, "value")) for x in found]
        )

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
    return Run(where, "AIPerf", columns)


def _perf_records(rows: Sequence[Any], where: str) -> Run:
    start = _json_column([row.get("start_time") for row in rows])
    end = _json_column([row.get("end_time") for row in rows])
    info = [row.get("info") or {} for row in rows]
    times = [_at(one, "output_token_times", "response_metrics.output_token_times") for one in info]
    tokens = [_json_column(one) if isinstance(one, list) else np.zeros(0) for one in times]
    gaps = [np.diff(one) for one in tokens]
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
        "longest_gap_s": np.array([one.max() if one.size else math.nan for one in gaps]),
        "failed": np.array([bool(row.get("error")) for row in rows], dtype=float),
    }
    first = float(np.nan_to_num(_known_quantile(start, 0.0)))
    ends = [one[1:] - first for one in tokens]
    return Run(
        where,
        "inference-perf",
        columns,
        gaps_s=np.concatenate(gaps) if gaps else np.zeros(0),
        gap_end_s=np.concatenate(ends) if ends else np.zeros(0),
    )


def joined(runs: Sequence[Run]) -> list[Run]:
    """Runs of several files, with scrapes of one engine in a row, a log and the table of its engine
    put together.

    runs: in the order of their files.

    >>> from serving_mathematics.report.engine_metrics import scrapes_run
    >>> parts = [scrapes_run([f"vllm:num_preemptions_total {k}"], f"{k}.txt") for k in (2, 5)]
    >>> joined(parts)[0].series.grown("preemptions")
    3.0
    """
    found: list[Run] = []
    for run in runs:
        last = found[-1] if found else None
        alike = last is not None and last.tool == run.tool and _scraped(last) and _scraped(run)
        if last is not None and alike and last.series and run.series:
            found[-1] = _after(last, run)
            continue
        found.append(run)
    logs = [run for run in found if run.has("latency_s") and run.series is None]
    levels = [run for run in found if run.series is not None and not run.size]
    if len(logs) == 1 and len(levels) == 1:
        both = replace(
            logs[0], series=levels[0].series, where=f"{logs[0].where}, {levels[0].where}"
        )
        found = [both if one is logs[0] else one for one in found if one is not levels[0]]
    return found


def _scraped(run: Run) -> bool:
    return any("scrape" in note for note in run.notes)


def _after(before: Run, run: Run) -> Run:
    """Two runs of scrapes as one, counters from the first of them on."""
    assert before.series is not None
    assert run.series is not None
    names = dict.fromkeys([*before.series.values, *run.series.values])
    one = "one scrape" in " ".join(before.notes)
    values = {}
    for name in names:
        old = before.series.values.get(name, np.array([math.nan]))
        new = run.series.values.get(name, np.array([math.nan]))
        values[name] = np.concatenate([old[-1:] if one else old, new[-1:]])
    times = np.concatenate([before.series.time_s, run.series.time_s])
    where = f"{before.where}, {run.where}"
    series = type(run.series)(times, values)
    return replace(
        before, where=where, notes=("several scrapes",), series=series, told=_means(series)
    )


def check_tools_agree() -> None:
    """One made-up test, as each tool writes it, has the same means.

    Source: the numbers that were written.
    """
    import json

    vllm = {"completed": 40, "duration": 10.0, "request_rate": 4.0, "total_input_tokens": 40_000}
    vllm |= {"total_output_tokens": 8000, "mean_ttft_ms": 120.0, "mean_tpot_ms": 9.5}
    stat = {"time_to_first_token": ("ms", 120.0), "inter_token_latency": ("ms", 9.5)}
    stat |= {"request_count": ("requests", 40.0), "benchmark_duration": ("sec", 10.0)}
    stat |= {"input_sequence_length": ("tokens", 1000.0), "output_sequence_length": ("", 200.0)}
    aiperf = {name: {"unit": unit, "avg": value} for name, (unit, value) in stat.items()}
    means = {"prompt_token_count": 1000.0, "output_token_count": 200.0}
    means |= {"time_to_first_token_ms": 120.0, "inter_token_latency_ms": 9.5}
    metrics: dict[str, Any] = {name: {"successful": {"mean": x}} for name, x in means.items()}
    metrics |= {"request_totals": {"successful": 40, "errored": 0}}
    guidellm = {"benchmarks": [{"duration": 10.0, "metrics": metrics}]}
    latency = {"time_to_first_token": {"mean": 0.12}, "time_per_output_token": {"mean": 0.0095}}
    good: dict[str, Any] = {"count": 40, "latency": latency, "prompt_len": {"mean": 1000.0}}
    stage: dict[str, Any] = {"load_summary": {"send_duration": 10.0}}
    stage |= {"successes": good | {"output_len": {"mean": 200.0}}}
    names = ("duration_s", "completed", "ttft_s", "tpot_s", "prompt_tokens", "output_tokens")
    for name, data in (
        ("vLLM", vllm),
        ("AIPerf", aiperf),
        ("GuideLLM", guidellm),
        ("inference-perf", {"stages": [stage]}),
    ):
        run = read_file(json.dumps(data), name)[0]
        expected = [10.0, 40.0, 0.12, 0.0095, 1000.0, 200.0]
        checks.close(name, [run.said(one) for one in names], expected, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Files that are cut, empty, of another service or in another unit say what would do."""
    for label, text, match in (
        ("empty", "", "a must be a load test, a log or a scrape, got an empty file"),
        ("cut", '{"completed": 4, "duration": 2.0, "ttfts": [0.1,', "is the file whole?"),
        ("unit", '{"completed": 4, "duration": 2, "mean_tpot_ms": 50000}', "did you mean 0.05 s"),
        ("stages", '{"stages": []}', "a must be with a stage or more"),
        ("stage", '{"stages": [{"successes": {"count": 0}}]}', "a stage with requests"),
        ("count", '{"completed": "x", "duration": 2}', "a: completed must be a count"),
        ("lists", '{"completed": 1, "duration": 2, "ttfts": [1], "itls": [[], []]}', "as many as"),
        ("log", "GET /index 200\nPOST /x 500\n", "row 1 must be a log of requests"),
    ):
        checks.raises(label, read_file, text, "a", match=match)
