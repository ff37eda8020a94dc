"""A deployment: a model on devices, by whom it is served, and how it is loaded.

It says how the weights are stored, how many sequences fit, and refuses what cannot be: heads or
experts that do not divide, weights that do not fit, a context that the model was not made for.

Bytes a device: attention over `tensor` devices, dense parts over the same, experts over all; a
cache of grouped-query attention over at most its heads, one of latent attention on every device.

Source: Pope et al. (2023), "Efficiently Scaling Transformer Inference", MLSys, sections 3 and 4;
DeepSeek-AI (2024), arXiv 2412.19437, section 3.4 (attention in parallel over data); the parts that
published checkpoints leave in 16 bits are listed in their `hf_quant_config.json`, which also has
the cache's format (vLLM, pull request 30785; `openai/gpt-oss-120b` has no such file).
"""

# In one piece: what a device holds, and what is refused because it does not: each bound is a sum of
# the bytes above it.

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from serving_mathematics.core.hardware.architectures import Architecture, Attention, FeedForward
from serving_mathematics.core.hardware.systems import System
from serving_mathematics.support.require import (
    require,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

BACKENDS = ("trtllm", "sglang", "vllm")
PRECISIONS = ("bf16", "fp8", "fp4", "int4")
FOUR_BIT_BYTES = 0.5625  # 4 bits and one 8-bit scale for 16 values (NVFP4)
GROUPED_BYTES = 0.53125  # 4 bits and one 8-bit scale for 32 values (MXFP4), or 16 bits for 64
MEMORY_SHARE = 0.9  # of a device's memory, that an engine may use
RESERVED_BYTES = 4 * 2**30  # of it, on one device: libraries, CUDA graphs, activations, as logged
CACHE_WIDTHS = (0.0, FOUR_BIT_BYTES, 1.0, 2.0)  # bytes of a cached value; 0: as published
SCALED_VALUES, SCALE_BYTES = 128, 4.0  # an 8-bit index has one scale for so many values
ROTATED_VALUES = 64  # of a latent, that carry the position
OWN_HEADS, FROM_TEXT = "mtp", "ngram"  # heads of the model, each a layer; the tokens so far
SAME_WORDS = 0.01  # by which vocabularies of one tokenizer differ, padded
DRAFTERS = (OWN_HEADS, FROM_TEXT)  # what guesses without a model of its own


@dataclass(frozen=True)
class Storage:
    """Bytes a value, by part."""

    attention: float
    dense: float
    experts: float
    vocabulary: float
    cache: float
    state: float = 4.0


@dataclass(frozen=True)
class Deployment:
    """One engine: what it serves, on what, split how, under what load."""

    architecture: Architecture
    system: System
    backend: str
    precision: str
    input_tokens: float  # nominal length of a prompt
    output_tokens: float  # nominal length of an answer
    concurrency: float  # requests in the whole engine, waiting ones included
    tensor: int = 1  # devices that share one layer's attention
    pipeline: int = 1  # stages
    attention_data: int = 1  # groups that hold attention each for their own requests
    expert: int = 1  # devices that hold different experts
    shortest_share: float = 1.0  # lengths are uniform between this share of nominal and nominal
    draft_tokens: int = 0  # guessed each step
    accepted_tokens: float = 1.0  # tokens a step and sequence, 1 without guessing
    cache_bytes: float = 0.0  # of a value in the cache; 0: as checkpoints of the precision say
    drafter: Architecture | str = OWN_HEADS  # what guesses: a model, or one of `DRAFTERS`
    memory_share: float = MEMORY_SHARE  # of a device, that the engine may use
    held_steps: float = 0.0  # of decoding, for which a new prompt is kept back, on average

    @property
    def devices(self) -> int:
        """Devices of the engine."""
        return self.tensor * self.attention_data * self.pipeline

    @property
    def kind(self) -> str:
        """By which a plan is padded: what the model is, and the generation of the devices."""
        sparse = self.architecture.routed_parameters > 0
        latent = any(one.kind == "latent" for _, one, _ in self.architecture.layers)
        shape = "latent mixture" if sparse and latent else "mixture" if sparse else "dense"
        return f"{shape}, {self.system.generation}"

    @property
    def mean_input_tokens(self) -> float:
        """Tokens of a prompt, on average."""
        return self.input_tokens * (1 + self.shortest_share) / 2

    @property
    def mean_output_tokens(self) -> float:
        """Tokens of an answer, on average."""
        return self.output_tokens * (1 + self.shortest_share) / 2


WORKED = Deployment(  # the example of docstrings: Llama-3.1-8B on an H100, in 16 bits
    Architecture(
        "Llama-3.1-8B",
        hidden=4096,
        vocabulary=128256,
        heads=32,
        context_tokens=131072,
        layers=(
            (
                32,
                Attention(
                    "full",
                    41943040,
                    cached_values=2048,
                    score_width=8192,
                    prompt_score_width=8192,
                    kv_heads=8,
                ),
                FeedForward(176160768),
            ),
        ),
    ),
    System("h100_sxm", "hopper", 85.9e9, 3.35e12, 989e12, 1979e12, 989e12, 4.5e11, 8, 5e10),
    "vllm",
    "bf16",
    input_tokens=1000,
    output_tokens=200,
    concurrency=8,
)


def storage(architecture: Architecture, precision: str) -> Storage:
    """Bytes a value of each part, as published checkpoints of that precision store it.

    Four-bit checkpoints of mixtures keep attention in 16 bits, those of dense models do not; a
    model whose experts are published in four bits keeps them so at any precision. The cache is in
    eight bits where other models were brought to four, because those checkpoints say so, and in 16
    otherwise: one published in four bits says nothing of its cache, and engines leave it in 16.
    precision: one of `PRECISIONS`. Raises ValueError otherwise.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> storage(WORKED.architecture, "fp4").attention  # dense: four bits and a scale of 16 values
    0.5625
    """
    require(precision in PRECISIONS, "precision", f"one of {', '.join(PRECISIONS)}", precision)
    whole = {"bf16": 2.0, "fp8": 1.0, "fp4": FOUR_BIT_BYTES, "int4": GROUPED_BYTES}[precision]
    mixture = architecture.routed_parameters > 0
    experts = whole
    rest = 2.0 if mixture and precision in ("fp4", "int4") else whole
    if architecture.four_bit_experts:
        experts = GROUPED_BYTES if whole > FOUR_BIT_BYTES or precision == "fp4" else whole
        rest = 1.0 if architecture.eight_bit_rest else 2.0
    made = precision == "fp4" and not architecture.four_bit_experts
    return Storage(rest, rest, experts, 2.0, 1.0 if made else 2.0)


def stored(deployment: Deployment) -> Storage:
    """Bytes a value of each part of a deployment.

    >>> import dataclasses
    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> stored(dataclasses.replace(WORKED, cache_bytes=1.0)).cache
    1.0
    """
    kept = storage(deployment.architecture, deployment.precision)
    if deployment.backend in deployment.architecture.half_states:
        kept = replace(kept, state=2.0)
    return replace(kept, cache=deployment.cache_bytes) if deployment.cache_bytes else kept


def own_precision(architecture: Architecture) -> str:
    """The precision in which a model's weights were published. Raises ValueError where it is not
    known.

    >>> from serving_mathematics.core.hardware.catalogue import find_model
    >>> own_precision(find_model("gpt-oss-120b")[0])
    'fp4'
    """
    own = "fp4" if architecture.published == "mxfp4" else architecture.published
    if own not in PRECISIONS:
        raise ValueError(f"{own}; or say a precision: {', '.join(PRECISIONS)}")
    return own


def _require_kept_experts(architecture: Architecture, precision: str, rather: str) -> None:
    """Refuse more bits than experts have that were published in four: in these it would be planned.

    rather: what to say instead.
    """
    kept = ("fp4", "int4", *["fp8"] * architecture.eight_bit_rest)
    fine = not architecture.four_bit_experts or precision in kept
    name = architecture.name
    rule = f"{rather}, as the experts of {name} were published in four bits and stay so"
    possible(fine, "precision", rule, precision)


def draft_engine(deployment: Deployment) -> Deployment | None:
    """The draft model of a deployment as an engine of its own on the same devices, None where no
    model guesses: split the same way, in its published precision, its cache in the model's.

    Source: vLLM, `DraftModelProposer`, which demands the tensor parallelism of the model.

    >>> import dataclasses
    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> draft_engine(dataclasses.replace(WORKED, draft_tokens=3)) is None  # its own heads guess
    True
    """
    model = deployment.drafter
    if isinstance(model, str):
        return None
    return replace(
        deployment,
        architecture=model,
        precision=own_precision(model),
        expert=deployment.expert if model.expert_counts else 1,
        draft_tokens=0,
        accepted_tokens=1.0,
        cache_bytes=stored(deployment).cache,
        drafter=OWN_HEADS,
    )


def cache_devices(attention: Attention, tensor: int) -> int:
    """Devices that hold different parts of a layer's cache: at most its heads, at least one.

    Raises ValueError unless tensor is a positive integer.

    >>> cache_devices(Attention("full", 0, kv_heads=8), 16)
    8
    """
    tensor = require_positive_integer(tensor=tensor)
    return max(1, min(tensor, attention.kv_heads))


def weight_bytes(deployment: Deployment) -> float:
    """Bytes of weights on one device, the vocabulary's two tables over its tensor group; a draft
    model's too.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> round(weight_bytes(WORKED) / 1e9, 1)
    16.1
    """
    kept = stored(deployment)
    model, tensor = deployment.architecture, deployment.tensor
    all_devices = tensor * deployment.attention_data
    layers = (
        model.attention_parameters * kept.attention / tensor
        + model.dense_parameters * kept.dense / tensor
        + model.routed_parameters * kept.experts / all_devices
    ) / deployment.pipeline
    draft = draft_engine(deployment)
    beside = weight_bytes(draft) if draft else 0.0
    return layers + model.embedding_parameters * kept.vocabulary / tensor + beside


def layer_token_bytes(attention: Attention, cache_bytes: float) -> tuple[float, float]:
    """Bytes of a token in a layer's cache, and in its index, on a device that holds all heads.

    cache_bytes: of a value. A latent that selects is kept in a layout of its own in eight bits:
    values in one byte with a scale of four bytes for 128 of them, and those that carry the position
    in two. An index has such scales too. What has bytes of its own (DeepSeek-V4) is kept in these,
    whatever is asked. Raises ValueError unless cache_bytes is positive.
    Source: vLLM, `fp8_ds_mla` (656 bytes) and the indexer's cache (132 bytes) of DeepSeek-V3.2, and
    of DeepSeek-V4 584 bytes, as in SGLang's `kv_layout.py`.

    >>> from serving_mathematics.core.hardware.catalogue import find_model
    >>> latent = find_model("DeepSeek-V3.2")[0].layers[0][1]
    >>> layer_token_bytes(latent, 1.0), layer_token_bytes(latent, 2.0)
    ((656.0, 132.0), (1152.0, 132.0))
    """
    cache_bytes = require_positive(cache_bytes=cache_bytes)
    scaled = 1 + SCALE_BYTES / SCALED_VALUES
    latent = attention.kind == "latent" and attention.selected_tokens and not attention.own_bytes
    cached = attention.cached_values * (attention.own_bytes or cache_bytes)
    if latent and cache_bytes == 1:
        cached = (attention.cached_values - ROTATED_VALUES) * scaled + 2.0 * ROTATED_VALUES
    return cached, attention.index_values * scaled


def sequence_bytes(deployment: Deployment, context_tokens: float) -> float:
    """Bytes on one device that a sequence of so many tokens holds, states as the engine keeps them;
    in a draft model's cache too.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> sequence_bytes(WORKED, 1)  # 32 layers, keys and values, 8 heads of 128, 2 bytes
    131072.0
    """
    context_tokens = require_non_negative(context_tokens=context_tokens)
    return float(_held_bytes(deployment, context_tokens))


def _held_bytes(deployment: Deployment, context_tokens: Any) -> Any:
    """The same of a number or an array of them."""
    kept = stored(deployment)
    total = 0.0
    for count, attention, _ in deployment.architecture.layers:
        tokens = 0.0 if attention.borrowed else context_tokens
        if attention.window_tokens:
            tokens = np.minimum(tokens, attention.window_tokens)
        parts = cache_devices(attention, deployment.tensor)
        cached, index = layer_token_bytes(attention, kept.cache)
        states = attention.state_values * kept.state / parts + 4.0 * attention.waiting_values
        total = total + count * (tokens * (cached / parts + index) + states)
    draft = draft_engine(deployment)
    beside = _held_bytes(draft, context_tokens) if draft else 0.0
    return total / deployment.pipeline + beside


def cache_room_bytes(deployment: Deployment, reserved_bytes: float = RESERVED_BYTES) -> float:
    """Bytes of one device that an engine leaves to the cache, 0 where nothing is left.

    vLLM takes its share of the device for everything, SGLang one for weights and cache, which is
    smaller by what is reserved, TensorRT-LLM one of what weights and the rest leave.
    reserved_bytes: of a device, for what is neither weights nor cache, >= 0. Raises ValueError
    otherwise.
    Source: vLLM, `gpu_memory_utilization`, whose logs leave 3.7 GiB to activations and graphs;
    SGLang, hyperparameter tuning, `mem_fraction_static`; TensorRT-LLM, `free_gpu_memory_fraction`.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> round(cache_room_bytes(WORKED) / 1e9, 1)  # 0.9 * 85.9 - 4.3 - 16.1
    57.0
    """
    reserved_bytes = require_non_negative(reserved_bytes=reserved_bytes)
    share = deployment.memory_share
    memory, weights = deployment.system.memory_bytes, weight_bytes(deployment)
    if deployment.backend == "trtllm":
        return max(0.0, share * (memory - weights - reserved_bytes))
    return max(0.0, share * memory - reserved_bytes - weights)


def room_sequences(deployment: Deployment) -> float:
    """Sequences that the whole engine can hold at once, at least one a group.

    TensorRT-LLM reserves the longest answer when it admits; the others page, and hold on average
    the prompt and somewhat more than half of the answer.
    Source: TensorRT-LLM documentation, capacity scheduler policy; Kwon et al. (2023), section 4.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> 350 < room_sequences(WORKED) < 450  # 57 GB for sequences of 0.15 GB
    True
    """
    if deployment.backend == "trtllm":
        tokens = deployment.input_tokens + deployment.output_tokens
    else:
        tokens = deployment.mean_input_tokens + 0.6 * deployment.mean_output_tokens
    each = cache_room_bytes(deployment) / max(sequence_bytes(deployment, tokens), 1.0)
    return max(each, 1.0) * deployment.attention_data


def fewest_devices(deployment: Deployment) -> int:
    """The power of two of devices, split by tensor, whose memory holds the weights.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> fewest_devices(WORKED)
    1
    """
    devices = 1
    while devices < 4096:
        tried = replace(deployment, tensor=devices, pipeline=1, attention_data=1)
        if weight_bytes(tried) < deployment.system.memory_bytes - RESERVED_BYTES:
            return devices
        devices *= 2
    return devices


class Impossible(ValueError):
    """A deployment that cannot be: a split that the model does not allow, or weights that do not
    fit. Among several that are compared it is passed over, where any other error ends the
    comparison.
    """


def possible(condition: object, argument: str, rule: str, value: object) -> None:
    """Raise Impossible, in the words of `require`, unless the condition holds.

    condition, argument, rule, value: as for require.

    >>> possible(32 % 4 == 0, "tensor", "a divisor of the 32 heads", 4)
    """
    try:
        require(condition, argument, rule, value)
    except ValueError as problem:
        raise Impossible(str(problem)) from None


def _require_drafter(deployment: Deployment) -> None:
    """Refuse what cannot guess for this model, or not in this split."""
    model, drafter = deployment.architecture, deployment.drafter
    alone = deployment.attention_data
    if deployment.backend == "sglang" and deployment.draft_tokens and drafter != OWN_HEADS:
        possible(alone == 1, "attention_data", "1 in sglang where no heads guess", alone)
    if deployment.backend == "sglang" and deployment.draft_tokens:
        stages = deployment.pipeline
        possible(stages == 1, "pipeline", "1 in sglang where tokens are guessed", stages)
    if isinstance(drafter, str):
        require(drafter in DRAFTERS, "drafter", f"a model or {' or '.join(DRAFTERS)}", drafter)
        return
    drafts, stages = deployment.draft_tokens, deployment.pipeline
    require(drafts >= 1, "draft_tokens", f"1 or more where {drafter.name} guesses", drafts)
    alike = abs(drafter.vocabulary / model.vocabulary - 1) < SAME_WORDS
    rule = f"a model of the {model.vocabulary:,} tokens of {model.name}"
    require(alike, "drafter", rule, f"{drafter.name} with {drafter.vocabulary:,}")
    possible(stages == 1, "pipeline", f"1 where {drafter.name} guesses", stages)
    rule = f"a divisor of the {drafter.heads} heads of {drafter.name}"
    possible(drafter.heads % deployment.tensor == 0, "tensor", rule, deployment.tensor)


def require_deployment(deployment: Deployment) -> None:
    """Raise Impossible where a split or the memory cannot be, ValueError on numbers out of range;
    both name what is wrong and what would do.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> require_deployment(WORKED)
    >>> import dataclasses
    >>> require_deployment(dataclasses.replace(WORKED, tensor=3))
    ... # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    Impossible: tensor must be a divisor of the 32 heads of Llama-3.1-8B, got 3
    """
    model, tensor = deployment.architecture, deployment.tensor
    known = deployment.backend in BACKENDS
    require(known, "backend", f"one of {', '.join(BACKENDS)}", deployment.backend)
    foreign = deployment.backend == "trtllm" and deployment.system.generation in ("cdna", "tpu")
    rule = f"vllm or sglang on {deployment.system.shown}"
    possible(not foreign, "backend", rule, deployment.backend)
    for name in ("input_tokens", "output_tokens", "concurrency"):
        value = getattr(deployment, name)
        require(math.isfinite(value) and 1 <= value <= 1e8, name, "from 1 to 1e8", value)
    for name in ("tensor", "pipeline", "attention_data", "expert"):
        value = getattr(deployment, name)
        require(1 <= value <= 4096, name, "from 1 to 4096", value)
    share = deployment.shortest_share
    require(0 < share <= 1, "shortest_share", "in (0, 1]", share)
    require_in("(0, 1]", memory_share=deployment.memory_share)
    require_non_negative(held_steps=deployment.held_steps)
    width = deployment.cache_bytes
    require(width in CACHE_WIDTHS, "cache_bytes", "0, 0.5625, 1 or 2", width)
    drafts, accepted = deployment.draft_tokens, deployment.accepted_tokens
    require(0 <= drafts <= 16, "draft_tokens", "from 0 to 16", drafts)
    rule = f"from 1 to draft_tokens + 1 = {drafts + 1}"
    require(1 <= accepted <= drafts + 1, "accepted_tokens", rule, accepted)
    _require_drafter(deployment)
    tokens = deployment.input_tokens + deployment.output_tokens
    rule = f"at most {model.context_tokens}, the context of {model.name}"
    possible(tokens <= model.context_tokens, "input_tokens + output_tokens", rule, tokens)
    rule = f"a divisor of the {model.heads} heads of {model.name}"
    possible(model.heads % tensor == 0, "tensor", rule, tensor)
    rule = f"at most the {model.layer_count} layers of {model.name}"
    possible(deployment.pipeline <= model.layer_count, "pipeline", rule, deployment.pipeline)
    if deployment.expert > 1:
        expert, width = deployment.expert, tensor * deployment.attention_data
        possible(model.expert_counts, "expert", f"1 for {model.name}, without experts", expert)
        for experts in model.expert_counts:
            rule = f"a divisor of the {experts} experts of {model.name}"
            possible(experts % expert == 0, "expert", rule, expert)
        rule = f"a divisor of the {width} devices of a stage"
        possible(width % expert == 0, "expert", rule, expert)
    held, there = weight_bytes(deployment), deployment.system.memory_bytes
    left = max(0.0, there - RESERVED_BYTES)
    rule = (
        f"below the {left / 1e9:.0f} GB of the {deployment.system.shown} for them "
        f"({fewest_devices(deployment)} devices would do at {deployment.precision})"
    )
    possible(held < there - RESERVED_BYTES, "weights", rule, f"{held / 1e9:.0f} GB a device")
