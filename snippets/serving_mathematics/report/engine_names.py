"""What a series of an engine's metrics counts, by its name and its labels.

Each engine has its own names for the same thing, and what passes them on begins them otherwise;
all are brought to those of `evidence`. First tokens of SGLang are those of streamed answers.

Assumes: of TensorRT-LLM's pipelines what runs is one micro-batch, which --max_batch_size bounds
too.

Source: vLLM documentation, production metrics (0.34), and pull requests 33290 and 48860; SGLang
documentation, production metrics, and pull requests 17026 and 40255; TensorRT-LLM,
`metrics/collector.py`, `py_executor.py`, pull requests 12132 and 18583; Triton, TGI and
llama.cpp, metrics; LMDeploy 0.18, `metrics/loggers.py` and `metrics/stats.py`; AIBrix 0.8,
`metrics/engine_rules.py`; Dynamo 1.6, `prometheus_names.py`; NVIDIA NIM for LLMs, observability;
vLLM's production stack, `metrics_service`; DCGM, field identifiers 155 and 156.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from serving_mathematics.machine.predictions.scrapes import UNSTREAMED, _left_out

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
# Labels that tell one engine from another; of a router's and Ray's pages too
ENGINE_LABELS = ("instance", "pod", "server", "ReplicaId", "replica", "engine", "dp_rank")
PASS_ON = ("AIBrix", "Dynamo", "DCGM", "Triton")  # what stands beside an engine, and is none
FEWEST_ROUNDS, UNLIKE_GUESSES = 100, 1.2  # of guesses; times the length of another engine's
UNNAMED = "NIM or TensorRT-LLM"  # whose names begin with nothing; of TensorRT-LLM 1.1
BARE = {
    *("num_requests_running", "num_requests_waiting", "gpu_cache_usage_perc"),
    *("prompt_tokens_total", "generation_tokens_total", "time_to_first_token_seconds_sum"),
    *("time_to_first_token_seconds_count", "time_per_output_token_seconds_sum"),
    *("time_per_output_token_seconds_count", "e2e_request_latency_seconds_sum"),
    "request_queue_time_seconds_sum",
}
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
        "prompt_tokens_cached_total",
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
LABELLED = {  # what a name that begins so counts where it has a label
    ("nv_trt_llm_request_metrics", 'request_type="waiting"'): ["waiting"],
    ("nv_trt_llm_request_metrics", 'request_type="scheduled"'): ["running"],  # "active" is of both
    ("nv_trt_llm_kv_cache_block_metrics", 'kv_cache_block_type="fraction"'): ["cache"],
    ("sglang:realtime_tokens_total", 'mode="prefill_cache"'): ["prefix_found", "prefix_asked"],
    ("sglang:realtime_tokens_total", 'mode="prefill_compute"'): ["prefix_asked"],
    ("vllm:request_success_total", 'finished_reason="abort"'): ["aborted"],
    ("sglang:time_to_first_token_seconds_count", UNSTREAMED): ["ttft_count", "ttft_apart"],
    ("sglang:time_to_first_token_seconds_sum", UNSTREAMED): [],
}
_LOADED = "vllm:external_prefix_cache_hits_total"  # from a tier: beside what the device holds
ADDS_TO = {  # what adds to others or to more than one, whatever else does
    _LOADED: ["prefix_found"],
    "vllm:spec_decode_num_accepted_tokens_total": ["accepted_tokens", "tpot_count"],  # in one gap
    "llamacpp:prompt_tokens_total": ["prompt_tokens", "prefix_asked"],  # without those found
    "llamacpp:prompt_tokens_cached_total": ["prefix_found", "prefix_asked"],
    "trtllm_kv_cache_reused_blocks_total": ["prefix_found", "prefix_asked"],  # of a block's tokens
    "trtllm_kv_cache_missed_blocks_total": ["prefix_asked"],
    "lmdeploy:num_api_requests_waiting": ["waiting"],  # for a handle, of which places have one each
}
_LOOKED_UP = ("vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total", _LOADED)
_ONCE = ("vllm:prompt_tokens_cached_total", "vllm:prompt_tokens_total")
_TOKENS_FOUND = "trtllm_prompt_cached_tokens_total"
_IN_STEP, _ACTIVE = "trtllm_num_scheduled_requests", "trtllm_num_requests_running"
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
_CANONICAL = {name: counter for counter, names in NAMES.items() for name in names}


def _counters_of(series: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The counters to which each series adds, which are of a name and its labels; of a counter that
    has several names the first, and what adds to it beside them; of several engines that one which
    the page is said to be of.

    >>> _counters_of([("vllm:prompt_tokens_total", ""), ("up", ""), (_LOADED, 'engine="0"')])
    [['prompt_tokens'], [], ['prefix_found']]
    """
    passed = _passed_over(series)
    own = {name for name, labels in series if not _ROUTED.search(labels)}
    whose = [_engine_named(name) for name, _ in series]
    ranks = [*dict.fromkeys(ENGINES.values()), ""]
    order = sorted(range(len(series)), key=lambda place: ranks.index(whose[place]))
    first: dict[str, str] = {}
    of: dict[str, str] = {}
    found: list[list[str]] = [[] for _ in series]
    for place in order:
        name, labels = series[place]
        again = name in own and bool(_ROUTED.search(labels))
        told = [] if again or name in passed or _left_out(name, labels) else _adds_to(name, labels)
        beside = name in ADDS_TO or name.endswith("_bucket")
        mine = [x for x in told if of.setdefault(x, whose[place]) == whose[place]]
        found[place] = [x for x in mine if beside or first.setdefault(x, name) == name]
    return found


