"""Runs and files that the tests of the report share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from serving_mathematics.report.evidence import FloatArray, Run
from serving_mathematics.report.faults import served
from serving_mathematics.report.findings.finding import Asked, Finding
from serving_mathematics.report.reading import read_file
from serving_mathematics.report.registry import FINDINGS

REAL = Path(__file__).parent / "load_tests"  # that tools wrote


def clean(seed: int = 1, count: int = 1500) -> Run:
    """A simulated run without faults."""
    return served(np.random.default_rng(seed), count, load=0.5)


def written(name: str) -> list[Run]:
    """The runs of a file of `REAL`."""
    return read_file((REAL / name).read_text(encoding="utf-8"), name)


def detailed(run: Run, **other: Any) -> str:
    """A run as vLLM's bench serve writes it with --save-detailed."""
    count = run.size
    ttft, whole = run.columns["ttft_s"], run.columns["latency_s"]
    tokens = run.columns["output_tokens"].astype(int)
    itls = [
        [float(w - t) / (n - 1)] * (n - 1)
        for t, w, n in zip(ttft.tolist(), whole.tolist(), tokens.tolist(), strict=True)
    ]
    data = {
        "backend": "vllm",
        "model_id": "meta-llama/Llama-3.1-8B-Instruct",
        "request_rate": run.told["rate_asked"],
        "max_concurrency": None,
        "duration": run.told["duration_s"],
        "completed": count,
        "failed": 0,
        "total_input_tokens": int(run.columns["prompt_tokens"].sum()),
        "total_output_tokens": int(tokens.sum()),
        "mean_ttft_ms": 1e3 * float(ttft.mean()),
        "mean_tpot_ms": 1e3 * float(np.mean((whole - ttft) / (tokens - 1))),
        "mean_e2el_ms": 1e3 * float(whole.mean()),
        "input_lens": run.columns["prompt_tokens"].astype(int).tolist(),
        "output_lens": tokens.tolist(),
        "ttfts": ttft.tolist(),
        "itls": itls,
        "start_times": (1000.0 + run.columns["sent_s"]).tolist(),
        "generated_texts": [""] * count,
        "errors": [""] * count,
    }
    return json.dumps(data | other)


def log_csv(run: Run) -> str:
    """A run as a log of requests."""
    names = {"sent_s": "start", "ttft_s": "ttft_ms", "latency_s": "latency_ms"}
    names |= {"prompt_tokens": "input_tokens", "output_tokens": "output_tokens"}
    scale = {"sent_s": 1.0, "ttft_s": 1e3, "latency_s": 1e3}
    columns: list[FloatArray] = []
    for name in names:
        values = run.columns[name] * scale.get(name, 1.0)
        columns.append(1.7e9 + values if name == "sent_s" else values)
    rows = [",".join(names.values())]
    rows += [
        f"{s:.6f},{t:.4f},{w:.4f},{p:.0f},{o:.0f}" for s, t, w, p, o in zip(*columns, strict=True)
    ]
    return "\n".join(rows) + "\n"


def at(seconds: float) -> str:
    """A moment of January 2026, since 1970."""
    return f"{1767607200 + seconds:.3f}"


def functions_of(theme: str) -> list[Callable[[Run, Asked], Finding | None]]:
    """The functions of a theme of findings, in the order of the table."""
    return [rule.find for rule in FINDINGS if rule.find.__module__.endswith(f".{theme}")]
