"""What starts the fleet that was planned: flags of vLLM, SGLang and TensorRT-LLM, and Kubernetes
objects with the number of replicas; for separate fleets those of either, and what joins them.

Assumes: the names of the flags as the engines document them; where attention is in parallel over
data, groups that share the sequences evenly, and may each read as many tokens in a step as were
planned, since one of them reads a prompt; caches that travel by NIXL, which all three engines can
use; a draft model that is called after EAGLE-3 is a head of that kind.

Source: vLLM pull requests 29431 (the longest request that fits), 32773 (FP8 made while loading) and
44132 (with a scale for each output), and its documentation of several machines; `tpu_worker.py` of
tpu-inference, which is told no other length than at first; SGLang pull request 24241, released with
0.5.11;
vLLM documentation, engine arguments, speculative decoding and NixlConnector, its package
vllm-router (0.1.17), whose flags were tried before servers that answer as engines do, and
`vllm/config/vllm.py` (0.33), where each data-parallel rank offloads as much as is named; SGLang
documentation, server arguments, speculative decoding, PD disaggregation and router, and its
releases 0.5.10 to 0.5.23, which divide the chunk by the groups, and mix chunks with stages from
0.5.12 on and with some guesses from 0.5.19 on, but guess nothing in such a step (issues 10589 and
6874, pull requests 22920 and 35017); TensorRT-LLM documentation, trtllm-serve, speculative decoding
and disaggregated serving, and `llm_args.py`, where chunks and attention over data are off unless
asked for; `tpu_platform.py` of vLLM for TPUs; at SIGTERM `engine/core.py` of vLLM (0.33), which
aborts unless it is told how long to wait, `tokenizer_manager.py` of SGLang (0.5.23) and
`serve/lifecycle.py` of TensorRT-LLM, which wait without a limit; Kubernetes documentation,
Deployments, StatefulSets, ConfigMaps, termination of pods, probes, scheduling of GPUs, downward
API; GKE documentation, TPUs.
"""

# In one piece: the same limits in the words of three engines, which are compared and changed line
# by line.

from __future__ import annotations

import json
import math
import shlex
from dataclasses import dataclass, replace

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.hardware.catalogue import compared
from serving_mathematics.core.hardware.deployed_engine import (
    BLOCK_TOKENS,
    MOST_PLACES,
    cache_blocks,
    mean_token_bytes,
)
from serving_mathematics.core.hardware.deployments import (
    OWN_HEADS,
    PRECISIONS,
    Deployment,
    cache_room_bytes,
    stored,
)
from serving_mathematics.planner.configurations import Answered
from serving_mathematics.planner.fleet_search import Performance
from serving_mathematics.planner.question import Question
from serving_mathematics.planner.routing import Routed
from serving_mathematics.planner.separate_fleets import TIGHT, Apart, SeparateFleets
from serving_mathematics.support import checks
from serving_mathematics.support.require import require

IMAGES = {
    "vllm": "vllm/vllm-openai:VERSION",
    "sglang": "lmsysorg/sglang:VERSION",
    "trtllm": "nvcr.io/nvidia/tensorrt-llm/release:VERSION",
}
OTHERS = {  # images for other makers' devices
    ("vllm", "cdna"): "vllm/vllm-openai-rocm:VERSION",
    ("sglang", "cdna"): "lmsysorg/sglang:VERSION-rocmROCM",
    ("vllm", "tpu"): "vllm/vllm-tpu:VERSION",
}
ELSEWHERE = {"cdna": "amd.com/gpu", "tpu": "google.com/tpu"}
CHECKPOINTS = {  # of presets that are called otherwise
    "Falcon-7B": "tiiuae/falcon-7b",
    "Gemma-2-9B": "google/gemma-2-9b",
    "Gemma-3-27B": "google/gemma-3-27b-it",
    "Llama-2-7B": "meta-llama/Llama-2-7b-hf",
    "Llama-2-13B": "meta-llama/Llama-2-13b-hf",
    "Llama-2-70B": "meta-llama/Llama-2-70b-hf",
    "Llama-3-8B": "meta-llama/Meta-Llama-3-8B",
    "Mistral-7B-v0.1": "mistralai/Mistral-7B-v0.1",
    "OPT-13B": "facebook/opt-13b",
    "Qwen2.5-7B": "Qwen/Qwen2.5-7B",
}
SET = [
    "# Set VERSION to the one that you tested, and a Secret hf with the key token if the model",
    "# is gated.",
]
SIGNS = {  # of a format, in names of checkpoints
    "bf16": ("bf16",),
    "fp8": ("fp8", "w8a8"),
    "fp4": ("fp4",),
    "int4": ("int4", "w4a16", "awq", "gptq"),
}
ADDRESS = ["--host", "0.0.0.0", "--port", "8000"]  # SGLang and TensorRT-LLM hear themselves alone
NO_OVERLAP = "disable_overlap_scheduler: true\n"
WHERE = ", in the folder where it starts:"  # a router's file lies
ROUTED = "fleets.yaml"  # what TensorRT-LLM's router reads
PAIR_ROUTERS = {  # before separate fleets
    "vllm": ["vllm-router", "--vllm-pd-disaggregation"],
    "sglang": ["python", "-m", "sglang_router.launch_router", "--pd-disaggregation"],
}
IN_TURN = ["--policy", "round_robin"]  # by default both follow prefixes, as no pair is planned
MOUNT = "/options"  # of a pod, where its files lie
SLEEP_S = 15  # in which nobody sends to a pod that goes any more
ANSWER_S = 600  # of an answer, for users to set


