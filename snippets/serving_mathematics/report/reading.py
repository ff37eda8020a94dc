"""Files of a reader's as runs, recognised by what they hold and never by their names.

| Read | From |
|---|---|
| means, also as printed, and with details every request | vLLM's `bench serve`, SGLang's |
| percentiles; every request | AIPerf and genai-perf; AIPerf's records |
| every request, with when it was due | GuideLLM |
| stages with how late they were sent; every request | inference-perf |
| every moment of every stream | genai-perf's raw export |
| every request | a log as CSV, JSON lines or a list |
| counters | `/metrics`, a range query of Prometheus, a table by the second |
| what runs and waits | the lines of an engine's own log |

What a file says is read once: fields that cannot be are refused by name, and nothing is mended.

Assumes: times of the tools' own fields in the unit that their names or the file say.

Source: vLLM, vllm/benchmarks/serve.py; SGLang, bench_serving.py; AIPerf, record_models.py and its
JSON schemas; GuideLLM, request_stats.py; inference-perf, reportgen; genai-perf, exporters (2026).
"""

# In one piece: a reader for each form and what tells the forms apart, which must know all of them.

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from serving_mathematics.planner.load_tests import (
    MOST_TOKENS,
    TPOT_S,
    TTFT_S,
    _aiperf_settings,
    _aiperf_table,
    _at,
    _json_number,
    _name,
    _printed_results,
    _require_time,
)
from serving_mathematics.report.engine_log import _logging_engine, log_lines_run
from serving_mathematics.report.engine_metrics import (
    _looks_scraped,
    _looks_tabled,
    _means,
    _scrapes_of,
    range_query_run,
    scrape_run,
    table_run,
)
from serving_mathematics.report.evidence import (
    DAY_S,
    GROWING,
    MOST_GUESSED,
    FloatArray,
    Run,
    _known_mean,
    _known_quantile,
    _since_first,
)
from serving_mathematics.report.request_log import (
    _is_json,
    _require_counts,
    read_log,
)
from serving_mathematics.support import checks
from serving_mathematics.support.files import json_items, json_values, read_text
from serving_mathematics.support.log_lines import unwrapped
from serving_mathematics.support.require import require

