"""What a model is made of, read from the `config.json` that it was published with.

A step's cost follows from a few counts: parameters of attention, of dense feed-forward layers and
of each expert, values that a token leaves in the cache, and multiplications of a token with its
context. A configuration says all of them, under names that differ by family; this module reads the
families that are served today into one form.

Counts leave out norms, biases and rotary tables (below one part in a thousand).

Source: Hugging Face `config.json` files as published by their models' authors; multi-head latent
attention is DeepSeek-AI (2024), arXiv 2405.04434, section 2.1; the sparse selection of
DeepSeek-V3.2 is its report, section 2.1.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving_mathematics.require import require

EXPERTS = "n_routed_experts", "num_local_experts", "num_experts"  # by family
MOST_LAYERS = 10_000  # of a file; each is looked at


@dataclass(frozen=True)
class Attention:
    """One attention layer: parameters, what a token leaves behind, what a token multiplies with."""

    kind: str  # full, window, latent, linear or none
    parameters: int
    cached_values: int = 0  # a token and layer, both K and V
    state_values: int = 0  # a sequence and layer, independent of its length
    score_width: int = 0  # multiplications of a new token with each token of its context
    prompt_score_width: int = 0  # the same for prompts, where latent attention is unfolded
    kv_heads: int = 0  # how many devices can hold different parts of the cache
    window_tokens: int = 0  # a new token sees at most these (0: all)
    selected_tokens: int = 0  # sparse attention reads at most these of its context (0: all)
    index_values: int = 0  # values a token that choose what is read
    index_width: int = 0  # multiplications with each token of the context in choosing


@dataclass(frozen=True)
class FeedForward:
    """One feed-forward layer: dense parameters, and experts if it is a mixture."""

    dense_parameters: int  # of the dense layer or of the experts that every token passes
    expert_parameters: int = 0  # of one routed expert
    experts: int = 0
    chosen: int = 0  # experts a token


@dataclass(frozen=True)
class Architecture:
    """A model: its width, its words, and its layers as (count, attention, feed-forward)."""

    name: str
    hidden: int
    vocabulary: int
    heads: int
    context_tokens: int  # the longest that it was published for
    layers: tuple[tuple[int, Attention, FeedForward], ...]
    tied_embeddings: bool = False
    published: str = "bf16"  # precision of the published weights: bf16, fp8, fp4, mxfp4 or int4
    four_bit_experts: bool = False  # its experts are published in four bits and stay so
    eight_bit_rest: bool = False  # and what lies beside them in eight

    @property
    def layer_count(self) -> int:
        """Layers in all."""
        return sum(count for count, _, _ in self.layers)

    @functools.cached_property
    def _sums(self) -> tuple[int, int, int]:
        """Parameters of all layers: attention, dense and shared parts, routed experts."""
        return (
            sum(count * attention.parameters for count, attention, _ in self.layers),
            sum(count * part.dense_parameters for count, _, part in self.layers),
            sum(count * part.experts * part.expert_parameters for count, _, part in self.layers),
        )

    @property
    def attention_parameters(self) -> int:
        """Parameters of attention in all layers."""
        return self._sums[0]

    @property
    def dense_parameters(self) -> int:
        """Parameters of dense and shared feed-forward parts in all layers."""
        return self._sums[1]

    @property
    def routed_parameters(self) -> int:
        """Parameters of all routed experts in all layers."""
        return self._sums[2]

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the vocabulary, once or twice."""
        return self.vocabulary * self.hidden * (1 if self.tied_embeddings else 2)

    @property
    def parameters(self) -> int:
        """All parameters (without norms, biases, vision and draft heads)."""
        return (
            self.attention_parameters
            + self.dense_parameters
            + self.routed_parameters
            + self.embedding_parameters
        )

    @property
    def active_parameters(self) -> int:
        """Parameters that one token is multiplied with, the vocabulary's once."""
        chosen = sum(count * part.chosen * part.expert_parameters for count, _, part in self.layers)
        return (
            self.attention_parameters
            + self.dense_parameters
            + chosen
            + self.vocabulary * self.hidden
        )

    @property
    def expert_counts(self) -> tuple[int, ...]:
        """Numbers of routed experts that occur in its layers."""
        return tuple(sorted({part.experts for _, _, part in self.layers if part.experts}))

    def cached_values(self, context_tokens: float) -> float:
        """Values in the cache of one sequence of `context_tokens`, states included."""
        total = 0.0
        for count, attention, _ in self.layers:
            kept = context_tokens
            if attention.window_tokens:
                kept = min(kept, attention.window_tokens)
            total += count * (
                attention.state_values + kept * (attention.cached_values + attention.index_values)
            )
        return total