Limits = Performance | Routed  # whose replicas, places and budget its engines are started with


def planned_limits(told: Answered) -> Limits:
    """The fleet that was planned, as what its engines are started with.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> planned_limits(_small_answer()).replicas
    1
    """
    return told if isinstance(told, Routed) else told.plan.best


def _eight_bits_of_vllm(one: Deployment) -> str:
    """What vLLM calls weights in eight bits that it makes while loading: with a scale for each
    output where it has the kernels, from 0.24 on, and for each matrix elsewhere."""
    multiplied = one.system.fp8_flops_per_s > one.system.bf16_flops_per_s
    return "fp8" if one.architecture.routed_parameters or not multiplied else "fp8_per_channel"


def launch_words(question: Question, best: Limits) -> list[str]:
    """The command that starts one replica, as words.

    question: of the deployment. best: its fleet.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> told = _small_answer()
    >>> launch_words(told.question, told.plan.best)[:3]
    ['vllm', 'serve', 'meta-llama/Meta-Llama-3.1-8B']
    """
    words = _words(question, best.places, best.budget)
    words += _prompt_words(question.deployment) + _host_words(best, question.deployment)
    files = launch_files(question)
    return words + [word for name in files for word in ("--extra_llm_api_options", name)]


def _prompt_words(one: Deployment) -> list[str]:
    """What keeps a prompt from stopping answers until it is read; vLLM and TensorRT-LLM mix."""
    if one.backend != "sglang":
        return []
    return ["--prefill-decode-interval", "1"] if one.draft_tokens else ["--enable-mixed-chunk"]


def _host_words(best: Limits, one: Deployment) -> list[str]:
    """What keeps prefixes in host memory too, where it was planned: vLLM is told of a data-parallel
    rank's, SGLang of a device's in GB."""
    gib = best.best.host_gib if isinstance(best, Routed) else 0.0
    if not gib or one.backend == "trtllm":
        return []
    if one.backend == "vllm":
        size = f"{gib / one.attention_data:g}"
        return ["--kv-offloading-backend", "native", "--kv-offloading-size", size]
    each = math.floor(gib * 2**30 / 1e9 / one.devices)
    return ["--enable-hierarchical-cache", "--hicache-size", f"{max(1, each)}"]


def _repository(question: Question) -> str:
    """What engines load, as it is called on Hugging Face."""
    return CHECKPOINTS.get(question.served, question.served)


