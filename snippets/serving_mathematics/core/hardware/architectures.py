"""What a model is made of, read from the `config.json` that it was published with.

A step's cost follows from a few counts: parameters of attention, of dense feed-forward layers and
of each expert, values that a token leaves in the cache, and multiplications of a token with its
context. A configuration says all of them, under names that differ by family; this module reads the
families that are served today into one form.

Counts leave out norms, biases and rotary tables (below one part in a thousand).

Source: Hugging Face `config.json` files as published by their models' authors; multi-head latent
attention is DeepSeek-AI (2024), arXiv 2405.04434, section 2.1; the sparse selection of
DeepSeek-V3.2 is its report, section 2.1; what a family leaves out is the default of its class in
transformers 5.24 or 5.25; where vLLM 0.33 and SGLang 0.5.23 keep states in 16 bits is their
`mamba_utils.py`, and TensorRT-LLM's `validate_and_set_mamba_ssm_cache_dtype` and `config_utils.py`;
what they keep of DeepSeek-V4 is vLLM's `compressor.py` and SGLang's `deepseek_v4_memory_pool.py`.
"""

# In one piece: one reader of `config.json`: a case for each family of models, and most families
# share the cases of others.

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from serving_mathematics.support.require import require

EXPERTS = "n_routed_experts", "num_local_experts", "num_experts"  # by family
MOST_LAYERS = 10_000  # of a file; each is looked at
WINDOW_KINDS = "sliding_attention", "chunked_attention", "chunked"  # kinds of layers, by family
LAYER_KINDS = ("full_attention", "linear_attention", *WINDOW_KINDS, "attention")
PATTERNS = "layer_types", "layers_block_type", "hybrid_override_pattern", "attn_layer_period"
FULL_EVERY = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "cohere2": 4}  # which layer has no window
ALL_WINDOWS = (  # families whose every layer has the window, where a file says nothing else
    *(None, "mistral", "mixtral", "phi3", "starcoder2", "olmo2"),
    *("qwen2", "qwen2_moe", "qwen3", "qwen3_moe"),
)
UNREAD = (  # parts of a file that say of its layers what is not read here
    *(
        "attn_layer_indices",
        "attention_layers",
        "full_attn_idxs",
        "block_types",
        "hybrid_layer_ids",
    ),
    *("num_kv_shared_layers", "cla_share_factor", "attn_config", "ssm_cfg", "altup_num_inputs"),
    *("num_layers_per_stack", "kv_channels", "per_layer_config", "hidden_size_per_layer_input"),
    *("layer_group_size", "mixer_types", "residual_moe", "loop_num", "num_loops", "window_sizes"),
    *("kv_source_layers", "kv_source_layer_ids", "engram_layer_ids", "ple_layer_ids"),
    *("mova_num_experts", "zero_expert_num", "attention_other_setting", "num_attention_groups"),
    *("indexer_n_heads", "indexer_budget", "total_ut_steps"),
    *("share_q_dim", "swa_kv_lora_rank", "efficient_attention_config"),
    *("v_channels", "qk_nope_dim", "interleaved_sliding_window"),  # openPangu's widths and windows
    *("block_attn_res_block_size",),  # Alice AI, which has a gate that no key tells
    *("ngram_vocab_size_ratio", "emb_neighbor_num"),  # LongCat's tables of several words
    *("cross_layer_interval", "aligner_num_add_layers", "encoder_hidden_size"),  # of others' tokens
    *("num_codebooks", "flow_head_config"),  # and of several answers at once
    *("local_layer_ids", "sliding_windows"),  # Inkling's, and one for each layer
)
ONCE = "layer_group_size", "loop_num", "num_loops", "total_ut_steps"  # which say nothing if 1
TIED = (  # families whose vocabulary stands once, where a file says nothing else
    *("gemma", "gemma2", "gemma3", "gemma3_text", "gemma4", "gemma4_text", "cohere", "cohere2"),
    *("smollm3", "ernie4_5", "ernie4_5_moe", "minicpm", "minicpm3", "lfm2", "lfm2_moe"),
    *("gpt2", "gpt_bigcode", "bloom", "falcon", "opt", "mamba", "falcon_mamba", "lfm3"),
    *("gemma3n", "gemma3n_text", "ernie4_5_vl_moe", "ernie4_5_vl_moe_text", "ernie4_5_moe_vl"),
    "zaya",
)
SIZES = (  # which files of a model of language inside another leave out where they are as usual
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "vocab_size", "head_dim", "sliding_window"),
)
USUAL_SIZES = {  # by family, in that order, as their classes have them
    "llama": (4096, 11008, 32, 32, None, 32000),
    "mistral": (4096, 14336, 32, 32, 8, 32000, None, 4096),
    "qwen2": (4096, 22016, 32, 32, 32, 151936, None, 4096),
    "qwen3": (4096, 22016, 32, 32, 32, 151936, 128, 4096),
    "gemma": (3072, 24576, 28, 16, 16, 256000, 256),
    "gemma2": (2304, 9216, 26, 8, 4, 256000, 256, 4096),
    "gemma3_text": (2304, 9216, 26, 8, 4, 262208, 256, 4096),
    "phi3": (3072, 8192, 32, 32, None, 32064),
    "opt": (768, 3072, 12, 12, None, 50272),
}
OF_ALL = (  # what is said outside of a model of language and holds for it
    *("model_type", "architectures", "is_encoder_decoder", "torch_dtype", "dtype", "expert_dtype"),
    *("quantization_config", "quantization", "vocab_size", "max_position_embeddings"),
)
SEEING = ("cross_attention_layers",)  # whose caches grow with what is seen, not with an answer
SENSES = re.compile(  # parts that are not of it
    r"\w{,30}(vision|visual|audio|speech|image|img_|sound|_encoder|talker|2wav|acoustic|semantic"
    r"|codec|tts|qformer|perceiver|vq_config)\w{,30}"
)
UNGATED = (  # families whose feed-forward layers are two matrices and not three
    *("gpt_neox", "gpt2", "gptj", "opt", "bloom", "falcon", "phi", "starcoder2", "gpt_bigcode"),
    *("mpt", "nemotron", "codegen", "persimmon", "apertus", "apertus1p5_text", "arcee", "jais2"),
    *("nanochat", "biogpt", "cosmos3_edge_text", "git"),
)
QWENS = "qwen2", "qwen3"  # which use a window if they say so, and from the 29th layer on
HALF_STATES = (
    *("qwen3_next", "granitemoehybrid", "falcon_h1", "jamba", "olmo_hybrid"),
    *("mamba", "falcon_mamba", "mamba2", "bailing_moe_v2_5"),
)
TRTLLM_STATES = "nemotron_h", "qwen3_next", "qwen3_5"  # whose states it keeps as other values
GATED = (  # families whose attention has a gate that no key need tell
    *("qwen3_next", "qwen3_5", "qwen4_exp", "afmoe", "muse_", "beam", "minicpm5_moe"),
    *("inkling2_", "ricursive"),
)
IN_HOST, ENDS = "in the host's memory", "the ends of prompts alone"
UNSEEN = IN_HOST, ENDS  # what ends the names of parts that neither see nor hear
PLAIN_TYPES = (
    None,
    "",
    "auto",
    "bfloat16",
    "float16",
    "float32",
    "torch.bfloat16",
    "torch.float16",
)
NO_DECODERS = (  # families that do not answer token by token, or not alone; and all of "bert"
    *("t5", "mt5", "bart", "mbart", "pegasus", "whisper", "vit", "clip", "rwkv"),
    *("electra", "big_bird", "data2vec-text", "ernie", "ernie_m", "esm", "esmc", "funnel", "fnet"),
    *("gte", "jina_embeddings_v3", "layoutlm", "longformer", "luke", "mpnet", "mra", "neomme"),
    *("nystromformer", "roformer", "tapas", "xmod", "yoso", "splinter", "canine", "dpr", "new"),
    *("diffusion_gemma", "llada", "llada2_moe", "Dream", "sdar", "sdar_moe", "vilt", "vibevoice"),
)
MISSING = {  # families of which something has no place in what is read here, and what is done
    **dict.fromkeys(
        ("zamba", "zamba2"),
        ("weights that stand once and are read in several layers", "; count each as one"),
    ),
    **dict.fromkeys(
        ("dory", "inkling2_loop", "inkling2_loop_text"),
        ("layers that a token passes several times", "; count each passing as a layer"),
    ),
    "voxtral_realtime": ("sound that comes in beside each token of the answer", ""),
}
SKETCH = (  # what is read of any model
    "a file is read that has 'hidden_size', 'num_hidden_layers', 'num_attention_heads', "
    "'num_key_value_heads', 'head_dim', 'intermediate_size' and 'vocab_size' alone, and of a "
    "mixture 'num_experts', 'num_experts_per_tok' and 'moe_intermediate_size'"
)
MASKED = "ForMaskedLM", "ForPreTraining"  # as classes of encoders end
QUANT_METHODS = {"fp8": "fp8", "fbgemm_fp8": "fp8", "ptpc_fp8": "fp8", "mxfp4": "mxfp4"}
FOUR_BITS = "gptq", "awq", "gptq_marlin", "awq_marlin", "auto-round"  # by whole numbers of `bits`
QUANT_ALGORITHMS = {  # of ModelOpt
    **dict.fromkeys(("FP8", "FP8_PER_CHANNEL_PER_TOKEN", "FP8_PB_WO"), "fp8"),
    **dict.fromkeys(("NVFP4", "NVFP4_AWQ"), "fp4"),
    **dict.fromkeys(("W4A16_AWQ", "INT4_AWQ"), "int4"),
    **dict.fromkeys(("MXFP4", "W4A8_MXFP4_FP8", "W4A16_MXFP4"), "mxfp4"),
}
WEIGHT_NUMBERS = {
    ("4", "float"): "fp4",
    ("4", "int"): "int4",
    ("8", "float"): "fp8",
}  # bits and kind
KNOWN_FORMATS = (
    "fp8, mxfp4, gptq or awq of 4 bits, or modelopt, compressed-tensors or quark of floats of 4 or "
    "8 bits or whole numbers of 4"
)