class _Reader:
    """Looks keys up by any of their names and says which is missing."""

    def __init__(self, config: Mapping[str, Any], name: str) -> None:
        self.config = config
        self.name = name

    def has(self, *keys: str) -> bool:
        return any(self.config.get(key) is not None for key in keys)

    def get(self, *keys: str, default: Any = None) -> Any:
        for key in keys:
            if self.config.get(key) is not None:
                return self.config[key]
        return default

    def whole(
        self, *keys: str, default: int | None = None, least: int = 1, most: int = 10**9
    ) -> int:
        value = self.get(*keys, default=default)
        if value is None:
            raise ValueError(f"{self.name}: config.json must have {' or '.join(map(repr, keys))}")
        return self._whole(repr(keys[0]), value, least, most)

    def number(self, key: str) -> float:
        """A positive one."""
        value = self.get(key)
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if not plain or not 0 < value <= 10**9:
            raise self._wrong(repr(key), "a positive number", value)
        return float(value)

    def wholes(self, key: str) -> list[int]:
        """Of a list of whole numbers; none where it is not there."""
        values = enumerate(self.items(key), start=1)
        return [self._whole(f"entry {n} of {key!r}", value, 0, 10**9) for n, value in values]

    def items(self, key: str) -> list[Any]:
        """Of a list; none where it is not there."""
        value = self.get(key, default=[])
        if not isinstance(value, list):
            raise self._wrong(repr(key), "a list", value)
        return value

    def inside(self, *keys: str) -> _Reader:
        """What stands in an object; nothing where it is not there."""
        return self.part(repr(keys[0]), self.get(*keys, default={}))

    def part(self, what: str, value: Any) -> _Reader:
        """An object inside this one, or an empty one."""
        if value and not isinstance(value, Mapping):
            raise self._wrong(what, "an object", value)
        return _Reader(value or {}, self.name)

    def _whole(self, what: str, value: Any, least: int, most: int) -> int:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not least <= value <= most or value % 1 != 0:
            raise self._wrong(what, f"a whole number from {least} to {most:,}", value)
        return int(value)

    def _wrong(self, what: str, rule: str, value: Any) -> ValueError:
        return ValueError(f"{self.name}: {what} must be {rule}, got {repr(value)[:60]}")


def _grouped(
    hidden: int, heads: int, kv_heads: int, key: int, value: int, **more: int
) -> Attention:
    """Multi-head, grouped-query or multi-query attention."""
    parameters = hidden * (heads * key + kv_heads * (key + value)) + heads * value * hidden
    window = more.get("window_tokens", 0)
    gate = more.get("gate", 0) * hidden * heads * value
    return Attention(
        "window" if window else "full",
        parameters + gate,
        cached_values=kv_heads * (key + value),
        score_width=heads * (key + value),
        prompt_score_width=heads * (key + value),
        kv_heads=kv_heads,
        window_tokens=window,
        selected_tokens=more.get("selected_tokens", 0),
        index_values=more.get("index_values", 0),
        index_width=more.get("index_width", 0),
    )


