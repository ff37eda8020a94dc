"""Questions to the planner that are small, and between them reach what can be asked."""

from __future__ import annotations

from ..variants import LONG

PLANS: dict[str, dict[str, object]] = {
    "one replica": {"rate_per_s": 1, "ttft_s": 3, "tpot_s": 1, "parallelism": "tp1"},
    "limits that are given": {
        "rate_per_s": 40,
        "ttft_s": 0.8,
        "parallelism": "tp1",
        "quantile": 0.9,
        "batch_limit": 24,
        "token_budget": 512,
        "spare_replicas": 1,
        "seed": 3,
    },
    "a comparison": {
        "rate_per_s": 60,
        "ttft_s": 1.5,
        "tpot_s": 0.03,
        "quantile": 0.9,
        "device": "H100,B200",
        "price_per_hour": "2,4.5",
        "precision": "bf16,fp8",
        "parallelism": "tp1,tp2",
        "spot_share": 0.5,
    },
    "a close comparison": {
        "rate_per_s": 40,
        "ttft_s": 0.15,
        "quantile": 0.9,
        "requests": 100,
        "seed": 1,
        "precision": "fp8,int4,bf16",
        "parallelism": "tp1,tp2",
    },
    "two fleets": {
        "rate_per_s": 40,
        "tpot_s": 0.015,
        "fleets": "two",
        "parallelism": "tp1",
        "quantile": 0.9,
        "backend": "sglang",
        "spare_replicas": 1,
    },
    "two fleets that cost too much": {
        "rate_per_s": 1,
        "device": "H100,H200,B200",
        "price_per_hour": "1,1,1",
        "precision": "bf16,fp8,int4",
        "parallelism": "tp1",
        "fleets": "two",
        "quantile": 0.9,
        "requests": 100,
    },
    "two fleets that cannot be": {
        "rate_per_s": 5,
        "mean_output_tokens": 1,
        "fleets": "two",
        "parallelism": "tp1",
    },
    "guesses of a model": {
        "rate_per_s": 3,
        "model": "Qwen3-32B",
        "drafter": "Qwen3-0.6B",
        "draft_tokens": 3,
        "accepted_tokens": 2.2,
        "parallelism": "tp2",
        "quantile": 0.9,
        "ttft_s": 2,
    },
    "a mixture of experts": {
        "rate_per_s": 20,
        "model": "gpt-oss-120b",
        "parallelism": "tp2,dp2ep2",
        "quantile": 0.9,
        "cache_precision": "fp8",
        "backend": "trtllm",
        "ttft_s": 2,
    },
    "a device of its own": {
        "rate_per_s": 20,
        "peak_tflops": 400,
        "bandwidth_gb_per_s": 1500,
        "memory_gib": 30,
        "memory_share": 0.95,
        "reserved_gib": 2,
        "arrival_scv": 4,
        "quantile": 0.9,
        "parallelism": "tp1",
        "ttft_s": 1.2,
    },
    "a load test": {
        "rate_per_s": 20,
        "load_test": "1:0.06:0.0075,16:0.2:0.011,8/s:0.3:0.014",
        "parallelism": "tp1",
        "quantile": 0.9,
        "draft_tokens": 2,
        "accepted_tokens": 1.8,
        "drafter": "ngram",
    },
    "a trace": {"trace": "trace.csv", "quantile": 0.9, "parallelism": "tp1", "ttft_s": 0.6},
    "two fleets of classes": {
        "rate_per_s": 30,
        "parallelism": "tp1",
        "requests": 150,
        "tpot_s": 0.02,
        "fleets": "two",
        "classes": (
            "chat:0.7:prompt=400,answer=60,ttft=0.3,quantile=0.9;"
            "agents:0.3:prompt=3000,cached=0.5,ttft=3,quantile=0.8"
        ),
    },
    "two fleets of a trace": {
        "trace": "trace.csv",
        "fleets": "two",
        "parallelism": "tp1,tp2",
        "quantile": 0.9,
        "backend": "trtllm",
        "tpot_s": 0.012,
        "ttft_s": 0.11,
    },
    "many": {
        "rate_per_s": 20000,
        "parallelism": "tp1",
        "quantile": 0.9,
        "arrival_scv": 0,
        "mean_prompt_tokens": 2000,
    },
    "many of both": {
        "rate_per_s": 300,
        "parallelism": "tp1",
        "quantile": 0.9,
        "fleets": "two",
        "requests": 100,
        "tpot_s": 0.02,
    },
    "what is tried by itself": {
        "rate_per_s": 30,
        "model": "gpt-oss-120b",
        "quantile": 0.9,
        "ttft_s": 2,
        "tpot_s": 0.02,
        "requests": 100,
    },
    "the context": {
        "rate_per_s": 2,
        "model": "Llama-2-7B",
        "mean_prompt_tokens": 3000,
        "ttft_s": 4,
        "mean_output_tokens": 900,
        "cached_share": 0.5,
        "quantile": 0.9,
        "parallelism": "tp1",
    },
    "little memory": {
        "rate_per_s": 1,
        "model": "Qwen3-32B",
        "parallelism": "tp1",
        "quantile": 0.9,
        "mean_prompt_tokens": 4000,
        "mean_output_tokens": 600,
        "reserved_gib": 1,
        "ttft_s": 6,
        "tpot_s": 0.1,
    },
    "reading of the cache": {
        "rate_per_s": 30,
        "parallelism": "tp1",
        "quantile": 0.9,
        "mean_prompt_tokens": 2000,
        "mean_output_tokens": 2000,
        "cached_share": 0.95,
        "ttft_s": 6,
        "tpot_s": 0.1,
    },
    "a pipeline": {
        "rate_per_s": 8,
        "model": "Llama-3.1-70B",
        "parallelism": "tp2pp2,tp4",
        "ttft_s": 3,
        "quantile": 0.9,
        "spot_share": 0.3,
        "spot_discount": 0.5,
    },
    "guesses of its own": {
        "rate_per_s": 5,
        "model": "DeepSeek-R1",
        "device": "H200",
        "quantile": 0.9,
        "parallelism": "dp8ep8,tp8ep8",
        "draft_tokens": 1,
        "accepted_tokens": 1.8,
        "ttft_s": 3,
    },
    "another generation": {
        "rate_per_s": 5,
        "model": "Qwen/Qwen3-32B-FP8",
        "device": "B200",
        "quantile": 0.9,
        "parallelism": "tp1",
        "cache_precision": "bf16",
    },
    "answers of one token": {
        "rate_per_s": 50,
        "mean_output_tokens": 1,
        "parallelism": "tp1",
        "quantile": 0.9,
    },
}
PLANS["GPUs that are there"] = {
    "gpus": 5,
    "parallelism": "tp1,tp2,tp8",
    "quantile": 0.9,
    "spare_replicas": 1,
    "device": "H100,B200",
    "price_per_hour": "2,4",
    "other_devices": "H200",
}
PLANS["a fleet behind routers"] = {
    "rate_per_s": 14,
    "replicas": 2,
    "classes": "chat:0.4:like=chat,ttft=2; customers:0.6:like=customers",
    "weights": "2,1",
    "routers": "random; sglang:cache_threshold=0.4; endpoint-picker:prefix_weight=1",
    "host_memory_gib": "0, 20",
    "lost_for_s": 1,
    "requests": 300,
    "quantile": 0.9,
    "parallelism": "tp1",
    "precision": "fp8",
}
REFUSED: dict[str, dict[str, object]] = {
    "TTFT": {"rate_per_s": 1, "ttft_s": 0.01, "parallelism": "tp1"},
    "TPOT": {"rate_per_s": 1, "tpot_s": 0.001, "parallelism": "tp1"},
    "the longest": {
        "rate_per_s": 1,
        "parallelism": "tp1",
        "memory_share": 0.24,
        "precision": "bf16",
    },
    "too many": {
        "rate_per_s": 100_000,
        "parallelism": "tp1",
        "quantile": 0.9,
        "ttft_s": 50,
        "mean_prompt_tokens": 8000,
        "mean_output_tokens": 4000,
    },
    "a comparison": {"rate_per_s": 1, "ttft_s": 0.01, "precision": "bf16,fp8", "requests": 100},
    "too few GPUs": {"gpus": 2, "tpot_s": 0.003, "precision": "bf16"},
}
FORMS: dict[str, str] = {
    "a bad field": '{"rate_per_s": 1, "tpot_s": 50}',
    "a bad trace": '{"trace": "my.csv", "trace_text": "time,isl,osl\\n1,2,x\\n"}',
    "no objective": '{"rate_per_s": 1, "ttft_s": 0.001, "requests": 100, "batch_limit": ""}',
    "no JSON": "x",
    "no object": "[]",
    "no file": '{"trace": ""}',
    "neither": "{}",
}
TYPED = (
    *(f"1:{LONG}", f"1:0.1:0.01, 1:{LONG}", LONG),
    *("8/s:0.4:0.1", "1e3:0.4:0.1", "1..2:0.4:0.1", "1:2:3:4"),
    *("16:0.25:0.011", " 8/s:0.4:0.015 , 2:0.1:0.01", "1:1000:2", "1:0.0005:0.0002", "1:0.1:2.1"),
    *("1:0.1:200", "1:0.1:2000", "1:0.1:2001", "1:0.1:0.0001", "1:1001:0.01", "1:0.0001:0.01"),
    *("1:1000000:0.01", "1:1000001:0.01", "0:0.1:0.01", "1000000:0.1:0.01", "1000001:0.1:0.01"),
    *("0.5:0.1:0.01", "1:0.1", "1:0.1:0.01,", "1:0.1:1e", "1:0.1:0.01;2:0.1:0.01", "5/s:1:2"),
)
COLUMNS = (  # of a trace
    *("time=when,prompt=in,output=out", " time=when , prompt=in,,output=out,cached=hits", ""),
    *(
        "time",
        "time=",
        "x=when",
        f"{LONG}=when",
        f"time={LONG}",
        "time=when",
        "time=when,prompt=in",
    ),
)
NAMES = (
    *(LONG, LONG.upper()),
    *("H100", "NVIDIA H100 80GB HBM3".upper(), "H200", "CARD H100", "CARD", "Llama-3.1-8B"),
    *("meta-llama/Llama-3.1-8B-Instruct/", "Qwen3-32B", "Llama-3.1-70B", "unknown-model"),
)
ASKED: dict[str, object] = {"rate_per_s": 1}
GOOD: tuple[dict[str, object], ...] = (
    *(ASKED | {"fleets": " Two ", "precision": "auto, FP8"} | more for more in ({}, {"seed": "7"})),
    ASKED | {"device": "B200, H100", "price_per_hour": " 3, 2", "parallelism": "tp2,tp4+pp2"},
    ASKED | {"model": "Qwen3-30B-A3B", "parallelism": "auto", "cache_precision": "FP8"},
    ASKED | {"classes": "a:1:prompt=9,answer=3,cached=0.5,ttft=2,tpot=0.1,quantile=0.5"},
    ASKED | {"peak_tflops": 100, "bandwidth_gb_per_s": 900, "memory_gib": 40},
    {"gpus": "9", "fleets": " One ", "host_memory_gib": "0", "spare_replicas": 1},
    *(ASKED | {"parallelism": text} for text in ("dp2", "tp2,tp16", "pp3")),
    *(ASKED | more for more in ({"device": "4090"}, {"fleets": " Two "})),
    ASKED | {"model": "Llama-3.1-70B", "parallelism": "tp1"},
    ASKED | {"model": "Llama-3.1-405B", "device": "A100"},
    ASKED
    | {
        "parallelism": "tp1",
        "memory_share": 1,
        "reserved_gib": 80 - 2 * 8_029_995_008 / 2**30,  # what the weights leave
    },
)
GRID = """rate_per_s,ttft_s,precision,requests
2,2,bf16,100
9,2,,100
2,0.01,bf16,120
4,1,fp8,100
"""
FLEETS: dict[str, dict[str, object]] = {
    "steady tokens": {"rate_per_s": 60, "tpot_s": 0.0105},
    "short waits": {"rate_per_s": 60, "ttft_s": 0.15, "seed": 1},
    "classes": {
        "rate_per_s": 60,
        "requests": 150,
        "arrival_scv": 3,
        "classes": (
            "chat:0.7:prompt=400,answer=60,ttft=0.3,tpot=0.012,quantile=0.9;"
            "agents:0.3:prompt=3000,cached=0.5,ttft=3,tpot=0.0105,quantile=0.8"
        ),
    },
    "a slow link": {
        "rate_per_s": 1,
        "model": "Llama-3.1-70B",
        "device": "L40S",
        "parallelism": "tp8",
        "tpot_s": 0.06,
        "ttft_s": 20,
    },
}
COMMANDS: tuple[tuple[str, ...], ...] = (  # beside those of which a test says what is refused
    ("--presets",),
    ("--rate-per-s=1", "--out=."),
    ("--rate-per-s=1", "--out=.csv"),
    ("--rate-per-s=1", "--figure=plan.svg", "--out=plan.svg"),
    ("--question=two.json",),
    ("--question=text.json",),
    ("--question=grid.csv",),
    ("--grid=grid.csv", "--kubernetes"),
    ("--rate-per-s=1", "--workers=1e3"),
    ("--trace=grid.csv",),
)
