"""Results of load tests, whatever tool wrote them, as runs that calibrate the step model.

Known are vLLM's `bench serve` (JSON, also with --save-detailed and --append-result, or in a list as
`bench sweep` has it, or what it prints, which SGLang's `bench_serving` prints nearly alike), AIPerf
(`profile_export_aiperf.json` and `.csv`) and GuideLLM (`benchmarks.json`); and measurements that
are typed. What is read are means: of prompts and answers in tokens, of the time to first token, and
of the time per later token. GuideLLM's `time_per_output_token_ms` has the first token in it and is
not taken; its `inter_token_latency_ms` has not.

The load is the number of requests at a time where the tool kept it fixed, and otherwise their mean
by Little's law, requests a second times the time that each takes. Then the first token has waited
in a queue that the load does not tell, and is compared but not fitted.

Assumes: prompts of which nothing is cached; lengths that differ, unless the file says otherwise.

Source: vLLM, vllm/benchmarks/serve.py, SGLang, bench_serving.py (2026); AIPerf,
src/aiperf/exporters/metrics_csv_exporter.py and its JSON schemas 1.3 and 1.4; GuideLLM,
schemas/base/request_stats.py; Little (1961).
"""

# In one piece: a reader for each tool and what all of them end in, which a test holds to one
# answer.

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from serving_mathematics.core.hardware.catalogue import compared, find_model, find_system
from serving_mathematics.core.hardware.deployments import Deployment
from serving_mathematics.machine.predictions.own_runs import OwnRun
from serving_mathematics.support.files import json_items, read_text
from serving_mathematics.support.log_lines import unwrapped
from serving_mathematics.support.require import require, require_in, require_positive

TOOLS = (
    "vLLM bench serve (.json, or what it prints), AIPerf (profile_export_aiperf.json or .csv) "
    "and GuideLLM (benchmarks.json)"
)
SPREAD_LENGTHS = 0.8  # shortest over longest where lengths differ, as the record's runs have it
MOST_TOKENS = 10_000_000  # of a prompt or an answer
TPOT_S, TTFT_S = (2e-4, 2.0), (5e-4, 1000.0)  # what times may be
CONTRADICTION = 10.0  # factor by which two numbers of a file differ where one is a mistake
PRINTED = re.compile(r"^[ \t*>|`]*=+ Serving Benchmark Result =+", re.MULTILINE)
PRINTED_AS = {  # in what vLLM and SGLang print: the name of the same number in their JSON
    "Successful requests": "completed",
    "Failed requests": "failed",
    "Benchmark duration (s)": "duration",
    "Traffic request rate": "request_rate",
    "Request rate configured (RPS)": "request_rate",
    "Maximum request concurrency": "max_concurrency",
    "Max request concurrency": "max_concurrency",
    "Concurrency": "concurrency",
    "Total input tokens": "total_input_tokens",
    "Total generated tokens": "total_output_tokens",
    "Total generated tokens (retokenized)": "total_output_tokens_retokenized",
    "Request throughput (req/s)": "request_throughput",
    "Output token throughput (tok/s)": "output_throughput",
    "Mean E2E Latency (ms)": "mean_e2e_latency_ms",
    "Drafts": "spec_decode_num_drafts",
    "Draft tokens": "spec_decode_draft_tokens",
    "Accepted tokens": "spec_decode_accepted_tokens",
}
LIKE_DEVICE = ("gpu", "gpu_name", "gpu_type", "device", "hardware", "accelerator")


@dataclass(frozen=True)
class LoadRun:
    """One load of a load test, as its file says; means, in seconds and tokens."""

    where: str  # file, and which of its runs
    model: str  # as the file calls it; "" where it does not
    device: str
    completed: int
    load: float  # requests at a time, on average
    steady: bool  # the tool kept that number fixed
    prompt_tokens: float
    output_tokens: float
    equal_lengths: bool
    ttft_s: float
    tpot_s: float


