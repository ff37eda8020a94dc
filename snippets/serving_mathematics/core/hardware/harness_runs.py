"""Reads runs that other harnesses published, each as a deployment, a load and what was measured.

Three files, which a reader brings:

    ml_energy.csv       the table of the ML.ENERGY leaderboard v3, language tasks
    load_test.json      what kubernetes-sigs/inference-perf reports, stage by stage
    requests.jsonl      times of every request of one engine, and beside it timeseries.csv

Assumes: prompts of the leaderboard's chat are 100 tokens and those of code 500, which it does not
state; where experts are parallel there, attention is split over the devices of a group.

Source: github.com/ml-energy/leaderboard, public/data/tasks (the repository states no licence, so
its rows are read and not kept here); github.com/kubernetes-sigs/inference-perf (Apache-2.0), demos;
github.com/casys-kaist/LLMServingSim (MIT).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serving_mathematics.core.hardware.catalogue import find_model, find_precision, find_system
from serving_mathematics.core.hardware.deployments import WORKED, Deployment
from serving_mathematics.core.hardware.published_runs import family_name
from serving_mathematics.support.files import read_json, read_table, read_text
from serving_mathematics.support.require import require

PROMPT_TOKENS = {"lm-arena-chat": 100.0, "sourcegraph-fim": 500.0}
STEADY = 1.05  # arrivals over departures, below which a stage of a load test is not in overload


@dataclass(frozen=True)
class HarnessRun:
    """One run of another harness, with as many sequences as its deployment's concurrency."""

    harness: str
    family: str  # models of one shape
    deployment: Deployment
    per_token_s: float  # between tokens
    first_token_s: float  # NaN where it is not told
    rate: float = math.nan  # output tokens a second
    power_w: float = math.nan  # of all devices
    joules: float = math.nan  # an output token
    task: str = ""

    @property
    def whole(self) -> bool:
        """Whether its time per token has the prompts of others in it, as a mean has."""
        return self.harness == "inference-perf"