def _other_engines(names: Iterable[str]) -> list[str]:
    """What is to be said of a page or an answer that has several engines' series; nothing of one.

    names: of its series.

    >>> _other_engines(["sglang:token_usage", "vllm:num_requests_running", "DCGM_FI_PROF"])
    ["1 series are SGLang's beside 1 of vLLM: what both tell is vLLM's alone (one file for each)"]
    """
    count = Counter(x for x in map(_engine_named, names) if x and x not in PASS_ON)
    engine, *others = sorted(count, key=list(ENGINES.values()).index) or [""]
    told = " and ".join(f"{count[x]:,} series are {x}'s" for x in others)
    said = f"{told} beside {count[engine]:,} of {engine}: what both tell is {engine}'s alone"
    return [f"{said} (one file for each)"] if others else []


def _mixed_guesses(samples: Iterable[tuple[str, str, float]]) -> list[str]:
    """What is to be said where engines of one page guess different numbers of tokens at a time.

    samples: names, labels and values.

    >>> of = [("drafts", 0, 500.0), ("drafts", 1, 500.0), ("draft_tokens", 0, 500.0)]
    >>> of.append(("draft_tokens", 1, 2500.0))
    >>> _mixed_guesses((f"vllm:spec_decode_num_{x}_total", f'engine="{k}"', n) for x, k, n in of)
    ['from 1 to 5 tokens are guessed at a time by 2 engines, taken as one (one file for each)']
    """
    counted: dict[str, dict[str, float]] = {"drafts": {}, "draft_tokens": {}}
    for name, labels, value in samples:
        of = re.sub(r'__name__="[^"]*"', "", labels)
        for counter, own in counted.items():
            if name.endswith(f"spec_decode_num_{counter}_total"):
                own[of] = own.get(of, 0.0) + value
    rounds, tokens = counted.values()
    lengths = [tokens.get(of, 0.0) / n for of, n in rounds.items() if n >= FEWEST_ROUNDS]
    if not lengths or max(lengths) <= UNLIKE_GUESSES * min(lengths):
        return []
    told = f"from {min(lengths):.2g} to {max(lengths):.2g} tokens are guessed at a time"
    return [f"{told} by {len(lengths)} engines, taken as one (one file for each)"]


def _engine_named(name: str) -> str:
    """The engine as whose a metric's name begins; empty where that is none."""
    return next((ENGINES[x] for x in ENGINES if name.startswith(x)), "")


def _adds_to(name: str, labels: str) -> list[str]:
    """The counters to which a series would add if it stood alone."""
    if name.endswith("_bucket"):
        counter = _bucket(name, labels)
    elif name in ADDS_TO:
        return ADDS_TO[name]
    elif name.endswith(_BY_PLACE) and (place := _PLACE.search(labels)):
        counter = f"accepted_at_{int(place[1]) + 1}"
    else:
        for (begins, label), counters in LABELLED.items():
            if name.startswith(begins) and label in labels:
                return counters
        engine = next(filter(name.startswith, ENGINES), "")
        known = bool(engine) or name in BARE
        counter = _CANONICAL.get(name.removeprefix(engine), "") if known else ""
    return [counter] if counter else []


def _passed_over(series: Sequence[tuple[str, str]]) -> set[str]:
    """Counters beside which a better one stands: of vLLM lookups, which a request that waits for
    memory did in each step until July 2026; of SGLang what requests had found when they ended, by
    which one that was aborted found nothing; of TensorRT-LLM blocks, where it tells tokens, and
    active requests, which have places and may wait for memory, where it tells those in a step; and
    names without a beginning where another engine's are."""
    names = {name for name, _ in series}
    passed = set(_LOOKED_UP) if set(_ONCE) <= names else {_ONCE[0]}
    passed |= {name for name in ADDS_TO if "blocks" in name and _TOKENS_FOUND in names}
    passed |= {_ACTIVE} if _IN_STEP in names else set()
    passed |= BARE if _engine_of(names) != UNNAMED else set()
    steps = any("prefix_asked" in _adds_to(*one) for one in series if one[0].startswith("sglang"))
    return passed | ({"sglang:cached_tokens_total"} if steps else set())


def _engine_of(names: Collection[str]) -> str:
    """Whose names some are, of several the first in the table; empty where none is known.

    >>> _engine_of(["nv_gpu_power_usage", "vllm:prompt_tokens_total", "up"]), _engine_of(["up"])
    ('vLLM', '')
    """
    none = UNNAMED if BARE & set(names) else ""
    there = set(map(_engine_named, names))
    return next((engine for engine in ENGINES.values() if engine in there), none)


def _bucket(name: str, labels: str) -> str:
    """What a histogram's bucket counts, by how far it reaches; empty where that is not read.

    >>> _bucket("sglang:time_to_first_token_seconds_bucket", 'le="0.50"')
    'ttft within 0.5'
    """
    timed = name.removesuffix("_bucket")
    begins = next(filter(timed.startswith, ENGINES), "")
    of = HISTOGRAMS.get(timed.removeprefix(begins), HISTOGRAMS.get(timed))
    bound = dict(_LABEL.findall(labels)).get("le", "")
    late = UNSTREAMED in labels or _left_out(name, labels)
    return f"{of}{WITHIN}{float(bound):g}" if of and not late and _reads_as_number(bound) else ""


def _reads_as_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
