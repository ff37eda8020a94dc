"""What starts the fleet that was planned: flags of vLLM, SGLang and TensorRT-LLM, and a Kubernetes
deployment with the number of replicas.

Assumes: the names of the flags as the engines document them; limits are of one group where
attention is in parallel over data; a checkpoint in the planned format, or one that the engine
quantizes to 8 bits as it loads.

Source: vLLM documentation, engine arguments; SGLang documentation, server arguments; TensorRT-LLM
documentation, trtllm-serve; Kubernetes documentation, Deployments and scheduling of GPUs.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

from serving_mathematics import checks
from serving_mathematics.planner.capacity_planner import WORKED, Fleet, Performance, Question
from serving_mathematics.require import require

IMAGES = {
    "vllm": "vllm/vllm-openai:latest",
    "sglang": "lmsysorg/sglang:latest",
    "trtllm": "nvcr.io/nvidia/tensorrt-llm/release:latest",
}


def launch_words(question: Question, best: Performance, backend: str = "") -> list[str]:
    """The command that starts one replica, as words.

    question: of the deployment. best: its fleet. backend: vllm, sglang or trtllm; by default that
    of the question. Raises ValueError on another one.

    >>> from serving_mathematics.planner.capacity_planner import Fleet
    >>> from serving_mathematics.planner.questions import read_question
    >>> asked = read_question({"rate_per_s": 60, "requests": 200})
    >>> run = Fleet(asked).performance(4, 256, 2048)
    >>> launch_words(asked, run)[:3] if run else []
    ['vllm', 'serve', 'meta-llama/Meta-Llama-3.1-8B']
    """
    one = question.deployment
    backend = backend or one.backend
    require(backend in IMAGES, "backend", f"one of {', '.join(IMAGES)}", backend)
    name, groups = one.architecture.name, one.attention_data
    places, budget = max(1, best.places // groups), best.budget
    eight_bits = one.precision == "fp8" and one.architecture.published == "bf16"
    told = "fp8" in name.lower()
    share, devices = f"{question.memory_share:g}", one.devices
    if backend == "vllm":
        words = ["vllm", "serve", name, "--max-num-seqs", f"{places}"]
        words += ["--max-num-batched-tokens", f"{budget}", "--gpu-memory-utilization", share]
        widths = (
            ("--tensor-parallel-size", one.tensor),
            ("--pipeline-parallel-size", one.pipeline),
            ("--data-parallel-size", groups),
        )
        words += [word for flag, width in widths if width > 1 for word in (flag, f"{width}")]
        words += ["--enable-expert-parallel"] if one.expert > 1 else []
        words += ["--quantization", "fp8"] if eight_bits and not told else []
        return words + (["--kv-cache-dtype", "fp8"] if one.cache_bytes == 1 else [])
    if backend == "sglang":
        words = ["python", "-m", "sglang.launch_server", "--model-path", name]
        words += ["--max-running-requests", f"{best.places}", "--chunked-prefill-size", f"{budget}"]
        words += ["--mem-fraction-static", share]
        words += ["--tp-size", f"{one.tensor * groups}"] if one.tensor * groups > 1 else []
        words += ["--pp-size", f"{one.pipeline}"] if one.pipeline > 1 else []
        words += ["--dp-size", f"{groups}", "--enable-dp-attention"] if groups > 1 else []
        words += ["--ep-size", f"{one.expert}"] if one.expert > 1 else []
        words += ["--quantization", "fp8"] if eight_bits and not told else []
        return words + (["--kv-cache-dtype", "fp8_e4m3"] if one.cache_bytes == 1 else [])
    words = ["trtllm-serve", name, "--max_batch_size", f"{places}", "--max_num_tokens", f"{budget}"]
    words += ["--kv_cache_free_gpu_memory_fraction", share]
    words += ["--tp_size", f"{devices // one.pipeline}"] if devices > one.pipeline else []
    words += ["--pp_size", f"{one.pipeline}"] if one.pipeline > 1 else []
    return words + (["--ep_size", f"{one.expert}"] if one.expert > 1 else [])


def launch_command(question: Question, best: Performance, backend: str = "") -> str:
    """The command that starts one replica, on one line.

    question, best, backend: as for launch_words.

    >>> from serving_mathematics.planner.capacity_planner import Fleet
    >>> from serving_mathematics.planner.questions import read_question
    >>> asked = read_question({"rate_per_s": 60, "requests": 200})
    >>> run = Fleet(asked).performance(4, 256, 2048)
    >>> launch_command(asked, run, "trtllm").partition(" --")[0] if run else ""
    'trtllm-serve meta-llama/Meta-Llama-3.1-8B'
    """
    return shlex.join(launch_words(question, best, backend))


def kubernetes_deployment(question: Question, best: Performance) -> str:
    """The fleet as a Kubernetes Deployment, in YAML: its replicas with those that may fail, the
    engine's command, and the devices of a replica.

    question: of the deployment. best: its fleet.

    >>> from serving_mathematics.planner.capacity_planner import Fleet
    >>> from serving_mathematics.planner.questions import read_question
    >>> asked = read_question({"rate_per_s": 60, "requests": 200})
    >>> run = Fleet(asked).performance(4, 256, 2048)
    >>> "  replicas: 4" in kubernetes_deployment(asked, run).splitlines() if run else False
    True
    """
    one = question.deployment
    words = launch_words(question, best)
    lines = [
        "apiVersion: apps/v1",
        "kind: Deployment",
        "metadata:",
        "  name: model",
        "spec:",
        f"  replicas: {best.replicas + question.spare_replicas}",
        "  selector:",
        "    matchLabels: {app: model}",
        "  template:",
        "    metadata:",
        "      labels: {app: model}",
        "    spec:",
        "      containers:",
        "        - name: engine",
        f"          image: {IMAGES[one.backend]}",
        f"          command: {json.dumps(words)}",
        "          ports: [{containerPort: 8000}]",
        "          resources:",
        f"            limits: {{nvidia.com/gpu: {one.devices}}}",
        "          volumeMounts: [{name: shm, mountPath: /dev/shm}]",
        "      volumes:",
        "        - {name: shm, emptyDir: {medium: Memory}}",
    ]
    return "\n".join(lines)


def check_flags_carry_the_plan() -> None:
    """Every engine gets the limits and widths that were planned, under its own names.

    Source: the words of the commands, read back.
    """
    best = Fleet(replace(WORKED, requests=200)).performance(4, 96, 2048)
    assert best is not None
    four = replace(WORKED, deployment=replace(WORKED.deployment, tensor=4))
    for backend, places, budget, width in (
        ("vllm", "--max-num-seqs", "--max-num-batched-tokens", "--tensor-parallel-size"),
        ("sglang", "--max-running-requests", "--chunked-prefill-size", "--tp-size"),
        ("trtllm", "--max_batch_size", "--max_num_tokens", "--tp_size"),
    ):
        words = launch_words(four, best, backend)
        got = [words[words.index(flag) + 1] for flag in (places, budget, width)]
        checks.equal(backend, got, ["96", "2048", "4"])
    checks.raises("another", launch_words, four, best, "x", match="backend must be one of vllm")
