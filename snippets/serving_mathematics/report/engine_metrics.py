"""An engine's own counters: one scrape of `/metrics`, several, a range query of Prometheus, or a
table of them by the second.

Each engine has its own names for the same thing, and what passes them on begins them otherwise;
all are brought to those of `evidence`. Samples of several engines are added up, but for the share
of the cache, of which the largest counts, and their levels are kept apart too.
First tokens of SGLang are those of streamed answers.

Assumes: scrapes in the order in which they are given; a scrape does not say when it was made, so
between two of them only ratios are told, unless each begins with its time in a comment. Of
TensorRT-LLM's pipelines what runs is one micro-batch, which --max_batch_size bounds too.

Source: vLLM documentation, production metrics (0.34), and pull requests 33290 and 48860; SGLang
documentation, production metrics, and pull requests 17026 and 40255; TensorRT-LLM,
`metrics/collector.py`, `py_executor.py`, pull requests 12132 and 18583; Triton, TGI and
llama.cpp, metrics; LMDeploy 0.18, `metrics/loggers.py` and `metrics/stats.py`; AIBrix 0.8,
`metrics/engine_rules.py`; Dynamo 1.6, `prometheus_names.py`; NVIDIA NIM for LLMs, observability;
vLLM's production stack, `metrics_service`; DCGM, field identifiers 155 and 156; nvidia-smi
--help-query-gpu; Prometheus documentation, text format and HTTP API.
"""

# In one piece: one table of names, and the scrape, the range query and the table that read by it.

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from serving_mathematics.core.hardware.catalogue import compared
from serving_mathematics.machine.predictions.scrapes import (
    _SAMPLE,
    MIDDLES,
    UNSTREAMED,
    _engine_name,
    _left_out,
    _samples,
)
from serving_mathematics.planner.trace_times import _by_calendar
from serving_mathematics.report.evidence import GROWING, FloatArray, Run, Series
from serving_mathematics.support import checks
from serving_mathematics.support.files import read_table
from serving_mathematics.support.require import require