class _UnknownFormat(ValueError):
    """Weights in a format that is not known here; a precision that is said takes its place."""


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
    own_bytes: float = 0.0  # of a cached value, where engines keep one layout of their own (0: any)
    waiting_values: int = 0  # a sequence and layer, in 32 bits, of which a step moves next to none
    borrowed: bool = False  # it reads the cache of a layer before it, and keeps none


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
    published: str = "bf16"  # precision of the weights: bf16, fp8, fp4, mxfp4, int4, or why unknown
    four_bit_experts: bool = False  # its experts are published in four bits and stay so
    eight_bit_rest: bool = False  # and what lies beside them in eight
    looked_up: int = 0  # parameters of further tables, of which a token takes a row
    half_states: tuple[str, ...] = ()  # engines that keep its states in 16 bits, and not in 32
    beside: tuple[str, ...] = ()  # what its file describes and nothing here counts, as of images

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
        """Parameters of the vocabulary, once or twice, and of further tables."""
        return self.vocabulary * self.hidden * (1 if self.tied_embeddings else 2) + self.looked_up

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
            kept = 0 if attention.borrowed else context_tokens
            if attention.window_tokens:
                kept = min(kept, attention.window_tokens)
            held = attention.state_values + attention.waiting_values
            total += count * (held + kept * (attention.cached_values + attention.index_values))
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

    def flag(self, *keys: str, default: bool = False) -> bool:
        """True or false."""
        value = self.get(*keys, default=default)
        if not isinstance(value, bool):
            raise self._wrong(repr(keys[0]), "true or false", value)
        return value

    def of_layers(self, key: str, layers: int, known: tuple[Any, ...]) -> list[Any]:
        """Of a list with an entry for each layer, each one of those that are known."""
        values = self.items(key)
        if len(values) < layers:
            raise ValueError(f"{self.name}: {key!r} must have {layers} entries, got {len(values)}")
        for number, value in enumerate(values, start=1):
            if not any(value == one and type(value) is type(one) for one in known):
                listed = ", ".join(dict.fromkeys(map(str, known)))
                raise self._wrong(f"entry {number} of {key!r}", f"one of {listed}", value)
        return values[:layers]

    def heads_of(self, heads: int, *keys: str, default: int) -> int:
        """Groups of heads, of which each has as many."""
        groups = self.whole(*keys, default=default)
        if heads % groups:
            raise self._wrong(repr(keys[0]), f"a divisor of the {heads} heads", groups)
        return groups

    def head_width(self, hidden: int, heads: int) -> int:
        """What a head is wide, also where no file says it."""
        if self.has("head_dim", "attention_head_dim"):
            return self.whole("head_dim", "attention_head_dim")
        if hidden % heads:
            rule = f"a divisor of 'hidden_size', {hidden}, where there is no 'head_dim'"
            raise self._wrong("'num_attention_heads'", rule, heads)
        return hidden // heads

    def inside(self, *keys: str) -> Self:
        """What stands in an object; nothing where it is not there."""
        return self.part(repr(keys[0]), self.get(*keys, default={}))

    @functools.cached_property
    def layers(self) -> int:
        """Layers of a file that counts them; one of another."""
        return self.whole("num_hidden_layers", "n_layer", default=1, most=MOST_LAYERS)

    def part(self, what: str, value: Any) -> Self:
        """An object inside this one, or an empty one."""
        if value and not isinstance(value, Mapping):
            raise self._wrong(what, "an object", value)
        return type(self)(value or {}, self.name)

    def unread(self, key: str, known: str) -> ValueError:
        """Of a key that changes what a layer is, in a way that is not known here."""
        return ValueError(
            f"{self.name}: {key!r} says of layers what is not read here; known are {known}; for an "
            f"estimate, {SKETCH}"
        )

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
        parameters + gate + more.get("beside", 0),
        cached_values=kv_heads * (key + value),
        score_width=heads * (key + value),
        prompt_score_width=heads * (key + value),
        kv_heads=kv_heads,
        window_tokens=window,
        selected_tokens=more.get("selected_tokens", 0),
        index_values=more.get("index_values", 0),
        index_width=more.get("index_width", 0),
    )


