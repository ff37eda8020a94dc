"""What a model is made of, read from the `config.json` that it was published with.

A configuration says all counts that the cost of a step follows from, under names that differ by
family; this module reads the families that are served today into one form.

Source: Hugging Face `config.json` files as published by their models' authors; what a family leaves
out is the default of its class in transformers 5.24 or 5.25; where vLLM 0.34 and SGLang 0.5.23 keep
states in 16 bits is their `mamba_utils.py`, and TensorRT-LLM's
`validate_and_set_mamba_ssm_cache_dtype` and `config_utils.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from serving_mathematics.core.hardware.architectures import Architecture, Attention, FeedForward
from serving_mathematics.core.hardware.attention_layers import (
    _attention_layers,
    _first_mamba,
    _grouped,
    _mamba,
)
from serving_mathematics.core.hardware.config_reader import EXPERTS, LINEAR, MOST_LAYERS, _Reader
from serving_mathematics.core.hardware.model_families import _language_model
from serving_mathematics.core.hardware.weight_formats import _UnknownFormat, published_precision

PATTERNS = "layer_types", "layers_block_type", "hybrid_override_pattern", "attn_layer_period"
TIED = (  # families whose vocabulary stands once, where a file says nothing else
    *("gemma", "gemma2", "gemma3", "gemma3_text", "gemma4", "gemma4_text", "cohere", "cohere2"),
    *("smollm3", "ernie4_5", "ernie4_5_moe", "minicpm", "minicpm3", "lfm2", "lfm2_moe"),
    *("gpt2", "gpt_bigcode", "bloom", "falcon", "opt", "mamba", "falcon_mamba", "lfm3"),
    *("gemma3n", "gemma3n_text", "ernie4_5_vl_moe", "ernie4_5_vl_moe_text", "ernie4_5_moe_vl"),
    "zaya",
)
UNGATED = (  # families whose feed-forward layers are two matrices and not three
    *("gpt_neox", "gpt2", "gptj", "opt", "bloom", "falcon", "phi", "starcoder2", "gpt_bigcode"),
    *("mpt", "nemotron", "codegen", "persimmon", "apertus", "apertus1p5_text", "arcee", "jais2"),
    *("nanochat", "biogpt", "cosmos3_edge_text", "git"),
)
HALF_STATES = (
    *("qwen3_next", "granitemoehybrid", "falcon_h1", "jamba", "olmo_hybrid"),
    *("mamba", "falcon_mamba", "mamba2", "bailing_moe_v2_5"),
)
TRTLLM_STATES = "nemotron_h", "qwen3_next", "qwen3_5"  # whose states it keeps as other values


def _half_states(read: _Reader) -> tuple[str, ...]:
    """Engines that keep states in 16 bits: as the file says to each, and as the model's other
    values where it says nothing, vLLM 0.34 those of some families, TensorRT-LLM all that it reads
    but Kimi's."""
    family = str(read.get("model_type"))
    key = "mamba_ssm_cache_dtype" if family == "nemotron_h" else "mamba_ssm_dtype"
    half = "bfloat16", "float16"
    usual = half[0] if family.startswith("qwen4_exp") else None
    found = ["vllm"] if family in HALF_STATES or read.get(key, default=usual) in half else []
    found += ["sglang"] * (read.get("mamba_ssm_dtype") in half)
    whole = read.get("mamba_ssm_cache_dtype") == "float32" or not family.startswith(TRTLLM_STATES)
    return (*found, *["trtllm"] * (not whole))


def _experts(read: _Reader, width: int, gated: int = 3) -> FeedForward:
    """A mixture: routed experts, those that every token passes, and the router."""
    hidden, experts = read.hidden, read.whole(*EXPERTS)
    chosen = read.whole(
        "num_experts_per_tok", "num_experts_per_token", "top_k_experts", "experts_per_token"
    )
    if chosen > experts:
        rule = f"'num_experts_per_tok' must be at most the {experts} experts"
        raise ValueError(f"{read.name}: {rule}, got {chosen}")
    latent = read.whole(
        "moe_latent_size", "routed_expert_hidden_size", "moe_hidden_size", default=hidden
    )
    shared = read.whole(
        "moe_shared_expert_intermediate_size",
        "shared_expert_intermediate_size",
        "shared_intermediate_size",
        "share_expert_dim",
        default=0,
        least=0,
    )
    if not shared:
        shared = width * read.whole("n_shared_experts", "num_shared_experts", default=0, least=0)
        if read.get("model_type") in ("llama4", "llama4_text"):
            shared = width
    dense = gated * hidden * shared + hidden * experts
    if latent != hidden:
        dense += 2 * hidden * latent
    if read.flag("enable_moe_block"):
        dense += gated * hidden * read.whole("intermediate_size")
    return FeedForward(dense, gated * latent * width, experts, chosen)