ENGINES = {  # how their names begin; of several on a page the first here is its engine
    "vllm:": "vLLM",
    "sglang:": "SGLang",
    "nv_trt_llm_": "TensorRT-LLM",
    "trtllm_": "TensorRT-LLM",
    "tgi_": "TGI",
    "lmdeploy:": "LMDeploy",
    "llamacpp:": "llama.cpp",
    "serving_": "the handbook's engine",
    "aibrix:": "AIBrix",
    "dynamo_frontend_": "Dynamo",
    "DCGM_FI_DEV_": "DCGM",
    "nv_gpu_": "Triton",
    "nv_energy_": "Triton",
}
UNNAMED = "NIM or TensorRT-LLM"  # whose names begin with nothing; of TensorRT-LLM 1.1
BARE = {
    *("num_requests_running", "num_requests_waiting", "gpu_cache_usage_perc"),
    *("prompt_tokens_total", "generation_tokens_total", "time_to_first_token_seconds_sum"),
    *("time_to_first_token_seconds_count", "time_per_output_token_seconds_sum"),
    *("time_per_output_token_seconds_count", "e2e_request_latency_seconds_sum"),
    "request_queue_time_seconds_sum",
}
READABLE = (
    "vLLM, SGLang, TensorRT-LLM, TGI, NIM, LMDeploy or llama.cpp (behind a proxy, the engine's own)"
)
HOSTS = ("python_", "process_", "go_", "otel_")  # what tells nothing of whose page it is
ENGINE_LABELS = (  # that tell one engine from another; of a router's and Ray's pages too
    *("instance", "pod", "server", "ReplicaId", "replica", "engine", "dp_rank"),
)
NAMES = {  # of each counter, as engines have or had it, without the engine's own beginning
    "running": (
        "num_requests_running",
        "num_running_reqs",
        "batch_current_size",
        *("requests_running", "requests_processing", "num_scheduled_requests"),
    ),
    "waiting": (
        *("num_requests_waiting", "num_queue_reqs", "queue_size", "requests_waiting"),
        "requests_deferred",
    ),
    "cache": (
        "kv_cache_usage_perc",
        "gpu_cache_usage_perc",
        "token_usage",
        "kv_cache_utilization",
        "cache_usage_ratio",
    ),
    "preemptions": ("num_preemptions_total", "num_preemptions", "num_retracted_requests_total"),
    "prompt_tokens": (
        *("prompt_tokens_total", "request_input_length_sum", "prompt_tokens"),
        "input_sequence_tokens_sum",
    ),
    "output_tokens": (
        *("generation_tokens_total", "request_generated_tokens_sum", "generated_tokens"),
        *("tokens_predicted_total", "output_sequence_tokens_sum"),
    ),
    "prefix_asked": ("prefix_cache_queries_total", "gpu_prefix_cache_queries_total"),
    "prefix_found": (
        *("prefix_cache_hits_total", "gpu_prefix_cache_hits_total", "cached_tokens_total"),
        *("external_prefix_cache_hits_total", "prompt_tokens_cached_total"),
        *("prompt_cached_tokens_total", "cached_tokens_sum"),
    ),
    "draft_tokens": ("spec_decode_num_draft_tokens_total",),
    "accepted_tokens": ("spec_decode_num_accepted_tokens_total",),
    "drafts": ("spec_decode_num_drafts_total",),
    "queue_s": (
        *("request_queue_time_seconds_sum", "queue_time_seconds_sum"),
        *("request_queue_duration_sum",),
    ),
    "ttft_s": ("time_to_first_token_seconds_sum",),
    "ttft_count": ("time_to_first_token_seconds_count", "request_success"),
    "latency_s": (
        *("e2e_request_latency_seconds_sum", "request_duration_sum", "request_seconds_sum"),
        "request_duration_seconds_sum",
    ),
    "tpot_s": ("inter_token_latency_seconds_sum", "time_per_output_token_seconds_sum"),
    "tpot_count": ("inter_token_latency_seconds_count", "time_per_output_token_seconds_count"),
    "aborted": ("num_aborted_requests_total",),
    "refused": ("admission_rejections_total",),
    "power_w": ("POWER_USAGE", "power_usage"),
    "joules": ("TOTAL_ENERGY_CONSUMPTION", "consumption"),
}
COUNTED_IN = {"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": 1e-3}  # mJ
LABELLED = {  # counters of Triton that share a name
    ("nv_trt_llm_request_metrics", 'request_type="waiting"'): "waiting",
    ("nv_trt_llm_request_metrics", 'request_type="scheduled"'): "running",  # "active" is of both
    ("nv_trt_llm_kv_cache_block_metrics", 'kv_cache_block_type="fraction"'): "cache",
}
ADDS_TO = {  # what adds to more than one, whatever else does
    "llamacpp:prompt_tokens_total": ["prompt_tokens", "prefix_asked"],  # without those found
    "llamacpp:prompt_tokens_cached_total": ["prefix_found", "prefix_asked"],
    "trtllm_kv_cache_reused_blocks_total": ["prefix_found", "prefix_asked"],  # of a block's tokens
    "trtllm_kv_cache_missed_blocks_total": ["prefix_asked"],
    "lmdeploy:num_api_requests_waiting": ["waiting"],  # for a handle, of which places have one each
}
_LOADED = "vllm:external_prefix_cache_hits_total"  # from a tier: beside what the device holds
_LOOKED_UP = ("vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total", _LOADED)
_ONCE = ("vllm:prompt_tokens_cached_total", "vllm:prompt_tokens_total")
_TOKENS_FOUND = "trtllm_prompt_cached_tokens_total"
_IN_STEP, _ACTIVE = "trtllm_num_scheduled_requests", "trtllm_num_requests_running"
_STEPS = "sglang:realtime_tokens_total"
_BY_PLACE = "spec_decode_num_accepted_tokens_per_pos_total"  # of vLLM and LMDeploy
_ROUTED = re.compile(r'(?:^|,)server="')  # what vLLM's router tells again of its engines
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_PLACE = re.compile(r'position="(\d{1,3})"')  # from 0
HISTOGRAMS = {  # of requests, so not of each gap between tokens
    "time_to_first_token_seconds": "ttft",
    "request_time_per_output_token_seconds": "tpot",
    "trtllm_time_per_output_token_seconds": "tpot",
    "serving_time_per_output_token_seconds": "tpot",
}
WITHIN = " within "  # between what is timed and a bound, in the name of a counter
_STARTED = "process_start_time_seconds"
_ENDED = "vllm:request_success_total"
_OF_STEPS = {  # counters to which tokens of prompts add, by what SGLang's steps did
    'mode="prefill_cache"': ["prefix_found", "prefix_asked"],
    'mode="prefill_compute"': ["prefix_asked"],
}
_CANONICAL = {name: counter for counter, names in NAMES.items() for name in names}
TABLE = {  # columns of a table by the second, in compared form
    "running": ("running", "numrunning", "numrequestsrunning"),
    "waiting": ("waiting", "numwaiting", "numrequestswaiting", "queue"),
    "cache": ("kvcachepct", "cache", "kvcacheusage", "kvusage", "kvcacheusageperc", "tokenusage"),
    "power_w": ("powerw", "power", "watts", "powerdraww", "gpupowerw", "powerwatts"),
}
DEVICES = ("index", "gpu", "uuid", "gpuid", "device", "pcibusid")  # of a row, where several report
TIMES = ("t", "time", "timestamp", "seconds", "ts")
REQUESTS = ("ttft", "latency", "prompttokens", "inputtokens")  # a table with these is a log
MADE_AT = re.compile(r"^# (?:time|scraped at) (\d{9,11}(?:\.\d+)?)\s*$", re.MULTILINE)
RAYS = (
    "Ray adds up times by the middles of their buckets, so no mean of a time is read; who was in "
    "time is counted by the buckets"
)
PERCENT_ABOVE = 1.5  # a share of the cache that is larger is a percentage


