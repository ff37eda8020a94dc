"""The same requests through other simulators of fleets, each in an environment of its own.

Vidur's engine is its scheduler "sarathi", which reads prompts in chunks beside answers as ours
does, and its steps take what a function says in the place of its tables of profiles. Dynamo's
replay is told the time of steps by a table: reading by the tokens that are read, writing by the
tokens of context and their mean, which is exact where the mean is a whole number. Both send
requests round robin. What they report beside times is switched off.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PACKAGES = {"Vidur": {"vidur": "==0.0.26"}, "Dynamo": {"ai-dynamo-runtime": "==1.6.1"}}
Columns = dict[str, list[float]]


def vidur(asked: Columns, engine: dict[str, Any], replicas: int) -> dict[str, Any]:
    """Times of Vidur, from requests to the last event."""
    logging.disable(logging.INFO)
    from vidur import simulator
    from vidur.config import config
    from vidur.entities import Request
    from vidur.scheduler.global_scheduler import base_global_scheduler

    def step(batch: Any, _stage: int) -> SimpleNamespace:
        read = written = context = 0
        columns = batch.requests, batch.num_q_tokens, batch.num_kv_tokens
        for request, tokens, kept in zip(*columns, strict=True):
            if request.is_prefill_complete:
                written, context = written + 1, context + kept - 1
            else:
                read += tokens
        took_s = engine["first_s"] + engine["prefill_token_s"] * read
        if written:
            took_s += engine["step_s"] + engine["decode_token_s"] * written
            took_s += engine["context_token_s"] * context
        return SimpleNamespace(total_time=took_s, model_time=took_s, model_time_ms=1e3 * took_s)

    def got(of: object) -> SimpleNamespace:
        return SimpleNamespace(get=lambda *_, **__: of)

    columns = asked["arrival_s"], asked["prompt_tokens"], asked["output_tokens"]
    requests = [Request(*row) for row in zip(*columns, strict=True)]
    base_global_scheduler.ExecutionTimePredictorRegistry = got(
        SimpleNamespace(get_execution_time=step)
    )
    simulator.RequestGeneratorRegistry = got(SimpleNamespace(generate=lambda: requests))
    kept = ("operation", "token_completion", "request", "batch", "utilization")
    off = ["write_metrics", "write_json_trace", "enable_chrome_trace", "store_plots"]
    off += ["keep_individual_batch_metrics", *(f"store_{one}_metrics" for one in kept)]
    with tempfile.TemporaryDirectory() as folder:
        given = config.SimulationConfig(
            log_level="warning",
            cluster_config=config.ClusterConfig(
                num_replicas=replicas,
                replica_config=config.ReplicaConfig(num_pipeline_stages=1, tensor_parallel_size=1),
                cache_config=config.CacheConfig(
                    block_size=engine["block_tokens"], num_blocks=engine["kv_blocks"]
                ),
                global_scheduler_config=config.RoundRobinGlobalSchedulerConfig(),
                replica_scheduler_config=config.SarathiSchedulerConfig(
                    batch_size_cap=engine["max_sequences"], chunk_size=engine["token_budget"]
                ),
            ),
            metrics_config=config.MetricsConfig(output_dir=folder, **dict.fromkeys(off, False)),
        )
        start = time.process_time()
        simulator.Simulator(given).run()
        spent_s = time.process_time() - start
    first_s = [one.prefill_completed_at for one in requests]
    return {"cpu_s": spent_s, "first_s": first_s, "last_s": [one.completed_at for one in requests]}


def dynamo(asked: Columns, engine: dict[str, Any], replicas: int) -> dict[str, Any]:
    """Times of Dynamo's replay, from a trace in a file to its report."""
    os.environ.setdefault("DYN_LOG", "error")
    import numpy as np
    from dynamo import _core

    means = np.concatenate([np.arange(1, 4000), np.arange(4000, 40001, 50)]).astype(float)
    tokens = np.array([0.0, 1e7])  # between and beyond which a step is linear
    write_s = engine["step_s"] + engine["decode_token_s"] * tokens[:, None] / means
    write_s = write_s + engine["context_token_s"] * tokens[:, None]
    with tempfile.TemporaryDirectory() as folder:
        table, trace = Path(folder, "steps.npz"), Path(folder, "trace.jsonl")
        np.savez(
            table,
            prefill_isl=tokens,
            prefill_ttft_ms=1e3 * engine["prefill_token_s"] * tokens,
            decode_active_kv_tokens=tokens,
            decode_context_length=means,
            decode_itl=1e3 * write_s,
        )
        trace.write_text("\n".join(_lines(asked, engine["block_tokens"])), encoding="utf-8")
        own = {
            "backend": "vllm",
            "num_gpu_blocks": engine["kv_blocks"],
            "block_size": engine["block_tokens"],
            "max_num_seqs": engine["max_sequences"],
            "max_num_batched_tokens": engine["token_budget"],
            "enable_prefix_caching": False,
            "timing_model": {
                "type": "external",
                "provider": "dynamo_profile",
                "config": {"path": str(table)},
            },
        }
        given = {
            "extra_engine_args": _core._normalize_mocker_config({"engine": own}),
            "num_workers": replicas,
            "trace_block_size": engine["block_tokens"],
        }
        start = time.process_time()
        _core.run_mocker_trace_replay([str(trace)], **given)
        spent_s = time.process_time() - start
        found = _core.run_mocker_trace_replay([str(trace)], capture_per_request=True, **given)
    rows = sorted(found.per_request, key=lambda row: row["arrival_time_ms"])
    first_s = [1e-3 * row["first_token_ms"] for row in rows]
    return {
        "cpu_s": spent_s,
        "first_s": first_s,
        "last_s": [1e-3 * row["last_token_ms"] for row in rows],
    }


def _lines(asked: Columns, block_tokens: int) -> list[str]:
    """A trace in Mooncake's format, in which no prompt begins like another."""
    lines, used = [], 0
    columns = asked["arrival_s"], asked["prompt_tokens"], asked["output_tokens"]
    for arrival_s, prompt, output in zip(*columns, strict=True):
        blocks = -(-int(prompt) // block_tokens)
        row = {
            "timestamp": 1e3 * arrival_s,
            "input_length": prompt,
            "output_length": output,
            "hash_ids": list(range(used, used + blocks)),
        }
        lines.append(json.dumps(row))
        used += blocks
    return lines