def _mixture_layers(read: _Reader) -> list[bool]:
    """Which layers are mixtures of experts."""
    layers = read.layers
    if read.whole(*EXPERTS, default=0, least=0) <= 1 or not read.flag("is_moe", default=True):
        return [False] * layers
    if read.has("mlp_layer_types"):
        kinds = read.of_layers("mlp_layer_types", layers, ("sparse", "dense"))
        return [kind == "sparse" for kind in kinds]
    if read.has("expert_layer_period"):
        period = read.whole("expert_layer_period")
        offset = read.whole("expert_layer_offset", default=0, least=0)
        return [i % period == offset for i in range(layers)]
    steps = "moe_layer_freq", "decoder_sparse_step", "interleave_moe_layer_step"
    key = next((step for step in steps if read.has(step)), steps[0])
    if isinstance(read.get(key), list):
        return [item == 1 for item in read.of_layers(key, layers, (0, 1))]
    every = max(1, read.whole(*steps, default=1, least=0))
    first = read.whole("first_k_dense_replace", "num_dense_layers", default=0, least=0)
    dense_only = read.items("mlp_only_layers")
    offset = every - 1 if read.has("decoder_sparse_step", "interleave_moe_layer_step") else 0
    return [i >= first and i % every == offset and i not in dense_only for i in range(layers)]


_NO_ATTENTION = Attention("none", 0)
_NO_FEED_FORWARD = FeedForward(0)


def _usual_layers(read: _Reader) -> list[tuple[Attention, FeedForward]]:
    """Layers that attend and pass a feed-forward part, each."""
    count = read.whole("num_hidden_layers", "n_layer", most=MOST_LAYERS)
    mixtures, attentions = _mixture_layers(read), _attention_layers(read)
    if any(mixtures):
        widths = "moe_intermediate_size", "expert_intermediate_size", "expert_hidden_dim"
        mixture = _experts(read, read.whole(*widths, "intermediate_size"))
    dense = _NO_FEED_FORWARD
    if not all(mixtures):
        width = read.whole(
            *("dense_intermediate_size", "intermediate_size_mlp"),
            *("prefix_dense_intermediate_size", "intermediate_size"),
        )
        dense = FeedForward((2 if read.get("model_type") in UNGATED else 3) * read.hidden * width)
    wide = replace(dense, dense_parameters=2 * dense.dense_parameters)
    wide_from = count - read.whole("wide_layers", default=0, least=0, most=count)
    return [
        (attention, mixture if mixed else wide if i >= wide_from else dense)
        for i, (attention, mixed) in enumerate(zip(attentions, mixtures, strict=True))
    ]


def _pattern_layers(read: _Reader) -> list[tuple[Attention, FeedForward]]:
    """Nemotron-H: every layer is one of Mamba, attention, feed-forward or mixture."""
    letters = {"mamba": "M", "attention": "*", "moe": "E", "mlp": "-"}
    letters |= {"linear_attention": "M", "full_attention": "*"}  # as transformers 5.24 writes them
    key = "layers_block_type" if read.has("layers_block_type") else "hybrid_override_pattern"
    kinds = read.get(key)
    if read.has("block_configs"):  # as a pruned Nemotron-H has them
        raise read.unread("block_configs", f"those without {key}")
    found = []
    for kind in kinds if isinstance(kinds, str) else read.items(key):
        letter = letters.get(str(kind), kind)
        if letter == "M":
            state = _first_mamba(read) if read.has("mamba_dt_rank") else _mamba(read)
            found.append((state, _NO_FEED_FORWARD))
        elif letter == "*":
            size, heads = read.head_width, read.heads
            kv_heads = read.heads_of(heads, "num_key_value_heads", default=heads)
            found.append((_grouped(read, heads, kv_heads, size, size), _NO_FEED_FORWARD))
        elif letter == "E":
            width = read.whole("moe_intermediate_size")
            found.append((_NO_ATTENTION, _experts(read, width, gated=2)))
        elif letter == "-":
            width = read.whole("intermediate_size")
            found.append((_NO_ATTENTION, FeedForward(2 * read.hidden * width)))
        else:
            known = ", ".join(f"{name} or {short}" for name, short in letters.items())
            raise ValueError(f"{read.name}: {key!r} must be of {known}, got {repr(kind)[:60]}")
    return found