def _rows(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a table with a header, and what errors call them."""
    header, *rows = read_table("\n".join(lines), "the table") or [[]]
    for place, row in enumerate(filter(None, rows), start=1):
        yield f"row {place}", dict(zip(header, row, strict=False))


def _cell(row: Mapping[str, str], column: str, name: str, positive: bool = True) -> float:
    require(column in row, "file", f"a table with {column}", ", ".join(row)[:80])
    try:
        value = float(row[column])
    except ValueError:
        raise ValueError(f"{name}: {column} must be a number, got {row[column]!r}") from None
    rule, fine = ("positive", value > 0) if positive else ("non-negative", value >= 0)
    require(math.isfinite(value) and fine, f"{name}: {column}", rule, row[column])
    return value


def read_ml_energy(lines: Iterable[str]) -> list[HarnessRun]:
    """Runs of the leaderboard's table. Raises ValueError naming row, column and value.

    lines: of the table, with its header.

    >>> columns = ("task,model,gpu,num_gpus,data_parallel,expert_parallel,weight_precision,"
    ...            "avg_batch_size,avg_output_len,median_itl_ms,output_throughput_tokens_per_sec,"
    ...            "avg_power_watts,energy_per_token_joules")
    >>> row = "lm-arena-chat,Qwen/Qwen3-8B,H100,1,1,1,bfloat16,8,600,10,800,400,0.5"
    >>> run = read_ml_energy([columns, row])[0]
    >>> run.family, run.deployment.concurrency, run.per_token_s
    ('Qwen3-8B', 8.0, 0.01)
    """
    runs = []
    for name, row in _rows(lines):
        task = row.get("task", "")
        require(task in PROMPT_TOKENS, f"{name}: task", f"one of {', '.join(PROMPT_TOKENS)}", task)
        model, _ = find_model(row.get("model", ""))
        devices = int(_cell(row, "num_gpus", name))
        groups = int(_cell(row, "data_parallel", name))
        deployment = replace(
            WORKED,
            architecture=model,
            system=find_system(row.get("gpu", "")),
            precision=find_precision(row.get("weight_precision", "")),
            input_tokens=PROMPT_TOKENS[task],
            output_tokens=max(1.0, _cell(row, "avg_output_len", name)),
            concurrency=_cell(row, "avg_batch_size", name),
            tensor=max(1, devices // groups),
            attention_data=groups,
            expert=int(_cell(row, "expert_parallel", name)),
        )
        runs.append(
            HarnessRun(
                "ml-energy",
                family_name(model),
                deployment,
                per_token_s=1e-3 * _cell(row, "median_itl_ms", name),
                first_token_s=math.nan,
                rate=_cell(row, "output_throughput_tokens_per_sec", name),
                power_w=_cell(row, "avg_power_watts", name),
                joules=_cell(row, "energy_per_token_joules", name),
                task=task,
            )
        )
    require(len(runs) > 0, "lines", "a header and a row or more", "none")
    return runs


def read_stages(report: Mapping[str, Any], deployment: Deployment) -> list[HarnessRun]:
    """Stages of a load test that its engine kept up with, by Little's law.

    report: with `stages`, as inference-perf writes it. deployment: what was tested, whose prompt is
    what is not cached; the load is each stage's. Raises ValueError where a stage lacks a number.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> mean = lambda value: {"mean": value}
    >>> stage = {"load_summary": {"count": 60, "send_duration": 60.0, "achieved_rate": 1.0},
    ...          "successes": {"count": 60, "output_len": mean(51.0), "latency": {
    ...              "request_latency": mean(0.52), "time_to_first_token": mean(0.02)}}}
    >>> run = read_stages({"stages": [stage]}, WORKED)[0]
    >>> run.per_token_s, run.first_token_s, run.deployment.concurrency  # at least one runs
    (0.01, 0.02, 1.0)
    """
    runs = []
    for place, stage in enumerate(report.get("stages", ()), start=1):
        try:
            load, done = stage["load_summary"], stage["successes"]
            latency = float(done["latency"]["request_latency"]["mean"])
            first = float(done["latency"]["time_to_first_token"]["mean"])
            tokens, sent = float(done["output_len"]["mean"]), float(load["achieved_rate"])
            asked = float(load.get("requested_rate", sent))
        except (KeyError, TypeError) as problem:
            raise ValueError(f"stage {place} must have {problem}") from None
        if asked > STEADY * sent:
            continue
        require(tokens > 1, f"stage {place}: output_len", "above 1", tokens)
        decoding = latency - first
        one = replace(deployment, output_tokens=tokens, concurrency=max(1.0, sent * decoding))
        each = decoding / (tokens - 1)
        runs.append(HarnessRun("inference-perf", family_name(one.architecture), one, each, first))
    require(len(runs) > 0, "report", "one with a stage or more that kept up", "none")
    return runs


def read_request_log(
    lines: Iterable[str], series: Iterable[str], deployment: Deployment
) -> list[HarnessRun]:
    """Seconds of an engine's own series in which no prompt was read: sequences over tokens made.

    lines: of JSON, a request each, with queued_ts, first_token_ts, last_token_ts [s], input_toks
    and output_toks, of which the contexts are counted. series: a table with t, prompt_throughput,
    gen_throughput and running, a second a row from the first request on. deployment: what served
    them. Raises ValueError where no second with two sequences or more is without prompts.

    >>> import json
    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> told = [{"queued_ts": 0.0, "first_token_ts": 0.1, "last_token_ts": 9.1, "input_toks": 100,
    ...          "output_toks": 901} for _ in range(4)]
    >>> series = ["t,prompt_throughput,gen_throughput,running", "5.1,0.0,400.0,4"]
    >>> run = read_request_log([json.dumps(one) for one in told], series, WORKED)[0]
    >>> run.per_token_s, run.deployment.input_tokens.__round__(), run.deployment.concurrency
    (0.01, 601, 4.0)
    """
    rows = [read_json(line) for line in lines if line.strip()]
    names = ("queued_ts", "first_token_ts", "last_token_ts", "input_toks", "output_toks")
    for place, row in enumerate(rows, start=1):
        for name in names:
            require(name in row, f"line {place}", f"a request with {name}", ", ".join(row)[:80])
    queued, first, last, prompt, answer = (
        np.array([float(row[name]) for row in rows]) for name in names
    )
    begin, runs = queued.min(), []
    for name, second in _rows(series):
        at = begin + _cell(second, "t", name)
        alive = (first <= at) & (last > at)
        reading, made, running = (
            _cell(second, column, name, positive=False)
            for column in ("prompt_throughput", "gen_throughput", "running")
        )
        if reading > 0 or running < 2 or made == 0 or not alive.any():
            continue
        seen = prompt + answer * (at - first) / np.maximum(last - first, 1e-9)
        one = replace(
            deployment,
            input_tokens=float(seen[alive].mean()),
            output_tokens=1.0,
            concurrency=running,
        )
        runs.append(
            HarnessRun("engine", family_name(one.architecture), one, running / made, math.nan)
        )
    require(len(runs) > 0, "series", "one with seconds in which no prompt is read", "none")
    return runs


def read_files(folder: Path) -> list[HarnessRun]:
    """All runs of a folder's three files, those that are there. Raises ValueError where none is.

    >>> import json, tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "load_test.json").write_text(json.dumps({"stages": [
    ...         {"load_summary": {"achieved_rate": 1.0}, "successes": {"output_len": {"mean": 51.0},
    ...          "latency": {"request_latency": {"mean": 0.52},
    ...                      "time_to_first_token": {"mean": 0.02}}}}]}))
    ...     read_files(Path(folder))[0].per_token_s
    0.01
    """
    runs: list[HarnessRun] = []
    tested = replace(WORKED, input_tokens=75.0)  # 128 of 203 tokens of a prompt are cached there
    logged = replace(WORKED, system=find_system("rtx_pro_6000_workstation"))
    names = ("ml_energy.csv", "load_test.json", "requests.jsonl", "timeseries.csv")
    table, report, log, series = (folder / name for name in names)
    if table.exists():
        runs += read_ml_energy(read_text(str(table)).splitlines())
    if report.exists():
        runs += read_stages(read_json(read_text(str(report))), tested)
    if log.exists() and series.exists():
        told, seconds = (read_text(str(one)).splitlines() for one in (log, series))
        runs += read_request_log(told, seconds, logged)
    rule = f"one with {table.name}, {report.name} or {log.name}"
    require(len(runs) > 0, "folder", rule, str(folder))
    return runs