def _at(data: Any, *paths: str) -> Any:
    """The first of several dotted paths that leads somewhere; None if none does."""
    for path in paths:
        here = data
        for part in path.split("."):
            if isinstance(here, list) and part.isdigit() and int(part) < len(here):
                here = here[int(part)]
            else:
                here = here.get(part) if isinstance(here, Mapping) else None
        if here is not None:
            return here
    return None


def _finite(data: Any, where: str, *paths: str) -> float:
    """A finite number at the first of the paths that leads somewhere."""
    value = _at(data, *paths)
    number = _json_number(value)
    fine = math.isfinite(number)
    require(fine, f"{where}: {paths[0]}", "a number (was the test streamed?)", repr(value)[:40])
    return number


def _json_number(value: Any) -> float:
    """A number of JSON; NaN where it is none, or larger than any."""
    try:
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if plain else math.nan
    except OverflowError:
        return math.nan


def _name(value: Any) -> str:
    if isinstance(value, list):
        value = value[0] if value else ""
    return value if isinstance(value, str) else ""


def _completed(count: float, where: str) -> int:
    rule = "a test with completed requests (see its errors)"
    require(1 <= count < math.inf and count % 1 == 0, where, rule, f"{count:g}")
    return int(count)


def _require_most(completed: int, failed: Any, where: str) -> None:
    """Refuse a test of which more failed than was completed: its times are those of a few."""
    number = _json_number(failed)
    rule = "a test that completed more than failed"
    require(not number > completed, where, rule, f"{completed} completed and {failed} failed")


def _mean_load(rate_per_s: float, ttft_s: float, tpot_s: float, output_tokens: float) -> float:
    """Requests inside, by Little's law."""
    return rate_per_s * (ttft_s + tpot_s * max(0.0, output_tokens - 1))


def _require_close(where: str, what: str, told: Any, found: float) -> None:
    """Refuse what a file says twice, and not alike; nothing where it says it once. told: in the
    words of the file. found: what its other numbers say."""
    number = _json_number(told)
    if math.isfinite(number) and number > 0:
        rule = f"what its other numbers say, {found:.3g}, within a factor of {CONTRADICTION:g}"
        require(
            found / CONTRADICTION <= number <= found * CONTRADICTION, f"{where}: {what}", rule, told
        )


def _held_fits(run: LoadRun, rate: float) -> LoadRun:
    """A run, unless so many requests a second, of such times, cannot be as many at a time."""
    _plausible(run)
    inside = _mean_load(rate, run.ttft_s, run.tpot_s, run.output_tokens)
    low, high = run.load / CONTRADICTION, run.load * CONTRADICTION
    rule = f"from {low:.3g} to {high:.3g} by its throughput and times, where it held {run.load:g}"
    require(low <= inside <= high, f"{run.where}: requests at a time", rule, f"{inside:.3g}")
    return run


def _vllm(data: Mapping[str, Any], where: str) -> LoadRun:
    completed = _completed(_finite(data, where, "completed"), where)
    _require_most(completed, data.get("failed"), where)
    prompt = _finite(data, where, "total_input_tokens") / completed
    output = _finite(data, where, "total_output_tokens") / completed
    ttft_s, tpot_s = (
        1e-3 * _finite(data, where, f"mean_{name}_ms", f"median_{name}_ms")
        for name in ("ttft", "tpot")
    )
    limit, endless = (
        _json_number(data.get("max_concurrency")),
        data.get("request_rate", "inf") == "inf",
    )
    steady = endless and limit % 1 == 0 and limit <= completed
    duration = _finite(data, where, "duration")
    require(duration > 0, f"{where}: duration", "positive", duration)
    rate = completed / duration
    _require_close(where, "request_throughput", data.get("request_throughput"), rate)
    _require_close(where, "output_throughput", data.get("output_throughput"), rate * output)
    latency_ms = 1e3 * (ttft_s + tpot_s * max(0.0, output - 1))
    _require_close(where, "mean_e2el_ms", data.get("mean_e2el_ms"), latency_ms)
    load = limit if steady else _mean_load(rate, ttft_s, tpot_s, output)
    lengths = data.get("input_lens")
    equal = isinstance(lengths, list) and len(set(map(str, lengths))) == 1
    device = next((data[key] for key in LIKE_DEVICE if isinstance(data.get(key), str)), "")
    model = _name(data.get("model_id"))
    run = LoadRun(
        where, model, device, completed, load, steady, prompt, output, equal, ttft_s, tpot_s
    )
    return _held_fits(run, rate) if steady else run


