"""Decoding steps for which the published benchmark's scripts let an engine keep a new prompt back.

SGLang on Blackwell looks for new requests every ten decoding steps, with 16 requests and more every
30 (`--scheduler-recv-interval`), but for `LOOKS` and DeepSeek in eight bits on four devices, every
ten; on Hopper, and where attention is in parallel over data, at every step. As installed it does
that everywhere.

With attention in parallel over data TensorRT-LLM waits until each group has a new prompt, for 60
steps at most (`attention_dp_config`), or 50 with gpt-oss, which is its default where it balances.

A prompt comes at any step of those from one look to the next: of b it waits for (b - 1)/2 more, in
the mean, and is then read with all that have come meanwhile.

Assumes: what follows a prompt is a look, as both engines do; groups get prompts in turn. Left out
is TensorRT-LLM's `batch_wait_timeout_iters`, 20 steps for Llama-3.1-70B on fewer than eight devices
and 40 for DeepSeek in eight bits, with prompts and answers of 1,024.

Source: the benchmark's scripts (InferenceX, SemiAnalysis, Apache-2.0), `benchmarks/single_node`;
SGLang, `scheduler_recv_skipper.py`; TensorRT-LLM, `py_executor.py`, `_balance_adp_requests`.
"""

from __future__ import annotations

from serving_mathematics.core.hardware.deployments import Deployment

SELDOM, OFTEN, MANY = 30.0, 10.0, 16.0  # steps from one look to the next, by requests
LOOKS = {  # after SGLang 0.5.9, whatever the requests: by model, precision and system
    ("GLM-5", "fp4", "b200_sxm"): OFTEN,
    ("GLM-5", "fp8", "b200_sxm"): 1.0,
    ("GLM-5", "fp8", "b300_sxm"): 1.0,
    ("Qwen3.5", "fp4", "b200_sxm"): SELDOM,
    ("Qwen3.5", "fp8", "b300_sxm"): OFTEN,
}
GATHERING = {"DeepSeek": 60.0}  # steps for which TensorRT-LLM waits for a prompt of each group
GATHERING_ELSE = 50.0


def held_steps(engine: Deployment, release: str = "") -> float:
    """Decoding steps that a new prompt waits for the next look, on average.

    engine: under its load. release: of the engine, where it is said.

    >>> from dataclasses import replace
    >>> from serving_mathematics.core.hardware.catalogue import find_system
    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> tuned = replace(WORKED, backend="sglang", system=find_system("B200"), concurrency=64)
    >>> held_steps(tuned), held_steps(replace(tuned, backend="vllm"))
    (14.5, 0.0)
    """
    load, groups, between = engine.concurrency, engine.attention_data, 1.0
    names = ("DeepSeek", "GLM-5", "Qwen3.5")
    model = next((name for name in names if name in engine.architecture.name), "")
    told = (model, engine.precision, engine.system.name)
    if engine.backend == "trtllm" and 1 < groups <= load:
        turn = groups * engine.mean_output_tokens / (load * engine.accepted_tokens)
        between = min(turn, GATHERING.get(model, GATHERING_ELSE))
    elif engine.backend == "sglang" and groups == 1 and engine.system.generation == "blackwell":
        narrow = told[:2] == ("DeepSeek", "fp8") and engine.tensor == 4
        between = SELDOM if load >= MANY and not narrow else OFTEN
        between = between if release == "0.5.9" else LOOKS.get(told, between)
    return max(between - 1, 0.0) / 2