def _latent(
    read: _Reader, hidden: int, heads: int, indexer: bool, rotated: bool = True
) -> Attention:
    """Multi-head latent attention, with the selection of DeepSeek-V3.2 where it is; where nothing
    is rotated, all of a head comes from the latent."""
    rank = read.whole("kv_lora_rank")
    rope = read.whole("qk_rope_head_dim", least=0)
    nope = read.whole("qk_nope_head_dim")
    if not rotated:
        rope, nope = 0, nope + rope
    value = read.whole("v_head_dim")
    q_rank = read.whole("q_lora_rank", default=0, least=0)
    queries = heads * (nope + rope)
    parameters = hidden * q_rank + q_rank * queries if q_rank else hidden * queries
    parameters += hidden * (rank + rope) + rank * heads * (nope + value) + heads * value * hidden
    if read.get("model_type") == "axk2":  # a gate, and twice what queries come from
        parameters += q_rank * (queries + 2 * heads * value)
    gated = str(read.get("model_type")).startswith("hy_v4")
    gated = read.flag("gated_mla", default=gated)
    if read.flag("mla_use_output_gate", default=gated):
        parameters += hidden * (heads if read.get("gating_type") == "headwise" else heads * value)
    selected = index_values = index_width = 0
    if read.has("index_topk"):
        selected = read.whole("index_topk")
        if indexer:
            width, index_heads = read.whole("index_head_dim"), read.whole("index_n_heads")
            pool = read.whole("index_kpool", default=1)  # tokens that are looked at as one
            index_values, index_width = -(-width // pool), index_heads * width // pool
            parameters += (q_rank or hidden) * index_heads * width + hidden * (width + index_heads)
            parameters += hidden * width if pool > 1 else 0
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
    """Attention of DeepSeek-V4: one shared head; blocks of `ratio` tokens are kept as one. Engines
    keep a token in eight bits, of which the 64 values that are turned have 16, with eight bytes of
    scales; the last tokens of a block wait in 32 bits, twice as many where blocks overlap."""
    width = read.whole("head_dim")
    q_rank = read.whole("q_lora_rank")
    o_rank, groups = read.whole("o_lora_rank"), read.whole("o_groups")
    parameters = hidden * q_rank + q_rank * heads * width + hidden * width
    parameters += heads * width * o_rank + groups * o_rank * hidden
    window, token_bytes = read.whole("sliding_window"), width + 64 + 8
    if ratio == 0:
        return Attention(
            "window",
            parameters,
            cached_values=width,
            score_width=2 * heads * width,
            prompt_score_width=2 * heads * width,
            kv_heads=1,
            window_tokens=window,
            own_bytes=token_bytes / width,
        )
    index_width = index_values = selected = 0
    waiting = 2 * ratio * width
    pooled = 2 * width  # what a token adds to a block, and how much of it
    if ratio <= 8:  # finely compressed layers select, coarse ones read everything
        index_size, index_heads = read.whole("index_head_dim"), read.whole("index_n_heads")
        index_width = index_heads * index_size // ratio
        index_values = -(-index_size // ratio)
        selected = read.whole("index_topk") * ratio
        parameters += (q_rank * index_size + hidden) * index_heads
        pooled = 4 * (width + index_size)
        waiting = 4 * 2 * ratio * (width + index_size)
    parameters += hidden * pooled
    return Attention(
        "latent",
        parameters,
        cached_values=-(-width // ratio),
        state_values=-(-window * token_bytes // 4),  # the window, in 32 bits
        score_width=2 * heads * width // ratio,
        prompt_score_width=2 * heads * width // ratio,
        kv_heads=1,
        selected_tokens=selected,
        index_values=index_values,
        index_width=index_width,
        own_bytes=token_bytes / width,
        waiting_values=waiting,
    )


def _shared_blocks(
    read: _Reader, hidden: int, heads: int, ratio: int, keeps: bool, chooses: bool
) -> Attention:
    """Attention of DeepSeek-V4.1: the same of blocks that do not overlap, which a few layers keep,
    and a few choose of, for all that come after them."""
    one, plain = (_compressed(read, hidden, heads, blocks) for blocks in (ratio, 0))
    if not ratio:
        return plain
    width, size = read.whole("head_dim"), read.whole("index_head_dim")
    parameters = plain.parameters + keeps * hidden * (2 * width + size)
    index = read.whole("q_lora_rank") * size + hidden
    return replace(
        one,
        parameters=parameters + chooses * read.whole("index_n_heads") * index,
        index_values=chooses * one.index_values,
        index_width=chooses * one.index_width,
        waiting_values=2 * ratio * width if keeps and ratio > 1 else 0,
        borrowed=not keeps,
    )


def _delta(hidden: int, key_heads: int, value_heads: int, key: int, value: int) -> Attention:
    """A gated delta rule (Qwen3-Next, Kimi Linear): a state in the place of a cache."""
    keys, values = key_heads * key, value_heads * value
    parameters = hidden * (2 * keys + 2 * values + 2 * value_heads) + values * hidden
    return Attention(
        "linear", parameters, state_values=value_heads * key * value, kv_heads=value_heads
    )


def _own_rates(hidden: int, heads: int, size: int, whole: bool) -> Attention:
    """The same with a rate of forgetting for each channel, as transformers has Kimi Linear: rates
    and gate go through the width of a head, or, as Ling 3 has them, are whole matrices."""
    inner = heads * size
    beside = hidden * inner if whole else size * (hidden + inner)
    parameters = 4 * hidden * inner + 2 * beside + hidden * heads
    return Attention("linear", parameters, state_values=inner * size, kv_heads=heads)


def _mamba(read: _Reader, hidden: int) -> Attention:
    """A Mamba-2 layer, in the words of Nemotron-H, of Granite 4 or of Falcon-H1."""
    heads = read.whole("mamba_num_heads", "mamba_n_heads")
    if read.has("mamba_d_ssm"):
        inner = read.whole("mamba_d_ssm")
    elif read.get("mamba_head_dim", "mamba_d_head") == "auto":
        inner = hidden * read.whole("mamba_expand", default=2)
    else:
        inner = heads * read.whole("mamba_head_dim", "mamba_d_head")
    groups = read.whole("n_groups", "mamba_n_groups")
    state = read.whole("ssm_state_size", "mamba_d_state")
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


def _linear(read: _Reader, hidden: int, heads: int, width: int) -> Attention:
    """A layer with a state in the place of a cache, of the family's kind."""
    family = read.get("model_type")
    if family == "granitemoehybrid":
        return _mamba(read, hidden)
    if family in ("lfm2", "lfm2_moe", "lfm3"):
        state = hidden * (read.whole("conv_L_cache") - 1) // 2  # in 16 bits
        return Attention("linear", 4 * hidden * hidden, state_values=state, kv_heads=hidden)
    if family == "minimax":
        return _lightning(hidden, heads, width)
    return _delta(
        hidden,
        read.whole("linear_num_key_heads"),
        read.whole("linear_num_value_heads"),
        read.whole("linear_key_head_dim"),
        read.whole("linear_value_head_dim"),
    )


def _half_states(read: _Reader) -> tuple[str, ...]:
    """Engines that keep states in 16 bits: as the file says to each, and as the model's other
    values where it says nothing, vLLM 0.33 those of some families, TensorRT-LLM all that it reads
    but Kimi's."""
    family = str(read.get("model_type"))
    key = "mamba_ssm_cache_dtype" if family == "nemotron_h" else "mamba_ssm_dtype"
    half = "bfloat16", "float16"
    usual = half[0] if family.startswith("qwen4_exp") else None
    found = ["vllm"] if family in HALF_STATES or read.get(key, default=usual) in half else []
    found += ["sglang"] * (read.get("mamba_ssm_dtype") in half)
    whole = read.get("mamba_ssm_cache_dtype") == "float32" or not family.startswith(TRTLLM_STATES)
    return (*found, *["trtllm"] * (not whole))


def _experts(read: _Reader, hidden: int, width: int, gated: int = 3) -> FeedForward:
    """A mixture: routed experts, those that every token passes, and the router."""
    experts = read.whole(*EXPERTS)
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


def _mixture_layers(read: _Reader, layers: int) -> list[bool]:
    """Which layers are mixtures of experts."""
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


# In one piece: a case for each kind of attention, as their files name it.
def _attention_layers(read: _Reader, layers: int, hidden: int, heads: int) -> list[Attention]:
    """The attention of every layer."""
    for key in UNREAD:
        said = read.get(key)
        if key == "kv_source_layers" and said == list(range(layers)):  # each its own
            continue
        if said not in (None, 0, [], {}) and not (key in ONCE and said == 1):
            raise read.unread(key, f"lists of layer_types: {', '.join(LAYER_KINDS)}")
    if read.has("compress_ratios"):
        ratios = read.wholes("compress_ratios")
        if len(ratios) < layers:
            raise ValueError(f"{read.name}: 'compress_ratios' must have {layers} entries")
        ratios = ratios[:layers]
        if not read.has("keeping_layers"):
            return [_compressed(read, hidden, heads, ratio) for ratio in ratios]
        keep, choose = read.wholes("keeping_layers"), read.wholes("choosing_layers")
        return [
            _shared_blocks(read, hidden, heads, ratio, i in keep, i in choose)
            for i, ratio in enumerate(ratios)
        ]
    if read.has("kv_lora_rank") and read.flag("use_mla", default=True):
        looking_back = read.inside("words_of_windows").config
        if set(map(str, read.items("layer_types"))) & set(WINDOW_KINDS) and not looking_back:
            raise read.unread("layer_types", "layers without a window where kv_lora_rank is")
        behind = type(read)({**read.config, **looking_back, "index_topk": None}, read.name)
        rotated = read.items("no_rope_layers")  # 1 where it is
        rotated = read.of_layers("no_rope_layers", len(rotated), (0, 1))
        types = read.items("indexer_types")
        types = read.of_layers("indexer_types", len(types), ("full", "shared"))
        linear = read.inside("linear_attn_config")
        state_layers = {i - 1 for i in linear.wholes("kda_layers")}
        told = looking_back or read.has("linear_num_heads", "linear_num_value_heads")
        named = read.items("layer_types") if told else []
        found = []
        for i in range(layers):
            if i in state_layers:
                count, size = linear.whole("num_heads"), linear.whole("head_dim")
                found.append(_delta(hidden, count, count, size, size))
            elif i < len(named) and named[i] == LAYER_KINDS[1] and not read.has("linear_num_heads"):
                found.append(_linear(read, hidden, heads, 0))
            elif i < len(named) and named[i] == LAYER_KINDS[1]:
                count, size = read.whole("linear_num_heads"), read.whole("linear_head_dim")
                whole = read.get("model_type") == "bailing_hybrid"
                light = read.get("model_type") == "bailing_moe_v2_5"
                found.append(
                    _lightning(hidden, count, size)
                    if light
                    else _own_rates(hidden, count, size, whole)
                )
            elif i < len(named) and named[i] == WINDOW_KINDS[0]:
                one = _latent(behind, hidden, behind.whole("num_attention_heads"), False)
                found.append(replace(one, window_tokens=read.whole("sliding_window")))
            else:
                full = i >= len(types) or types[i] == "full"
                turned = i >= len(rotated) or rotated[i] == 1
                found.append(_latent(read, hidden, heads, full, turned))
        return found
    kv_heads = 1 if read.flag("multi_query") else heads
    kv_heads = read.heads_of(heads, "num_key_value_heads", "num_kv_heads", default=kv_heads)
    width = read.head_width(hidden, heads)
    if read.has("attn_layer_period"):
        period = read.whole("attn_layer_period")
        offset = read.whole("attn_layer_offset", default=0, least=0)
        full = _grouped(hidden, heads, kv_heads, width, width)
        state = _first_mamba(read, hidden)
        return [full if i % period == offset else state for i in range(layers)]
    if read.has("attn_type_list"):
        listed = read.of_layers("attn_type_list", layers, (0, 1))
        full = _grouped(hidden, heads, kv_heads, width, width)
        light = _lightning(hidden, heads, width)
        return [full if item == 1 else light for item in listed]
    windows = "sliding_window", "sliding_window_size", "attention_chunk_size"
    window = read.whole(*windows, default=0, least=0)
    if not read.flag(
        "use_sliding_window", default=not str(read.get("model_type")).startswith(QWENS)
    ):
        window = 0
    kinds = _layer_kinds(read, layers, window)
    gated = str(read.get("model_type")).startswith(GATED) or read.has("attention_gate_func")
    gates = "attn_output_gate", "attention_output_gate", "use_gated_attention"
    gate = 1 if read.flag(*gates, default=gated) else 0
    sparse = read.inside("sparse_attention_config")
    sparse_layers = [0] * layers
    if sparse.has("sparse_attention_freq"):
        sparse_layers = sparse.of_layers("sparse_attention_freq", layers, (0, 1))
    each = read.wholes("num_attention_heads_per_layer")
    swa_heads = read.whole("swa_num_attention_heads", default=heads)
    found = []
    for i, kind in enumerate(kinds):
        many = each[i] if i < len(each) else heads if kind == LAYER_KINDS[0] else swa_heads
        if kind == "linear_attention":
            found.append(_linear(read, hidden, heads, width))
        elif kind == "full_attention":
            size = read.whole("global_head_dim", default=width)
            shared = read.heads_of(many, "num_global_key_value_heads", default=kv_heads)
            more = {"gate": gate}
            if sparse_layers[i]:
                index = sparse.whole("sparse_index_dim")
                row = sparse.whole("sparse_index_tokens", default=1)  # for which one row stands
                many_index = sparse.whole("sparse_num_index_heads")
                blocks = sparse.whole("sparse_topk_blocks")
                more["selected_tokens"] = blocks * sparse.whole("sparse_block_size")
                more["index_values"] = -(-index // row)
                more["index_width"] = many_index * index // row
                more["beside"] = hidden * (many_index + 1) * index
            value = size if read.has("global_head_dim") else read.whole("v_head_dim", default=size)
            found.append(_grouped(hidden, many, shared, size, value, **more))
        else:
            size = read.whole("swa_head_dim", default=width)
            value = read.whole("swa_v_head_dim", "v_head_dim", default=size)
            shared = read.heads_of(many, "swa_num_key_value_heads", default=kv_heads)
            found.append(
                _grouped(hidden, many, shared, size, value, gate=gate, window_tokens=window)
            )
    lent = read.whole("borrowing_layers", default=0, least=0, most=layers)
    found[layers - lent :] = [
        replace(one, borrowed=True, parameters=one.parameters - hidden * one.cached_values)
        for one in found[layers - lent :]
    ]
    if read.has("sconv_kernel_size"):  # Inkling: positions, and convolutions in 16 bits
        kernel, rank = read.whole("sconv_kernel_size"), read.whole("d_rel")
        found = [
            replace(
                one,
                parameters=one.parameters + hidden * heads * rank,
                state_values=kernel * (2 * hidden + one.cached_values) // 2,
            )
            for one in found
        ]
    if read.get("model_type") == "falcon_h1":  # both at once in every layer
        beside = _mamba(read, hidden)
        found = [
            replace(
                one,
                parameters=one.parameters + beside.parameters,
                state_values=beside.state_values,
            )
            for one in found
        ]
    for i in read.wholes("cross_attention_layers"):  # which see images, and no token of the text
        if i < layers:
            found[i] = Attention("none", found[i].parameters)
    return found


def _layer_kinds(read: _Reader, layers: int, window: int) -> list[str]:
    """What each layer is, of `LAYER_KINDS`. window: tokens of one that has it, 0 where none has."""
    every = read.whole("full_attention_interval", default=0, least=0)
    model = read.get("model_type")
    if read.has("layer_types"):
        kinds: list[str] = read.of_layers("layer_types", layers, LAYER_KINDS)
        if not window and not read.has("use_sliding_window") and set(kinds) & set(WINDOW_KINDS):
            raise ValueError(f"{read.name}: config.json must have 'sliding_window' for such layers")
        return [LAYER_KINDS[0] if kind == "attention" else kind for kind in kinds]
    if read.has("hybrid_layer_pattern"):
        pattern = read.of_layers("hybrid_layer_pattern", layers, (0, 1))
        if not window and any(pattern) and not read.has("use_sliding_window"):
            raise ValueError(f"{read.name}: config.json must have 'sliding_window' for such layers")
        return [WINDOW_KINDS[0] if item else LAYER_KINDS[0] for item in pattern]
    if every:
        return [LAYER_KINDS[0] if (i + 1) % every == 0 else LAYER_KINDS[1] for i in range(layers)]
    if model in ("llama4", "llama4_text"):
        return [LAYER_KINDS[0] if (i + 1) % 4 == 0 else WINDOW_KINDS[1] for i in range(layers)]
    context = read.whole("max_position_embeddings", default=window + 1)
    if not window or (model not in ALL_WINDOWS and window >= context):
        return [LAYER_KINDS[0]] * layers
    if read.has("sliding_window_pattern") or model in FULL_EVERY:
        every = read.whole("sliding_window_pattern", default=FULL_EVERY.get(str(model), 1))
        return [LAYER_KINDS[0] if (i + 1) % every == 0 else WINDOW_KINDS[0] for i in range(layers)]
    if model not in ALL_WINDOWS:
        rule = f"config.json must have 'layer_types' beside 'sliding_window' of a {model!r}"
        raise ValueError(f"{read.name}: {rule[:160]}; known are {', '.join(LAYER_KINDS)}")
    usual = 28 if str(model).startswith(QWENS) else 0
    first = read.whole("max_window_layers", default=usual, least=0)
    return [WINDOW_KINDS[0] if i >= first else LAYER_KINDS[0] for i in range(layers)]


_NO_ATTENTION = Attention("none", 0)
_NO_FEED_FORWARD = FeedForward(0)


def _pattern_layers(read: _Reader, hidden: int, heads: int) -> list[tuple[Attention, FeedForward]]:
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
            first = read.has("mamba_dt_rank")
            state = _first_mamba(read, hidden) if first else _mamba(read, hidden)
            found.append((state, _NO_FEED_FORWARD))
        elif letter == "*":
            size = read.head_width(hidden, heads)
            kv_heads = read.heads_of(heads, "num_key_value_heads", default=heads)
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
    size = read.head_width(hidden, heads)
    found = []
    for number, config in enumerate(read.items("block_configs"), start=1):
        block = read.part(f"entry {number} of 'block_configs'", config)
        attention, part = block.inside("attention"), block.inside("ffn")
        mixed, passed = _NO_ATTENTION, _NO_FEED_FORWARD
        if attention.get("n_heads_in_group"):
            group = attention.heads_of(heads, "n_heads_in_group", default=1)
            mixed = _grouped(hidden, heads, heads // group, size, size)
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
    read: _Reader, layers: list[tuple[Attention, FeedForward]], hidden: int
) -> tuple[list[tuple[Attention, FeedForward]], int]:
    """The layers with what a row of their tables passes, and the parameters of these; of Gemma 3n
    also what leads around attention, and from one copy of a token to the others."""
    width = read.whole("table_width", default=0, least=0)
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


def _require_decoder(read: _Reader, outer: Mapping[str, Any]) -> None:
    """Refuse what does not answer token by token, by its family or by the class of its weights."""
    classes = outer.get("architectures")
    classes = [str(one) for one in classes] if isinstance(classes, list) else []
    masked = [one for one in classes if one.endswith(MASKED)]
    families = [str(one) for one in (read.get("model_type"), outer.get("model_type")) if one]
    others = [
        one for one in families if one in NO_DECODERS or ("bert" in one and "decoder" not in one)
    ]
    if others or masked or read.flag("is_encoder_decoder"):
        kind = [*others, *masked, *families, "an encoder and a decoder"][0]
        raise ValueError(
            f"{read.name}: 'model_type' must be of a decoder alone, got {kind[:60]!r}; what is "
            "read are models that answer token by token, from a cache of the tokens before"
        )


def _ernie(read: _Reader) -> dict[str, Any]:
    """ERNIE 4.5 says from which layer to which, and in steps of how many, layers are mixtures."""
    first = read.whole("moe_layer_start_index", default=1, least=0)
    last = read.whole("moe_layer_end_index", default=-1, least=-1)
    every = read.whole("moe_layer_interval", default=1)
    mixed = range(first, read.layers if last == -1 else last + 1)
    return {
        "moe_num_experts": None,
        "num_experts": read.whole("moe_num_experts", "num_experts", default=64, least=0),
        "num_experts_per_tok": read.whole("moe_k", "num_experts_per_tok", default=6),
        "n_shared_experts": read.whole("moe_num_shared_experts", default=2, least=0),
        "mlp_layer_types": [
            "sparse" if i in mixed and (i + 1) % every == 0 else "dense" for i in range(read.layers)
        ],
    }


def _seeing_ernie(read: _Reader) -> dict[str, Any]:
    """ERNIE 4.5 that sees: a second mixture of each layer is for images, and held all the same."""

    def of(which: int) -> _Reader:
        parts = {key: value for key, value in read.config.items() if key.startswith("moe_")}
        pairs = {
            key: one[which] for key, one in parts.items() if type(one) is list and len(one) == 2
        }
        return type(read)({**read.config, **pairs}, read.name)

    text, images = of(0), of(1)
    experts = images.whole("moe_num_experts", default=64) * _ernie(images)["mlp_layer_types"].count(
        "sparse"
    )
    held = experts * 3 * images.whole("hidden_size") * images.whole("moe_intermediate_size")
    width = text.whole("moe_intermediate_size")
    return _ernie(text) | {"moe_intermediate_size": width, "held_beside": held}


def _granite_hybrid(read: _Reader) -> dict[str, Any]:
    """Granite 4: where there are no experts, the part that all tokens pass is all there is."""
    key = "layer_types" if read.has("layer_types") else "layers_block_type"
    kinds = read.items(key) or ["mamba"] * read.layers
    known = {"mamba": LAYER_KINDS[1], "attention": LAYER_KINDS[0]}
    found: dict[str, Any] = {"layers_block_type": None}
    found["layer_types"] = [known.get(str(one), one) for one in kinds]
    if not read.get("num_local_experts"):
        found["intermediate_size"] = read.get("shared_intermediate_size", "intermediate_size")
    return found


def _lfm2(read: _Reader) -> dict[str, Any]:
    """LFM2 lists the layers that attend, where not all do, and takes two thirds of a width in whole
    blocks; in LFM3 every fourth attends, and another looks back no further than a window."""
    third = read.get("model_type") == "lfm3"
    full = read.wholes("full_attn_idxs") if read.has("full_attn_idxs") else range(read.layers)
    full, windows = (range(2, read.layers, 4), range(4, read.layers, 4)) if third else (full, ())
    kinds = read.items("layer_types") or [
        LAYER_KINDS[0] if i in full else WINDOW_KINDS[0] if i in windows else "conv"
        for i in range(read.layers)
    ]
    found: dict[str, Any] = {"full_attn_idxs": None}
    found["conv_L_cache"] = read.get("conv_L_cache", default=7 if third else 3)
    found["layer_types"] = [LAYER_KINDS[1] if one == "conv" else one for one in kinds]
    found["tie_word_embeddings"] = read.get("tie_embedding", "tie_word_embeddings")
    if read.get("model_type") == "lfm2":
        width = read.whole("block_ff_dim", "intermediate_size")
        if read.flag("block_auto_adjust_ff_dim", default=True):
            width = 2 * width // 3
            if read.has("block_ffn_dim_multiplier"):
                width = int(read.number("block_ffn_dim_multiplier") * width)
                blocks = read.whole("block_multiple_of", default=256)
                width = -(-width // blocks) * blocks
        found["intermediate_size"] = width
    return found


def _hunyuan(read: _Reader) -> dict[str, Any]:
    """Hunyuan lists for each layer what is the same in all."""

    def same(key: str) -> Any:
        value = read.get(key)
        alike = isinstance(value, list) and value and all(one == value[0] for one in value)
        return value[0] if alike else value

    shared = same("num_shared_expert")
    found = {
        "num_experts": same("num_experts"),
        "num_experts_per_tok": same("moe_topk"),
        "n_shared_experts": 1 if shared is None else shared,
        "moe_intermediate_size": same("moe_intermediate_size"),
    }
    return found if read.flag("use_cla") else found | {"cla_share_factor": None}


def _step(read: _Reader) -> dict[str, Any]:
    """Step 3.5 and 3.7: other heads where there is a window, and mixtures in a text of numbers."""
    listed = read.get("moe_layers_enum", default="")
    if not isinstance(listed, str):
        listed = ",".join(map(str, read.wholes("moe_layers_enum")))
    mixed = {one.strip() for one in listed.split(",")}
    kinds = ["sparse" if f"{i}" in mixed else "dense" for i in range(read.layers)]
    other = read.inside("attention_other_setting").get("num_attention_heads")
    return {
        **dict.fromkeys(("attention_other_setting", "num_attention_groups", "moe_num_experts")),
        "per_layer_config": None,  # of heads, which stand beside it
        "num_key_value_heads": read.get("num_key_value_heads", "num_attention_groups"),
        "swa_num_attention_heads": read.get("num_sliding_attention_heads", default=other),
        "num_experts": read.get("moe_num_experts", *EXPERTS),
        "num_experts_per_tok": read.get("moe_top_k", "num_experts_per_tok"),
        "mlp_layer_types": kinds if listed else read.get("mlp_layer_types"),
    }


def _step5(read: _Reader) -> dict[str, Any]:
    """Step 5: the same, and layers without a window choose regions of what they see, each by one
    row of an index, as vLLM 0.34 has it in step5/common/config.py."""
    found, sparse = _step(read), read.inside("sparse_config")
    if not sparse.config or not sparse.flag("enabled", default=True):
        return found
    region = sparse.whole("region_block_size", default=8)
    return found | {
        "sparse_attention_config": {
            "sparse_attention_freq": [1] * read.layers,
            "sparse_topk_blocks": sparse.whole("topk", default=512),
            "sparse_block_size": region,
            "sparse_index_dim": sparse.whole("proxy_dim", default=256),
            "sparse_index_tokens": region,
            "sparse_num_index_heads": sparse.whole("sparse_indexer_num_heads", default=16),
        }
    }


def _dots(read: _Reader) -> dict[str, Any]:
    """dots 3, as its makers and as transformers write it: layers with a window have a latent and
    heads of their own, and all have a gate for each head."""
    kinds = [
        LAYER_KINDS[0] if one == "indexed_attention" else one for one in read.items("layer_types")
    ]
    kinds = kinds or [
        LAYER_KINDS[0] if i < 2 or i % 4 == 1 else WINDOW_KINDS[0] for i in range(read.layers)
    ]
    parts = read.inside("per_layer_config").config
    words = next(iter(parts.values()), None)
    windows = {f"{i:02}" for i, kind in enumerate(kinds[: read.layers]) if kind == WINDOW_KINDS[0]}
    if parts and (set(parts) != windows or any(part != words for part in parts.values())):
        return {}
    if not parts:
        nope = read.whole("swa_qk_nope_head_dim")
        turned = read.get("swa_qk_rope_head_dim", default=read.whole("swa_head_dim") - nope)
        words = {"qk_nope_head_dim": nope, "qk_rope_head_dim": turned}
        for key in ("num_attention_heads", "q_lora_rank", "kv_lora_rank", "v_head_dim"):
            words[key] = read.whole(f"swa_{key}")
    return {
        **dict.fromkeys(("per_layer_config", "swa_kv_lora_rank")),
        "words_of_windows": words,
        "layer_types": kinds,
        "sliding_window": read.get("sliding_window", "sliding_window_size", default=512),
        "gated_mla": True,
        "gating_type": "headwise",
        "index_topk": read.get("index_topk") if read.flag("use_dsa", default=True) else None,
    }


def _kimi(read: _Reader) -> dict[str, Any]:
    """Kimi K3.1 says in one place what its latent layers choose by."""
    dsa = read.inside("dsa_config")
    if not dsa.config:
        return {}
    return {
        "index_topk": dsa.whole("index_topk", default=2048),
        "index_head_dim": dsa.whole("index_head_dim", default=64),
        "index_n_heads": dsa.whole("index_num_heads", default=16),
    }


def _gigachat(read: _Reader) -> dict[str, Any]:
    """GigaChat 3.5 lists the layers that have a latent; the others are of Qwen3-Next."""
    full = read.wholes("full_attention_layers")
    kinds = [LAYER_KINDS[0] if one == "attention" else one for one in read.items("layer_types")]
    kinds = kinds or [LAYER_KINDS[i not in full] for i in range(read.layers)]
    return {"layer_types": kinds, "gated_mla": read.flag("gated_attention", default=True)}


def _gemma4(read: _Reader) -> dict[str, Any]:
    """Gemma 4 as transformers writes it: layers without a window have heads of their own."""
    parts = read.inside("per_layer_config").config
    names = {"head_dim": "global_head_dim", "num_key_value_heads": "num_global_key_value_heads"}
    kinds = read.items("layer_types")[: read.layers]
    wide = {f"{i:02}" for i, kind in enumerate(kinds) if kind == LAYER_KINDS[0]}
    one = next(iter(parts.values()), None)
    alike = isinstance(one, Mapping) and all(part == one for part in parts.values())
    if not alike or set(parts) != wide or not set(one or ()) <= set(names):
        return {}
    return {"per_layer_config": None} | {names[key]: value for key, value in (one or {}).items()}


def _four_widths(read: _Reader) -> dict[str, Any]:
    """GPT-2 and its like: a feed-forward layer is four times as wide as the model."""
    width = 4 * read.whole("hidden_size", "n_embd", "d_model")
    return {"intermediate_size": read.get("n_inner", "ffn_hidden_size", default=width)}


def _falcon(read: _Reader) -> dict[str, Any]:
    """Falcon: of the older ones, heads of keys are one or all, whatever else is said."""
    heads: dict[str, Any] = {}
    if not read.flag("new_decoder_architecture"):
        heads["num_kv_heads"] = 1 if read.flag("multi_query", default=True) else None
    return _four_widths(read) | heads


def _mimo(read: _Reader) -> dict[str, Any]:
    """MiMo-V2: twice the heads of keys where there is a window."""
    twice = 2 * read.whole("num_key_value_heads", default=4)
    return {"swa_num_key_value_heads": read.get("swa_num_key_value_heads", default=twice)}


def _opt(read: _Reader) -> dict[str, Any]:
    """OPT has another word for a width, and of its words another where they are narrower."""
    width = read.get("word_embed_proj_dim", default=read.get("hidden_size"))
    if width != read.get("hidden_size"):
        raise read.unread("word_embed_proj_dim", "those as wide as 'hidden_size'")
    return {"intermediate_size": read.get("ffn_dim", "intermediate_size")}


def _aria(read: _Reader) -> dict[str, Any]:
    """Aria's mixtures have words of their own."""
    return {
        "moe_num_experts": None,
        "num_experts": read.get("moe_num_experts", default=8),
        "num_experts_per_tok": read.get("moe_topk", default=2),
        "n_shared_experts": read.get("moe_num_shared_experts", default=2),
    }


def _bailing(read: _Reader) -> dict[str, Any]:
    """Ling and Ring: of each group the last layer has a latent, in Ling 3 what goes into no group
    too; of Ling 2.5 and 2.6, and of Ring 2.5, the others are those of MiniMax-01."""
    light = any("V2" in str(one) for one in read.items("architectures"))
    every = read.whole("layer_group_size", default=6)
    whole = read.layers // every * every
    grouped = [light or i < whole for i in range(read.layers)]
    kinds = [LAYER_KINDS[one and (i + 1) % every != 0] for i, one in enumerate(grouped)]
    return {
        "model_type": "bailing_moe_v2_5" if light else read.get("model_type"),
        "layer_group_size": None,
        "layer_types": read.get("layer_types", default=kinds),
        "linear_num_heads": read.get("linear_num_heads", "num_attention_heads"),
        "linear_head_dim": read.get("linear_head_dim", "head_dim"),
    }


def _mamba_alone(read: _Reader) -> dict[str, Any]:
    """Mamba and Mamba-2 without anything beside it."""
    second = read.get("model_type") == "mamba2"
    hidden = read.whole("hidden_size", "d_model")
    state = read.whole("state_size", default=128 if second else 16)
    found: dict[str, Any] = {"hybrid_override_pattern": "M" * read.layers}
    if second:
        heads = read.whole("num_heads", default=128)
        width = {"mamba_head_dim": read.whole("head_dim", default=64), "mamba_num_heads": heads}
        width["n_groups"] = read.whole("n_groups", default=8)
        return found | width | {"num_attention_heads": heads, "ssm_state_size": state}
    inner = read.whole("intermediate_size", default=hidden * read.whole("expand", default=2))
    rank = read.get("time_step_rank", default="auto")
    found |= {"mamba_expand": inner / hidden, "mamba_d_state": state, "num_attention_heads": inner}
    return found | {"mamba_dt_rank": -(-hidden // 16) if rank == "auto" else rank}


def _table_in_host(values: int) -> str:
    """The name of a part that engines keep outside the device."""
    return f"a table of {values / 1e9:.3g}·10⁹ values {IN_HOST}"


def _deepseek_v4(read: _Reader) -> dict[str, Any]:
    """DeepSeek-V4 as transformers writes it: kinds of layers in the place of ratios, and mixtures
    whose experts are chosen by a word or by a router, as in all others."""
    mixed = {"mlp_layer_types": ["sparse"] * read.layers}
    found = mixed if set(map(str, read.items("mlp_layer_types"))) <= {"hash_moe", "moe"} else {}
    if read.has("compress_ratios") or not read.has("layer_types"):
        return found
    rates = read.inside("compress_rates")
    ratios = {WINDOW_KINDS[0]: 0} | {
        kind: rates.whole(kind, default=usual)
        for kind, usual in (
            ("compressed_sparse_attention", 4),
            ("heavily_compressed_attention", 128),
        )
    }
    kinds = read.of_layers("layer_types", read.layers, tuple(ratios))
    return found | {"compress_ratios": [ratios[kind] for kind in kinds]}


def _deepseek_v41(read: _Reader) -> dict[str, Any]:
    """DeepSeek-V4.1: few layers keep blocks, and vLLM 0.34 passes prompts, but for their ends, no
    further than the last of them; its tables of several words stand as those of Qwen4."""
    keep, tables = read.wholes("kv_source_layer_ids"), len(read.wholes("engram_layer_ids"))
    found: dict[str, Any] = {"kv_source_layer_ids": None, "keeping_layers": keep}
    found["choosing_layers"] = read.wholes("index_source_layer_ids")
    beside = list(read.get("beside"))
    if tables:
        width, streams = read.whole("engram_head_dim"), read.whole("hc_mult", default=4)
        most = read.whole("engram_max_ngram_size", default=4, least=2)
        heads = (most - 1) * read.whole("engram_n_heads", default=8)
        rows = sum(read.wholes("engram_num_embeddings"))
        rows = rows or tables * heads * read.whole("engram_vocab_size")
        passed = tables * heads * width * read.whole("hidden_size") * (streams + 1)
        found |= {"engram_layer_ids": None, "passed_beside": passed // read.layers}
        beside.append(_table_in_host(rows * width))
    if keep and max(keep) < read.layers:
        beside.append(f"that the last {read.layers - max(keep)} layers see {ENDS}")
    return found | {"beside": tuple(beside)}


def _longcat(read: _Reader) -> dict[str, Any]:
    """LongCat-Flash: a layer is two of others, and a mixture beside both; of its experts, some
    return what they get, so that a token takes as much less of the others."""
    blocks = read.whole("num_layers", most=MOST_LAYERS // 2)
    experts, empty = read.whole(*EXPERTS), read.whole("zero_expert_num", default=0, least=0)
    return {
        "zero_expert_num": None,
        "num_hidden_layers": 2 * blocks,
        "mlp_layer_types": ["sparse", "dense"] * blocks,
        "enable_moe_block": True,
        "intermediate_size": read.get("ffn_hidden_size"),
        "moe_intermediate_size": read.get("expert_ffn_hidden_size"),
        "num_experts_per_tok": read.whole("moe_topk") * experts / (experts + empty),
    }


def _inkling(read: _Reader) -> dict[str, Any]:
    """Inkling, as its makers and as transformers write it."""
    local = read.wholes("local_layer_ids")
    if not read.has("local_layer_ids"):
        local = [i for i in range(read.layers) if (i + 1) % 6]
    names = {"hybrid": LAYER_KINDS[0], "hybrid_sliding": WINDOW_KINDS[0]}
    kinds = read.items("layer_types") or [
        "hybrid_sliding" if i in local else "hybrid" for i in range(read.layers)
    ]
    dense = read.whole("dense_mlp_idx", default=0, least=0)
    convolved = read.flag("use_sconv", default=read.has("conv_kernel_size"))
    kernel = read.get("sconv_kernel_size", "conv_kernel_size", default=4)
    return {
        "local_layer_ids": None,
        "layer_types": [names.get(str(one), one) for one in kinds],
        "first_k_dense_replace": dense,
        "sconv_kernel_size": kernel if convolved else None,
        "d_rel": read.get("d_rel", default=16),
    }


def _small_gemma(read: _Reader) -> dict[str, Any]:
    """Gemma 3n and the smaller of Gemma 4: a table of each layer beside the words, and last layers
    that read the caches of those before them, some of them twice as wide. What reads another
    model's alone, as what guesses for Gemma 4, is none."""
    lent = read.whole("num_kv_shared_layers", default=0, least=0, most=read.layers - 1)
    found = _gemma4(read) if str(read.get("model_type")).startswith("gemma4") else {}
    widths = read.get("intermediate_size")
    if isinstance(widths, list) and widths and all(one == widths[0] for one in widths):
        found["intermediate_size"] = widths[0]
    return found | {
        "num_kv_shared_layers": None,
        "borrowing_layers": lent,
        "wide_layers": lent if read.flag("use_double_wide_mlp") else 0,
        "hidden_size_per_layer_input": None,
        "table_width": read.get("hidden_size_per_layer_input", default=0),
        "altup_num_inputs": None,
        "copies": read.get("altup_num_inputs", default=1),
    }


def _zaya(read: _Reader) -> dict[str, Any]:
    """ZAYA1: queries and keys are mixed with those of two tokens before, and a router is a network
    of its own; in files before transformers 5.13 attention and experts are a layer each, and both
    halves of an expert are one width."""
    names = {"hybrid": LAYER_KINDS[0], "hybrid_sliding": WINDOW_KINDS[0]}
    hidden, width = read.whole("hidden_size"), read.whole("head_dim")
    inner = read.whole("router_hidden_size", "zaya_mlp_expansion", default=256)
    heads = read.whole("num_attention_heads") + read.whole("num_key_value_heads")
    mixed = heads * width * width * read.whole("cca_time1", default=2)
    found: dict[str, Any] = {"passed_beside": inner * (hidden + 2 * inner) + mixed}
    found["layer_types"] = [names.get(str(one), one) for one in read.items("layer_types")] or None
    if read.has("zaya_layers"):
        raise read.unread("zaya_layers", "files of transformers 5.13 and later")
    if not read.has("ffn_hidden_size"):
        return found
    return found | {
        "kv_channels": None,
        "num_hidden_layers": read.whole("num_hidden_layers", least=2, most=MOST_LAYERS) // 2,
        "moe_intermediate_size": read.whole("ffn_hidden_size", least=2) // 2,
        "num_experts_per_tok": read.get("moe_router_topk"),
    }


def _qwen4(read: _Reader) -> dict[str, Any]:
    """Qwen4-Exp, as Qwen3.8-Flash-Next: layers without a state choose blocks of what they see,
    streams are mixed before and after all parts of a layer, and what stands of several words in a
    table comes from the host, as vLLM 0.34 and SGLang 0.5.23 have it unless they are told."""
    hidden, layers = read.whole("hidden_size"), read.layers
    every = read.whole("full_attention_interval", default=4)
    full = {LAYER_KINDS[0], "indexed_attention", "qwen_sparse_attention"}
    kinds = [LAYER_KINDS[0] if one in full else one for one in map(str, read.items("layer_types"))]
    kinds = kinds or [LAYER_KINDS[(i + 1) % every != 0] for i in range(layers)]
    streams, rank = read.whole("hc_count", default=4), read.whole("hc_lowrank", default=320)
    passed = 2 * layers * streams * hidden * (2 * rank + streams)
    found: dict[str, Any] = {"full_attention_interval": None, "layer_types": kinds}
    if read.has("indexer_budget"):
        ratio = read.whole("indexer_compress_ratio")
        found |= dict.fromkeys(("indexer_budget", "indexer_n_heads"))
        found["sparse_attention_config"] = {
            "sparse_attention_freq": [1] * layers,
            "sparse_topk_blocks": -(-read.whole("indexer_budget") // ratio),
            "sparse_block_size": ratio,
            "sparse_index_dim": read.whole("indexer_head_dim"),
            "sparse_index_tokens": ratio,
            "sparse_num_index_heads": read.whole("indexer_n_heads"),
        }
    tables = len(read.wholes("ple_layer_ids"))
    width = read.whole("ple_embed_dim", default=hidden)
    rows = read.whole("ngram_vocab_size_base", default=20_000_000)
    if tables:
        passed += tables * width * hidden * (streams + 1)
        values = _table_in_host(tables * rows * width)
        found |= {"ple_layer_ids": None, "beside": (*read.get("beside"), values)}
    return found | {"passed_beside": passed // layers}


def _first_qwen(read: _Reader) -> dict[str, Any]:
    """Qwen of 2023 and Molmo count both halves of a gated layer."""
    return {"intermediate_size": read.whole("intermediate_size", least=2) // 2}


OWN_WORDS = {  # families that say some of it in words of their own
    "ernie4_5_moe": _ernie,
    **dict.fromkeys(("ernie4_5_moe_vl", "ernie4_5_vl_moe", "ernie4_5_vl_moe_text"), _seeing_ernie),
    "granitemoehybrid": _granite_hybrid,
    **dict.fromkeys(("lfm2", "lfm2_moe", "lfm3"), _lfm2),
    **dict.fromkeys(("hunyuan", "hunyuan_v1_moe"), _hunyuan),
    **dict.fromkeys(("step3p5", "step3p7"), _step),
    "step5": _step5,
    **dict.fromkeys(("dots3_note", "dots3_note_text"), _dots),
    **dict.fromkeys(("gemma4", "gemma4_text", "gemma3n", "gemma3n_text"), _small_gemma),
    **dict.fromkeys(("gemma4_unified", "gemma4_unified_text"), _small_gemma),
    **dict.fromkeys(("mamba", "falcon_mamba", "mamba2"), _mamba_alone),
    "deepseek_v4": _deepseek_v4,
    **dict.fromkeys(("deepseek_v41", "deepseek_v41_text"), _deepseek_v41),
    **dict.fromkeys(("kimi_linear", "kimi_k3"), _kimi),
    "longcat_flash": _longcat,
    **dict.fromkeys(("inkling_text", "inkling_model", "inkling2_text"), _inkling),
    **dict.fromkeys(("gpt2", "gptj", "gpt_bigcode", "codegen", "bloom"), _four_widths),
    "falcon": _falcon,
    "gigachat3_5": _gigachat,
    "mimo_v2_flash": _mimo,
    "opt": _opt,
    "aria_text": _aria,
    "bailing_hybrid": _bailing,
    **dict.fromkeys(("qwen", "molmo"), _first_qwen),
    "zaya": _zaya,
    **dict.fromkeys(("qwen4_exp", "qwen4_exp_text"), _qwen4),
}


def _known_words(read: _Reader) -> dict[str, Any]:
    """What a family says in words of its own, in those that are read here."""
    family = OWN_WORDS.get(str(read.get("model_type")))
    return family(read) if family else {}


def _language_model(config: Mapping[str, Any], name: str) -> _Reader:
    """The file of a decoder, alone or inside a larger model, in words that are read here."""
    whole = _Reader(config, name)
    whole = _Reader({**config, **whole.inside("thinker_config").config}, name)
    inner = whole.inside("text_config", "llm_config", "language_config")
    family = str(inner.get("model_type", default=whole.get("model_type")))
    usual = dict(zip(SIZES, USUAL_SIZES.get(family, ()), strict=False))
    merged = {**usual, **whole.config}
    if inner.has("model_type"):  # which has all of its layers inside
        merged = usual | {key: whole.get(key) for key in OF_ALL if whole.has(key)}
    merged |= inner.config
    merged["beside"] = tuple(
        key
        for key, part in whole.config.items()
        if isinstance(part, Mapping) and part and SENSES.fullmatch(key)
    ) or ("vision_config",) * ("_vl" in family)  # the text of one, as presets have it
    _require_decoder(_Reader(merged, name), config)
    for one in (whole.get("model_type"), family):
        if str(one) in MISSING:
            what, instead = MISSING[str(one)]
            raise ValueError(
                f"{name}: 'model_type' {one!r} is not read: it has {what}; for an estimate, "
                f"{SKETCH}{instead}"
            )
    merged |= _known_words(_Reader(merged, name))
    if whole.has("tie_word_embeddings"):  # vLLM asks the whole whether its words stand once
        merged["tie_word_embeddings"] = whole.get("tie_word_embeddings")
    return _Reader(merged, name)


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
    if "linear_attention" in read.items("layer_types") and not linear:
        raise read.unread("layer_types", "linear_attn_config beside kv_lora_rank")


def published_precision(config: Mapping[str, Any]) -> str:
    """Precision of the published weights: `bf16`, `fp8`, `fp4`, `mxfp4` or `int4`.

    config: the dictionary of a `config.json`, with `quantization_config` where there is one. Raises
    ValueError on one that is not known, such as whole numbers of eight bits.

    >>> published_precision({"quantization_config": {"quant_method": "mxfp4"}})
    'mxfp4'
    >>> published_precision({})
    'bf16'
    """
    quantization = config.get("quantization_config") or config.get("quantization") or {}
    fine = isinstance(quantization, Mapping)
    require(fine, "quantization_config", "an object", repr(quantization)[:60])
    inner = quantization.get("quantization")
    quantization = inner if isinstance(inner, Mapping) else quantization  # as ModelOpt nests it
    if not quantization:
        dtype = config.get("torch_dtype") or config.get("dtype")
        if isinstance(dtype, str) and dtype not in PLAIN_TYPES:
            rule = "bfloat16, float16 or float32, or have a quantization_config"
            raise _UnknownFormat(f"torch_dtype must be {rule}, got {dtype[:40]!r}")
        return "bf16"
    method = str(quantization.get("quant_method") or "").lower()
    algorithm = str(quantization.get("quant_algo") or "").upper()
    bits = next((quantization[key] for key in ("bits", "w_bit") if key in quantization), None)
    found: str | None = None
    if algorithm == "MIXED_PRECISION":
        found = _fewest_bits(_formats_of_layers(quantization)) or _format_of_numbers(quantization)
    elif algorithm:
        found = QUANT_ALGORITHMS.get(algorithm)
    elif method in FOUR_BITS:
        found = "int4" if bits == 4 or (bits is None and method == "awq") else None
    elif str(quantization.get("format") or "").startswith("mxfp4"):
        found = "mxfp4"
    else:
        found = QUANT_METHODS.get(method) or _format_of_numbers(quantization)
        if bits is not None and bits != {"fp8": 8}.get(str(found), 4):
            found = None
    if found is None:
        shown = {
            key: quantization[key] for key in _TOLD_OF_FORMAT if quantization.get(key) is not None
        }
        got = ", ".join(f"{key} {repr(value)[:40]}" for key, value in shown.items()) or "neither"
        raise _UnknownFormat(f"quantization_config must be of {KNOWN_FORMATS}, got {got}")
    return found


_TOLD_OF_FORMAT = (
    "quant_method",
    "quant_algo",
    "format",
    "bits",
    "w_bit",
    "load_in_4bit",
    "load_in_8bit",
)


def _formats_of_layers(quantization: Mapping[str, Any]) -> list[str | None]:
    """Formats of the layers of which each says its own."""
    layers = quantization.get("quantized_layers")
    parts = layers.values() if isinstance(layers, Mapping) else ()
    return [
        QUANT_ALGORITHMS.get(str(part.get("quant_algo")).upper())
        for part in parts
        if isinstance(part, Mapping)
    ]


def _format_of_numbers(quantization: Mapping[str, Any]) -> str | None:
    """The format of weights that are described by their bits and kind of number, or by a type."""
    every = quantization.get("global_quant_config")
    if isinstance(every, Mapping):  # of Quark
        weight = every.get("weight")
        kind = str(weight.get("dtype")) if isinstance(weight, Mapping) else ""
        return {"fp8_e4m3": "fp8", "fp4": "fp4"}.get(kind)
    groups = quantization.get("config_groups")
    parts: list[Any] = [quantization]
    if isinstance(groups, Mapping):
        parts = [group.get("weights") for group in groups.values() if isinstance(group, Mapping)]
    return _fewest_bits(
        [
            WEIGHT_NUMBERS.get((str(part.get("num_bits")), str(part.get("type") or "int")))
            for part in parts
            if isinstance(part, Mapping)
        ]
    )


def _fewest_bits(found: list[str | None]) -> str | None:
    """The format of most weights where layers differ: of experts, which have the fewest bits; None
    where one is not known."""
    if not found or None in found:
        return None
    return min((one for one in found if one), key=lambda one: one == "fp8")


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
                *("moe_intermediate_size", "expert_intermediate_size", "expert_hidden_dim"),
                "intermediate_size",
            )
            mixture = _experts(read, hidden, width)
        matrices = 2 if read.get("model_type") in UNGATED else 3
        dense = _NO_FEED_FORWARD
        if not all(mixtures):
            dense_width = read.whole(
                *("dense_intermediate_size", "intermediate_size_mlp"),
                *("prefix_dense_intermediate_size", "intermediate_size"),
            )
            dense = FeedForward(matrices * hidden * dense_width)
        wide = replace(dense, dense_parameters=2 * dense.dense_parameters)
        wide_from = count - read.whole("wide_layers", default=0, least=0, most=count)
        layers = [
            (attention, mixture if mixed else wide if i >= wide_from else dense)
            for i, (attention, mixed) in enumerate(zip(attentions, mixtures, strict=True))
        ]
    layers, looked_up = _with_tables(read, layers, hidden)
    _refuse_unread(read, layers)
    try:
        published = published_precision(read.config)
    except _UnknownFormat as problem:
        published = f"{name}: {problem}"
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
        beside=(*read.get("beside"), *(f"the cache of {key}" for key in SEEING if read.get(key))),
    )