YAML = re.compile(r"(#.*\n|---\n|[\w-]+: [^,\n]*\n)*[\w-]+:\n(  |- )")
_NAME = re.compile(r"[\w ./\\:~-]{0,999}\.(json|jsonl|csv|txt|log|gz)")  # instead of a text
MOST_COUNTED = 1e12  # seconds, requests or guesses of a run
LARGEST_READ = 1e30  # of what a file may say, so that sums of it are finite
VLLM_COLUMNS = {  # lists of its results; without details 0.33 keeps latencies and times in line
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
INSTEAD = {  # of what tells less than another file of its tool, or of no server: that file
    r'"inflightBatchingStats"': (
        "of /prometheus/metrics, which TensorRT-LLM has with return_perf_metrics: true"
    ),
    r"\ARun Info,|^\W*[\w ]+ Statistics \(Completed": "GuideLLM's JSON (--output kind=json)",
    r'^= REQUEST DETAILS|"world_info": ': "trtllm-bench's --request_json (--columns unit=ns)",
    r'"Percentiles": "|^\W*Avg TTFT \(ms\)': (
        "EvalScope's requests (sqlite3 -csv -header benchmark_data.db 'select * from result')"
    ),
    r'"results_ttft_s_|^Number Of Completed Requests: ': "LLMPerf's …_individual_responses.json",
    r"^=== START_(SUMMARY|STAGE)|^\W*Throughput and Goodput": "inference-perf's folder of JSON",
    r"\A# AIPerf Server Metrics|^\s*NVIDIA [\w-]+ \||^\*\*\* Measurement Settings|^┃ *Statistic": (
        "AIPerf's profile_export_aiperf.json, or genai-perf's profile_export_genai_perf.json"
    ),
    r'^ +"aggregation_type": "|^metric,mean,std,min,max,cv,|^Pareto Optimal Points|'
    r'^ +"timeslices": \[|\ATimeslice,Start_NS,': (
        "AIPerf's profile_export_aiperf.json of each run, which the folder has"
    ),
    r'"last_gen_throughput"|"median_decode_latency"|^last_ttft: |^\W*Offline Throughput Bench|'
    r'\A\{\n\s+"(elapsed_time|avg_latency)"|^Throughput: [\d.]+ requests/s': (
        "a test of a server, as vllm bench serve or SGLang's bench_serving make it"
    ),
    r'total_time="[^"]*" validation_time=': "TGI's /metrics",
    r"^prompt eval time =": "llama.cpp's /metrics, which it has with --metrics",
    r'^\[\d{4}-\d\d-\d\dT[^\]\n]*\] "[A-Z]+ /': "Envoy's access log as JSON (json_format)",
    r"\A[^\n]*,duration,completed,failed,total_input_tokens,": "vLLM's results, as in run=0.json",
    r'"resourceSpans"': "its spans as JSON, as OpenTelemetry's ConsoleSpanExporter writes them",
}
PROMPTED = re.compile(  # at a prompt, before what it printed, and a date between
    r"^(?:\S*[$%#>] )?[^#{\n]*\bcurl .*(?:\n|\Z)|^\d{4}-\d\d-\d\dT[\d:.+Z-]+\n", re.MULTILINE
)
AT_ENDS = 20_000  # characters at either end of a file, for what it is
PERCENTILES = ("p99", "p99.0", "99")
SECONDS_OF = {"ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class OtherFileError(ValueError):
    """A file that lies beside results and is none: settings, what was sent, a validation."""


def read_file(text: str | os.PathLike[str], where: str = "", columns: str = "") -> list[Run]:
    """The runs of one file.

    text: of the file, or its Path. where: its name, for refusals; that of the Path where it is
    empty. columns: of a log, as `read_log` takes them. Raises ValueError that names what is wrong,
    and what would do; OSError where a Path cannot be read.

    >>> row = ('{"completed": 2, "duration": 4.0, "total_input_tokens": 8, "request_rate": "inf",'
    ...        '"total_output_tokens": 6, "mean_ttft_ms": 60.0, "mean_tpot_ms": 7.0}')
    >>> read_file(row, "a.json")[0].told["ttft_s"]
    0.06
    """
    if isinstance(text, os.PathLike):
        text, where = read_text(text), where or str(text)
    if _NAME.fullmatch(text):
        raise ValueError(f"{where or 'text'} must be a file's text, or a Path, got {text!r}")
    text, lines = unwrapped(text.removeprefix("\ufeff"))
    if results := _printed_results(text, where):
        names = [
            f"{where}, run {i + 1}" if len(results) > 1 else where for i in range(len(results))
        ]
        return [_plausible_run(_vllm_run(*pair)) for pair in zip(results, names, strict=True)]
    begin = text.lstrip()[:1] if _is_json(text) else ""
    require(bool(text.strip()), where, "a load test, a log or a scrape", "an empty file")
    told = "something else (unpack it first, or save it as UTF-8?)"
    require("\0" not in text[:1000], where, "text", told)
    first: Any = _first_value(text, where) if begin else None
    known = _is_report(first) or _is_record(first) or bool(_logging_engine(lines))
    for mark, rule in () if known else INSTEAD.items():
        if less := re.search(mark, f"{text[:AT_ENDS]}\n{text[-AT_ENDS:]}", re.MULTILINE):
            mark = " ".join(str(less[0]).split())[:60]
            raise OtherFileError(f"{where} must be {rule}, got {mark}")
    if not begin:
        if _looks_scraped(printed := PROMPTED.sub("", text)):
            return [scrape_run(one, where) for one in _scrapes_of(printed)]
        if _looks_tabled(text):
            return [table_run(text, where)]
        if text.lstrip().startswith(("Metric,", '"Metric",')):
            return [_of_table(text, where)]
        if _logging_engine(lines):
            return [log_lines_run(lines, where)]
        if YAML.match(text):
            raise OtherFileError(f"{where} must be a load test, a log or a scrape, got YAML")
        return [read_log(text, where, columns)]
    if not _is_report(first):
        if _is_record(first):
            return _records(text, where)
        if rows := _rows_within(text, first):
            try:
                return [read_log(rows, where, columns)]
            except ValueError as error:
                if "with columns such as" not in str(error):
                    raise
        if begin == "{" and _is_other(text, first):
            told = f"{where} must be a load test, a log or a scrape, got an object with"
            raise OtherFileError(f"{told} {', '.join(first)[:60] or 'nothing'}")
        return [read_log(text, where, columns)]
    try:
        values = json_items(text)
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


def _is_other(text: str, first: Any) -> bool:
    """Whether a text is one object over many lines, which no line of a log is."""
    line = text.lstrip().split("\n", 1)[0].strip()
    try:
        return isinstance(first, dict) and json_values(line)[0] != first
    except (ValueError, IndexError):
        return isinstance(first, dict)


def _rows_within(text: str, first: Any) -> str:
    """Objects that stand over many lines each, or in the one list of an object, as the pages of an
    interface have them, in a line each; empty where a text has neither.

    >>> text = '{"data": [{"a": 1}, {"a": 2}], "total": 2}'
    >>> _rows_within(text, json_values(text)[0])
    '{"a": 1}\\n{"a": 2}'
    """
    if not isinstance(first, Mapping) or not (_is_other(text, first) or "\n" not in text.strip()):
        return ""
    try:
        values = json_values(text)
    except ValueError:
        return ""
    if len(values) == 1:
        lists = [x for x in first.values() if isinstance(x, list) and x]
        values = lists[0] if len(lists) == 1 else []
    rows = values if all(isinstance(x, Mapping) for x in values) else []
    return "\n".join(map(json.dumps, rows))


def _is_report(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    if isinstance(value.get("experiments"), list):
        return True
    marks = ("benchmarks", "stages", "load_summary", "request_latency", "time_to_first_token")
    return (
        ("completed" in value and "duration" in value)
        or any(mark in value for mark in marks if not isinstance(value.get(mark), int | float))
        or ("data" in value and "status" in value)
    )


def _is_record(value: Any) -> bool:
    """Of AIPerf or inference-perf, a request each."""
    keys = set(value) if isinstance(value, Mapping) else set()
    of_runs = "aiperf_version" in keys  # AIPerf's aggregates of several
    return ({"metadata", "metrics"} <= keys and not of_runs) or {"info", "start_time"} <= keys


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
    if isinstance(value.get("experiments"), list):
        listed = value["experiments"]
        require(len(listed) > 0, where, "with experiments", "an empty list of them")
        names = [f"{where}, run {i + 1}" if len(listed) > 1 else where for i in range(len(listed))]
        return [_plausible_run(_streams(*pair)) for pair in zip(listed, names, strict=True)]
    if "data" in value or "error" in value:
        return [range_query_run(value, where)]
    return [_plausible_run(_aiperf_run(value, where))]


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
            early = np.flatnonzero(column < -1e-6)
            rule = "not negative (do two clocks disagree?)"
            if early.size:
                at = f"{run.where}: request {int(early[0]) + 1}, {name.removesuffix('_s')}"
                require(False, at, rule, f"{column[early[0]]:g} s")
        if name.endswith("_tokens"):
            _require_counts(column, f"{run.where}: request ", 1, f", {name.replace('_', ' ')}")
    early = np.flatnonzero(run.gaps_s < -1e-6)
    if early.size:
        rule = "not negative (do two clocks disagree?)"
        at = f"{run.where}: time between tokens {int(early[0]) + 1}"
        require(False, at, rule, f"{run.gaps_s[early[0]]:g} s")
    return run.in_order()


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


def _with_gaps(run: Run, gaps_s: Sequence[FloatArray]) -> Run:
    """A run with the times between the tokens of each of its requests."""
    first = (run.column("sent_s") + run.column("ttft_s")).tolist()
    ends = [base + np.cumsum(one) for base, one in zip(first, gaps_s, strict=True)]
    none = [np.zeros(0)]
    gap_s, end_s = (np.concatenate([*none, *x]) for x in (gaps_s, ends))
    return replace(run, gaps_s=gap_s, gap_end_s=end_s)


def _share(total: Any, count: float) -> float:
    return _json_number(total) / count if count else math.nan


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
    if "duration_s" not in told and "completed" in told:
        rate_done = stat("request_throughput", "avg")
        if rate_done > 0:
            told["duration_s"] = told["completed"] / rate_done
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
    return _plausible_run(Run(where, tool, told=told | {"in_flight": read.load}))


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
    rate_done = mean("requests_per_second")
    if "duration_s" not in told and rate_done > 0 and "completed" in told:
        told["duration_s"] = told["completed"] / rate_done
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


def _require_new(found: Sequence[Run], text: str, where: str, before: dict[bytes, str]) -> None:
    """Raise ValueError where requests come again: another file, whatever its name, had this text.

    found: the runs of a file. text, where: as for `read_file`. before: of texts that were read, by
    their digests, the names; this one comes to them.

    >>> before = {}
    >>> one = [Run("a", "", {"ttft_s": np.ones(2)})]
    >>> _require_new(one, "x", "a", before)
    >>> _require_new(one, "x", "b", before)
    Traceback (most recent call last):
    ValueError: b must be of other requests than a, got the same text
    """
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass")).digest()
    if any(run.size for run in found):
        other = before.get(digest)
        require(other is None, where, f"of other requests than {other}", "the same text")
    before[digest] = where


def joined(runs: Sequence[Run]) -> list[Run]:
    """Runs of several files: scrapes of one engine in a row, a log and the table of its engine, and
    a tool's summaries and its records of the same requests are put together.

    runs: in the order of their files.

    >>> from serving_mathematics.report.engine_metrics import scrape_run
    >>> parts = [scrape_run(f"vllm:num_preemptions_total {k}", f"{k}.txt") for k in (2, 5)]
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
    found = _once(found)
    for tool in dict.fromkeys(run.tool for run in found if _is_records(run)):
        found = _with_summaries(found, tool)
    logs = [run for run in found if run.has("latency_s") and run.series is None]
    levels = [run for run in found if run.series is not None and not run.size]
    if len(logs) == 1 and len(levels) == 1:
        both = replace(
            logs[0], series=levels[0].series, where=f"{logs[0].where}, {levels[0].where}"
        )
        found = [both if one is logs[0] else one for one in found if one is not levels[0]]
    return found


def _once(runs: Sequence[Run]) -> list[Run]:
    """Runs without those that say in another form what one before them says."""
    found: list[Run] = []
    for run in runs:
        same = [one for one in found if one.size == run.size and _same(one, run)]
        if same:
            place = found.index(same[0])
            notes = tuple(dict.fromkeys((*same[0].notes, *run.notes)))
            found[place] = replace(same[0], told={**run.told, **same[0].told}, notes=notes)
        else:
            found.append(run)
    return found


def _same(one: Run, other: Run) -> bool:
    """Whether two summaries of a tool count the same requests and their times, or two results
    hold the same ones."""
    names = ("ttft_s", "tpot_s", "prompt_tokens", "output_tokens")
    pairs = [(one.said(name), other.said(name)) for name in names]
    known = [(a, b) for a, b in pairs if math.isfinite(a + b)]
    alike = all(abs(a - b) <= 1e-3 * abs(a) for a, b in known)  # the places that a table prints
    alike &= np.array_equal(one.column("ttft_s"), other.column("ttft_s"), equal_nan=True)
    return one.tool == other.tool and 0 < _count(one) == _count(other) and len(known) > 2 and alike


def _is_records(run: Run) -> bool:
    """Whether a run is requests of which another file of its tool has the summary."""
    return run.size > 0 and "completed" not in run.told


def _with_summaries(runs: Sequence[Run], tool: str) -> list[Run]:
    """Runs with the records of a tool in the place of the summaries that count as many requests, or
    cut into the stages that do so together; the rest as it is."""
    records = [run for run in runs if run.tool == tool and _is_records(run)]
    told = [run for run in runs if run.tool == tool and not run.size and _count(run) > 0]
    if len(records) != 1 or not told:
        return list(runs)
    record = records[0]
    whole = [run for run in told if _count(run) == record.size]
    stages = [run for run in told if run not in whole]
    stages.sort(key=lambda run: [int(part) for part in re.findall(r"\d+", run.where)])
    if sum(map(_count, stages)) == record.size and record.has("sent_s"):
        parts = _cut(record, stages)
    elif whole:
        said = dict(record.told)
        for one in whole:
            said = {**one.told, **said}
        notes = (*whole[0].notes, *record.notes)
        parts = [replace(record, told=said, model=record.model or whole[0].model, notes=notes)]
        stages = []
    else:
        return list(runs)
    gone = {id(run) for run in (*whole, *stages)}
    kept = [[*parts] if run is record else [run] for run in runs if id(run) not in gone]
    return [run for group in kept for run in group]


def _count(run: Run) -> int:
    """Requests of a summary, answered or not; 0 where it does not tell."""
    total = run.told.get("completed", 0.0) + run.told.get("failed", 0.0)
    return int(total) if math.isfinite(total) else 0


def _cut(record: Run, stages: Sequence[Run]) -> list[Run]:
    """Requests in the order in which they were sent, as many for each stage as it counts."""
    record = record.in_order()
    ends = np.cumsum([_count(stage) for stage in stages]).tolist()
    sent = record.column("sent_s")
    parts = []
    for stage, low, high in zip(stages, [0, *ends], ends, strict=False):
        columns = {name: column[low:high] for name, column in record.columns.items()}
        until = float(sent[high]) if high < record.size else math.inf
        own = (record.gap_end_s >= sent[low]) & (record.gap_end_s < until)
        parts.append(
            replace(
                stage,
                where=f"{record.where}, {stage.where}",
                columns=columns,
                gaps_s=record.gaps_s[own],
                gap_end_s=record.gap_end_s[own],
                notes=(*stage.notes, *record.notes),
            )
        )
    return parts


def _scraped(run: Run) -> bool:
    return any("scrape" in note for note in run.notes)


def _in_a_row(
    parts: Sequence[Mapping[str, FloatArray]], sizes: Sequence[int]
) -> dict[str, FloatArray]:
    """The last so many numbers of each name in each part; NaN where a part does not tell them."""
    pairs = list(zip(parts, sizes, strict=True))
    return {
        name: np.concatenate([x.get(name, np.full(size, math.nan))[-size:] for x, size in pairs])
        for name in dict.fromkeys(name for part in parts for name in part)
    }


def _after(before: Run, run: Run) -> Run:
    """Two runs of scrapes as one, counters from the first of them on."""
    assert before.series is not None
    assert run.series is not None
    both = (before.series, run.series)
    sizes = [one.time_s.size for one in both]
    values = _in_a_row([one.values for one in both], sizes)
    engines = {
        of: _in_a_row([one.engines.get(of, {}) for one in both], sizes)
        for of in dict.fromkeys(of for one in both for of in one.engines)
    }
    times = np.concatenate([one.time_s for one in both])
    where = before.where
    where += f", {run.where}" * (not where.endswith(run.where))  # a file may hold several
    series = type(run.series)(times, values, engines)
    known = {name: series.level(name) for name in GROWING}
    fell = [name.replace("_", " ") for name, x in known.items() if (np.diff(x) < 0).any()]
    notes = ["several scrapes", *run.notes[1:]]
    if (np.diff(series.level("started_s")) != 0).any():
        told = "what each counted is added where counters fell; else report the later alone"
        notes.append(f"their processes started at different times: {told}")
    elif fell:
        told = f"{', '.join(fell[:2])} fell between them"
        notes.append(f"{told}: the engine began anew, or the files are in the other order")
    return replace(before, where=where, notes=tuple(notes), series=series, told=_means(series))


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
        ("iterations", '[{"iter": 3, "inflightBatchingStats": {}}]', "of /prometheus/metrics"),
    ):
        checks.raises(label, read_file, text, "a", match=match)