def _block_layers(read: _Reader) -> list[tuple[Attention, FeedForward]]:
    """Nemotron-NAS: every block has its own group of heads and width, or leaves a part out."""
    hidden, heads, size = read.hidden, read.heads, read.head_width
    found = []
    for number, config in enumerate(read.items("block_configs"), start=1):
        block = read.part(f"entry {number} of 'block_configs'", config)
        attention, part = block.inside("attention"), block.inside("ffn")
        mixed, passed = _NO_ATTENTION, _NO_FEED_FORWARD
        if attention.get("n_heads_in_group"):
            group = attention.heads_of(heads, "n_heads_in_group", default=1)
            mixed = _grouped(read, heads, heads // group, size, size)
        elif attention.flag("replace_with_linear"):
            mixed = Attention("none", hidden * hidden)
        if part.get("ffn_mult"):
            width = -(-int(2 * part.number("ffn_mult") * hidden / 3) // 256) * 256
            passed = FeedForward(3 * hidden * width)
        elif part.flag("replace_with_linear"):
            passed = FeedForward(hidden * hidden)
        found.append((mixed, passed))
    return found


def _with_tables(
    read: _Reader, layers: list[tuple[Attention, FeedForward]]
) -> tuple[list[tuple[Attention, FeedForward]], int]:
    """The layers with what a row of their tables passes, and the parameters of these; of Gemma 3n
    also what leads around attention, and from one copy of a token to the others."""
    hidden, width = read.hidden, read.whole("table_width", default=0, least=0)
    around = read.whole("laurel_rank", default=64) if read.has("laurel_rank") else 0
    copies = 2 * (read.whole("copies", default=1) - 1) * hidden * hidden // max(1, len(layers))
    more = hidden * (3 * width + 2 * around) + copies
    more += read.whole("passed_beside", default=0, least=0, most=10**12)
    held = read.whole("held_beside", default=0, least=0, most=10**13)
    if not more:
        return layers, held
    passed = [
        (attention, replace(part, dense_parameters=part.dense_parameters + more))
        for attention, part in layers
    ]
    rows = read.whole("vocab_size_per_layer_input", "vocab_size")
    return passed, rows * width * len(layers) + held


def _refuse_unread(read: _Reader, layers: list[tuple[Attention, FeedForward]]) -> None:
    """Refuse a file that tells of experts or states of which no layer has any as it was read."""
    linear = any(one.kind == "linear" or one.state_values for one, _ in layers)
    mixed = any(part.experts for _, part in layers)
    for key, value in read.config.items():
        if value in (None, 0, 1, "", [], {}):
            continue
        if key.endswith("experts") and not mixed and key not in EXPERTS:
            raise read.unread(key, ", ".join(EXPERTS))
        if key.startswith("mamba") and not linear and not read.has(*PATTERNS):
            raise read.unread(key, ", ".join(PATTERNS))
    if LINEAR in read.items("layer_types") and not linear:
        raise read.unread("layer_types", "linear_attn_config beside kv_lora_rank")


def _type_of_experts(read: _Reader) -> str:
    """What a file says of its experts' numbers, in DeepSeek-V4.1's beside their format; or ''."""
    told = read.inside("quantization_config").get("expert_dtype", default="")
    experts = read.get("expert_dtype", default=told)
    if experts not in ("", "fp4", "fp8", "bf16", "bfloat16"):
        raise read._wrong("'expert_dtype'", "one of fp4, fp8, bf16", experts)
    return str(experts)


def read_architecture(config: Mapping[str, Any], name: str = "model") -> Architecture:
    """The architecture that a published `config.json` describes.

    config: the file's dictionary; a language model inside a larger one is found under
    `text_config` or `llm_config`. name: what errors call it.
    Raises ValueError, naming the key, where a count that the cost depends on is missing or wrong.

    >>> small = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    ...          "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256}
    >>> model = read_architecture(small)
    >>> model.layers[0][1].cached_values * model.layer_count * 2  # bytes a token in bf16
    131072
    >>> round(model.parameters / 1e9, 2)
    8.03
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"{name}: config.json must hold an object, got {type(config).__name__}")
    read = _language_model(config, name)
    hidden, heads = read.hidden, read.heads
    if read.has("hybrid_override_pattern", "layers_block_type"):
        layers = _pattern_layers(read)
    elif read.has("block_configs"):
        layers = _block_layers(read)
    else:
        layers = _usual_layers(read)
    layers, looked_up = _with_tables(read, layers)
    _refuse_unread(read, layers)
    try:
        published = published_precision(read.config)
    except _UnknownFormat as problem:
        published = f"{name}: {problem}"
    seeing = bool(read.get("cross_attention_layers"))  # a cache that grows with what is seen
    four_bit = published == "mxfp4" or _type_of_experts(read) == "fp4"
    return Architecture(
        name=name,
        hidden=hidden,
        vocabulary=read.whole("vocab_size"),
        heads=heads,
        context_tokens=read.whole(
            "max_position_embeddings", "n_positions", "model_max_length", default=131072
        ),
        layers=tuple((n, *pair) for pair, n in Counter(layers).items()),
        tied_embeddings=read.flag("tie_word_embeddings", default=read.get("model_type") in TIED),
        published=published,
        four_bit_experts=four_bit,
        eight_bit_rest=four_bit and published == "fp8",
        looked_up=looked_up,
        half_states=_half_states(read) if any(one.state_values for one, _ in layers) else (),
        beside=(*read.get("beside"), *["the cache of cross_attention_layers"] * seeing),
    )
