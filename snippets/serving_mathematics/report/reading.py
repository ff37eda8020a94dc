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

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from serving_mathematics.planner.questions.load_tests import _printed_results
from serving_mathematics.report.aiperf_results import (
    _aiperf_records,
    _aiperf_run,
    _of_table,
    _streams,
)
from serving_mathematics.report.engine_log import _logging_engine, log_lines_run
from serving_mathematics.report.engine_metrics import (
    _looks_scraped,
    _looks_tabled,
    _scrapes_of,
    range_query_run,
    scrape_run,
    table_run,
)
from serving_mathematics.report.evidence import Run
from serving_mathematics.report.log_cells import _is_json
from serving_mathematics.report.request_log import read_log
from serving_mathematics.report.tool_results import (
    _guidellm_run,
    _perf_records,
    _plausible_run,
    _stage,
    _vllm_run,
)
from serving_mathematics.support import checks
from serving_mathematics.support.files import json_items, json_values, read_text
from serving_mathematics.support.log_lines import unwrapped
from serving_mathematics.support.require import require

YAML = re.compile(r"(#.*\n|---\n|[\w-]+: [^,\n]*\n)*[\w-]+:\n(  |- )")
_NAME = re.compile(r"[\w ./\\:~-]{0,999}\.(json|jsonl|csv|txt|log|gz)")  # instead of a text
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
        return _each(_vllm_run, results, _numbered(where, results))
    begin = text.lstrip()[:1] if _is_json(text) else ""
    require(bool(text.strip()), where, "a load test, a log or a scrape", "an empty file")
    told = "something else (unpack it first, or save it as UTF-8?)"
    require("\0" not in text[:1000], where, "text", told)
    first: Any = _first_value(text, where) if begin else None
    known = _is_report(first) or _is_record(first)
    for mark, rule in () if known or _logging_engine(lines) else INSTEAD.items():
        if less := re.search(mark, f"{text[:AT_ENDS]}\n{text[-AT_ENDS:]}", re.MULTILINE):
            mark = " ".join(str(less[0]).split())[:60]
            raise OtherFileError(f"{where} must be {rule}, got {mark}")
    if not begin:
        if _looks_scraped(printed := PROMPTED.sub("", text)):
            return [scrape_run(one, where) for one in _scrapes_of(printed)]
        if _looks_tabled(text):
            return [table_run(text, where)]
        if text.lstrip().startswith(("Metric,", '"Metric",')):
            return [_plausible_run(_of_table(text, where))]
        if _logging_engine(lines):
            return [log_lines_run(lines, where)]
        if YAML.match(text):
            raise OtherFileError(f"{where} must be a load test, a log or a scrape, got YAML")
        return [read_log(text, where, columns)]
    if not known:
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
    if not _is_report(first):
        return [_plausible_run(_records(values, where))]
    runs: list[Run] = []
    for value in values:
        runs += _of_report(value, f"{where}, run {len(runs) + 1}" if len(values) > 1 else where)
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
        return _each(_vllm_run, [value], [where])
    if isinstance(listed := value.get("benchmarks"), list):
        require(len(listed) > 0, where, "with benchmarks", "an empty list of them")
        return _each(_guidellm_run, listed, [f"{where}, run {i + 1}" for i in range(len(listed))])
    if "stages" in value or "load_summary" in value:
        stages = value.get("stages", [value])
        fine = isinstance(stages, list) and len(stages) > 0
        require(fine, where, "with a stage or more", str(stages)[:40])
        return _each(_stage, stages, [f"{where}, stage {i}" for i in range(len(stages))])
    if isinstance(listed := value.get("experiments"), list):
        require(len(listed) > 0, where, "with experiments", "an empty list of them")
        return _each(_streams, listed, _numbered(where, listed))
    if "data" in value or "error" in value:
        return [range_query_run(value, where)]
    return _each(_aiperf_run, [value], [where])


def _numbered(where: str, listed: Sequence[Any]) -> list[str]:
    """What each run of a file is called, which has its name where it is the only one."""
    return [f"{where}, run {i + 1}" for i in range(len(listed))] if len(listed) > 1 else [where]


def _each(
    read: Callable[[Any, str], Run], listed: Sequence[Any], names: Sequence[str]
) -> list[Run]:
    return [_plausible_run(read(one, name)) for one, name in zip(listed, names, strict=True)]


def _records(rows: Sequence[Any], where: str) -> Run:
    """Requests as AIPerf or inference-perf records them."""
    for place, row in enumerate(rows):
        rule = "as those before it"
        require(_is_record(row), f"{where}: record {place + 1}", rule, str(row)[:40])
    return (_aiperf_records if "metrics" in rows[0] else _perf_records)(rows, where)


def _require_new(found: Sequence[Run], text: str, where: str, before: dict[bytes, str]) -> None:
    """Raise ValueError where requests come again: another file, whatever its name, had this text.

    found: the runs of a file. text, where: as for `read_file`. before: of texts that were read, by
    their digests, the names; this one comes to them.

    >>> import numpy as np
    >>> before, one = {}, [Run("a", "", {"ttft_s": np.ones(2)})]
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