def _words(question: Question, limit: int, budget: int) -> list[str]:
    """The command of one replica with so many sequences and tokens in a step."""
    one = question.deployment
    name, groups = _repository(question), one.attention_data
    places = max(1, limit // groups)
    eight_bits = _makes_format(question)
    share, devices = f"{question.memory_share:g}", one.devices
    if one.backend == "vllm":
        words = ["vllm", "serve", name, "--max-num-seqs", f"{places}"]
        words += ["--max-num-batched-tokens", f"{budget}", "--gpu-memory-utilization", share]
        words += _length_words(question)
        widths = (
            ("--tensor-parallel-size", one.tensor),
            ("--pipeline-parallel-size", one.pipeline),
            ("--data-parallel-size", groups),
        )
        words += [word for flag, width in widths if width > 1 for word in (flag, f"{width}")]
        words += ["--enable-expert-parallel"] if one.expert > 1 else []
        words += ["--quantization", _eight_bits_of_vllm(one)] if eight_bits else []
        words += ["--kv-cache-dtype", "fp8"] if stored(one).cache == 1 else []
        return words + _guess_words(one)
    if one.backend == "sglang":
        words = ["python", "-m", "sglang.launch_server", "--model-path", name, *ADDRESS]
        words += ["--enable-metrics", "--max-running-requests", f"{limit}"]
        words += ["--chunked-prefill-size", f"{budget * groups}"]
        words += ["--mem-fraction-static", f"{_static_share(question):g}"]
        words += ["--tp-size", f"{one.tensor * groups}"] if one.tensor * groups > 1 else []
        words += ["--pp-size", f"{one.pipeline}"] if one.pipeline > 1 else []
        words += ["--attn-dp-size", f"{groups}"] if groups > 1 else []
        words += ["--ep-size", f"{one.expert}"] if one.expert > 1 else []
        words += ["--quantization", "fp8"] if eight_bits else []
        words += ["--kv-cache-dtype", "fp8_e4m3"] if stored(one).cache == 1 else []
        return words + _guess_words(one)
    words = ["trtllm-serve", name, *ADDRESS, "--max_batch_size", f"{places}"]
    words += ["--max_num_tokens", f"{budget}"]
    words += ["--kv_cache_free_gpu_memory_fraction", share]
    words += ["--tp_size", f"{devices // one.pipeline}"] if devices > one.pipeline else []
    words += ["--pp_size", f"{one.pipeline}"] if one.pipeline > 1 else []
    return words + (["--ep_size", f"{one.expert}"] if one.expert > 1 else [])


def _has_format(question: Question) -> bool:
    """Whether the checkpoint that is loaded is in the planned format."""
    one = question.deployment
    named = question.served.lower()
    own = "fp4" if one.architecture.published == "mxfp4" else one.architecture.published
    unknown = own not in PRECISIONS  # and said by who asks
    return unknown or own == one.precision or any(sign in named for sign in SIGNS[one.precision])


def _makes_format(question: Question) -> bool:
    """Whether the engine makes the planned format of the checkpoint as it loads."""
    one = question.deployment
    possible = one.backend != "trtllm" and one.precision == "fp8"
    return possible and one.architecture.published == "bf16" and not _has_format(question)


def _launch_notes(question: Question) -> list[str]:
    """What the command of a replica does not bring about, as comments."""
    one = question.deployment
    notes = _common_notes(question)
    if one.draft_tokens and one.drafter == OWN_HEADS:
        notes.append("# needs heads that guess in the checkpoint: its config.json counts them")
    if one.backend == "sglang" and one.draft_tokens:
        notes.append(
            "# --prefill-decode-interval, SGLang from 0.5.19 on: after a step that reads a prompt"
        )
        notes.append("# comes one that guesses; this was simulated as if one step did both")
    elif one.backend == "sglang" and one.pipeline > 1:
        notes.append("# SGLang from 0.5.12 on mixes chunks with stages")
    return notes


def _common_notes(question: Question) -> list[str]:
    """What any replica with these flags needs, as comments: a checkpoint, a release, a package."""
    one = question.deployment
    notes = _format_notes(question) + _context_notes(question)
    if (name := _repository(question)).endswith(".json"):
        notes.append(f"# {name} is no checkpoint: put the folder or repository that has it there")
    groups, tpu = one.attention_data, one.system.generation == "tpu"
    if one.backend == "sglang" and groups > 1:
        old = f"--dp-size {groups} --enable-dp-attention"
        notes.append(f"# SGLang from 0.5.11 to 0.5.21: {old} for --attn-dp-size")
    if one.backend == "sglang" and tpu:
        notes.append("# SGLang on TPUs is another package, SGLang-JAX, with flags of its own")
    if one.backend == "vllm" and tpu:
        notes.append("# vLLM on TPUs is another package, vllm-tpu: in it TPUConnector stands for")
        notes.append(
            "# NixlConnector, and TPUOffloadConnector for --kv-offloading-size, where named"
        )
    return notes


def _format_notes(question: Question) -> list[str]:
    """What the checkpoint has to be, where it is something else and stays so."""
    one = question.deployment
    if one.backend == "vllm" and _makes_format(question):
        room = cache_room_bytes(replace(one, precision=one.architecture.published), 0.0)
        old = ["# vLLM up to 0.14 loads 16 bits first, which do not fit here: take a later one"]
        return [] if room else old
    if _has_format(question) or _makes_format(question):
        return []
    return [f"# needs a checkpoint in {one.precision.upper()}: {_repository(question)} is not one"]


def _longest(question: Question) -> int:
    """Tokens of a request that the cache has room for, up to the context."""
    one = question.deployment
    most = one.architecture.context_tokens
    whole = mean_token_bytes(one, Workload([0], [most - 1], [1]))
    blocks = cache_blocks(one, whole, question.memory_share, question.reserved_bytes)
    return min(most, BLOCK_TOKENS * blocks // one.attention_data)


def _length_words(question: Question) -> list[str]:
    """What keeps vLLM from asking for room for the whole context; on TPUs it cannot fit itself."""
    if question.deployment.system.generation != "tpu":
        return ["--max-model-len", "auto"]
    longest, most = _longest(question), question.deployment.architecture.context_tokens
    return ["--max-model-len", f"{longest}"] if longest < most else []


def _context_notes(question: Question) -> list[str]:
    """How long a request may be where the cache has no room for one of the whole context."""
    room, most = _longest(question), question.deployment.architecture.context_tokens
    if question.deployment.backend != "vllm" or room == most:
        return []
    return [
        f"# a request has about {room:,} tokens at most, of the context of {most:,}, or is refused"
    ]


def _guess_words(one: Deployment) -> list[str]:
    """What has vLLM or SGLang guess, as words."""
    if not one.draft_tokens:
        return []
    method, drafter = _method(one)
    if one.backend == "vllm":
        config: dict[str, str | int] = {"method": method}
        config |= {"model": drafter} if drafter else {}
        config |= {"num_speculative_tokens": one.draft_tokens}
        config |= {"draft_tensor_parallel_size": one.tensor} if drafter and one.tensor > 1 else {}
        return ["--speculative-config", json.dumps(config)]
    algorithms = {"mtp": "EAGLE", "ngram": "NGRAM", "draft_model": "STANDALONE", "eagle3": "EAGLE3"}
    words = ["--speculative-algorithm", algorithms[method]]
    words += ["--speculative-draft-model-path", drafter] if drafter else []
    if method == "ngram":
        words += ["--speculative-ngram-max-bfs-breadth", "1"]
    else:
        words += ["--speculative-num-steps", f"{one.draft_tokens}", "--speculative-eagle-topk", "1"]
    return [*words, "--speculative-num-draft-tokens", f"{one.draft_tokens + 1}"]


def _static_share(question: Question) -> float:
    """The share of a device for weights and cache alone, to a thousandth below."""
    reserved = question.reserved_bytes / question.deployment.system.memory_bytes
    return max(0.001, math.floor(1000 * (question.memory_share - reserved)) / 1000)


def _method(one: Deployment) -> tuple[str, str]:
    """How an engine guesses, in vLLM's words, and the name of its draft model or nothing."""
    if isinstance(one.drafter, str):
        return one.drafter, ""
    name = one.drafter.name
    return ("eagle3" if "eagle3" in compared(name) else "draft_model"), name


def launch_files(question: Question) -> dict[str, str]:
    """The files that the command of a replica reads, by name: TensorRT-LLM's options without a
    flag.

    question: of the deployment.

    >>> from serving_mathematics.planner.questions import read_question
    >>> guessing = {"rate_per_s": 9, "draft_tokens": 3, "accepted_tokens": 2, "drafter": "ngram"}
    >>> asked = read_question(guessing | {"backend": "trtllm"})
    >>> print(launch_files(asked)["options.yaml"])
    enable_chunked_prefill: true
    disable_overlap_scheduler: true
    speculative_config:
      decoding_type: NGram
      max_draft_len: 3
    <BLANKLINE>
    """
    one = question.deployment
    return {"options.yaml": _options(one)} if one.backend == "trtllm" else {}


def _options(one: Deployment) -> str:
    """Options of TensorRT-LLM, in YAML."""
    lines = ["enable_chunked_prefill: true"]  # or it refuses what is longer than its budget
    lines += ["enable_attention_dp: true"] if one.attention_data > 1 else []
    lines += ["kv_cache_config:", "  dtype: fp8"] if stored(one).cache == 1 else []
    if one.draft_tokens:
        method, drafter = _method(one)
        kinds = {"mtp": "MTP", "ngram": "NGram", "eagle3": "Eagle3  # older releases: Eagle"}
        kinds["draft_model"] = "Draft_Target  # older releases: DraftTarget"
        alone = method in ("ngram", "draft_model")  # whose guesses are no part of the model's graph
        lines += [NO_OVERLAP.rstrip()] if alone else []
        lines += ["speculative_config:", f"  decoding_type: {kinds[method]}"]
        lines += [f"  max_draft_len: {one.draft_tokens}"]
        heads = [f"  num_nextn_predict_layers: {one.draft_tokens}  # up to 1.2; later ones warn"]
        lines += heads if method == "mtp" else []
        lines += [f"  speculative_model: {drafter}"] if drafter else []
    return "".join(f"{line}\n" for line in lines)


def _commented(files: dict[str, str], where: str = "") -> list[str]:
    """Files as comments of a shell or of YAML."""
    lines = []
    for name, text in files.items():
        lines += [f"# {name}{where}", *(f"#   {line}" for line in text.splitlines())]
    return lines


def launch_text(question: Question, best: Limits) -> str:
    """The command that starts one replica, and as comments what it lacks and the files it reads.

    question, best: as for launch_words.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> told = _small_answer()
    >>> launch_text(told.question, told.plan.best).partition(" --")[0]
    'vllm serve meta-llama/Meta-Llama-3.1-8B'
    """
    lines = [shlex.join(launch_words(question, best)), *_launch_notes(question)]
    return "\n".join([*lines, *_spread_notes(question), *_commented(launch_files(question))])


def kubernetes_deployment(question: Question, best: Limits) -> str:
    """The fleet as a Kubernetes Deployment, in YAML: its replicas with those that may fail, the
    engine's command, and the devices of a replica; where the command reads a file, the ConfigMap
    with it.

    question, best: as for launch_words.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> told = _small_answer()
    >>> "  replicas: 1" in kubernetes_deployment(told.question, told.plan.best).splitlines()
    True
    """
    words, files = launch_words(question, best), launch_files(question)
    lines = [*SET, *_leaving(question), *_launch_notes(question), *_placing(question)]
    lines += _config_map(files)
    lines += ["apiVersion: apps/v1", "kind: Deployment", "metadata:", "  name: model", "spec:"]
    replicas = best.replicas + question.spare_replicas
    return "\n".join(lines + _pods(question, "model", replicas, words, files))


def _leaving(question: Question) -> list[str]:
    """What a pod that goes needs to end its answers, as comments."""
    own = ", and --shutdown-timeout (vLLM from 0.18 on) at that answer's"
    return [
        "# Set terminationGracePeriodSeconds 30 s above your longest answer, which a pod that goes",
        f"# still ends{own if question.deployment.backend == 'vllm' else ''}.",
    ]


def _config_map(files: dict[str, str]) -> list[str]:
    """Lines of the ConfigMap that holds files, before other documents; none without files."""
    if not files:
        return []
    lines = ["apiVersion: v1", "kind: ConfigMap", "metadata:", "  name: options", "data:"]
    for name, text in files.items():
        lines += [f"  {name}: |", *(f"    {line}" for line in text.splitlines())]
    return [*lines, "---"]


def _pods(
    question: Question,
    name: str,
    replicas: int,
    words: list[str],
    files: dict[str, str],
    env: list[str] | None = None,
) -> list[str]:
    """Lines of a `spec` with so many replicas, a command, the files that it reads, time to end
    answers, and the devices of a replica."""
    words = [f"{MOUNT}/{word}" if word in files else word for word in words]
    if question.deployment.backend == "vllm":
        words += ["--shutdown-timeout", f"{ANSWER_S}"]
    mount = f", {{name: options, mountPath: {MOUNT}}}" if files else ""
    return [
        f"  replicas: {replicas}",
        "  selector:",
        f"    matchLabels: {{app: {name}}}",
        "  template:",
        "    metadata:",
        f"      labels: {{app: {name}}}",
        "    spec:",
        f"      terminationGracePeriodSeconds: {ANSWER_S + 2 * SLEEP_S}",
        "      containers:",
        "        - name: engine",
        f"          image: {_image(question)}",
        f"          command: {json.dumps(words)}",
        "          env:",
        "            - name: HF_TOKEN",
        "              valueFrom: {secretKeyRef: {name: hf, key: token, optional: true}}",
        *(env or []),
        "          ports: [{containerPort: 8000}]",
        "          readinessProbe:  # to which SGLang answers after a second",
        "            httpGet: {path: /health, port: 8000}",
        "            timeoutSeconds: 10",
        "          resources:",
        f"            limits: {{{_resource(question)}: {question.deployment.devices}}}",
        f"          lifecycle: {{preStop: {{sleep: {{seconds: {SLEEP_S}}}}}}}",
        f"          volumeMounts: [{{name: shm, mountPath: /dev/shm}}{mount}]",
        "      volumes:",
        "        - {name: shm, emptyDir: {medium: Memory}}",
        *["        - {name: options, configMap: {name: options}}"] * bool(files),
    ]


def _image(question: Question) -> str:
    """What the engine is packed in, for the maker of the devices."""
    one = question.deployment
    return OTHERS.get((one.backend, one.system.generation), IMAGES[one.backend])


def _resource(question: Question) -> str:
    """What Kubernetes calls the devices."""
    return ELSEWHERE.get(question.deployment.system.generation, "nvidia.com/gpu")


def _placing(question: Question) -> list[str]:
    """What else the image and the nodes ask for, and that a pod cannot hold a replica, as
    comments."""
    one, lines = question.deployment, []
    if "ROCM" in _image(question):
        lines.append("# Set ROCM as the tags of the image have it, such as 720-mi30x or 720-mi35x.")
    if one.system.generation == "tpu":
        lines.append(
            "# GKE also wants a nodeSelector with cloud.google.com/gke-tpu-accelerator and"
        )
        lines.append("# cloud.google.com/gke-tpu-topology.")
    if _machines(one) > 1:
        lines.append(
            f"# {one.devices} devices are on {_machines(one)} machines or more,"
            " and a pod is on one: make it a LeaderWorkerSet."
        )
    return lines


def _machines(one: Deployment) -> int:
    """The fewest machines that hold a replica."""
    four = one.system.name.startswith(("gb", "tpu_v5p", "tpu_v7"))
    machine = 1 if one.system.domain_devices == 1 else 4 if four else 8
    return math.ceil(one.devices / machine)


def _spread_notes(question: Question) -> list[str]:
    """What a replica on several machines is started with beside its command, as comments."""
    one, many = question.deployment, _machines(question.deployment)
    if many == 1:
        return []
    ranks = f"--nnodes {many} --node-rank RANK"
    how = {
        "vllm": f"on each, with {ranks} --master-addr FIRST, and --headless on the others",
        "sglang": f"on each, with {ranks} --dist-init-addr FIRST:PORT",
        "trtllm": f"mpirun -n {one.devices} trtllm-llmapi-launch before it",
    }
    if one.attention_data > 1:
        each = f"--data-parallel-size-local {max(1, one.attention_data // many)}"
        how["vllm"] = f"on each, with {each} --data-parallel-address FIRST, and on the others"
        how["vllm"] += " --headless --data-parallel-start-rank RANK"
    return [f"# {one.devices} devices are on {many} machines or more: {how[one.backend]}"]


@dataclass(frozen=True)
class Started:
    """What starts separate fleets: the command of a replica of either, of what stands before them,
    and the files that they read, by name."""

    prompts: str
    answers: str
    router: str
    note: str  # what the engine's documentation says of it
    files: dict[str, str]


def role_words(question: Question, pair: Apart, role: str) -> list[str]:
    """The command that starts one replica of a separate fleet, as words.

    question: of the deployment. pair: its fleets. role: prompts or answers. Raises ValueError on
    another role.

    >>> from serving_mathematics.planner.separate_fleets import TIGHT, SeparateFleets
    >>> pair = SeparateFleets(TIGHT).performance(3, 3, 2048)
    >>> role_words(TIGHT, pair, "prompts")[-1] if pair else ""
    '{"kv_connector": "NixlConnector", "kv_role": "kv_producer"}'
    """
    require(role in ("prompts", "answers"), "role", "prompts or answers", role)
    first = role == "prompts"
    question = question.of_prompts() if first else question
    backend = question.deployment.backend
    most = question.batch_limit or MOST_PLACES
    limit = min(MOST_PLACES, pair.budget) if first else most
    words = _words(question, limit, pair.budget if first else 2 * most)
    if backend == "vllm":
        kind = "kv_producer" if first else "kv_consumer"
        config = {"kv_connector": "NixlConnector", "kv_role": kind}
        return [*words, "--kv-transfer-config", json.dumps(config)]
    if backend == "sglang":
        words += ["--disaggregation-mode", "prefill" if first else "decode"]
        return [*words, "--disaggregation-transfer-backend", "nixl"]
    return [*words, "--extra_llm_api_options", f"{role}.yaml"]


def separate_launch(question: Question, pair: Apart) -> Started:
    """What starts separate fleets: commands of replicas and of what stands before them, on one line
    each. Hosts are called as Kubernetes calls them, `prompts-0.prompts` and so on.

    question, pair: as for role_words.

    >>> from serving_mathematics.planner.separate_fleets import TIGHT, SeparateFleets
    >>> pair = SeparateFleets(TIGHT).performance(3, 3, 2048)
    >>> separate_launch(TIGHT, pair).router.split()[4:6] if pair else []
    ['--prefill', 'http://prompts-0.prompts:8000']
    """
    backend = question.deployment.backend
    prompts, answers = (
        shlex.join(role_words(question, pair, role)) for role in ("prompts", "answers")
    )
    ones = [f"prompts-{i}.prompts" for i in range(pair.prompts + question.spare_replicas)]
    others = [f"answers-{i}.answers" for i in range(pair.answers + question.spare_replicas)]
    if backend != "trtllm":
        words = [word for host in ones for word in ("--prefill", f"http://{host}:8000")]
        words += [word for host in others for word in ("--decode", f"http://{host}:8000")]
        router = shlex.join([*PAIR_ROUTERS[backend], *IN_TURN, *words, *ADDRESS])
        if backend == "sglang":
            return Started(prompts, answers, router, "", {})
        host = "VLLM_NIXL_SIDE_CHANNEL_HOST=ADDRESS_OF_THIS_HOST "
        note = "vLLM calls this experimental; pip install vllm-router"
        return Started(host + prompts, host + answers, router, note, {})
    buffer = _long_prompt(question)
    cache = f"cache_transceiver_config:\n  backend: NIXL\n  max_tokens_in_buffer: {buffer}\n"
    options = _options(question.deployment) + cache
    urls = "hostname: 0.0.0.0\nport: 8000\nbackend: pytorch\n"
    for kind, hosts in (("context_servers", ones), ("generation_servers", others)):
        urls += f"{kind}:\n  num_instances: {len(hosts)}\n  urls:\n"
        urls += "".join(f'    - "{host}:8000"\n' for host in hosts)
    alone = "" if NO_OVERLAP in options else NO_OVERLAP
    files = {"prompts.yaml": alone + options, "answers.yaml": options}
    router = f"trtllm-serve disaggregated -c {ROUTED}"
    note = "TensorRT-LLM calls this experimental"
    return Started(prompts, answers, router, note, files | {ROUTED: urls})


def _long_prompt(question: Question) -> int:
    """Tokens that few prompts exceed: the longest of a trace, the 99th percentile of a geometric
    length."""
    traffic, context = question.traffic, question.deployment.architecture.context_tokens
    if isinstance(traffic, Workload):
        return int(traffic.prompt_tokens.max())
    means = [kind.mean_prompt_tokens for kind in traffic.classes] or [traffic.mean_prompt_tokens]
    return min(context, math.ceil(math.log(100) * max(means)))


def separate_text(question: Question, pair: Apart) -> str:
    """What starts separate fleets, as text of a shell with comments.

    question, pair: as for role_words.

    >>> from serving_mathematics.planner.separate_fleets import TIGHT, SeparateFleets
    >>> pair = SeparateFleets(TIGHT).performance(3, 2, 2048)
    >>> separate_text(TIGHT, pair).splitlines()[:3:2] if pair else []
    ['# each of 3 replicas for prompts', '# each of 2 for answers']
    """
    found, spare = separate_launch(question, pair), question.spare_replicas
    lines = [
        *_common_notes(question),
        *_spread_notes(question),
        f"# each of {pair.prompts + spare} replicas for prompts",
        found.prompts,
        f"# each of {pair.answers + spare} for answers",
        found.answers,
        f"# before them{f' ({found.note})' if found.note else ''}",
        found.router,
    ]
    return "\n".join(lines + _commented(found.files))


def kubernetes_separate(question: Question, pair: Apart) -> str:
    """Separate fleets as Kubernetes StatefulSets, whose replicas have names that stay, in YAML,
    with what stands before them as a comment.

    question: of the deployment. pair: its fleets.

    >>> from serving_mathematics.planner.separate_fleets import TIGHT, SeparateFleets
    >>> pair = SeparateFleets(TIGHT).performance(3, 2, 2048)
    >>> kubernetes_separate(TIGHT, pair).count("kind: StatefulSet") if pair else 0
    2
    """
    found, documents = separate_launch(question, pair), []
    env = None
    if question.deployment.backend == "vllm":
        source = "{fieldRef: {fieldPath: status.podIP}}"
        env = ["            - name: VLLM_NIXL_SIDE_CHANNEL_HOST"]
        env += [f"              valueFrom: {source}"]
    own_files = {name: text for name, text in found.files.items() if name != ROUTED}
    for role, count in (("prompts", pair.prompts), ("answers", pair.answers)):
        words = role_words(question, pair, role)
        own = question.of_prompts() if role == "prompts" else question
        pods = _pods(own, role, count + question.spare_replicas, words, own_files, env)
        service = ["apiVersion: v1", "kind: Service", "metadata:", f"  name: {role}", "spec:"]
        service += ["  clusterIP: None", f"  selector: {{app: {role}}}"]
        service += ["  ports: [{port: 8000}]"]
        state = ["apiVersion: apps/v1", "kind: StatefulSet", "metadata:", f"  name: {role}"]
        state += ["spec:", f"  serviceName: {role}", "  podManagementPolicy: Parallel", *pods]
        documents += ["\n".join(service), "\n".join(state)]
    note = f" ({found.note})" if found.note else ""
    routed = {name: text for name, text in found.files.items() if name == ROUTED}
    lines = [f"# before them{note}:", f"# {found.router}", *_commented(routed, WHERE)]
    notes = [*SET, *_leaving(question), *_common_notes(question), *_placing(question)]
    documents[0] = "\n".join([*notes, *_config_map(own_files), documents[0]])
    return "\n---\n".join(documents) + "\n" + "\n".join(lines)


@dataclass(frozen=True)
class Start:
    """What starts one of the answers: commands, and objects for Kubernetes."""

    of: str  # "one fleet" or "separate fleets"
    flags: str
    kubernetes: str


def starts(told: Answered) -> list[Start]:
    """What starts the fleet of an answer and, where they were asked for and can be, the separate
    ones; the cheaper first.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> [one.of for one in starts(_small_answer())]
    ['one fleet']
    """
    question, best = told.question, planned_limits(told)
    before = _before(told)
    parts = launch_text(question, best), kubernetes_deployment(question, best)
    one = Start("one fleet", *("\n".join([part, *before]) for part in parts))
    apart = None if isinstance(told, Routed) else told.apart
    if isinstance(told, Routed) or apart is None or apart.run is None:
        return [one]
    asked, pair = apart.question, apart.run
    two = Start("separate fleets", separate_text(asked, pair), kubernetes_separate(asked, pair))
    return [two, one] if pair.usd_per_hour < told.plan.best.usd_per_hour else [one, two]


def _before(told: Answered) -> list[str]:
    """What stands before replicas behind a router, as comments."""
    if not isinstance(told, Routed):
        return []
    lines, router = [], told.best.router.name
    if router != "random":
        lines = [f"# before them: a {router} router; a Kubernetes Service chooses at random"]
    one, gib = told.question.deployment, told.best.host_gib
    if gib and one.backend == "trtllm":
        size = int(gib * 2**30 / one.devices)
        lines += [f"# with {gib:,.0f} GiB of host memory, of which each rank has its part:"]
        lines += [f"# host_cache_size: {size} in kv_cache_config"]
    return lines


def check_separate_flags_carry_the_plan() -> None:
    """Either fleet gets its own limits and its part, and what stands before them knows every
    replica.

    Source: the words of the commands, read back.
    """
    asked = replace(TIGHT, requests=400, batch_limit=96)
    pair = SeparateFleets(asked).performance(2, 3, 2048)
    assert pair is not None
    for backend, tokens, parts in (
        ("vllm", "--max-num-batched-tokens", ("kv_producer", "kv_consumer")),
        ("sglang", "--chunked-prefill-size", ("prefill", "decode")),
        ("trtllm", "--max_num_tokens", ("prompts.yaml", "answers.yaml")),
    ):
        deployment = replace(asked.deployment, backend=backend)
        found = separate_launch(replace(asked, deployment=deployment), pair)
        texts = (found.prompts, found.answers)
        for text, budget, part in zip(texts, (2048, 192), parts, strict=True):
            words = shlex.split(text)
            got = words[words.index(tokens) + 1], any(part in word for word in words)
            checks.equal(f"{backend}, {part}", got, (f"{budget}", True))
        before = found.router + "".join(found.files.values())
        hosts = [
            f"{role}-{i}.{role}" for role, n in (("prompts", 2), ("answers", 3)) for i in range(n)
        ]
        checks.equal(f"{backend}, hosts", [before.count(host) for host in hosts], [1] * 5)