def _aiperf_settings(data: Mapping[str, Any]) -> Any:
    """What AIPerf was told to do, with its phases by their names."""
    settings: Any = data.get("input_config")
    phases = _at(settings, "phases")
    if isinstance(phases, list):  # of schema 1.4, with their names inside
        return dict(settings) | {"phases": {str(_at(one, "name")): one for one in phases}}
    return settings


def _aiperf(data: Mapping[str, Any], where: str) -> LoadRun:
    completed = _completed(_finite(data, where, "request_count.avg"), where)
    prompt = _finite(data, where, "input_sequence_length.avg")
    output = _finite(data, where, "output_sequence_length.avg")
    times = {}
    for name in ("time_to_first_token", "inter_token_latency"):
        unit = _at(data, f"{name}.unit") or "ms"
        known = unit in ("ms", "s", "sec", "us")
        require(known, f"{where}: {name}", "in us, ms or s", repr(unit)[:40])
        scale = {"us": 1e-6, "ms": 1e-3}.get(unit, 1.0)
        times[name] = scale * _finite(data, where, f"{name}.avg", f"{name}.p50")
    ttft_s, tpot_s = times.values()
    settings = _aiperf_settings(data)
    limit = _json_number(_at(settings, "loadgen.concurrency", "phases.profiling.concurrency"))
    rate_set = _at(settings, "loadgen.request_rate", "phases.profiling.rate")
    steady = limit % 1 == 0 and not rate_set
    rate = _finite(data, where, "request_throughput.avg")
    duration = _json_number(_at(data, "benchmark_duration.avg"))
    if duration > 0:
        _require_close(where, "request_throughput", rate, completed / duration)
    load = limit if steady else _mean_load(rate, ttft_s, tpot_s, output)
    model = _name(_at(settings, "endpoint.model_names", "models.items.0.name", "models"))
    names = re.search(r'"gpu_name": ?"([^"]+)"', json.dumps(data.get("telemetry_data") or {}))
    equal = _at(data, "input_sequence_length.std") == 0
    equal = equal and _at(data, "output_sequence_length.std") == 0
    device = names.group(1) if names else ""
    run = LoadRun(
        where, model, device, completed, load, steady, prompt, output, equal, ttft_s, tpot_s
    )
    return _held_fits(run, rate) if steady else run


def _aiperf_table(text: str, where: str) -> LoadRun:
    """AIPerf's CSV: metrics with their unit in brackets, then single values."""
    data: dict[str, Any] = {}
    header: list[str] = []
    try:
        rows = list(csv.reader(io.StringIO(text)))
    except csv.Error as error:
        raise ValueError(f"{where}: must be JSON or CSV, got {error}") from None
    for row in rows:
        if not row or row[0] in ("Metric", "Endpoint"):
            header = row
            continue
        if len(header) < 2 or header[0] != "Metric":
            continue
        name, _, unit = row[0].partition(" (")
        cells = dict(zip(header[1:], row[1:], strict=False))
        number = _typed(cells.get("avg") or cells.get("Value") or "")
        if math.isnan(number):
            continue
        key = name.strip().lower().replace(" ", "_")
        std = _typed(cells.get("std") or "")
        data[key] = {"avg": number, "unit": unit.rstrip(")") or None, "std": std}
    return _aiperf(data, where)


def _typed(cell: str) -> float:
    """The number of a cell, genai-perf's "1,354.27" among them; NaN where it holds none."""
    try:
        return float(cell.replace(",", ""))
    except ValueError:
        return math.nan