def counters(text: str) -> tuple[str, dict[str, float]]:
    """The engine of a scrape, and its counters by the names of `evidence`.

    text: of `/metrics`. Raises ValueError where it is of no engine that is known, or a value is no
    number, or negative.

    >>> counters('vllm:num_requests_waiting{engine="0"} 3\\nvllm:num_requests_waiting 1\\n')
    ('vLLM', {'waiting': 4.0})
    """
    samples = _samples(text)
    engine = _engine_of([name for name, _, _ in samples])
    names = dict.fromkeys(name for name, _, _ in samples if not name.startswith(HOSTS))
    require(
        engine, "the metrics", f"a scrape of {READABLE}", ", ".join([*names][:3]) or "no sample"
    )
    found: dict[str, float] = {}
    told = _counters_of([(name, labels) for name, labels, _ in samples])
    for (name, _, value), of in zip(samples, told, strict=True):
        own = value * COUNTED_IN.get(name, 1.0)
        own = max(own, 0.0) if of == ["waiting"] else own  # LMDeploy's may be below for a moment
        require(not (of and own < 0), name, "not negative, as counters are", f"{value:g}")
        for counter in of:
            before = found.get(counter, 0.0)
            found[counter] = max(own, before) if counter == "cache" else before + own
    if found.get("cache", 0.0) > PERCENT_ABOVE:
        found["cache"] /= 100
    started = [value for name, _, value in samples if name == _STARTED]
    if len(started) == 1:  # of one process
        found["started_s"] = started[0]
    return engine, found


def _of_labels(name: str, labels: str) -> list[str]:
    """The counters to which what SGLang's steps did adds, vLLM's guesses by their place, or what
    Triton tells under one name."""
    if name in ADDS_TO:
        return ADDS_TO[name]
    if name.endswith(_BY_PLACE) and (place := _PLACE.search(labels)):
        return [f"accepted_at_{int(place[1]) + 1}"]
    if name == _ENDED:
        return ["aborted"] if 'finished_reason="abort"' in labels else []
    if name.startswith("vllm") and _canonical(name)[1] == "accepted_tokens":
        return ["accepted_tokens", "tpot_count"]  # it counts a gap of them once
    told = _OF_STEPS.items() if name == _STEPS else ()
    triton = ((label, [x]) for (of, label), x in LABELLED.items() if name.startswith(of))
    return next((counters for label, counters in (*told, *triton) if label in labels), [])