def _latent(read: _Reader, hidden: int, heads: int, indexer: bool) -> Attention:
    """Multi-head latent attention, with the selection of DeepSeek-V3.2 where it is."""
    rank = read.whole("kv_lora_rank")
    rope = read.whole("qk_rope_head_dim")
    nope = read.whole("qk_nope_head_dim")
    value = read.whole("v_head_dim")
    q_rank = read.whole("q_lora_rank", default=0, least=0)
    queries = heads * (nope + rope)
    parameters = hidden * q_rank + q_rank * queries if q_rank else hidden * queries
    parameters += hidden * (rank + rope) + rank * heads * (nope + value) + heads * value * hidden
    if read.get("mla_use_output_gate", default=False):
        parameters += hidden * heads * value
    selected = index_values = index_width = 0
    if read.has("index_topk"):
        selected = read.whole("index_topk")
        if indexer:
            width, index_heads = read.whole("index_head_dim"), read.whole("index_n_heads")
            index_values, index_width = width, index_heads * width
            parameters += (q_rank or hidden) * index_width + hidden * (width + index_heads)
    return Attention(
        "latent",
        parameters,
        cached_values=rank + rope,
        score_width=heads * (2 * rank + rope),
        prompt_score_width=heads * (nope + rope + value),
        kv_heads=1,
        selected_tokens=selected,
        index_values=index_values,
        index_width=index_width,
    )


