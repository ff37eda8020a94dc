"""The files of rules that pages hand out: read, and run on counters that a test makes up."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from builder import ROOT

from .promql import Parser, Series, Vector

FOLDER = ROOT / "docs" / "downloads"
GAP_BUCKETS = {  # of an engine's histogram of gaps [s]: vllm/v1/metrics, sglang/srt/metrics
    "vllm": "0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1.0 2.5 5.0 7.5 10.0 20.0 40.0"
    " 80.0",
    "sglang": "0.002 0.004 0.006 0.008 0.01 0.015 0.02 0.025 0.03 0.035 0.04 0.06 0.08 0.1 0.2 0.4"
    " 0.6 0.8 1.0 2.0 4.0 6.0 8.0",
}

METRICS = {  # that pages and files name, of vLLM 0.34 and SGLang 0.5.23: levels, counters without
    # their ending, histograms
    "vllm": (
        "cache_config_info kv_cache_usage_perc num_requests_running num_requests_waiting"
        " num_requests_waiting_by_reason",
        "admission_rejections generation_tokens num_preemptions prefix_cache_hits"
        " prefix_cache_queries prompt_tokens prompt_tokens_by_source prompt_tokens_cached"
        " request_success spec_decode_num_accepted_tokens spec_decode_num_draft_tokens"
        " spec_decode_num_drafts",
        "e2e_request_latency_seconds inter_token_latency_seconds kv_block_idle_before_evict_seconds"
        " kv_block_lifetime_seconds request_decode_time_seconds request_generation_tokens"
        " request_prefill_time_seconds request_prompt_tokens request_queue_time_seconds"
        " request_time_per_output_token_seconds time_to_first_token_seconds",
    ),
    "sglang": (
        "full_token_usage max_total_num_tokens num_queue_reqs num_running_reqs spec_accept_length"
        " token_usage",
        "generation_tokens num_aborted_requests num_requests num_retracted_requests prompt_tokens"
        " realtime_tokens",
        "e2e_request_latency_seconds eplb_balancedness generation_tokens_histogram"
        " inter_token_latency_seconds prompt_tokens_histogram queue_time_seconds"
        " request_time_per_output_token_seconds time_to_first_token_seconds",
    ),
}


def rule_text(name: str) -> str:
    """A file as it is handed out, by its name without ending."""
    return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


def without_streaming(text: str) -> str:
    """Rules without the label that tells streamed answers apart, which vLLM has not, and without
    the flag that it needs not."""
    text = text.replace(" SGLang has metrics only with --enable-metrics.", "")
    return re.sub(r'is_streaming!="false",?', "", text).replace("{}", "")


def rules(name: str) -> list[dict[str, Any]]:
    """Every rule of a file, in order."""
    groups = yaml.safe_load(rule_text(name))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def named(rule: Mapping[str, Any]) -> str:
    """What a rule records, or the alert that it raises."""
    return str(rule.get("record") or rule["alert"])


RUNNING = {"vllm": "vllm:num_requests_running", "sglang": "sglang:num_running_reqs"}
WAITING = {"vllm": "vllm:num_requests_waiting", "sglang": "sglang:num_queue_reqs"}
TAKEN = {"vllm": "vllm:kv_cache_usage_perc", "sglang": "sglang:token_usage"}  # of the cache
BY_SOURCE, STEPS = "vllm:prompt_tokens_by_source_total", "sglang:realtime_tokens_total"
FOUND = {  # prompt tokens that are computed by no step, in the device or in a tier
    "vllm": "vllm:prompt_tokens_cached_total",
    "sglang": "sglang:cached_tokens_total",
}
IN_THE_DEVICE = f'{BY_SOURCE}{{source="local_cache_hit"}}'
DERIVED = {  # a total, less what is named behind it
    f'{BY_SOURCE}{{source="local_compute"}}': ("vllm:prompt_tokens_total", FOUND["vllm"]),
    f'{BY_SOURCE}{{source=~"local_compute|external_kv_transfer"}}': (
        *("vllm:prompt_tokens_total", IN_THE_DEVICE),
    ),
    f'{STEPS}{{mode="prefill_compute"}}': ("sglang:prompt_tokens_total", FOUND["sglang"]),
    f'{STEPS}{{mode="prefill_cache"}}': (FOUND["sglang"],),
    f'{STEPS}{{mode=~"prefill_.+"}}': ("sglang:prompt_tokens_total",),
    "sglang:inter_token_latency_seconds_count": ("sglang:generation_tokens_total",),
}


def with_steps(series: Mapping[str, Series | Vector]) -> dict[str, Series | Vector]:
    """Beside all tokens and those found what engines count by source and by step, in a steady load
    the same as SGLang's of requests that ended. A test that tells them apart names its own."""
    known = dict(series)
    for name, (total, *found) in DERIVED.items():
        if total not in known or name in known:
            continue
        of = [known[one] for one in (total, *found) if one in known]
        each = [one if isinstance(one, dict) else {"": one} for one in of]
        fresh = {key: one - sum(less[key] for less in each[1:]) for key, one in each[0].items()}
        known[name] = fresh if isinstance(of[0], dict) else fresh[""]
    return known


def vectors(name: str, series: Mapping[str, Series | Vector]) -> dict[str, Vector]:
    """What each rule says minute by minute, by its name and by instance; an alert that is silent is
    NaN, or not there.

    series: by the names of counters; a rule reads those before it.
    """
    known, told = with_steps(series), dict[str, Vector]()
    for rule in rules(name):
        known[named(rule)] = told[named(rule)] = Parser(rule["expr"], known).vector()
    return told


def evaluated(name: str, series: Mapping[str, Series | Vector]) -> dict[str, Series]:
    """The same where nothing has an instance."""
    known, told = with_steps(series), dict[str, Series]()
    for rule in rules(name):
        known[named(rule)] = told[named(rule)] = Parser(rule["expr"], known).whole()
    return told


def at_the_end(name: str, series: Mapping[str, Series | Vector]) -> dict[str, float]:
    """The same in the last minute."""
    return {rule: float(values[-1]) for rule, values in evaluated(name, series).items()}


def firing(name: str, series: Mapping[str, Series]) -> set[str]:
    """The alerts that fire in the last minute."""
    told = at_the_end(name, series)
    alerts = [rule["alert"] for rule in rules(name) if "alert" in rule]
    return {alert for alert in alerts if not math.isnan(told[alert])}


def handed_out() -> list[str]:
    """The names of all files of rules."""
    files = sorted(FOLDER.glob("*.yaml"))
    return [file.stem for file in files if "\ngroups:" in f"\n{file.read_text(encoding='utf-8')}"]


def pages_with(name: str) -> list[Path]:
    """The pages that hand a file out."""
    pages = sorted((ROOT / "docs").rglob("*.md"))
    return [page for page in pages if f"downloads/{name}.yaml)" in page.read_text(encoding="utf-8")]