def _passed_over(names: Collection[str], steps: bool) -> set[str]:
    """Counters beside which a better one stands: of vLLM lookups, which a request that waits for
    memory did in each step until July 2026; of SGLang what requests had found when they ended, by
    which one that was aborted found nothing; of TensorRT-LLM blocks, where it tells tokens, and
    active requests, which have places and may wait for memory, where it tells those in a step."""
    passed = set(_LOOKED_UP) if set(_ONCE) <= set(names) else {_ONCE[0]}
    passed |= {name for name in ADDS_TO if "blocks" in name and _TOKENS_FOUND in names}
    passed |= {_ACTIVE} if _IN_STEP in names else set()
    return passed | ({"sglang:cached_tokens_total"} if steps else set())


def _counters_of(series: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The counters to which each series adds, which are of a name and its labels; of a counter that
    has several names the first, and beside it what vLLM loads from a tier and what it guesses."""
    steps = any("prefix_asked" in _of_labels(*one) for one in series)
    passed = _passed_over([name for name, _ in series], steps)
    passed |= BARE if _engine_of([name for name, _ in series]) != UNNAMED else set()
    own = {name for name, labels in series if not _ROUTED.search(labels)}
    first: dict[str, str] = {}
    found = []
    for name, labels in series:
        counter, late = _canonical(name)[1], UNSTREAMED in labels
        told = ["ttft_count", "ttft_apart"] if late and counter == "ttft_count" else [counter]
        if name.endswith("_bucket"):
            told = [_bucket(name, labels)]
        told = _of_labels(name, labels) or [one for one in told if one]
        if name in passed or (late and counter == "ttft_s") or _left_out(name, labels):
            told = []
        if name in own and _ROUTED.search(labels):
            told = []
        beside = name == _LOADED or name in ADDS_TO or "accepted_tokens" in told
        beside |= name.endswith("_bucket")
        found.append([x for x in told if beside or first.setdefault(x, name) == name])
    return found


def _engine_of(names: Collection[str]) -> str:
    """Whose names some are, of several the first in the table; empty where none is known.

    >>> _engine_of(["nv_gpu_power_usage", "vllm:prompt_tokens_total", "up"]), _engine_of(["up"])
    ('vLLM', '')
    """
    none = UNNAMED if BARE & set(names) else ""
    return next((ENGINES[x] for x in ENGINES if any(name.startswith(x) for name in names)), none)


def _canonical(name: str) -> tuple[str, str]:
    for begins, engine in ENGINES.items():
        if name.startswith(begins):
            return engine, _CANONICAL.get(name.removeprefix(begins), "")
    return (UNNAMED, _CANONICAL[name]) if name in BARE else ("", "")


def _looks_scraped(text: str) -> bool:
    """Whether a text is in the format of Prometheus."""
    lines = [line for line in text[:20_000].splitlines()[:50] if line.strip()]
    told = [_SAMPLE.match(line) for line in lines if not line.startswith("#")][:5]
    return all(told) and any(sample and _reads_as_number(sample[3]) for sample in told)


def _scrapes_of(text: str) -> list[str]:
    """The scrapes of a text, of which another begins, with the comments before it, where a sample
    comes again, as a loop appends them to a file.

    >>> _scrapes_of("# time 1\\na 1\\nb 2\\n# time 2\\na 3\\nb 5")
    ['# time 1\\na 1\\nb 2\\n', '# time 2\\na 3\\nb 5']
    """
    begins, seen = [0], set[str]()
    place, block = 0, -1  # of this line, and of the comments right before it
    for line in text.split("\n"):
        if not line.strip() or line[0] == "#":
            block = place if block < 0 else block
        else:
            name = line[: line.rfind("}")] if "}" in line else line.partition(" ")[0]
            if name in seen:
                begins.append(place if block < 0 else block)
                seen.clear()
            seen.add(name)
            block = -1
        place += len(line) + 1
    return [text[a:b] for a, b in zip(begins, [*begins[1:], len(text)], strict=True)]


def _levels_apart(text: str) -> dict[str, dict[str, float]]:
    """Running, waiting and the share of the cache of each engine in a scrape, by its labels.

    >>> text = "\\n".join(f'vllm:num_requests_running{{engine="{k}"}} {k + 3}' for k in (0, 1))
    >>> _levels_apart(text)
    {'0': {'running': 3.0}, '1': {'running': 4.0}}
    """
    found: dict[str, dict[str, float]] = {}
    samples = _samples(text)
    counted = _counters_of([(name, labels) for name, labels, _ in samples])
    for (_, labels, value), counters_of in zip(samples, counted, strict=True):
        told = dict(_LABEL.findall(labels))
        of = " ".join(told[x] for x in ENGINE_LABELS if told.get(x))
        for counter in {"running", "waiting", "cache"} & set(counters_of) if of else ():
            own = found.setdefault(of, {})
            own[counter] = own.get(counter, 0.0) + max(value, 0.0)
    return found


def _bucket(name: str, labels: str) -> str:
    """What a histogram's bucket counts, as those of `_within`; empty where that is not read.

    >>> _bucket("sglang:time_to_first_token_seconds_bucket", 'le="0.50"')
    'ttft within 0.5'
    """
    timed = name.removesuffix("_bucket")
    begins = next(filter(timed.startswith, ENGINES), "")
    of = HISTOGRAMS.get(timed.removeprefix(begins), HISTOGRAMS.get(timed))
    bound = dict(_LABEL.findall(labels)).get("le", "")
    late = UNSTREAMED in labels or _left_out(name, labels)
    return f"{of}{WITHIN}{float(bound):g}" if of and not late and _reads_as_number(bound) else ""


def _within(text: str) -> dict[str, float]:
    """How many requests had their first token, or their mean time per later one, within the bounds
    of the histograms of a scrape, so far: those of SGLang that were streamed.

    >>> _within('vllm:time_to_first_token_seconds_bucket{le="0.5",model_name="m"} 7.0')
    {'ttft within 0.5': 7.0}
    """
    found: dict[str, float] = {}
    for line in text.split("\n"):
        sample = _SAMPLE.match(line)
        if sample and sample[1].endswith("_bucket") and _reads_as_number(sample[3]):
            name = _bucket(_engine_name(sample[1]), sample[2] or "")
            if name:
                found[name] = found.get(name, 0.0) + float(sample[3])
    return found


def scrape_run(text: str, where: str) -> Run:
    """A scrape of an engine as a run, from the engine's start on; `joined` takes several as one.

    text: of `/metrics`. where: its file. Raises ValueError as `counters` does.

    >>> scrape_run("vllm:num_preemptions_total 5", "a.txt").series.grown("preemptions")
    5.0
    """
    engine, found = counters(text)
    found |= _within(text)
    told = found.keys() - {"started_s"}
    require(bool(told), where, f"a scrape of {READABLE}", f"none of {engine}'s counters")
    values = {
        name: np.array([0.0, x] if name in GROWING or WITHIN in name else [x])
        for name, x in found.items()
    }
    levels = {
        of: {name: np.array([x]) for name, x in own.items()}
        for of, own in _levels_apart(text).items()
    }
    made, model = MADE_AT.search(text), re.search(r'model_name="([^"]+)"', text)
    series = Series(np.array([float(made[1]) if made else math.nan]), values, levels)
    name = model[1] if model else ""
    notes = ("one scrape: counters since the start", *[RAYS] * (MIDDLES in text))
    return Run(where, engine, told=_means(series), series=series, model=name, notes=notes)


def _means(series: Series) -> dict[str, float]:
    """Means of what happened meanwhile, as a tool would tell them."""
    count = series.grown("ttft_count")
    apart = series.grown("ttft_apart")
    pairs = {"ttft_s": (series.grown("ttft_s"), count - (apart if apart > 0 else 0.0))}
    counted = ("latency_s", "prompt_tokens", "output_tokens")
    pairs |= {name: (series.grown(name), count) for name in counted}
    pairs["tpot_s"] = (series.grown("tpot_s"), series.grown("tpot_count"))
    told = {name: total / of for name, (total, of) in pairs.items() if total > 0 and of > 0}
    seconds = float(series.time_s[-1] - series.time_s[0]) if series.time_s.size > 1 else math.nan
    told |= {"completed": count} if count > 0 else {}
    return told | ({"duration_s": seconds} if seconds > 0 else {})


def _rows_of(one: Mapping[str, Any], unit: float, called: str) -> list[tuple[float, float]]:
    """Moments and values of a series of a range query, in order."""
    values = one.get("values") or ([one["value"]] if "value" in one else [])
    require(len(values) > 0, called, "with values", "none")
    rows: list[tuple[float, float]] = []
    for pair in values:
        try:
            moment, value = float(pair[0]), float(pair[1]) * unit
        except (TypeError, ValueError, IndexError, KeyError):
            moment, value = math.nan, math.nan
        rule = "pairs of a time and a number"
        require(math.isfinite(moment), called, rule, repr(pair)[:40])
        rows.append((moment, value))
    return sorted(rows)


def range_query_run(data: Mapping[str, Any], where: str) -> Run:
    """The answer of Prometheus to a range query, of one metric or of several, as a run.

    data: of the answer, with data.result. Raises ValueError where no metric of an engine is in it,
    or its values are none.

    >>> metric = {"__name__": "vllm:num_requests_waiting"}
    >>> data = {"resultType": "matrix", "result": [{"metric": metric, "values": [[0, "2"]]}]}
    >>> range_query_run({"status": "success", "data": data}, "q.json").series.level("waiting")
    array([2.])
    """
    inner = data.get("data")
    listed = inner.get("result") if isinstance(inner, Mapping) else None
    fine = isinstance(listed, list) and all(isinstance(one, Mapping) for one in listed)
    require(fine, where, "an answer of Prometheus with data.result", str(data.get("error"))[:80])
    assert isinstance(listed, list)
    found: dict[str, dict[float, float]] = {}
    growing: list[tuple[str, list[tuple[float, float]]]] = []
    levels: dict[str, dict[str, dict[float, float]]] = {}  # of each engine
    metrics = [one["metric"] if isinstance(one.get("metric"), Mapping) else {} for one in listed]
    named = [
        (
            _engine_name(str(metric.get("__name__", ""))),
            ",".join(f'{k}="{v}"' for k, v in metric.items()),
        )
        for metric in metrics
    ]
    seen = [name or "a series without __name__" for name, _ in named]
    counted = zip(listed, metrics, named, _counters_of(named), strict=True)
    for place, (one, metric, (name, _), told) in enumerate(counted):
        if not told:
            continue
        rows = _rows_of(one, COUNTED_IN.get(name, 1.0), f"{where}: result {place + 1}")
        rows = [(at, max(x, 0.0)) for at, x in rows] if told == ["waiting"] else rows
        of = " ".join(str(metric[x]) for x in ENGINE_LABELS if metric.get(x))
        if of and told[0] in ("running", "waiting", "cache"):
            level = levels.setdefault(of, {}).setdefault(told[0], {})
            for moment, value in rows:
                level[moment] = level.get(moment, 0.0) + value
        known = [row for row in rows if math.isfinite(row[1])]
        growing += [(x, known) for x in told if (x in GROWING or WITHIN in x) and known]
        for own in (found.setdefault(one, {}) for one in told):
            for moment, value in rows:
                before = own.get(moment, 0.0)
                own[moment] = max(before, value) if told == ["cache"] else before + value
    rule = f"of metrics of an engine, such as {next(iter(ENGINES))}{NAMES['waiting'][0]}"
    require(bool(found), where, rule, ", ".join(seen)[:120] or "nothing")
    times = sorted({moment for own in found.values() for moment in own})
    values_of = {
        name: np.array([own.get(moment, math.nan) for moment in times])
        for name, own in found.items()
    }
    values_of |= {
        name: np.sum([_so_far(rows, times) for one, rows in growing if one == name], axis=0)
        for name in dict(growing)
    }
    engines = {
        of: {
            name: np.array([level.get(moment, math.nan) for moment in times])
            for name, level in own.items()
        }
        for of, own in levels.items()
    }
    series = Series(np.array(times), values_of, engines)
    notes = (f"{len(times):,} moments", *[RAYS] * any(MIDDLES in labels for _, labels in named))
    return Run(where, _engine_of([name for name, _ in named]), series=series, notes=notes)


def _so_far(rows: Sequence[tuple[float, float]], times: Sequence[float]) -> FloatArray:
    """One counter at moments, resets added as Prometheus does: from 0 where it begins later, at its
    last value where it ends earlier.

    >>> _so_far([(1.0, 5.0), (2.0, 7.0), (3.0, 1.0)], [0.0, 1.0, 2.0, 3.0, 4.0]).tolist()
    [0.0, 0.0, 2.0, 3.0, 3.0]
    """
    moments, values = np.array(rows).T
    steps = np.diff(values)
    begun = float(values[0]) if moments[0] <= times[0] else 0.0
    total = begun + np.r_[0.0, np.cumsum(np.where(steps < 0, values[1:], steps))]
    place = np.searchsorted(moments, times, side="right")
    return np.asarray(np.r_[0.0, total][place])


def _looks_tabled(text: str) -> bool:
    """Whether a table has an engine's levels by the second."""
    head = {compared(name) for name in text.removeprefix("\ufeff").split("\n", 1)[0].split(",")}
    known = [role for role, names in TABLE.items() if head & set(names)]
    log = any(name.startswith(REQUESTS) for name in head)
    return (len(known) > 1 or known == ["power_w"]) and bool(head & set(TIMES)) and not log


def table_run(text: str, where: str) -> Run:
    """A table of an engine's levels by the second as a run.

    text: with a header that names a time, running, waiting, the share of the cache and power, or a
    time and power alone, as nvidia-smi writes them. Raises ValueError by row and column.

    >>> table_run("t,running,waiting\\n1,5,2", "a.csv").series.level("waiting").tolist()
    [2.0]
    """
    header, *rows = read_table(text, where)
    require(len(rows) > 0, where, "a header and a row or more", "none")
    columns: dict[str, FloatArray] = {}
    for place, name in enumerate(header):
        form = compared(name)
        known = [role for role, names in (TABLE | {"time": TIMES}).items() if form in names]
        if not known:
            continue
        for number, row in enumerate(rows, start=2):
            require(
                len(row) == len(header), f"{where}: row {number}", f"{len(header)} long", len(row)
            )
        cells = [row[place].strip() for row in rows]
        if known[0] == "power_w":  # nvidia-smi writes the unit beside each number
            cells = [cell.removesuffix(" W").replace("[N/A]", "nan") for cell in cells]
        columns[known[0]] = _table_column(cells, known[0], f"{where}: row", name)
    devices = {compared(name): place for place, name in enumerate(header)}
    of = next((devices[name] for name in DEVICES if name in devices), None)
    if "power_w" in columns and of is not None:
        each = {row[of].strip(): row[of] for row in rows}
        columns["power_w"] = columns["power_w"] * len(each)  # of all, where each has a row
    if "cache" in columns and (np.nanmax(columns["cache"]) > PERCENT_ABOVE or "pct" in text[:200]):
        columns["cache"] = columns["cache"] / 100
    times = columns.pop("time")
    tool = "devices" if set(columns) == {"power_w"} else "an engine"
    return Run(where, tool, series=Series(times, columns), notes=(f"{times.size:,} moments",))


def _table_column(cells: Sequence[str], role: str, row: str, name: str) -> FloatArray:
    """Numbers of a table's column; a time may be of the calendar."""
    if role == "time" and not _reads_as_number(cells[0]):
        dates = [re.sub(r"^(\d{4})/(\d\d)/(\d\d)", r"\1-\2-\3", cell) for cell in cells]
        return np.asarray(_by_calendar(dates, name, 2) / 1e9, dtype=float)
    for number, cell in enumerate(cells, start=2):
        if not _reads_as_number(cell):
            require(False, f"{row} {number}, column {name}", "a number", repr(cell[:40]))
    return np.array(cells, dtype=float)


def _reads_as_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def check_every_engine_is_read() -> None:
    """The same two requests that wait, as each engine names them.

    Source: the engines' documents of their metrics.
    """
    for name in ("vllm:num_requests_waiting", "sglang:num_queue_reqs", "tgi_queue_size"):
        engine, found = counters(f'# TYPE x gauge\n{name}{{model_name="m"}} 2.0\n')
        checks.equal(engine, found, {"waiting": 2.0})


def check_bad_input_is_refused() -> None:
    """Other texts and answers without metrics say what would do."""
    checks.raises("other", counters, "up 1", match="must be a scrape of vLLM, SGLang")
    checks.raises("failed", range_query_run, {"error": "timeout"}, "q", match="got timeout")
    data = {"data": {"result": [{"metric": {"__name__": "up"}, "values": [[0, "1"]]}]}}
    checks.raises("up", range_query_run, data, "q", match="of metrics of an engine")
    checks.raises("cell", table_run, "t,running,waiting\n1,x,2", "a", match="row 2, column running")