def _printed_results(text: str, where: str) -> list[dict[str, Any]]:
    """What vLLM's `bench serve` or SGLang's `bench_serving` printed, a test each, under the names
    of their JSON; of the lines before a result the limits count, which older releases print there.

    text: as on a terminal or in an issue; without a result there are none. where: its name. Raises
    ValueError where a result lacks its requests or its duration.
    """
    head, *parts = PRINTED.split(text)
    found = []
    for place, part in enumerate(parts, start=1):
        body, *after = re.split(r"(?m)^[ \t*>|`]*={10,}.*$", part, maxsplit=1)
        result = _printed_lines(head) | _printed_lines(body)
        head = after[0] if after else ""
        each = f"{where}, run {place}" if len(parts) > 1 else where
        for label in ("Successful requests", "Benchmark duration (s)"):
            rule = f"a printed result with its line {label!r}"
            require(PRINTED_AS[label] in result, each, rule, ", ".join(result)[:80] or "none")
        if "failed" in result:  # vLLM prints it since 2025, and a rate only where it is finite
            result.setdefault("request_rate", "inf")
        found.append(result)
    return found


def _printed_lines(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in text.splitlines():
        label, colon, told = line.strip(" \t*>|`").partition(":")
        times = re.fullmatch(r"(Mean|Median|P99) (TTFT|TPOT|ITL|E2EL) \(ms\)", label)
        name = "_".join(times.groups()).lower() + "_ms" if times else PRINTED_AS.get(label)
        number = _typed(told.strip())
        if name and colon and told.strip() == "inf":
            found[name] = "inf"
        elif name and math.isfinite(number):
            found[name] = number
    return found


def _guidellm(data: Any, report: Mapping[str, Any], where: str) -> LoadRun:
    metrics = _at(data, "metrics")
    completed = _completed(_json_number(_at(metrics, "request_totals.successful")), where)
    _require_most(completed, _at(metrics, "request_totals.errored"), where)

    def mean(name: str) -> float:
        return _finite(metrics, where, f"{name}.successful.mean", f"{name}.successful.median")

    strategy = _at(data, "config.strategy", "args.strategy") or {}
    kind = _name(_at(strategy, "type_", "kind"))
    equal = _at(metrics, "prompt_token_count.successful.std_dev") == 0
    equal = equal and _at(metrics, "output_token_count.successful.std_dev") == 0
    model = _at(
        *(data, "config.backend.model", "config.backend.target_model"), "config.backend.model_name"
    )
    run = LoadRun(
        where,
        _name(model or _at(report, "args.model", "args.backend.model")),
        "",
        completed,
        max(1.0, mean("request_concurrency")),
        kind in ("concurrent", "synchronous"),
        mean("prompt_token_count"),
        mean("output_token_count"),
        bool(equal),
        1e-3 * mean("time_to_first_token_ms"),
        1e-3 * mean("inter_token_latency_ms"),
    )
    rate = _json_number(_at(metrics, "requests_per_second.successful.mean"))
    return _held_fits(run, rate) if rate > 0 else run


def read_load_test(text: str, where: str) -> list[LoadRun]:
    """The runs of one file.

    text: of the file. where: its name, for refusals. Raises ValueError on a file of no known tool,
    without completed requests or without a time, and on times that can only be in another unit.

    >>> row = {"completed": 10, "duration": 20.0, "total_input_tokens": 10_000,
    ...        "total_output_tokens": 2000, "request_rate": "inf", "max_concurrency": 2,
    ...        "mean_ttft_ms": 60.0, "mean_tpot_ms": 7.0}
    >>> run = read_load_test(json.dumps(row), "a.json")[0]
    >>> run.load, run.tpot_s, run.output_tokens
    (2.0, 0.007, 200.0)
    """
    text = unwrapped(text.removeprefix("\ufeff"))[0]
    if re.match(r"\s*\"?Metric\"?,", text):
        return [_plausible(_aiperf_table(text, where))]
    runs: list[LoadRun] = []
    values: list[Any] = _printed_results(text, where)
    try:
        values = values or json_items(text)
    except ValueError as error:
        raise ValueError(f"{where}: must be JSON or CSV, got {error}") from None
    for value in values:
        each = f"{where}, run {len(runs) + 1}" if len(values) > 1 else where
        if isinstance(value, Mapping) and "completed" in value and "duration" in value:
            runs.append(_vllm(value, each))
        elif isinstance(value, Mapping) and "request_count" in value:
            runs.append(_aiperf(value, each))
        elif isinstance(value, Mapping) and isinstance(value.get("benchmarks"), list):
            for place, one in enumerate(value["benchmarks"], start=1):
                runs.append(_guidellm(one, value, f"{where}, run {place}"))
        else:
            shown = ", ".join(value)[:60] if isinstance(value, Mapping) else type(value).__name__
            raise ValueError(f"{where}: must be a result of {TOOLS}, got {shown or 'nothing'}")
    require(len(runs) > 0, where, f"a result of {TOOLS}", "nothing")
    return [_plausible(run) for run in runs]


def _require_time(what: str, value: float, span: tuple[float, float]) -> None:
    """Refuse a time [s] that can only be a mistake of a unit."""
    low, high = span
    rule = f"from {low:g} to {high:g} s"
    if value > high and low <= value / 1000 <= high:
        rule += f" (did you mean {value / 1000:g} s, for {value:g} ms?)"
    if value < low and low <= 1000 * value <= high:
        rule += f" (did you mean {1000 * value:g} s?)"
    require(low <= value <= high, what, rule, f"{value:g} s")


def _plausible(run: LoadRun) -> LoadRun:
    """Refuse times and lengths that can only be mistakes of a unit."""
    _require_time(f"{run.where}: TPOT", run.tpot_s, TPOT_S)
    _require_time(f"{run.where}: TTFT", run.ttft_s, TTFT_S)
    for name, value in (("tokens of a prompt", run.prompt_tokens), ("answer", run.output_tokens)):
        rule = f"from 1 to {MOST_TOKENS:,}"
        require(1 <= value <= MOST_TOKENS, f"{run.where}: {name}", rule, f"{value:g}")
    require(0 < run.load <= 1e6, f"{run.where}: requests at a time", "positive", f"{run.load:g}")
    return run


def read_typed(text: str, prompt_tokens: float, output_tokens: float) -> list[LoadRun]:
    """Measurements that are typed, such as "16:0.25:0.011, 8/s:0.4:0.015": requests at a time or a
    second, TTFT and TPOT [s].

    prompt_tokens, output_tokens: means, of the question. Raises ValueError otherwise.

    >>> run = read_typed("8/s:0.4:0.01", prompt_tokens=1000, output_tokens=201)[0]
    >>> round(run.load, 9), run.steady
    (19.2, False)
    """
    prompt_tokens, output_tokens = require_in(
        f"[1, {MOST_TOKENS}]", prompt_tokens=prompt_tokens, output_tokens=output_tokens
    )
    runs: list[LoadRun] = []
    for place, part in enumerate(text.split(","), start=1):
        where = f"load_test, entry {place}"
        packed = re.sub(r"\s", "", part)
        found = re.fullmatch(r"([\d.e+-]+)(/s)?:([\d.e+-]+):([\d.e+-]+)", packed, re.ASCII)
        rule = "such as 16:0.25:0.011 or 8/s:0.4:0.015, load:TTFT:TPOT in seconds"
        require(found is not None, where, rule, repr(part.strip()[:40]))
        assert found is not None
        try:
            load, ttft_s, tpot_s = (float(found.group(i)) for i in (1, 3, 4))
        except ValueError:
            raise ValueError(f"{where} must be {rule}, got {part.strip()[:40]!r}") from None
        steady = not found.group(2)
        load = load if steady else _mean_load(load, ttft_s, tpot_s, output_tokens)
        one = LoadRun(
            where, "", "", 1, load, steady, prompt_tokens, output_tokens, False, ttft_s, tpot_s
        )
        require(one not in [replace(run, where=where) for run in runs], where, "once", part.strip())
        runs.append(_plausible(one))
    return runs


def read_load_runs(text: str, prompt_tokens: float, output_tokens: float) -> list[LoadRun]:
    """The runs of a field: typed, or of files whose names are separated by commas.

    text: of the field; what begins with a digit and has a colon is typed. prompt_tokens,
    output_tokens: means, of the question. Raises ValueError as read_typed and read_load_test do,
    and on a file that cannot be read.

    >>> read_load_runs("no such file", 1000, 200)
    Traceback (most recent call last):
    ValueError: load_test must be files that can be read, or typed, got 'no such file'
    """
    prompt_tokens, output_tokens = require_positive(
        prompt_tokens=prompt_tokens, output_tokens=output_tokens
    )
    if re.match(r"\s*[+-]?\d[\d.e+-]*\s*(/s)?\s*:", text, re.ASCII):
        return read_typed(text, prompt_tokens, output_tokens)
    runs = []
    paths = [part.strip() for part in text.split(",")]
    fine = all(paths) and len(set(paths)) == len(paths)
    rule = "files of different names with commas between, or typed"
    require(fine, "load_test", rule, repr(text[:60]))
    for path in paths:
        try:
            content = read_text(path)
        except OSError:
            rule = "must be files that can be read, or typed"
            raise ValueError(f"load_test {rule}, got {path[:60]!r}") from None
        except ValueError as error:
            raise ValueError(f"load_test {error}") from None
        runs += read_load_test(content, f"load_test {path}")
    return runs


def runs_of(runs: Sequence[LoadRun], deployment: Deployment) -> list[OwnRun]:
    """The runs as those of a deployment, for `calibrate`.

    deployment: that is said to have been tested. Raises ValueError when a file names another model
    or device; a model under a name that nobody knows is taken for the one that is said.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.planner.questions.load_tests import LoadRun
    >>> row = LoadRun("a.json", "Llama-3.1-8B", "", 9, 4.0, True, 1000, 200, False, 0.06, 0.007)
    >>> runs_of([row], WORKED)[0].deployment.concurrency
    4.0
    """
    found = []
    for run in runs:
        _refuse_other(run, deployment)
        most, tokens = deployment.architecture.context_tokens, run.prompt_tokens + run.output_tokens
        rule = f"within the context of {deployment.architecture.name}, {most:,}"
        require(tokens <= most, f"{run.where}: tokens of a request", rule, f"{tokens:,.0f}")
        share = 1.0 if run.equal_lengths else SPREAD_LENGTHS
        one = replace(
            deployment,
            input_tokens=run.prompt_tokens * 2 / (1 + share),
            output_tokens=run.output_tokens * 2 / (1 + share),
            concurrency=max(1.0, run.load),
            shortest_share=share,
        )
        lengths = f"{run.prompt_tokens:,.0f} in, {run.output_tokens:,.0f} out"
        label = f"{run.load:.3g} at a time, {lengths}"
        found.append(OwnRun(one, run.ttft_s, run.tpot_s, run.steady, label))
    return found


def _refuse_other(run: LoadRun, deployment: Deployment) -> None:
    asked, system = deployment.architecture, deployment.system
    try:
        model = find_model(run.model.rstrip("/").split("/")[-1])[0] if run.model else asked
    except ValueError:
        model = asked
    same = (model.layer_count, model.hidden, model.parameters) == (
        *(asked.layer_count, asked.hidden),
        asked.parameters,
    )
    require(same, f"{run.where}: the model", f"{asked.name}, as asked", run.model[:60])
    if run.device:
        form = compared(run.device)
        short = compared(system.name.split("_")[0])
        try:
            fits = find_system(run.device).name == system.name
        except ValueError:
            fits = short in form
        require(fits, f"{run.where}: the device", f"{system.name}, as asked", run.device[:60])