def _compressed(read: _Reader, hidden: int, heads: int, ratio: int) -> Attention:
    """Attention of DeepSeek-V4: one shared head; blocks of `ratio` tokens are kept as one."""
    width = read.whole("head_dim")
    q_rank = read.whole("q_lora_rank")
    o_rank, groups = read.whole("o_lora_rank"), read.whole("o_groups")
    parameters = hidden * q_rank + q_rank * heads * width + hidden * width
    parameters += heads * width * o_rank + groups * o_rank * hidden
    window = read.whole("sliding_window")
    if ratio == 0:
        return Attention(
            "window",
            parameters,
            cached_values=width,
            score_width=2 * heads * width,
            prompt_score_width=2 * heads * width,
            kv_heads=1,
            window_tokens=window,
        )
    index_width = index_values = selected = 0
    if ratio <= 8:  # finely compressed layers select, coarse ones read everything
        index_width = read.whole("index_n_heads") * read.whole("index_head_dim") // ratio
        index_values = -(-read.whole("index_head_dim") // ratio)
        selected = read.whole("index_topk") * ratio
        parameters += q_rank * read.whole("index_n_heads") * read.whole("index_head_dim")
    return Attention(
        "latent",
        parameters,
        cached_values=-(-width // ratio),
        state_values=window * width,
        score_width=2 * heads * width // ratio,
        prompt_score_width=2 * heads * width // ratio,
        kv_heads=1,
        selected_tokens=selected,
        index_values=index_values,
        index_width=index_width,
    )


def _delta(hidden: int, key_heads: int, value_heads: int, key: int, value: int) -> Attention:
    """A gated delta rule (Qwen3-Next, Kimi Linear): a state in the place of a cache."""
    keys, values = key_heads * key, value_heads * value
    parameters = hidden * (2 * keys + 2 * values + 2 * value_heads) + values * hidden
    return Attention(
        "linear", parameters, state_values=value_heads * key * value, kv_heads=value_heads
    )


def _mamba(read: _Reader, hidden: int) -> Attention:
    """A Mamba-2 layer."""
    heads, width = read.whole("mamba_num_heads"), read.whole("mamba_head_dim")
    groups, state = read.whole("n_groups"), read.whole("ssm_state_size")
    inner = heads * width
    parameters = hidden * (2 * inner + 2 * groups * state + heads) + inner * hidden
    return Attention("linear", parameters, state_values=inner * state, kv_heads=heads)


def _first_mamba(read: _Reader, hidden: int) -> Attention:
    """A layer of the first Mamba, as in Jamba: a state of some values for every inner channel."""
    inner = hidden * read.whole("mamba_expand")
    state, rank = read.whole("mamba_d_state"), read.whole("mamba_dt_rank")
    parameters = 3 * hidden * inner + inner * (2 * rank + 3 * state)
    return Attention("linear", parameters, state_values=inner * state, kv_heads=inner)


def _lightning(hidden: int, heads: int, width: int) -> Attention:
    """Lightning attention (MiniMax-01): a matrix of keys and values a head, and an output gate."""
    return Attention(
        "linear",
        5 * hidden * heads * width,
        state_values=heads * width * width,
        kv_heads=heads,
    )


def _experts(read: _Reader, hidden: int, width: int, gated: int = 3) -> FeedForward:
    """A mixture: routed experts, those that every token passes, and the router."""
    experts = read.whole(*EXPERTS)
    chosen = read.whole(
        "num_experts_per_tok", "num_experts_per_token", "top_k_experts", "experts_per_token"
    )
    if chosen > experts:
        rule = f"'num_experts_per_tok' must be at most the {experts} experts"
        raise ValueError(f"{read.name}: {rule}, got {chosen}")
    latent = read.whole("moe_latent_size", "routed_expert_hidden_size", default=hidden)
    shared = read.whole(
        "moe_shared_expert_intermediate_size",
        "shared_expert_intermediate_size",
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
    if read.get("enable_moe_block", default=False):
        dense += gated * hidden * read.whole("intermediate_size")
    return FeedForward(dense, gated * latent * width, experts, chosen)


def _is_mixture(read: _Reader) -> bool:
    return read.whole(*EXPERTS, default=0, least=0) > 1


def _mixture_layers(read: _Reader, layers: int) -> list[bool]:
    """Which layers are mixtures of experts."""
    if not _is_mixture(read):
        return [False] * layers
    kinds = read.get("mlp_layer_types")
    if isinstance(kinds, list) and len(kinds) >= layers:
        return [kind == "sparse" for kind in kinds[:layers]]
    if read.has("expert_layer_period"):
        period = read.whole("expert_layer_period")
        offset = read.whole("expert_layer_offset", default=0, least=0)
        return [i % period == offset for i in range(layers)]
    steps = "moe_layer_freq", "decoder_sparse_step", "interleave_moe_layer_step"
    listed = read.get(*steps)
    if isinstance(listed, list):
        if len(listed) < layers:
            raise ValueError(f"{read.name}: 'moe_layer_freq' must have {layers} entries")
        return [bool(item) for item in listed[:layers]]
    every = max(1, read.whole(*steps, default=1, least=0))
    first = read.whole("first_k_dense_replace", default=0, least=0)
    dense_only = read.items("mlp_only_layers")
    offset = every - 1 if read.has("decoder_sparse_step", "interleave_moe_layer_step") else 0
    return [i >= first and i % every == offset and i not in dense_only for i in range(layers)]


def _attention_layers(read: _Reader, layers: int, hidden: int, heads: int) -> list[Attention]:
    """The attention of every layer."""
    kv_heads = read.whole("num_key_value_heads", default=heads)
    width = read.whole("head_dim", default=max(1, hidden // heads))
    if read.has("compress_ratios"):
        ratios = read.wholes("compress_ratios")[:layers]
        ratios += [0] * (layers - len(ratios))
        return [_compressed(read, hidden, heads, ratio) for ratio in ratios]
    if read.has("kv_lora_rank"):
        types = read.get("indexer_types")
        linear = read.inside("linear_attn_config")
        state_layers = {i - 1 for i in linear.wholes("kda_layers")}
        found = []
        for i in range(layers):
            if i in state_layers:
                count, size = linear.whole("num_heads"), linear.whole("head_dim")
                found.append(_delta(hidden, count, count, size, size))
            else:
                full = not isinstance(types, list) or i >= len(types) or types[i] == "full"
                found.append(_latent(read, hidden, heads, full))
        return found
    if read.has("attn_layer_period"):
        period = read.whole("attn_layer_period")
        offset = read.whole("attn_layer_offset", default=0, least=0)
        full = _grouped(hidden, heads, kv_heads, width, width)
        state = _first_mamba(read, hidden)
        return [full if i % period == offset else state for i in range(layers)]
    if read.has("attn_type_list"):
        listed = read.items("attn_type_list")
        if len(listed) < layers:
            raise ValueError(f"{read.name}: 'attn_type_list' must have {layers} entries")
        full = _grouped(hidden, heads, kv_heads, width, width)
        light = _lightning(hidden, heads, width)
        return [full if item == 1 else light for item in listed[:layers]]
    window = read.whole("sliding_window", "attention_chunk_size", default=0, least=0)
    if read.get("use_sliding_window", default=True) is False:
        window = 0
    kinds = read.get("layer_types")
    pattern = read.get("hybrid_layer_pattern")
    if not (isinstance(kinds, list) and len(kinds) >= layers):
        interval = read.whole("full_attention_interval", default=0, least=0)
        if isinstance(pattern, list):
            if len(pattern) < layers:
                raise ValueError(f"{read.name}: 'hybrid_layer_pattern' must have {layers} entries")
            kinds = ["sliding_attention" if item else "full_attention" for item in pattern]
        elif interval:
            kinds = [
                "full_attention" if (i + 1) % interval == 0 else "linear_attention"
                for i in range(layers)
            ]
        elif read.get("model_type") in ("llama4", "llama4_text"):
            kinds = ["full_attention" if (i + 1) % 4 == 0 else "chunked" for i in range(layers)]
        else:
            kinds = ["sliding_attention" if window else "full_attention"] * layers
    gate = 1 if read.get("attn_output_gate", "attention_output_gate", default=False) else 0
    sparse = read.inside("sparse_attention_config")
    sparse_layers = sparse.items("sparse_attention_freq")
    found = []
    for i, kind in enumerate(kinds[:layers]):
        if kind == "linear_attention":
            found.append(
                _delta(
                    hidden,
                    read.whole("linear_num_key_heads"),
                    read.whole("linear_num_value_heads"),
                    read.whole("linear_key_head_dim"),
                    read.whole("linear_value_head_dim"),
                )
            )
        elif kind == "full_attention":
            size = read.whole("global_head_dim", default=width)
            shared = read.whole("num_global_key_value_heads", default=kv_heads)
            more = {"gate": gate}
            if i < len(sparse_layers) and sparse_layers[i]:
                index = sparse.whole("sparse_index_dim")
                blocks = sparse.whole("sparse_topk_blocks")
                more["selected_tokens"] = blocks * sparse.whole("sparse_block_size")
                more["index_values"] = index
                more["index_width"] = sparse.whole("sparse_num_index_heads") * index
            value = size if read.has("global_head_dim") else read.whole("v_head_dim", default=size)
            found.append(_grouped(hidden, heads, shared, size, value, **more))
        else:
            size = read.whole("swa_head_dim", default=width)
            value = read.whole("swa_v_head_dim", "v_head_dim", default=size)
            shared = read.whole("swa_num_key_value_heads", default=kv_heads)
            found.append(
                _grouped(hidden, heads, shared, size, value, gate=gate, window_tokens=window)
            )
    return found


_NO_ATTENTION = Attention("none", 0)
_NO_FEED_FORWARD = FeedForward(0)


def _pattern_layers(read: _Reader, hidden: int, heads: int) -> list[tuple[Attention, FeedForward]]:
    """Nemotron-H: every layer is one of Mamba, attention, feed-forward or mixture."""
    letters = {"mamba": "M", "attention": "*", "moe": "E", "mlp": "-"}
    key = "layers_block_type" if read.has("layers_block_type") else "hybrid_override_pattern"
    kinds = read.get(key)
    found = []
    for kind in kinds if isinstance(kinds, str) else read.items(key):
        letter = letters.get(str(kind), kind)
        if letter == "M":
            found.append((_mamba(read, hidden), _NO_FEED_FORWARD))
        elif letter == "*":
            size = read.whole("head_dim", "attention_head_dim", default=hidden // heads)
            kv_heads = read.whole("num_key_value_heads")
            found.append((_grouped(hidden, heads, kv_heads, size, size), _NO_FEED_FORWARD))
        elif letter == "E":
            width = read.whole("moe_intermediate_size")
            found.append((_NO_ATTENTION, _experts(read, hidden, width, gated=2)))
        elif letter == "-":
            width = read.whole("intermediate_size")
            found.append((_NO_ATTENTION, FeedForward(2 * hidden * width)))
        else:
            known = ", ".join(f"{name} or {short}" for name, short in letters.items())
            raise ValueError(f"{read.name}: {key!r} must be of {known}, got {repr(kind)[:60]}")
    return found


def _block_layers(read: _Reader, hidden: int, heads: int) -> list[tuple[Attention, FeedForward]]:
    """Nemotron-NAS: every block has its own group of heads and width, or leaves a part out."""
    size = hidden // heads
    found = []
    for number, config in enumerate(read.items("block_configs"), start=1):
        block = read.part(f"entry {number} of 'block_configs'", config)
        attention, part = block.inside("attention"), block.inside("ffn")
        mixed, passed = _NO_ATTENTION, _NO_FEED_FORWARD
        if attention.get("n_heads_in_group"):
            group = attention.whole("n_heads_in_group", most=heads)
            mixed = _grouped(hidden, heads, heads // group, size, size)
        elif attention.get("replace_with_linear"):
            mixed = Attention("none", hidden * hidden)
        if part.get("ffn_mult"):
            width = -(-int(2 * part.number("ffn_mult") * hidden / 3) // 256) * 256
            passed = FeedForward(3 * hidden * width)
        elif part.get("replace_with_linear"):
            passed = FeedForward(hidden * hidden)
        found.append((mixed, passed))
    return found


def published_precision(config: Mapping[str, Any]) -> str:
    """Precision of the published weights: `bf16`, `fp8`, `fp4`, `mxfp4` or `int4`.

    config: the dictionary of a `config.json`, with `quantization_config` where there is one.

    >>> published_precision({"quantization_config": {"quant_method": "mxfp4"}})
    'mxfp4'
    >>> published_precision({})
    'bf16'
    """
    quantization = config.get("quantization_config") or config.get("quantization") or {}
    fine = isinstance(quantization, Mapping)
    require(fine, "quantization_config", "an object", repr(quantization)[:60])
    text = str({k: v for k, v in quantization.items() if k not in ("ignore",)}).lower()
    if not quantization:
        return "bf16"
    if "mxfp4" in text:
        return "mxfp4"
    if "fp4" in text or ("'num_bits': 4" in text and "'type': 'float'" in text):
        return "fp4"
    if "'num_bits': 4" in text or "int4" in text or "awq" in text or "gptq" in text:
        return "int4"
    return "fp8" if "fp8" in text or "'num_bits': 8" in text or "fbgemm" in text else "bf16"


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
    inner = _Reader(config, name).inside("text_config", "llm_config").config
    merged = {**config, **inner}
    read = _Reader(merged, name)
    hidden = read.whole("hidden_size", "n_embd", "d_model")
    heads = read.whole("num_attention_heads", "n_head")
    if read.has("hybrid_override_pattern", "layers_block_type"):
        layers = _pattern_layers(read, hidden, heads)
    elif read.has("block_configs"):
        layers = _block_layers(read, hidden, heads)
    else:
        count = read.whole("num_hidden_layers", "n_layer", most=MOST_LAYERS)
        mixtures = _mixture_layers(read, count)
        attentions = _attention_layers(read, count, hidden, heads)
        if any(mixtures):
            width = read.whole(
                "moe_intermediate_size", "expert_intermediate_size", "intermediate_size"
            )
            mixture = _experts(read, hidden, width)
        dense = _NO_FEED_FORWARD
        if not all(mixtures):
            dense_width = read.whole(
                "dense_intermediate_size", "intermediate_size_mlp", "intermediate_size"
            )
            dense = FeedForward(3 * hidden * dense_width)
        layers = [
            (attention, mixture if mixed else dense)
            for attention, mixed in zip(attentions, mixtures, strict=True)
        ]
    published = published_precision(merged)
    four_bit = published == "mxfp4" or merged.get("expert_dtype") == "fp4"
    return Architecture(
        name=name,
        hidden=hidden,
        vocabulary=read.whole("vocab_size"),
        heads=heads,
        context_tokens=read.whole("max_position_embeddings", "n_positions", default=131072),
        layers=tuple((n, *pair) for pair, n in Counter(layers).items()),
        tied_embeddings=bool(read.get("tie_word_embeddings", default=False)),
        published=published,
        four_bit_experts=four_bit,
        eight_bit_rest=four_bit and published == "fp8",
    )
