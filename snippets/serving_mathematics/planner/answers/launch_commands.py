"""The command that starts a replica that was planned, and the files that it reads: flags of vLLM,
SGLang and TensorRT-LLM, and as comments what they do not bring about.

Assumes: the names of the flags as the engines document them; where attention is in parallel over
data, groups that share the sequences evenly, and may each read as many tokens in a step as were
planned, since one of them reads a prompt; a draft model that is called after EAGLE-3 is a head of
that kind.

Source: vLLM pull requests 29431 (the longest request that fits), 32773 (FP8 made while loading) and
44132 (with a scale for each output), and its documentation of several machines; `tpu_worker.py` of
tpu-inference, which is told no other length than at first, and its `tpu_platform.py` (0.32), which
takes no format that is made while loading; vLLM documentation, engine arguments and speculative
decoding, and `vllm/config/vllm.py` (0.34), where each data-parallel rank offloads as much as is
named; SGLang pull request 24241, released with 0.5.11; SGLang documentation, server arguments and
speculative decoding, and its releases 0.5.10 to 0.5.23, which divide the chunk by the groups, and
mix chunks with stages from 0.5.12 on and with some guesses from 0.5.19 on, but guess nothing in
such a step (issues 10589 and 6874, pull requests 22920 and 35017); TensorRT-LLM documentation,
trtllm-serve and speculative decoding, and `llm_args.py`, where chunks and attention over data are
off unless asked for.
"""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import replace

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.hardware.catalogue import compared
from serving_mathematics.core.hardware.deployed_engine import (
    BLOCK_TOKENS,
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
from serving_mathematics.planner.capacity_planner.fleet_search import Performance
from serving_mathematics.planner.capacity_planner.routing import Routed
from serving_mathematics.planner.configurations import Answered
from serving_mathematics.planner.questions.question import Question

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
SIGNS = {  # of a format, in names of checkpoints
    "bf16": ("bf16",),
    "fp8": ("fp8", "w8a8"),
    "fp4": ("fp4",),
    "int4": ("int4", "w4a16", "awq", "gptq"),
}
ADDRESS = ["--host", "0.0.0.0", "--port", "8000"]  # SGLang and TensorRT-LLM hear themselves alone
NO_OVERLAP = "disable_overlap_scheduler: true\n"
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
    output where it has the kernels, from 0.24 on, and for each matrix elsewhere, which it called
    `fp8` and warns of from 0.31 on."""
    multiplied = one.system.fp8_flops_per_s > one.system.bf16_flops_per_s
    coarse = bool(one.architecture.routed_parameters) or not multiplied
    return "fp8_per_tensor" if coarse else "fp8_per_channel"


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
    share = f"{question.memory_share:g}"
    if one.backend == "vllm":
        words = ["vllm", "serve", name, "--max-num-seqs", f"{places}"]
        words += ["--max-num-batched-tokens", f"{budget}", "--gpu-memory-utilization", share]
        words += _length_words(question)
        words += _wide("--tensor-parallel-size", one.tensor)
        words += _wide("--pipeline-parallel-size", one.pipeline)
        words += _wide("--data-parallel-size", groups)
        words += ["--enable-expert-parallel"] if one.expert > 1 else []
        words += ["--quantization", _eight_bits_of_vllm(one)] if eight_bits else []
        words += ["--kv-cache-dtype", "fp8"] if stored(one).cache == 1 else []
        return words + _guess_words(one)
    if one.backend == "sglang":
        words = ["python", "-m", "sglang.launch_server", "--model-path", name, *ADDRESS]
        words += ["--enable-metrics", "--max-running-requests", f"{limit}"]
        words += ["--chunked-prefill-size", f"{budget * groups}"]
        words += ["--mem-fraction-static", f"{_static_share(question):g}"]
        words += _wide("--tp-size", one.tensor * groups) + _wide("--pp-size", one.pipeline)
        words += _wide("--attn-dp-size", groups) + _wide("--ep-size", one.expert)
        words += ["--quantization", "fp8"] if eight_bits else []
        words += ["--kv-cache-dtype", "fp8_e4m3"] if stored(one).cache == 1 else []
        return words + _guess_words(one)
    words = ["trtllm-serve", name, *ADDRESS, "--max_batch_size", f"{places}"]
    words += ["--max_num_tokens", f"{budget}"]
    words += ["--kv_cache_free_gpu_memory_fraction", share]
    words += _wide("--tp_size", one.devices // one.pipeline) + _wide("--pp_size", one.pipeline)
    return words + _wide("--ep_size", one.expert)


def _on_tpus(one: Deployment) -> bool:
    """Whether vLLM runs by its package for TPUs, which has fewer flags."""
    return one.backend == "vllm" and one.system.generation == "tpu"


def _wide(flag: str, width: int) -> list[str]:
    return [flag, f"{width}"] if width > 1 else []


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
    loads_alone = one.backend == "trtllm" or _on_tpus(one)
    possible = not loads_alone and one.precision == "fp8"
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
    groups = one.attention_data
    if one.backend == "sglang" and groups > 1:
        old = f"--dp-size {groups} --enable-dp-attention"
        notes.append(f"# SGLang from 0.5.11 to 0.5.21: {old} for --attn-dp-size")
    if one.backend == "sglang" and one.system.generation == "tpu":
        notes.append("# SGLang on TPUs is another package, SGLang-JAX, with flags of its own")
    if _on_tpus(one):
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
    if not _on_tpus(question.deployment):
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

    >>> from serving_mathematics.planner.questions.questions import read_question
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
