"""The attention of a model's layers, or what stands in its place, from its `config.json`.

Source: multi-head latent attention is DeepSeek-AI (2024), arXiv 2405.04434, section 2.1; the sparse
selection of DeepSeek-V3.2 is its report, section 2.1; what a family leaves out is the default of
its class in transformers 5.24 or 5.25; what engines keep of DeepSeek-V4 is vLLM's `compressor.py`
and SGLang's `deepseek_v4_memory_pool.py`.
"""

# In one piece: a case for each kind of attention, as its files name it.

from __future__ import annotations

from dataclasses import replace
from typing import Any

from serving_mathematics.core.hardware.architectures import Attention
from serving_mathematics.core.hardware.config_reader import FULL, LINEAR, WINDOW, _Reader

WINDOW_KINDS = WINDOW, "chunked_attention", "chunked"  # kinds of layers, by family
LAYER_KINDS = (FULL, LINEAR, *WINDOW_KINDS, "attention")
FULL_EVERY = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "cohere2": 4}  # which layer has no window
ALL_WINDOWS = (  # families whose every layer has the window, where a file says nothing else
    *(None, "mistral", "mixtral", "phi3", "starcoder2", "olmo2"),
    *("qwen2", "qwen2_moe", "qwen3", "qwen3_moe"),
)
QWENS = "qwen2", "qwen3"  # which use a window if they say so, and from the 29th layer on
UNREAD = (  # parts of a file that say of its layers what is not read here
    *("attn_layer_indices", "attention_layers", "full_attn_idxs", "block_types"),
    "hybrid_layer_ids",
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
GATED = (  # families whose attention has a gate that no key need tell
    *("qwen3_next", "qwen3_5", "qwen4_exp", "afmoe", "muse_", "beam", "minicpm5_moe"),
    *("inkling2_", "ricursive"),
)


def _grouped(
    read: _Reader, heads: int, kv_heads: int, key: int, value: int, beside: int = 0, **more: Any
) -> Attention:
    """Multi-head, grouped-query or multi-query attention. beside: of a gate, and of an index."""
    keys, out = read.hidden * kv_heads * (key + value), read.hidden * heads * value
    width = heads * (key + value)
    return Attention(
        "window" if more.get("window_tokens") else "full",
        read.hidden * heads * key + keys + out + beside,
        cached_values=kv_heads * (key + value),
        score_width=width,
        prompt_score_width=width,
        kv_heads=kv_heads,
        **more,
    )


def _latent(read: _Reader, indexer: bool, rotated: bool = True) -> Attention:
    """Multi-head latent attention, with the selection of DeepSeek-V3.2 where it is; where nothing
    is rotated, all of a head comes from the latent."""
    hidden, heads = read.hidden, read.heads
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


def _compressed(read: _Reader, ratio: int) -> Attention:
    """Attention of DeepSeek-V4: one shared head; blocks of `ratio` tokens are kept as one. Engines
    keep a token in eight bits, of which the 64 values that are turned have 16, with eight bytes of
    scales; the last tokens of a block wait in 32 bits, twice as many where blocks overlap."""
    hidden, heads, width = read.hidden, read.heads, read.whole("head_dim")
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


def _shared_blocks(read: _Reader, ratio: int, keeps: bool, chooses: bool) -> Attention:
    """Attention of DeepSeek-V4.1: the same of blocks that do not overlap, which a few layers keep,
    and a few choose of, for all that come after them."""
    one, plain = (_compressed(read, blocks) for blocks in (ratio, 0))
    if not ratio:
        return plain
    width, size = read.whole("head_dim"), read.whole("index_head_dim")
    parameters = plain.parameters + keeps * read.hidden * (2 * width + size)
    index = read.whole("q_lora_rank") * size + read.hidden
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


def _mamba(read: _Reader) -> Attention:
    """A Mamba-2 layer, in the words of Nemotron-H, of Granite 4 or of Falcon-H1."""
    hidden, heads = read.hidden, read.whole("mamba_num_heads", "mamba_n_heads")
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


def _first_mamba(read: _Reader) -> Attention:
    """A layer of the first Mamba, as in Jamba: a state of some values for every inner channel."""
    inner = read.hidden * read.whole("mamba_expand")
    state, rank = read.whole("mamba_d_state"), read.whole("mamba_dt_rank")
    parameters = 3 * read.hidden * inner + inner * (2 * rank + 3 * state)
    return Attention("linear", parameters, state_values=inner * state, kv_heads=inner)


def _lightning(hidden: int, heads: int, width: int) -> Attention:
    """Lightning attention (MiniMax-01): a matrix of keys and values a head, and an output gate."""
    parameters = 5 * hidden * heads * width
    return Attention("linear", parameters, state_values=heads * width * width, kv_heads=heads)


def _linear(read: _Reader) -> Attention:
    """A layer with a state in the place of a cache, of the family's kind."""
    hidden, family = read.hidden, read.get("model_type")
    if family == "granitemoehybrid":
        return _mamba(read)
    if family in ("lfm2", "lfm2_moe", "lfm3"):
        state = hidden * (read.whole("conv_L_cache") - 1) // 2  # in 16 bits
        return Attention("linear", 4 * hidden * hidden, state_values=state, kv_heads=hidden)
    if family == "minimax":
        return _lightning(hidden, read.heads, read.head_width)
    return _delta(
        hidden,
        read.whole("linear_num_key_heads"),
        read.whole("linear_num_value_heads"),
        read.whole("linear_key_head_dim"),
        read.whole("linear_value_head_dim"),
    )


def _attention_layers(read: _Reader) -> list[Attention]:
    """The attention of every layer."""
    for key in UNREAD:
        said = read.get(key)
        if key == "kv_source_layers" and said == list(range(read.layers)):  # each its own
            continue
        if said not in (None, 0, [], {}) and not (key in ONCE and said == 1):
            raise read.unread(key, f"lists of layer_types: {', '.join(LAYER_KINDS)}")
    if read.has("compress_ratios"):
        return _compressed_layers(read)
    if read.has("kv_lora_rank") and read.flag("use_mla", default=True):
        return _latent_layers(read)
    heads = read.heads
    kv_heads = 1 if read.flag("multi_query") else heads
    kv_heads = read.heads_of(heads, "num_key_value_heads", "num_kv_heads", default=kv_heads)
    width = read.head_width
    if read.has("attn_layer_period"):
        period = read.whole("attn_layer_period")
        offset = read.whole("attn_layer_offset", default=0, least=0)
        full, state = _grouped(read, heads, kv_heads, width, width), _first_mamba(read)
        return [full if i % period == offset else state for i in range(read.layers)]
    if read.has("attn_type_list"):
        listed = read.of_layers("attn_type_list", read.layers, (0, 1))
        full = _grouped(read, heads, kv_heads, width, width)
        light = _lightning(read.hidden, heads, width)
        return [full if item == 1 else light for item in listed]
    return _with_what_is_beside(read, _grouped_layers(read, kv_heads))


def _compressed_layers(read: _Reader) -> list[Attention]:
    """Of DeepSeek-V4 and V4.1."""
    ratios = read.wholes("compress_ratios")
    if len(ratios) < read.layers:
        raise ValueError(f"{read.name}: 'compress_ratios' must have {read.layers} entries")
    ratios = ratios[: read.layers]
    if not read.has("keeping_layers"):
        return [_compressed(read, ratio) for ratio in ratios]
    keep, choose = read.wholes("keeping_layers"), read.wholes("choosing_layers")
    return [_shared_blocks(read, ratio, i in keep, i in choose) for i, ratio in enumerate(ratios)]


def _latent_layers(read: _Reader) -> list[Attention]:
    """Layers with a latent, and those of the same model with a window or a state."""
    looking_back, named = read.inside("words_of_windows").config, read.items("layer_types")
    if set(map(str, named)) & set(WINDOW_KINDS) and not looking_back:
        raise read.unread("layer_types", "layers without a window where kv_lora_rank is")
    behind = type(read)({**read.config, **looking_back, "index_topk": None}, read.name)
    rotated = read.items("no_rope_layers")  # 1 where it is
    rotated = read.of_layers("no_rope_layers", len(rotated), (0, 1))
    types = read.items("indexer_types")
    types = read.of_layers("indexer_types", len(types), ("full", "shared"))
    linear = read.inside("linear_attn_config")
    state_layers = {i - 1 for i in linear.wholes("kda_layers")}
    if not looking_back and not read.has("linear_num_heads", "linear_num_value_heads"):
        named = []
    found = []
    for i in range(read.layers):
        kind = named[i] if i < len(named) else FULL
        if i in state_layers:
            count, size = linear.whole("num_heads"), linear.whole("head_dim")
            found.append(_delta(read.hidden, count, count, size, size))
        elif kind == LINEAR and not read.has("linear_num_heads"):
            found.append(_linear(read))
        elif kind == LINEAR:
            count, size = read.whole("linear_num_heads"), read.whole("linear_head_dim")
            family = read.get("model_type")
            found.append(
                _lightning(read.hidden, count, size)
                if family == "bailing_moe_v2_5"
                else _own_rates(read.hidden, count, size, family == "bailing_hybrid")
            )
        elif kind == WINDOW:
            one = _latent(behind, False)
            found.append(replace(one, window_tokens=read.whole("sliding_window")))
        else:
            full = i >= len(types) or types[i] == "full"
            found.append(_latent(read, full, i >= len(rotated) or rotated[i] == 1))
    return found


def _grouped_layers(read: _Reader, kv_heads: int) -> list[Attention]:
    """Layers that see all or a window, with heads and widths by kind, and those with a state."""
    layers, heads, width = read.layers, read.heads, read.head_width
    windows = "sliding_window", "sliding_window_size", "attention_chunk_size"
    window, family = read.whole(*windows, default=0, least=0), str(read.get("model_type"))
    if not read.flag("use_sliding_window", default=not family.startswith(QWENS)):
        window = 0
    kinds = _layer_kinds(read, window)
    gated = family.startswith(GATED) or read.has("attention_gate_func")
    gates = "attn_output_gate", "attention_output_gate", "use_gated_attention"
    gate = read.hidden if read.flag(*gates, default=gated) else 0  # rows of its matrix
    sparse = read.inside("sparse_attention_config")
    chosen = [0] * layers
    if sparse.has("sparse_attention_freq"):
        chosen = sparse.of_layers("sparse_attention_freq", layers, (0, 1))
    each = read.wholes("num_attention_heads_per_layer")
    swa_heads = read.whole("swa_num_attention_heads", default=heads)
    found = []
    for i, kind in enumerate(kinds):
        many = each[i] if i < len(each) else heads if kind == FULL else swa_heads
        more: dict[str, int] = {"beside": 0}
        if kind == LINEAR:
            found.append(_linear(read))
            continue
        if kind == FULL:
            size = read.whole("global_head_dim", default=width)
            shared = read.heads_of(many, "num_global_key_value_heads", default=kv_heads)
            if chosen[i]:
                more = _index_of_blocks(sparse, read.hidden)
            value = size if read.has("global_head_dim") else read.whole("v_head_dim", default=size)
            if read.flag("attention_k_eq_v"):  # values are the keys: kept, and not multiplied for
                more["beside"] -= read.hidden * shared * value
        else:
            size = read.whole("swa_head_dim", default=width)
            value = read.whole("swa_v_head_dim", "v_head_dim", default=size)
            shared = read.heads_of(many, "swa_num_key_value_heads", default=kv_heads)
            more["window_tokens"] = window
        more["beside"] += gate * many * value
        found.append(_grouped(read, many, shared, size, value, **more))
    return found


def _index_of_blocks(sparse: _Reader, hidden: int) -> dict[str, int]:
    """What chooses blocks of what a layer sees, one row of it for some tokens."""
    width, heads = sparse.whole("sparse_index_dim"), sparse.whole("sparse_num_index_heads")
    row = sparse.whole("sparse_index_tokens", default=1)
    selected = sparse.whole("sparse_topk_blocks") * sparse.whole("sparse_block_size")
    return {
        "selected_tokens": selected,
        "index_values": -(-width // row),
        "index_width": heads * width // row,
        "beside": hidden * (heads + 1) * width,
    }


def _with_what_is_beside(read: _Reader, found: list[Attention]) -> list[Attention]:
    """The layers with what some families have around their attention, or leave out of it."""
    lent = read.whole("borrowing_layers", default=0, least=0, most=read.layers)
    found[read.layers - lent :] = [
        replace(one, borrowed=True, parameters=one.parameters - read.hidden * one.cached_values)
        for one in found[read.layers - lent :]
    ]
    if read.has("sconv_kernel_size"):  # Inkling: positions, and convolutions in 16 bits
        kernel, rank = read.whole("sconv_kernel_size"), read.whole("d_rel")
        found = [
            replace(
                one,
                parameters=one.parameters + read.hidden * read.heads * rank,
                state_values=kernel * (2 * read.hidden + one.cached_values) // 2,
            )
            for one in found
        ]
    if read.get("model_type") == "falcon_h1":  # both at once in every layer
        mixed = _mamba(read)
        state, more = mixed.state_values, mixed.parameters
        found = [
            replace(one, parameters=one.parameters + more, state_values=state) for one in found
        ]
    for i in read.wholes("cross_attention_layers"):  # which see images, and no token of the text
        if i < read.layers:
            found[i] = Attention("none", found[i].parameters)
    return found


def _layer_kinds(read: _Reader, window: int) -> list[str]:
    """What each layer is, of `LAYER_KINDS`. window: tokens of one that has it, 0 where none has."""
    layers, model = read.layers, read.get("model_type")
    every = read.whole("full_attention_interval", default=0, least=0)
    kinds: list[str] = []
    if read.has("layer_types"):
        kinds = read.of_layers("layer_types", layers, LAYER_KINDS)
        kinds = [FULL if kind == "attention" else kind for kind in kinds]
    elif read.has("hybrid_layer_pattern"):
        pattern = read.of_layers("hybrid_layer_pattern", layers, (0, 1))
        kinds = [WINDOW if item else FULL for item in pattern]
    if kinds:
        if not window and not read.has("use_sliding_window") and set(kinds) & set(WINDOW_KINDS):
            raise ValueError(f"{read.name}: config.json must have 'sliding_window' for such layers")
        return kinds
    if every:
        return read.one_in(every, LINEAR)
    if model in ("llama4", "llama4_text"):
        return read.one_in(4, WINDOW_KINDS[1])
    context = read.whole("max_position_embeddings", default=window + 1)
    if not window or (model not in ALL_WINDOWS and window >= context):
        return [FULL] * layers
    if read.has("sliding_window_pattern") or model in FULL_EVERY:
        every = read.whole("sliding_window_pattern", default=FULL_EVERY.get(str(model), 1))
        return read.one_in(every, WINDOW)
    if model not in ALL_WINDOWS:
        rule = f"config.json must have 'layer_types' beside 'sliding_window' of a {model!r}"
        raise ValueError(f"{read.name}: {rule[:160]}; known are {', '.join(LAYER_KINDS)}")
    usual = 28 if str(model).startswith(QWENS) else 0
    first = read.whole("max_window_layers", default=usual, least=0)
    return [WINDOW if i >= first else FULL for i in range(layers)]
