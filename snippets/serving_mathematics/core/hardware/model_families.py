"""What families of models say in words of their own, in those that `published_configs` reads.

Each function takes a file and returns the keys that it has in other words, or leaves out where
another value than the usual is meant; a key that is read so is None then.

Source: Hugging Face `config.json` files as published by their models' authors, and the classes of
transformers 5.24 or 5.25 that read them.
"""

# In one piece: a case for each family; some have the words of another.

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from serving_mathematics.core.hardware.architectures import ENDS, IN_HOST
from serving_mathematics.core.hardware.config_reader import (
    EXPERTS,
    FULL,
    LINEAR,
    MOST_LAYERS,
    SKETCH,
    WINDOW,
    _Reader,
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
SENSES = re.compile(  # parts that are not of it
    r"\w{,30}(vision|visual|audio|speech|image|img_|sound|_encoder|talker|2wav|acoustic|semantic"
    r"|codec|tts|qformer|perceiver|vq_config)\w{,30}"
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
MASKED = "ForMaskedLM", "ForPreTraining"  # as classes of encoders end


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
    kinds = read.kinds(*[LINEAR] * read.layers, key=key, mamba=LINEAR, attention=FULL)
    found: dict[str, Any] = {"layers_block_type": None, "layer_types": kinds}
    if not read.get("num_local_experts"):
        found["intermediate_size"] = read.get("shared_intermediate_size", "intermediate_size")
    return found


def _lfm2(read: _Reader) -> dict[str, Any]:
    """LFM2 lists the layers that attend, where not all do, and takes two thirds of a width in whole
    blocks; in LFM3 every fourth attends, and another looks back no further than a window."""
    third = read.get("model_type") == "lfm3"
    full = read.wholes("full_attn_idxs") if read.has("full_attn_idxs") else range(read.layers)
    full, windows = (range(2, read.layers, 4), range(4, read.layers, 4)) if third else (full, ())
    usual = [FULL if i in full else WINDOW if i in windows else LINEAR for i in range(read.layers)]
    found: dict[str, Any] = {"full_attn_idxs": None, "layer_types": read.kinds(*usual, conv=LINEAR)}
    found["conv_L_cache"] = read.get("conv_L_cache", default=7 if third else 3)
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
    blocks = sparse.whole("topk", default=512)
    region, width = (
        sparse.whole(k, default=n) for k, n in (("region_block_size", 8), ("proxy_dim", 256))
    )
    heads = sparse.whole("sparse_indexer_num_heads", default=16)
    return found | _regions(read, blocks, region, width, heads)


def _regions(read: _Reader, blocks: int, tokens: int, width: int, heads: int) -> dict[str, Any]:
    """Regions of so many tokens that each layer without a window chooses, by a row of an index."""
    words = {
        "sparse_attention_freq": [1] * read.layers,
        "sparse_topk_blocks": blocks,
        "sparse_block_size": tokens,
        "sparse_index_dim": width,
        "sparse_index_tokens": tokens,
        "sparse_num_index_heads": heads,
    }
    return {"sparse_attention_config": words}


def _dots(read: _Reader) -> dict[str, Any]:
    """dots 3, as its makers and as transformers write it: layers with a window have a latent and
    heads of their own, and all have a gate for each head."""
    usual = [FULL if i < 2 or i % 4 == 1 else WINDOW for i in range(read.layers)]
    kinds = read.kinds(*usual, indexed_attention=FULL)
    parts = read.inside("per_layer_config").config
    words = next(iter(parts.values()), None)
    windows = {f"{i:02}" for i, kind in enumerate(kinds[: read.layers]) if kind == WINDOW}
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
    usual = [FULL if i in full else LINEAR for i in range(read.layers)]
    kinds = read.kinds(*usual, attention=FULL)
    return {"layer_types": kinds, "gated_mla": read.flag("gated_attention", default=True)}


def _gemma4(read: _Reader) -> dict[str, Any]:
    """Gemma 4 as transformers writes it: layers without a window have heads of their own, and where
    these are fewer, no matrix for values, which are the keys before they are turned."""
    parts = read.inside("per_layer_config").config
    names = {"head_dim": "global_head_dim", "num_key_value_heads": "num_global_key_value_heads"}
    kinds = read.items("layer_types")[: read.layers]
    wide = {f"{i:02}" for i, kind in enumerate(kinds) if kind == FULL}
    one = next(iter(parts.values()), None)
    alike = isinstance(one, Mapping) and all(part == one for part in parts.values())
    found: dict[str, Any] = {}
    if alike and set(parts) == wide and set(one or ()) <= set(names):
        found = {names[key]: value for key, value in (one or {}).items()}
        found["per_layer_config"] = None
    heads = found.get(names["num_key_value_heads"])
    fewer = heads is not None or read.has("num_global_key_value_heads")
    tied = read.flag("attention_k_eq_v", default=fewer)
    if heads is None and not tied:  # then transformers passes over the number
        found["num_global_key_value_heads"] = None
    return found | {"attention_k_eq_v": tied}


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
    kinds = [LINEAR if one and (i + 1) % every else FULL for i, one in enumerate(grouped)]
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
    ratios = {WINDOW: 0} | {
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
    usual = [WINDOW if i in local else FULL for i in range(read.layers)]
    dense = read.whole("dense_mlp_idx", default=0, least=0)
    convolved = read.flag("use_sconv", default=read.has("conv_kernel_size"))
    kernel = read.get("sconv_kernel_size", "conv_kernel_size", default=4)
    return {
        "local_layer_ids": None,
        "layer_types": read.kinds(*usual, hybrid=FULL, hybrid_sliding=WINDOW),
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
    hidden, width = read.whole("hidden_size"), read.whole("head_dim")
    inner = read.whole("router_hidden_size", "zaya_mlp_expansion", default=256)
    heads = read.whole("num_attention_heads") + read.whole("num_key_value_heads")
    mixed = heads * width * width * read.whole("cca_time1", default=2)
    found: dict[str, Any] = {"passed_beside": inner * (hidden + 2 * inner) + mixed}
    found["layer_types"] = read.kinds(hybrid=FULL, hybrid_sliding=WINDOW) or None
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
    kinds = read.kinds(
        *read.one_in(every, LINEAR), indexed_attention=FULL, qwen_sparse_attention=FULL
    )
    streams, rank = read.whole("hc_count", default=4), read.whole("hc_lowrank", default=320)
    passed = 2 * layers * streams * hidden * (2 * rank + streams)
    found: dict[str, Any] = {"full_attention_interval": None, "layer_types": kinds}
    if read.has("indexer_budget"):
        ratio = read.whole("indexer_compress_ratio")
        found |= dict.fromkeys(("indexer_budget", "indexer_n_heads"))
        blocks = -(-read.whole("indexer_budget") // ratio)
        width, heads = read.whole("indexer_head_dim"), read.whole("indexer_n_heads")
        found |= _regions(read, blocks, ratio, width, heads)
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
