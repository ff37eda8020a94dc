"""Published counts as oracle; every key that is needed is missed by name."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.architectures import (
    SKETCH,
    Architecture,
    Attention,
    FeedForward,
    published_precision,
    read_architecture,
)
from serving_mathematics.core.hardware.catalogue import find_model, model_names, preset_model
from serving_mathematics.core.hardware.deployments import (
    WORKED,
    own_precision,
    sequence_bytes,
    stored,
)
from serving_mathematics.core.hardware.step_time import _layer_cells
from serving_mathematics.planner.questions import read_choices

from tests.bad_json import BAD_JSON, changed, places

PUBLISHED = {  # parameters and active ones in billions, as their makers print them
    "meta-llama/Meta-Llama-3.1-8B": (8.03, None),
    "meta-llama/Meta-Llama-3.1-70B": (70.6, None),
    "meta-llama/Meta-Llama-3.1-405B": (405.9, None),
    "Qwen/Qwen3-32B": (32.8, None),
    "Qwen/Qwen3-235B-A22B": (235, 22),
    "Qwen/Qwen3-30B-A3B": (30.5, 3.3),
    "mistralai/Mixtral-8x7B-v0.1": (46.7, 12.9),
    "mistralai/Mixtral-8x22B-v0.1": (141, 39),
    "deepseek-ai/DeepSeek-R1": (671, 37),
    "moonshotai/Kimi-K2-Instruct": (1026, 32),
    "openai/gpt-oss-120b": (116.8, 5.1),
    "openai/gpt-oss-20b": (20.9, 3.6),
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct": (400, 17),
    "MiniMaxAI/MiniMax-M2.5": (230, 10),
    "Qwen/Qwen3.5-397B-A17B": (397, 17),
    "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-FP8": (120.6, 12),
    "nvidia/Llama-3_3-Nemotron-Super-49B-v1": (49.9, None),
    "Qwen/Qwen3-4B": (4.0, None),
    "Qwen/Qwen3-14B": (14.8, None),
    "Qwen/Qwen2.5-14B": (14.7, None),
    "Qwen/Qwen2.5-32B": (32.5, None),
    "Qwen/Qwen2.5-72B": (72.7, None),
    "01-ai/Yi-34B": (34.4, None),
    "meta-llama/Llama-3.2-1B": (1.23, None),
    "meta-llama/Llama-3.2-3B": (3.21, None),
    "microsoft/phi-4": (14.7, None),
    "mistralai/Mistral-Nemo-Base-2407": (12.2, None),
    "mistralai/Mistral-Small-24B-Base-2501": (23.6, None),
    "nvidia/NVIDIA-Nemotron-Nano-9B-v2": (8.89, None),
    "nvidia/NVIDIA-Nemotron-Nano-12B-v2": (12.31, None),
    "zai-org/GLM-4.5-Air": (106, 12),
}

QWEN2_5_72B = {
    "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64,
    "num_key_value_heads": 8, "intermediate_size": 29568, "vocab_size": 152064,
    "max_position_embeddings": 131072, "sliding_window": 131072, "use_sliding_window": False,
}  # fmt: skip
GLM_4_5 = {
    "hidden_size": 5120, "num_hidden_layers": 92, "num_attention_heads": 96,
    "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 12288,
    "moe_intermediate_size": 1536, "n_routed_experts": 160, "n_shared_experts": 1,
    "num_experts_per_tok": 8, "first_k_dense_replace": 3, "vocab_size": 151552,
}  # fmt: skip
DEEPSEEK_V2_LITE = {
    "hidden_size": 2048, "num_hidden_layers": 27, "num_attention_heads": 16,
    "num_key_value_heads": 16, "kv_lora_rank": 512, "q_lora_rank": None, "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128, "v_head_dim": 128, "intermediate_size": 10944,
    "moe_intermediate_size": 1408, "n_routed_experts": 64, "n_shared_experts": 2,
    "num_experts_per_tok": 6, "first_k_dense_replace": 1, "vocab_size": 102400,
}  # fmt: skip


JAMBA = {
    key: value
    for key, value in json.loads(
        (Path(__file__).parents[2] / "machine" / "configs" / "jamba.json").read_text(
            encoding="utf-8"
        )
    ).items()
    if not key.endswith("_offset")
}
USUAL = {  # what a key that is not there says
    "expert_layer_offset": 0,
    "attn_layer_offset": 0,
    "first_k_dense_replace": 0,
    "moe_layer_freq": 1,
    "q_lora_rank": 0,
    "n_shared_experts": 0,
    "moe_shared_expert_intermediate_size": 0,
    "sliding_window": 0,
    "full_attention_interval": 0,
    "mlp_only_layers": [],
    "tie_word_embeddings": False,
    "attn_output_gate": False,
    "enable_moe_block": False,
}


@pytest.mark.parametrize("config", [JAMBA, QWEN2_5_72B, GLM_4_5, DEEPSEEK_V2_LITE])
@pytest.mark.parametrize("key", USUAL)
def test_a_key_that_is_not_there_says_what_is_usual(key: str, config: dict[str, Any]) -> None:
    without = {name: value for name, value in config.items() if name != key}
    assert read_architecture(without | {key: USUAL[key]}) == read_architecture(without)


NESTED: dict[str, dict[str, Any]] = {  # parts of a file that are no number, by family
    "blocks": {
        "block_configs": [
            {"attention": {"n_heads_in_group": 8}, "ffn": {"ffn_mult": 2.5}},
            {"attention": {"replace_with_linear": True}, "ffn": {"replace_with_linear": True}},
        ]
    },
    "pattern": {"hybrid_override_pattern": "M*E-", "mamba_num_heads": 8, "mamba_head_dim": 64}
    | {"n_groups": 8, "ssm_state_size": 128, "moe_intermediate_size": 512, "num_experts": 8}
    | {"num_experts_per_tok": 2},
    "steps": {"moe_layer_freq": [0, 1, 1], "num_experts": 8, "num_experts_per_tok": 2},
    "kinds": {"attn_type_list": [0, 1, 1], "mlp_only_layers": [1]},
    "windows": {"hybrid_layer_pattern": [1, 0, 1], "sliding_window": 128},
    "every": {"full_attention_interval": 3, "linear_num_key_heads": 4, "linear_num_value_heads": 8}
    | {"linear_key_head_dim": 128, "linear_value_head_dim": 128},
    "compressed": {"compress_ratios": [4, 128, 0], "q_lora_rank": 64, "o_lora_rank": 64}
    | {"o_groups": 2, "sliding_window": 128, "index_n_heads": 4, "index_head_dim": 64}
    | {"index_topk": 64},
    "in words of DeepSeek-V4.1": {"model_type": "deepseek_v41_text", "q_lora_rank": 64}
    | {"o_lora_rank": 64, "o_groups": 2, "sliding_window": 128, "index_n_heads": 4}
    | {"index_head_dim": 64, "index_topk": 64, "compress_ratios": [0, 2, 1], "hc_mult": 4}
    | {"kv_source_layer_ids": [1], "index_source_layer_ids": [1, 2], "engram_layer_ids": [1]}
    | {"engram_num_embeddings": [1000], "engram_head_dim": 64, "engram_n_heads": 2}
    | {"engram_max_ngram_size": 3},
    "in words of Qwen4": {"model_type": "qwen4_exp_text", "hc_count": 2, "hc_lowrank": 16}
    | {"indexer_n_heads": 2, "indexer_head_dim": 64, "indexer_budget": 256, "ngram_size": 3}
    | {"indexer_compress_ratio": 4, "ple_layer_ids": [2], "ple_embed_dim": 512}
    | {"ngram_vocab_size_base": 1000, "linear_num_key_heads": 4, "linear_num_value_heads": 8}
    | {"linear_key_head_dim": 128, "linear_value_head_dim": 128}
    | {"layer_types": ["linear_attention", "full_attention", "indexed_attention"]},
    "in words of DeepSeek": {"model_type": "deepseek_v4", "q_lora_rank": 64, "o_lora_rank": 64}
    | {"o_groups": 2, "sliding_window": 128, "index_n_heads": 4, "index_head_dim": 64}
    | {"index_topk": 64, "mlp_layer_types": ["hash_moe", "moe", "moe"], "num_experts": 8}
    | {"num_experts_per_tok": 2, "compress_rates": {"compressed_sparse_attention": 4}}
    | {"layer_types": ["sliding_attention", *["compressed_sparse_attention"] * 2]}
    | {"quantization_config": {"quant_method": "fp8", "expert_dtype": "fp4"}},
    "latent": {"linear_attn_config": {"kda_layers": [1, 2], "num_heads": 8, "head_dim": 128}}
    | {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128},
    "blocks that are chosen": {
        "sparse_attention_config": {
            "sparse_attention_freq": [1, 0, 1],
            "sparse_topk_blocks": 16,
            "sparse_block_size": 64,
            "sparse_index_dim": 128,
            "sparse_num_index_heads": 4,
        }
    },
    "inside": {"text_config": {"num_key_value_heads": 4}},
    "quantized": {"quantization_config": {"quant_method": "fp8"}},
    "kinds of layers": {
        "layer_types": ["sliding_attention", "full_attention", "full_attention"],
        "sliding_window": 128,
        "use_sliding_window": True,
        "max_window_layers": 1,
        "model_type": "qwen2",
        "torch_dtype": "bfloat16",
        "tie_word_embeddings": True,
        "expert_dtype": "fp4",
    },
    "a window in some": {"sliding_window": 128, "sliding_window_pattern": 3},
    "groups of formats": {
        "quantization_config": {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int"}}},
        }
    },
    "formats of layers": {
        "quantization_config": {
            "quantization": {
                "quant_algo": "MIXED_PRECISION",
                "quantized_layers": {"a": {"quant_algo": "FP8"}, "b": {"quant_algo": "NVFP4"}},
            }
        }
    },
    "one format": {
        "quantization_config": {
            "quant_method": "quark",
            "bits": 8,
            "global_quant_config": {"weight": {"dtype": "fp8_e4m3"}},
        }
    },
    "in words of ERNIE": {"model_type": "ernie4_5_moe", "moe_num_experts": 8, "moe_k": 2}
    | {"moe_num_shared_experts": 1, "moe_layer_start_index": 1, "moe_layer_end_index": 2}
    | {"moe_layer_interval": 2, "moe_intermediate_size": 512},
    "in words of ERNIE that sees": {"model_type": "ernie4_5_moe_vl", "moe_num_experts": [8, 4]}
    | {"moe_k": 2, "moe_num_shared_experts": 1, "moe_layer_start_index": [1, 2]}
    | {"moe_layer_end_index": [2, 1], "moe_intermediate_size": [512, 256]},
    "in words of Granite": {"model_type": "granitemoehybrid", "num_local_experts": 0}
    | {"layer_types": ["mamba", "attention", "mamba"], "shared_intermediate_size": 2048}
    | {"mamba_n_heads": 32, "mamba_d_head": "auto", "mamba_expand": 2, "mamba_n_groups": 1}
    | {"mamba_d_state": 128},
    "in words of LFM2": {"model_type": "lfm2", "full_attn_idxs": [1], "block_ff_dim": 3072}
    | {"block_auto_adjust_ff_dim": True, "block_ffn_dim_multiplier": 1.5, "block_multiple_of": 64}
    | {"conv_L_cache": 3, "tie_embedding": True},
    "in words of Hunyuan": {"model_type": "hunyuan_v1_moe", "num_experts": 8, "moe_topk": [2] * 3}
    | {"num_shared_expert": [1] * 3, "moe_intermediate_size": [512] * 3, "use_cla": False},
    "in words of Step": {"model_type": "step3p5", "num_attention_groups": 8, "moe_top_k": 2}
    | {"num_key_value_heads": None, "moe_num_experts": 8, "moe_layers_enum": "1, 2"}
    | {"share_expert_dim": 512, "moe_intermediate_size": 512, "sliding_window": 128}
    | {"layer_types": ["full_attention", "sliding_attention", "sliding_attention"]}
    | {"attention_other_setting": {"num_attention_heads": 24}},
    "in words of Step 5": {"model_type": "step5", "num_attention_groups": 8, "moe_top_k": 2}
    | {"num_key_value_heads": None, "moe_num_experts": 8, "moe_layers_enum": [1, 2]}
    | {"share_expert_dim": 512, "moe_intermediate_size": 512, "sliding_window": 128}
    | {"layer_types": ["full_attention", "sliding_attention", "sliding_attention"]}
    | {
        "sparse_config": {"enabled": True, "proxy_dim": 256, "region_block_size": 8, "topk": 64}
        | {"sparse_indexer_num_heads": 4}
    },
    "in words of dots": {"model_type": "dots3_note", "kv_lora_rank": 64, "qk_rope_head_dim": 16}
    | {"qk_nope_head_dim": 32, "v_head_dim": 32, "swa_qk_nope_head_dim": 48, "swa_head_dim": 64}
    | {"swa_num_attention_heads": 8, "swa_q_lora_rank": 64, "swa_kv_lora_rank": 128}
    | {"swa_v_head_dim": 32, "sliding_window_size": 128, "use_dsa": True, "index_topk": 64}
    | {"index_head_dim": 32, "index_n_heads": 4, "q_lora_rank": 64}
    | {"layer_types": ["full_attention", "sliding_attention", "sliding_attention"]},
    "in words of Gemma": {"model_type": "gemma4_text", "sliding_window": 128}
    | {"layer_types": ["full_attention", "sliding_attention", "sliding_attention"]}
    | {"per_layer_config": {"00": {"head_dim": 128, "num_key_value_heads": 4}}},
    "in words of GPT-2": {"model_type": "gpt2", "n_inner": None},
    "in words of Falcon": {"model_type": "falcon", "multi_query": True}
    | {"new_decoder_architecture": False},
    "images": {"cross_attention_layers": [1], "architectures": ["AForCausalLM"]},
    "in words of Aria": {"model_type": "aria_text", "moe_num_experts": 8, "moe_topk": 2}
    | {"moe_num_shared_experts": 2},
    "in words of Ling": {"model_type": "bailing_hybrid", "layer_group_size": 2, "head_dim": 64}
    | {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128},
    "in words of Mamba": {"model_type": "mamba", "expand": 2, "state_size": 16}
    | {"time_step_rank": "auto", "intermediate_size": None},
    "in words of Mamba-2": {"model_type": "mamba2", "num_heads": 32, "n_groups": 8}
    | {"state_size": 128},
    "in words of LongCat": {"model_type": "longcat_flash", "num_layers": 2, "moe_topk": 3}
    | {"ffn_hidden_size": 2048, "expert_ffn_hidden_size": 512, "n_routed_experts": 8}
    | {"zero_expert_num": 4},
    "in words of Inkling": {"model_type": "inkling_text", "local_layer_ids": [0, 1], "d_rel": 16}
    | {"sliding_window_size": 128, "conv_kernel_size": 4, "n_routed_experts": 8}
    | {"num_experts_per_tok": 2, "dense_mlp_idx": 1, "moe_intermediate_size": 512},
    "in words of small Gemmas": {"model_type": "gemma3n_text", "intermediate_size": [4096] * 3}
    | {"num_kv_shared_layers": 1, "hidden_size_per_layer_input": 64, "laurel_rank": 16}
    | {"altup_num_inputs": 4, "vocab_size_per_layer_input": 1000, "use_double_wide_mlp": True},
    "in words of Ring": {"model_type": "bailing_hybrid", "layer_group_size": 3, "head_dim": 64}
    | {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
    | {"architectures": ["BailingMoeV2_5ForCausalLM"]},
    "in words of OPT": {"model_type": "opt", "ffn_dim": 4096, "word_embed_proj_dim": 1024},
    "a part that sees": {"vision_config": {"hidden_size": 8}, "thinker_config": {"vq_config": {}}},
    "heads of each": {"num_attention_heads_per_layer": [16, 24, 32]},
    "not turned": {"no_rope_layers": [1, 0, 1], "kv_source_layers": [0, 1, 2]}
    | {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128},
}
PLAIN = {
    "hidden_size": 1024, "num_hidden_layers": 3, "num_attention_heads": 16, "head_dim": 64,
    "num_key_value_heads": 8, "intermediate_size": 4096, "vocab_size": 32000,
}  # fmt: skip


@pytest.mark.parametrize("config", [JAMBA, GLM_4_5, *(PLAIN | part for part in NESTED.values())])
def test_any_value_at_any_place_is_read_or_refused_by_its_key(config: dict[str, Any]) -> None:
    assert read_architecture(config).parameters > 0
    for path in places(config):
        for value in BAD_JSON:
            try:
                read_architecture(changed(config, path, value), "a")
            except ValueError as problem:
                said = str(problem)
                assert re.fullmatch(r"(a: .*|quantization_config must .*){1,200}", said), path


@pytest.mark.parametrize(
    "part",
    [
        {"layer_types": ["attention"] * 3},
        {"layer_types": ["full_attention"] * 3},
        {"layers_block_type": ["attention", "mlp"]},
        {"hybrid_override_pattern": "*-"},
        {"attn_layer_period": 1},
    ],
)
def test_a_pattern_without_states_has_told_of_them(part: dict[str, Any]) -> None:
    """As of Granite 4.0 without states, whose files keep the keys of its hybrids."""
    told = {"mamba_expand": 2, "mamba_d_state": 16, "mamba_dt_rank": 8}
    model = read_architecture(PLAIN | told | part)
    assert {attention.kind for _, attention, _ in model.layers} <= {"full", "none"}
    assert model.attention_parameters in (n * 3 * 2**20 for n in (1, 3))


def test_layers_of_no_known_kind_are_refused() -> None:
    pattern = PLAIN | NESTED["pattern"]
    named = {"layers_block_type": ["mamba", "attention", "moe", "mlp"]}
    assert read_architecture(pattern | named) == read_architecture(pattern)
    named = {"layers_block_type": ["linear_attention", "full_attention", "moe", "mlp"]}
    assert read_architecture(pattern | named) == read_architecture(pattern)
    for wrong in ({"hybrid_override_pattern": "M*X"}, {"layers_block_type": ["mamba", "conv"]}):
        with pytest.raises(ValueError, match=r"must be of mamba or M, .*, got '(X|conv)'"):
            read_architecture(pattern | wrong)
    long = {"layers_block_type": ["mamba", "x" * 99]}
    with pytest.raises(ValueError, match=f", got '{'x' * 59}$"):
        read_architecture(pattern | long)
    with pytest.raises(ValueError, match="'hybrid_layer_pattern' must have 3 entries"):
        read_architecture(PLAIN | {"hybrid_layer_pattern": [1, 0]})
    assert read_architecture(PLAIN | {"num_hidden_layers": 10_000}).layer_count == 10_000
    with pytest.raises(ValueError, match="must be a whole number from 1 to 10,000, got 10001"):
        read_architecture(PLAIN | {"num_hidden_layers": 10_001})


def test_offsets_say_which_layer_of_a_period_is_which() -> None:
    """Of 32 layers every eighth attends and every second is a mixture, from the offset on."""
    for attends, mixes, alike in ((0, 0, True), (4, 1, False), (3, 1, True), (7, 0, False)):
        offsets = {"attn_layer_offset": attends, "expert_layer_offset": mixes}
        model = read_architecture(JAMBA | offsets)
        kinds = {(kind.kind, bool(part.experts)): count for count, kind, part in model.layers}
        assert kinds == {("full", alike): 4, ("linear", alike): 12, ("linear", not alike): 16}


@pytest.mark.parametrize(("name", "counts"), PUBLISHED.items())
def test_parameters_are_those_published(name: str, counts: tuple[float, float | None]) -> None:
    model = preset_model(name)
    total, active = counts
    assert model.parameters / 1e9 == pytest.approx(total, rel=0.011)
    if active is not None:
        assert model.active_parameters / 1e9 == pytest.approx(active, rel=0.09)


@pytest.mark.parametrize(
    ("config", "billions"), [(QWEN2_5_72B, 72.7), (GLM_4_5, 353), (DEEPSEEK_V2_LITE, 15.7)]
)
def test_models_that_are_no_presets_are_read(config: dict[str, Any], billions: float) -> None:
    assert read_architecture(config).parameters / 1e9 == pytest.approx(billions, rel=0.01)


def bytes_a_token(name: str) -> float:
    model = find_model(name)[0]
    return 2 * (model.cached_values(50_001) - model.cached_values(50_000))


def test_bytes_a_token_are_those_published() -> None:
    """Two bytes a value; DeepSeek-V3's from 576 values in 61 layers."""
    assert bytes_a_token("Llama-3.1-70B") == 327_680
    assert bytes_a_token("Qwen3-32B") == 262_144
    assert bytes_a_token("DeepSeek-V3") == 70_272
    assert bytes_a_token("gpt-oss-120b") == 36_864  # the other half of its layers keep 128 tokens
    assert bytes_a_token("Kimi-K3") == 2 * 576 * 24  # 24 of 93 layers keep a cache


def test_windows_and_states_end() -> None:
    gpt = find_model("gpt-oss-120b")[0]
    assert gpt.cached_values(100) == 36 * 100 * 1024
    assert gpt.cached_values(1000) == 18 * (1000 + 128) * 1024
    hybrid = find_model("Qwen3.5-397B")[0]
    state = 45 * 64 * 128 * 128
    assert hybrid.cached_values(0) == state
    assert hybrid.cached_values(10) == state + 15 * 10 * 1024


def test_every_preset_is_read_and_adds_up() -> None:
    for name in model_names():
        model = preset_model(name)
        parts = model.attention_parameters + model.dense_parameters + model.routed_parameters
        assert model.parameters == parts + model.embedding_parameters
        assert 0 < model.active_parameters <= model.parameters
        assert model.layer_count == sum(count for count, _, _ in model.layers)


@pytest.mark.parametrize(
    ("key", "config"),
    [
        ("hidden_size", QWEN2_5_72B),
        ("num_attention_heads", QWEN2_5_72B),
        ("num_hidden_layers", QWEN2_5_72B),
        ("vocab_size", QWEN2_5_72B),
        ("num_experts_per_tok", GLM_4_5),
        ("qk_rope_head_dim", DEEPSEEK_V2_LITE),
        ("v_head_dim", DEEPSEEK_V2_LITE),
    ],
)
def test_a_missing_key_is_named(key: str, config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"box: config.json must have .*'{key}'"):
        read_architecture({k: v for k, v in config.items() if k != key}, "box")


@pytest.mark.parametrize("value", [0, -1, 2.5, float("nan"), "many", True, 1e12])
def test_a_count_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="'hidden_size' must be a whole number"):
        read_architecture({**QWEN2_5_72B, "hidden_size": value})
    with pytest.raises(ValueError, match=f", got '{'x' * 59}$"):
        read_architecture({**QWEN2_5_72B, "hidden_size": "x" * 99})
    with pytest.raises(ValueError, match=f"_config must be an object, got '{'x' * 59}$"):
        published_precision({"quantization_config": "x" * 99})


def test_more_experts_a_token_than_there_are_are_refused() -> None:
    with pytest.raises(ValueError, match="must be at most the 160 experts, got 161"):
        read_architecture({**GLM_4_5, "num_experts_per_tok": 161})
    with pytest.raises(ValueError, match="must hold an object"):
        read_architecture([])  # type: ignore[arg-type]


def test_a_language_model_inside_another_is_found() -> None:
    assert read_architecture({"text_config": QWEN2_5_72B, "hidden_size": 7}).hidden == 8192
    seeing = {"text_config": QWEN2_5_72B, "vision_config": {"depth": 2}}
    assert read_architecture(seeing).beside == ("vision_config",)
    assert preset_model("Qwen/Qwen3-VL-8B-Instruct").beside == ("vision_config",)
    assert not read_architecture({"text_config": QWEN2_5_72B, "vision_config": None}).beside


@pytest.mark.parametrize(
    ("told", "precision"),
    [
        ({}, "bf16"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_algo": "NVFP4"}, "fp4"),
        ({"quant_method": "compressed-tensors", "num_bits": 4, "type": "int"}, "int4"),
        ({"quant_method": "modelopt", "num_bits": 4, "type": "float"}, "fp4"),
        ({"quant_method": "awq"}, "int4"),
    ],
)
def test_published_precision_is_told(told: dict[str, object], precision: str) -> None:
    assert published_precision({"quantization_config": told}) == precision


@given(
    layers=st.integers(1, 40), heads=st.sampled_from([8, 16, 64]), wide=st.sampled_from([64, 128])
)
def test_parameters_of_a_dense_model_are_its_matrices(layers: int, heads: int, wide: int) -> None:
    config = {
        "hidden_size": heads * wide, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": heads, "intermediate_size": 1000, "vocab_size": 50,
    }  # fmt: skip
    hidden = heads * wide
    model = read_architecture(config)
    assert isinstance(model, Architecture)
    assert model.parameters == layers * (4 * hidden**2 + 3 * hidden * 1000) + 2 * 50 * hidden
    count, attention, part = model.layers[0]
    assert (count, isinstance(attention, Attention)) == (layers, True)
    assert part == FeedForward(3 * hidden * 1000)


def test_kinds_of_layers_are_read_where_there_is_one_for_each() -> None:
    every = read_architecture(GLM_4_5)
    layers = GLM_4_5["num_hidden_layers"]
    kinds = ["dense"] * 40 + ["sparse"] * (layers - 40)
    told = read_architecture({**GLM_4_5, "mlp_layer_types": kinds})
    sparse = sum(count for count, _, forward in told.layers if forward.experts)
    assert sparse == layers - 40
    assert sum(count for count, _, forward in every.layers if forward.experts) != sparse


def test_deepseek_v4_by_hand() -> None:
    """30 layers keep a fourth of the context and an index, 31 a 128th; all the last 128 tokens in
    584 bytes each, and in 32 bits those of blocks that are not full, twice 4 or 128, as vLLM's
    `CompressorStateCache` and SGLang's `get_compress_state_ring_size` have it."""
    model = find_model("DeepSeek-V4-Pro")[0]
    window, block = 61 * 128 * 584 // 4, 30 * 8 * 4 * (512 + 128) + 31 * 128 * 2 * 512
    assert model.cached_values(0) == window + block
    assert model.cached_values(1000) == window + block + 1000 * (
        30 * (512 // 4 + 128 // 4) + 31 * 512 // 128
    )
    one = replace(WORKED, architecture=model)
    assert sequence_bytes(one, 0) == 4 * (window + block)
    for asked in (0.0, 1.0, 2.0):  # engines keep one width, whatever is asked
        kept = sequence_bytes(replace(one, cache_bytes=asked), 1) - 4 * (window + block)
        assert kept == 30 * (584 / 4 + 132 / 4) + 31 * 584 / 128
    moved = _layer_cells(model, 1, stored(one))[8]  # of what waits, a step moves next to nothing
    assert set(moved) == {128 * 584}
    fine = next(part for count, part, _ in model.layers if count == 30)
    coarse = next(part for count, part, _ in model.layers if count == 31)
    assert (fine.selected_tokens, fine.index_width) == (4 * 1024, 64 * 128 // 4)
    assert (coarse.selected_tokens, coarse.index_width, coarse.index_values) == (0, 0, 0)
    assert (fine.score_width, coarse.score_width) == (2 * 128 * 512 // 4, 2 * 128 * 512 // 128)
    assert fine.prompt_score_width == fine.score_width
    beside = 7168 * 1536 + 1536 * 128 * 512 + 7168 * 512 + 128 * 512 * 1024 + 16 * 1024 * 7168
    assert coarse.parameters == beside + 7168 * 2 * 512  # values of a block, and their weights
    index = 1536 * 64 * 128 + 7168 * 64 + 7168 * 4 * 128
    assert fine.parameters == beside + 7168 * 4 * 512 + index  # of two blocks that overlap


def test_a_layer_of_deepseek_v4_that_compresses_nothing_is_a_window() -> None:
    config = {
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 9,
        "intermediate_size": 10, "head_dim": 16, "q_lora_rank": 8, "o_lora_rank": 4, "o_groups": 2,
        "sliding_window": 32, "compress_ratios": [0, 16],
    }  # fmt: skip
    model = read_architecture(config)
    (_, plain, _), (_, coarse, _) = model.layers
    assert (plain.kind, plain.window_tokens, plain.cached_values) == ("window", 32, 16)
    assert plain.own_bytes == coarse.own_bytes == (16 + 64 + 8) / 16
    assert plain.score_width == plain.prompt_score_width == 2 * 4 * 16
    assert (coarse.state_values, coarse.cached_values) == (32 * 88 // 4, 1)
    assert coarse.waiting_values == 16 * 2 * 16
    assert model.cached_values(100) == 32 * 16 + 32 * 88 // 4 + 16 * 2 * 16 + 100


DEEPSEEK_V4 = {  # Flash
    "model_type": "deepseek_v4", "hidden_size": 4096, "num_hidden_layers": 43, "head_dim": 512,
    "num_attention_heads": 64, "q_lora_rank": 1024, "o_lora_rank": 1024, "o_groups": 8,
    "sliding_window": 128, "index_n_heads": 64, "index_head_dim": 128, "index_topk": 512,
    "moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1,
    "num_experts_per_tok": 6, "vocab_size": 129_280, "max_position_embeddings": 1_048_576,
    "mlp_layer_types": ["hash_moe"] * 3 + ["moe"] * 40,
    "layer_types": (["heavily_compressed_attention", "compressed_sparse_attention"] * 22)[1:],
}  # fmt: skip


def test_deepseek_v4_as_its_makers_and_as_transformers_write_it() -> None:
    """284,325,869,015 parameters in the class of transformers 5.25, 6,241,416,663 of them beside
    experts and words; names of layers tell what the ratios of the makers do."""
    model = read_architecture(DEEPSEEK_V4)
    assert model.parameters == pytest.approx(284_325_869_015, rel=0.0002)
    passed = model.attention_parameters + model.dense_parameters
    assert passed == pytest.approx(6_241_416_663, rel=0.006)  # but for what mixes four streams
    ratios = {"compress_ratios": [4, 128] * 21 + [4], "layer_types": None, "mlp_layer_types": None}
    assert read_architecture(DEEPSEEK_V4 | ratios) == model
    rates = {"compressed_sparse_attention": 8, "heavily_compressed_attention": 64}
    other = {"compress_ratios": [8, 64] * 21 + [8]}
    told = read_architecture(DEEPSEEK_V4 | {"compress_rates": rates})
    assert told == read_architecture(DEEPSEEK_V4 | ratios | other) != model
    windows = DEEPSEEK_V4 | {"layer_types": ["sliding_attention"] * 43}
    assert {one.kind for _, one, _ in read_architecture(windows).layers} == {"window"}
    for part, words in (
        ({"layer_types": ["odd"] * 43}, "entry 1 of 'layer_types' must be one of sliding_atten"),
        ({"layer_types": ["sliding_attention"]}, "'layer_types' must have 43 entries"),
        ({"mlp_layer_types": ["thick"] * 43}, "entry 1 of 'mlp_layer_types' must be one of sparse"),
        ({"compress_rates": {"compressed_sparse_attention": 0.5}}, "'compressed_sparse_attention'"),
    ):
        with pytest.raises(ValueError, match=f"a: {words}"):
            read_architecture(DEEPSEEK_V4 | part, "a")


def test_four_bits_of_experts_are_told_beside_the_model_or_with_its_format() -> None:
    """DeepSeek-V4.1 tells it in its `quantization_config`, into which transformers 5.25 moves it
    for V4 too."""
    fp8 = DEEPSEEK_V4 | {"quantization_config": {"quant_method": "fp8"}}
    inside = {"quantization_config": {"quant_method": "fp8", "expert_dtype": "fp4"}}
    model = read_architecture(fp8 | {"expert_dtype": "fp4"})
    assert (model.four_bit_experts, model.eight_bit_rest) == (True, True)
    assert read_architecture(fp8 | inside) == model
    assert not read_architecture(fp8 | inside | {"expert_dtype": "fp8"}).four_bit_experts
    with pytest.raises(ValueError, match="'expert_dtype' must be one of fp4, fp8, bf16, got 'odd'"):
        read_architecture(fp8 | {"quantization_config": {"expert_dtype": "odd"}})


DEEPSEEK_V4_1 = {  # Flash
    "model_type": "deepseek_v41_text", "hidden_size": 5120, "num_hidden_layers": 40,
    "num_attention_heads": 64, "head_dim": 512, "q_lora_rank": 1280, "sliding_window": 128,
    "compress_ratios": [0, 0] + [2] * 18 + [1] * 20 + [0] * 3, "index_topk": 512,
    "kv_source_layer_ids": [2, 8, 14, 20], "index_n_heads": 32, "index_head_dim": 128,
    "index_source_layer_ids": [2, 8, 14, 20, 24, 28, 32, 36], "o_groups": 8, "o_lora_rank": 1024,
    "moe_intermediate_size": 2304, "n_routed_experts": 384, "n_shared_experts": 1,
    "num_experts_per_tok": 6, "vocab_size": 129_280, "hc_mult": 4, "engram_layer_ids": [1, 14],
    "engram_num_embeddings": [384_006_168, 384_016_682], "engram_max_ngram_size": 4,
    "engram_n_heads": 8, "engram_head_dim": 256,
}  # fmt: skip


def test_deepseek_v4_1_as_published() -> None:
    """Flash: 552 billion parameters beside 197 of a table, 16 for a token of an answer. As vLLM
    0.34 has it in deepseek_v41/attention.py, four layers keep what all others read, three of them
    one row of two tokens, and each its window; eight choose 512 rows."""
    model = read_architecture(DEEPSEEK_V4_1)
    assert model.parameters / 1e9 == pytest.approx(552, rel=0.001)
    assert model.active_parameters / 1e9 == pytest.approx(16, rel=0.01)
    assert model.beside == (
        "a table of 197·10⁹ values in the host's memory",
        "that the last 20 layers see the ends of prompts alone",
    )
    assert model.cached_values(1001) - model.cached_values(1000) == 2.5 * (512 + 128)
    windows = (2 * 128 * 512 + 38 * 128 * 584 // 4) + 3 * 2 * 2 * 512
    assert model.cached_values(1000) == windows + 1000 * 2.5 * (512 + 128)
    beside = 5120 * (1280 + 512) + 1280 * 64 * 512 + 64 * 512 * 1024 + 8 * 1024 * 5120
    index, pooled = (1280 * 128 + 5120) * 32, 5120 * (2 * 512 + 128)
    found = {(one.parameters, one.index_width, one.borrowed) for _, one, _ in model.layers}
    assert found == {
        (beside, 0, False),  # of windows alone
        (beside, 0, True),
        (beside + index, 32 * 128, True),
        (beside + index + pooled, 32 * 128, False),
        (beside + index + pooled, 32 * 128 // 2, False),
    }
    unsaid = DEEPSEEK_V4_1 | {"engram_num_embeddings": None, "engram_vocab_size": 16_000_000}
    assert read_architecture(unsaid) == model
    without = read_architecture(DEEPSEEK_V4_1 | {"engram_layer_ids": []})
    projected = 2 * 6144 * 5120 * 5
    assert without.parameters == pytest.approx(model.parameters - projected, abs=40)


QWEN3_8 = {  # Flash-Next
    "model_type": "qwen4_exp_text", "hidden_size": 2560, "num_hidden_layers": 48, "head_dim": 256,
    "num_attention_heads": 24, "num_key_value_heads": 2, "hc_count": 4, "hc_lowrank": 320,
    "indexer_n_heads": 4, "indexer_kv_heads": 1, "indexer_head_dim": 128, "indexer_budget": 2048,
    "indexer_compress_ratio": 4, "linear_num_key_heads": 16, "linear_num_value_heads": 48,
    "linear_key_head_dim": 128, "linear_value_head_dim": 128, "num_experts": 512,
    "num_experts_per_tok": 10, "moe_intermediate_size": 640, "vocab_size": 248_320,
    "shared_expert_intermediate_size": 640, "ple_layer_ids": [2], "ple_embed_dim": 2560,
    "ngram_vocab_size_base": 20_000_000,
}  # fmt: skip


def test_qwen4_as_its_class_makes_it() -> None:
    """Qwen3.8-Flash-Next in the class of transformers 5.25: 176,943,899,520 parameters, of which
    51,200,245,760 are of a table, which engines keep in the host; beside experts and words a token
    passes 3,676,300,160. Twelve layers of 48 keep two heads of 256 of each token, and of four
    tokens one row of 128 to choose by."""
    model = read_architecture(QWEN3_8)
    table, experts, words = 51_200_245_760, 48 * 512 * 3 * 2560 * 640, 2 * 248_320 * 2560
    assert model.beside == ("a table of 51.2·10⁹ values in the host's memory",)
    assert model.parameters == pytest.approx(176_943_899_520 - table, rel=0.0002)
    passed = model.attention_parameters + model.dense_parameters
    assert passed == pytest.approx(176_943_899_520 - table - experts - words, rel=0.003)
    assert (model.routed_parameters, model.embedding_parameters) == (experts, words)
    (states, _, _), (count, full, _) = model.layers
    assert (states, count) == (36, 12)
    assert (full.cached_values, full.index_values, full.selected_tokens) == (1024, 32, 2048)
    assert full.index_width == 4 * 128 // 4
    assert bytes_of(model) == 2 * 12 * (1024 + 32)
    kinds = ["full_attention" if i % 4 == 3 else "linear_attention" for i in range(48)]
    for part in (
        {"layer_types": kinds},
        {"layer_types": [one.replace("full", "indexed") for one in kinds]},
        {"full_attention_interval": 4},
    ):
        assert read_architecture(QWEN3_8 | part) == model
    plain = read_architecture(QWEN3_8 | {"indexer_budget": None, "indexer_n_heads": None})
    assert plain.layers[1][1].selected_tokens == 0
    assert plain.parameters == pytest.approx(model.parameters - 12 * 2560 * 5 * 128, abs=48)
    without = read_architecture(QWEN3_8 | {"ple_layer_ids": []})
    assert without.beside == ()
    assert without.parameters == pytest.approx(model.parameters - 2560 * 2560 * 5, abs=48)


def test_a_selecting_layer_by_hand() -> None:
    """DeepSeek-V3.2: an index of 64 heads of 128 values beside every latent layer."""
    model = find_model("DeepSeek-V3.2")[0]
    plain = find_model("DeepSeek-V3")[0]
    chosen, every = model.layers[0][1], plain.layers[0][1]
    assert (chosen.selected_tokens, chosen.index_values, chosen.index_width) == (
        2048,
        128,
        64 * 128,
    )
    assert chosen.parameters - every.parameters == 1536 * 64 * 128 + 7168 * (128 + 64)
    assert (chosen.score_width, chosen.prompt_score_width) == (128 * (2 * 512 + 64), 128 * 320)
    assert every.cached_values == 576


def test_an_index_of_kimi_by_hand() -> None:
    """Kimi K3.1 as vLLM 0.34 reads it: in layers with a latent alone, from what queries come from;
    what a file leaves out is as `KimiLinearDSAConfig` has it."""
    config = PLAIN | NESTED["latent"] | {"model_type": "kimi_linear", "q_lora_rank": 64}
    told = {"dsa_layers": [3], "index_topk": 512, "index_head_dim": 128, "index_num_heads": 32}
    (_, states, _), (_, plain, _) = read_architecture(config).layers
    (_, same, _), (_, latent, _) = read_architecture(config | {"dsa_config": told}).layers
    assert same == states
    assert (latent.selected_tokens, latent.index_values, latent.index_width) == (512, 128, 32 * 128)
    assert latent.parameters - plain.parameters == 64 * 32 * 128 + 1024 * (128 + 32)
    (_, usual, _) = read_architecture(config | {"dsa_config": {"layers": [3]}}).layers[1]
    assert (usual.selected_tokens, usual.index_values, usual.index_width) == (2048, 64, 16 * 64)


def test_a_gate_is_told_by_other_words() -> None:
    """Ricursive and MiniCPM5 say it so; of the first, no key is needed."""
    plain = read_architecture(PLAIN)
    for part, gates in (
        ({"use_gated_attention": True}, 3),
        ({"use_gated_attention": False}, 0),
        ({"model_type": "ricursive"}, 3),
        ({"model_type": "ricursive", "use_gated_attention": False}, 0),
    ):
        more = read_architecture(PLAIN | part).parameters - plain.parameters
        assert more == gates * 1024 * 1024


def test_an_index_of_blocks_by_hand() -> None:
    """MiniMax-M3: of 60 layers 57 choose 16 blocks of 128 by four heads of 128, for which queries
    and keys have matrices of their own, as in `MiniMaxM3VLIndexer` of transformers 5.25."""
    (_, every, _), (count, chosen, _) = find_model("MiniMax-M3")[0].layers
    assert (count, chosen.selected_tokens, chosen.index_values) == (57, 2048, 128)
    assert chosen.index_width == 4 * 128
    assert chosen.parameters - every.parameters == 6144 * (4 + 1) * 128


def test_a_gate_of_latent_attention_is_a_matrix_of_each_layer() -> None:
    plain, gated = (
        read_architecture(DEEPSEEK_V2_LITE | {"mla_use_output_gate": gate})
        for gate in (False, True)
    )
    assert gated.parameters - plain.parameters == 27 * 2048 * 16 * 128


def test_layers_of_which_no_index_is_told_select() -> None:
    """Of a list that is shorter than the model the others have an index of their own."""
    kinds = {"index_topk": 16, "index_n_heads": 2, "index_head_dim": 8}
    config = DEEPSEEK_V2_LITE | kinds
    whole = read_architecture(config).layers
    assert whole == read_architecture(config | {"indexer_types": ["full"] * 26}).layers
    told = read_architecture(config | {"indexer_types": ["shared", "full"]}).layers
    assert sum(count for count, attention, _ in told if attention.index_values == 0) == 1


def test_a_latent_layer_by_hand() -> None:
    """DeepSeek-V3: queries through 1,536 values, keys and values through 512 and 64."""
    latent = find_model("DeepSeek-V3")[0].layers[0][1]
    queries = 7168 * 1536 + 1536 * 128 * (128 + 64)
    assert latent.parameters == queries + 7168 * 576 + 512 * 128 * 256 + 128 * 128 * 7168
    direct = read_architecture(DEEPSEEK_V2_LITE).layers[0][1]  # without a rank of its own
    queries = 2048 * 16 * (128 + 64)
    assert direct.parameters == queries + 2048 * 576 + 512 * 16 * 256 + 16 * 128 * 2048


def test_a_linear_layer_by_hand() -> None:
    """Qwen3.5-397B: 16 keys and 64 values of 128, a gate, two numbers a head, and the way out."""
    model = find_model("Qwen3.5-397B")[0]
    linear = next(part for _, part, _ in model.layers if part.kind == "linear")
    keys, values = 16 * 128, 64 * 128
    assert linear.parameters == 4096 * (2 * keys + 2 * values + 2 * 64) + values * 4096
    assert linear.state_values == 64 * 128 * 128


def test_experts_of_a_narrow_space_by_hand() -> None:
    """Nemotron-3-Super: experts of two matrices in 1,024 values, a way there and back."""
    model = find_model("NVIDIA-Nemotron-3-Super-120B-A12B")[0]
    part = next(part for _, _, part in model.layers if part.experts)
    assert part.expert_parameters == 2 * 1024 * 2688
    assert part.dense_parameters == 2 * 4096 * 5376 + 4096 * 512 + 2 * 4096 * 1024


def test_tied_words_count_once() -> None:
    tied = read_architecture({**QWEN2_5_72B, "tie_word_embeddings": True})
    assert tied.embedding_parameters == 152_064 * 8192
    assert read_architecture(QWEN2_5_72B).embedding_parameters == 2 * 152_064 * 8192


def test_what_a_file_leaves_out_is_as_its_family_has_it() -> None:
    """The classes of transformers 5.24: words that stand once, ungated layers, names of counts."""
    assert read_architecture(PLAIN | {"model_type": "gemma2"}).tied_embeddings
    assert read_architecture(PLAIN | {"model_type": "minicpm"}).tied_embeddings
    assert not read_architecture(PLAIN).tied_embeddings
    assert not read_architecture(
        PLAIN | {"model_type": "gemma2", "tie_word_embeddings": False}
    ).tied_embeddings
    gated, ungated = (
        read_architecture(PLAIN | {"model_type": name}).dense_parameters
        for name in ("llama", "apertus")
    )
    assert gated / ungated == 1.5
    plain, with_gate = (
        read_architecture(PLAIN | {"model_type": name}).attention_parameters
        for name in ("qwen3", "qwen3_next")
    )
    assert with_gate - plain == 3 * PLAIN["hidden_size"] * 16 * PLAIN["head_dim"]
    unused = {"num_experts": 16384, "num_experts_per_tok": 64, "is_moe": False}
    assert read_architecture(PLAIN | unused).layers == read_architecture(PLAIN).layers
    longer = {key: value for key, value in PLAIN.items() if key != "max_position_embeddings"}
    assert read_architecture(longer | {"model_max_length": 2**20}).context_tokens == 2**20
    named = MIXED | {"moe_intermediate_size": None, "expert_hidden_dim": 512}
    assert read_architecture(named).layers == read_architecture(MIXED).layers
    mixture = {key: GLM_4_5[key] for key in GLM_4_5 if key != "first_k_dense_replace"}
    assert read_architecture(mixture | {"num_dense_layers": 3}).layers == (
        read_architecture(GLM_4_5).layers
    )
    inert = {"moe_num_experts": 0, "num_shared_experts": 1, "mamba_d_ssm": None}
    assert read_architecture(PLAIN | inert).layers == read_architecture(PLAIN).layers


@pytest.mark.parametrize(("ratio", "selects"), [(4, True), (8, True), (16, False)])
def test_finely_compressed_layers_select(ratio: int, selects: bool) -> None:
    config = {
        "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 9,
        "intermediate_size": 10, "head_dim": 16, "q_lora_rank": 8, "o_lora_rank": 4, "o_groups": 2,
        "sliding_window": 32, "compress_ratios": [ratio], "index_n_heads": 2, "index_head_dim": 32,
        "index_topk": 10,
    }  # fmt: skip
    ((_, layer, _),) = read_architecture(config).layers
    assert bool(layer.selected_tokens) is selects
    if selects:
        assert layer.selected_tokens == 10 * ratio
        assert layer.index_values == 32 // ratio


def test_kinds_of_layers_are_told_apart() -> None:
    """By hand: keys and values of 2 heads of 64 in a window, of 4 heads of 256 without one."""
    widths = {"swa_head_dim": 64, "swa_num_key_value_heads": 2}
    widths |= {"global_head_dim": 256, "num_global_key_value_heads": 4}
    window = {"use_sliding_window": True, "sliding_window": 128}
    kinds = ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"] * 20
    told = read_architecture(QWEN2_5_72B | widths | window | {"layer_types": kinds})
    assert {
        (n, one.window_tokens, one.cached_values, one.kv_heads) for n, one, _ in told.layers
    } == {
        (60, 128, 2 * 2 * 64, 2),
        (20, 0, 2 * 4 * 256, 4),
    }


WINDOWED = PLAIN | {"sliding_window": 128}
MIXED = PLAIN | {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 512}


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"layer_types": ["full_attention", "conv", "conv"]},
         "entry 2 of 'layer_types' must be one of full_attention, linear_attention, sliding_att"),
        ({"layer_types": ["full_attention", None, "mamba"]}, "entry 2 of 'layer_types' must be"),
        ({"layer_types": ["full_attention"] * 2}, "'layer_types' must have 3 entries, got 2"),
        ({"layer_types": "full_attention"}, "'layer_types' must be a list"),
        ({"layer_types": ["sliding_attention"] * 3}, "config.json must have 'sliding_window'"),
        ({"num_key_value_heads": 3}, "'num_key_value_heads' must be a divisor of the 16 heads"),
        ({"num_key_value_heads": 64}, "'num_key_value_heads' must be a divisor of the 16 heads"),
        ({"num_kv_heads": 5, "num_key_value_heads": None}, "must be a divisor of the 16 heads"),
        ({"num_attention_heads": 24, "head_dim": None}, "'num_attention_heads' must be a di"),
        ({"sliding_window": 128, "swa_num_key_value_heads": 3}, "'swa_num_key_value_heads' must"),
        ({"num_global_key_value_heads": 5}, "'num_global_key_value_heads' must be a divisor of"),
        ({"tie_word_embeddings": "false"}, "'tie_word_embeddings' must be true or false, got"),
        ({"tie_word_embeddings": 1}, "'tie_word_embeddings' must be true or false, got 1"),
        ({"use_sliding_window": "false"}, "'use_sliding_window' must be true or false"),
        ({"attn_output_gate": "no"}, "'attn_output_gate' must be true or false"),
        ({"hybrid_layer_pattern": [0, 1, 2]}, "entry 3 of 'hybrid_layer_pattern' must be one of 0"),
        ({"hybrid_layer_pattern": [0, True, 1]}, "entry 2 of 'hybrid_layer_pattern' must be one"),
        ({"attn_type_list": [0, 1, 2]}, "entry 3 of 'attn_type_list' must be one of 0, 1"),
        ({"attn_layer_indices": [1]}, "'attn_layer_indices' says of layers what is not read here"),
        ({"model_type": "zamba2"}, "'model_type' 'zamba2' is not read: it has weights that stand"),
        ({"model_type": "voxtral_realtime", "text_config": {"model_type": "own"}},
         "'model_type' 'voxtral_realtime' is not read: it has sound that comes in beside each"),
        ({"model_type": "dory"}, "'dory' is not read: it has layers that a token passes several "
         "times; for an estimate, a file is read that has 'hidden_size', .* 'moe_intermediate_size"
         "'; count each passing as a layer"),
        ({"model_type": "zaya", "head_dim": 64, "zaya_layers": ["a", 16, "a"]},
         "'zaya_layers' says of layers what is not read here; known are files of transformers 5"),
        ({"kv_channels": 128}, "known are lists of .*; for an estimate, a file is read that has"),
        ({"v_channels": 128}, "'v_channels' says of layers what is not read"),
        ({"block_attn_res_block_size": 8}, "'block_attn_res_block_size' says of layers what is no"),
        ({"ngram_vocab_size_ratio": 30}, "'ngram_vocab_size_ratio' says of layers what is not re"),
        ({"num_kv_shared_layers": 2}, "'num_kv_shared_layers' says of layers what is not read"),
        ({"kv_channels": 128}, "'kv_channels' says of layers what is not read"),
        ({"num_layers_per_stack": 16}, "'num_layers_per_stack' says of layers what is not read"),
        ({"moe_num_experts": 64, "moe_k": 6}, "'moe_num_experts' says of layers what is not read"),
        ({"moe_num_experts": [64, 64]}, "known are n_routed_experts, num_local_experts, num_exp"),
        ({"mamba_d_ssm": 1024}, "'mamba_d_ssm' says of layers what is not read here; known are la"),
        (NESTED["latent"] | {"linear_attn_config": {}, "layer_types": ["linear_attention"] * 3},
         "'layer_types' says of layers what is not read here; known are linear_attn_config beside"),
        ({"head_dim": 0}, "'head_dim' must be a whole number from 1"),
        ({"model_type": "t5"}, "'model_type' must be of a decoder alone, got 't5'"),
        ({"model_type": "camembert"}, "got 'camembert'; what is read are models that answer token"),
        ({"model_type": "big_bird"}, "a decoder alone, got 'big_bird'; what is read are models"),
        ({"model_type": "modernbert"}, "a decoder alone, got 'modernbert'; what is read are"),
        ({"model_type": "clip", "text_config": {"model_type": "clip_text_model"}},
         "a decoder alone, got 'clip'"),
        ({"model_type": "own", "architectures": ["OwnModel", "OwnForMaskedLM"]},
         "a decoder alone, got 'OwnForMaskedLM'; what is read are"),
        ({"per_layer_config": {"1": {"head_dim": 9}}}, "'per_layer_config' says of layers what is"),
        ({"num_loops": 2}, "'num_loops' says of layers what is not read"),
        ({"total_ut_steps": 4}, "'total_ut_steps' says of layers what is not read"),  # Ouro's
        ({"layer_group_size": 8}, "'layer_group_size' says of layers what is not read"),
        ({"kv_source_layers": [0, 0, 2]}, "'kv_source_layers' says of layers what is not read"),
        (NESTED["latent"] | {"linear_attn_config": {}, "layer_types": ["sliding_attention"] * 3},
         "'layer_types' says of layers what is not read here; known are layers without a window"),
        ({"model_type": "vibevoice", "text_config": {"model_type": "qwen2"}},
         "a decoder alone, got 'vibevoice'"),
        ({"cross_layer_interval": 1}, "'cross_layer_interval' says of layers what is not read"),
        ({"local_layer_ids": [0, 1]}, "'local_layer_ids' says of layers what is not read here"),
        ({"sliding_windows": [8, 0, 8]}, "'sliding_windows' says of layers what is not read here"),
        ({"hybrid_layer_pattern": [0, 1, 1]}, "config.json must have 'sliding_window' for such la"),
        (NESTED["pattern"] | {"block_configs": [{}]}, "'block_configs' says of layers what is not"),
        ({"num_codebooks": 32}, "'num_codebooks' says of layers what is not read"),
        ({"model_type": "opt", "word_embed_proj_dim": 512}, "'word_embed_proj_dim' says of layers"),
        ({"is_encoder_decoder": True}, "'model_type' must be of a decoder alone, got 'an enc"),
        ({"expert_dtype": "int4"}, "'expert_dtype' must be one of fp4, fp8, bf16, got 'int4'"),
        ({"model_type": "odd", "sliding_window": 128}, "must have 'layer_types' beside 'sliding_w"),
        (NESTED["compressed"] | {"compress_ratios": [4]},
         "'compress_ratios' must have 3 entries"),
        ({"sparse_attention_config": {"sparse_attention_freq": [0, 1]}},
         "'sparse_attention_freq' must have 3 entries, got 2"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused_by_its_key(part: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"a: .*{words}"):
        read_architecture(PLAIN | part, "a")


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"mlp_layer_types": ["sparse", "dense", "thick"]}, "entry 3 of 'mlp_layer_types' must be"),
        ({"mlp_layer_types": ["sparse"]}, "'mlp_layer_types' must have 3 entries, got 1"),
        ({"moe_layer_freq": [0, 1, 3]}, "entry 3 of 'moe_layer_freq' must be one of 0, 1, got 3"),
    ],
)
def test_mixtures_that_are_not_known_are_refused(part: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"a: {words}"):
        read_architecture(MIXED | part, "a")


@pytest.mark.parametrize(
    ("part", "windows"),
    [
        ({"model_type": "mistral"}, [1, 1, 1, 1, 1, 1]),
        ({"model_type": "gemma2"}, [1, 0, 1, 0, 1, 0]),
        ({"model_type": "gemma3_text"}, [1, 1, 1, 1, 1, 0]),
        ({"model_type": "odd", "sliding_window_pattern": 3}, [1, 1, 0, 1, 1, 0]),
        ({"model_type": "qwen2", "use_sliding_window": False}, [0, 0, 0, 0, 0, 0]),
        ({"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 4},
         [0, 0, 0, 0, 1, 1]),
    ],
)  # fmt: skip
def test_which_layers_have_a_window(part: dict[str, Any], windows: list[int]) -> None:
    """As transformers has it: of Gemma 2 every second layer has none, of Gemma 3 every sixth, and
    of Qwen2 the first `max_window_layers` have none."""
    model = read_architecture(WINDOWED | {"num_hidden_layers": 6} | part)
    counts = {bool(one.window_tokens): count for count, one, _ in model.layers}
    assert counts.get(True, 0) == sum(windows)
    assert counts.get(False, 0) == 6 - sum(windows)


def test_two_matrices_are_not_three() -> None:
    """StarCoder2-15B: 40 layers of 6,144 and 24,576, 48 heads in 4 groups; 15.96 billion."""
    config = {
        "model_type": "starcoder2", "hidden_size": 6144, "num_hidden_layers": 40,
        "num_attention_heads": 48, "num_key_value_heads": 4, "intermediate_size": 24576,
        "vocab_size": 49152,
    }  # fmt: skip
    assert read_architecture(config).parameters == pytest.approx(15.96e9, rel=0.01)
    one = {"model_type": "gpt_bigcode", "multi_query": True, "num_key_value_heads": None}
    assert read_architecture(PLAIN | one).layers[0][1].kv_heads == 1


HYBRID = {
    "model_type": "granitemoehybrid", "num_attention_heads": 32, "num_key_value_heads": 8,
    "num_hidden_layers": 40, "vocab_size": 100352, "tie_word_embeddings": True,
    "mamba_expand": 2, "mamba_d_head": "auto", "mamba_d_state": 128, "mamba_n_groups": 1,
    "layer_types": ["attention" if i % 10 == 5 else "mamba" for i in range(40)],
}  # fmt: skip
LFM2 = {
    "model_type": "lfm2", "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32,
    "num_key_value_heads": 8, "block_ff_dim": 12288, "block_auto_adjust_ff_dim": True,
    "block_multiple_of": 256, "block_ffn_dim_multiplier": 1.0, "vocab_size": 65536,
    "full_attn_idxs": [2, 5, 8, 10, 12, 14], "conv_L_cache": 3,
}  # fmt: skip
ERNIE = {
    "model_type": "ernie4_5_moe", "hidden_size": 8192, "intermediate_size": 28672,
    "num_hidden_layers": 54, "num_attention_heads": 64, "num_key_value_heads": 8,
    "moe_num_experts": 64, "moe_k": 8, "moe_num_shared_experts": 0, "moe_layer_start_index": 3,
    "moe_layer_end_index": 53, "moe_layer_interval": 1, "moe_intermediate_size": 3584,
    "vocab_size": 103424, "tie_word_embeddings": False,
}  # fmt: skip
HUNYUAN = {
    "model_type": "hunyuan_v1_moe", "hidden_size": 4096, "intermediate_size": 3072,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
    "num_experts": 64, "moe_topk": [8] * 32, "num_shared_expert": [1] * 32,
    "moe_intermediate_size": [3072] * 32, "vocab_size": 128167, "tie_word_embeddings": True,
    "use_cla": False, "cla_share_factor": 2,
}  # fmt: skip
STEP = {
    "model_type": "step3p5", "hidden_size": 4096, "intermediate_size": 11264,
    "num_hidden_layers": 45, "num_attention_heads": 64, "num_attention_groups": 8,
    "head_dim": 128, "vocab_size": 128896, "moe_intermediate_size": 1280, "moe_num_experts": 288,
    "moe_top_k": 8, "share_expert_dim": 1280, "moe_layers_enum": ",".join(map(str, range(3, 45))),
    "sliding_window": 512, "layer_types": (["full_attention"] + ["sliding_attention"] * 3) * 12,
    "attention_other_setting": {"num_attention_heads": 96, "num_attention_groups": 8},
}  # fmt: skip
LAGUNA = {
    "model_type": "laguna", "hidden_size": 2048, "intermediate_size": 8192,
    "num_hidden_layers": 40, "num_attention_heads": 48, "num_key_value_heads": 8, "head_dim": 128,
    "num_attention_heads_per_layer": ([48] + [64] * 3) * 10, "vocab_size": 100352,
    "num_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512, "mlp_only_layers": [0], "sliding_window": 512,
    "layer_types": (["full_attention"] + ["sliding_attention"] * 3) * 10,
}  # fmt: skip
GEMMA4 = {
    "model_type": "gemma4_text", "hidden_size": 5376, "intermediate_size": 21504,
    "num_hidden_layers": 60, "num_attention_heads": 32, "num_key_value_heads": 16,
    "head_dim": 256, "vocab_size": 262144, "sliding_window": 1024, "num_kv_shared_layers": 0,
    "hidden_size_per_layer_input": 0,
    "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 10,
    "per_layer_config": {
        f"{i:02}": {"head_dim": 512, "num_key_value_heads": 4} for i in range(5, 60, 6)
    },
}  # fmt: skip
MINIMAX = {
    "model_type": "minimax", "hidden_size": 6144, "intermediate_size": 9216,
    "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
    "head_dim": 128, "num_local_experts": 32, "num_experts_per_tok": 2, "vocab_size": 200064,
    "layer_types": (["linear_attention"] * 7 + ["full_attention"]) * 10,
}  # fmt: skip
MLLAMA = {
    "model_type": "mllama", "text_config": {
        "model_type": "mllama_text_model", "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads": 8,
        "vocab_size": 128256, "cross_attention_layers": [3, 8, 13, 18, 23, 28, 33, 38],
    },
}  # fmt: skip
HY_V4 = {
    "model_type": "hy_v4", "hidden_size": 2816, "intermediate_size": 6912,
    "num_hidden_layers": 34, "num_attention_heads": 32, "kv_lora_rank": 512, "q_lora_rank": 1536,
    "qk_rope_head_dim": 64, "qk_nope_head_dim": 192, "v_head_dim": 256, "index_topk": 2048,
    "index_head_dim": 128, "index_n_heads": 16, "vocab_size": 120832,
    "indexer_types": ["full" if i < 2 or i % 4 == 1 else "shared" for i in range(34)],
    "moe_intermediate_size": 768, "n_routed_experts": 256, "n_shared_experts": 1,
    "num_experts_per_tok": 8, "first_k_dense_replace": 1,
}  # fmt: skip
MUSE = {
    "model_type": "muse_spark_text", "hidden_size": 8192, "num_hidden_layers": 62,
    "num_attention_heads": 128, "num_key_value_heads": 16, "head_dim": 64, "vocab_size": 202048,
    "num_local_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 4096,
    "moe_hidden_size": 4096,
}  # fmt: skip
LATENT = {
    "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "n_shared_experts": 1, "num_experts_per_tok": 8,
}  # fmt: skip
KIMI = LATENT | {
    "model_type": "kimi_linear", "hidden_size": 2304, "intermediate_size": 9216,
    "num_hidden_layers": 27, "num_attention_heads": 32, "moe_intermediate_size": 1024,
    "num_local_experts": 256, "first_k_dense_replace": 1, "vocab_size": 163840,
    "linear_head_dim": 128, "linear_num_heads": 32,
    "layer_types": [
        "full_attention" if i and i % 4 == 0 and i < 26 else "linear_attention" for i in range(27)
    ],
}  # fmt: skip
GLM_5_3_FLASH = LATENT | {
    "model_type": "glm5_next_text", "hidden_size": 4096, "intermediate_size": 12288,
    "num_hidden_layers": 45, "num_attention_heads": 64, "moe_intermediate_size": 2048,
    "n_routed_experts": 288, "first_k_dense_replace": 3, "vocab_size": 154880,
    "q_lora_rank": 1536, "qk_rope_head_dim": 0, "qk_nope_head_dim": 256, "v_head_dim": 256,
    "linear_head_dim": 128, "linear_num_heads": 64, "index_topk": 2048, "index_head_dim": 128,
    "index_n_heads": 32, "index_kpool": 16,
    "layer_types": (["linear_attention"] * 3 + ["full_attention"]) * 11 + ["linear_attention"],
}  # fmt: skip
ZAYA = {
    "model_type": "zaya", "hidden_size": 2048, "num_hidden_layers": 40, "head_dim": 128,
    "num_attention_heads": 8, "num_key_value_heads": 2, "moe_intermediate_size": 2048,
    "num_experts": 16, "num_experts_per_tok": 1, "router_hidden_size": 256,
    "vocab_size": 262_272, "layer_types": ["hybrid"] * 40,
}  # fmt: skip
DOTS = {
    "model_type": "dots3_note", "hidden_size": 5120, "intermediate_size": 13824,
    "num_hidden_layers": 46, "num_attention_heads": 128, "n_shared_experts": 1,
    "moe_intermediate_size": 1536, "n_routed_experts": 256, "num_experts_per_tok": 8,
    "first_k_dense_replace": 1, "kv_lora_rank": 512, "q_lora_rank": 1024, "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128, "v_head_dim": 128, "index_topk": 2048, "index_head_dim": 128,
    "index_n_heads": 64, "swa_num_attention_heads": 64, "swa_q_lora_rank": 1024,
    "swa_kv_lora_rank": 1024, "swa_qk_nope_head_dim": 192, "swa_head_dim": 256,
    "swa_v_head_dim": 128, "sliding_window_size": 512, "vocab_size": 152_064,
}  # fmt: skip
SEEING_ERNIE = {
    "model_type": "ernie4_5_moe_vl", "hidden_size": 2560, "num_hidden_layers": 28,
    "num_attention_heads": 20, "num_key_value_heads": 4, "intermediate_size": 12288,
    "vocab_size": 103_424, "moe_num_experts": [64, 64], "moe_intermediate_size": [1536, 512],
    "moe_layer_start_index": [1, 1], "moe_layer_end_index": [29, 28], "moe_k": 6,
}  # fmt: skip
SMALL_HYBRID = HYBRID | {
    "hidden_size": 4096, "intermediate_size": 768, "shared_intermediate_size": 1536,
    "num_local_experts": 72, "num_experts_per_tok": 10, "mamba_n_heads": 128,
}  # fmt: skip
NO_EXPERTS = HYBRID | {
    "hidden_size": 2048, "intermediate_size": 1, "shared_intermediate_size": 8192,
    "num_local_experts": 0, "num_experts_per_tok": 0, "mamba_n_heads": 64, "mamba_d_head": 64,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "parameters", "values"),
    [
        (SMALL_HYBRID, 32_207_337_984, 8192),
        (NO_EXPERTS, 3_191_396_096, 4096),
        (LFM2, 1_170_340_608, 6144),
        (LFM2 | {"num_hidden_layers": 30, "block_ff_dim": None, "intermediate_size": 10752,
                 "block_auto_adjust_ff_dim": False, "full_attn_idxs": None, "layer_types": [
                 "full_attention" if i in (2, 5, 9, 13, 17, 21, 25, 28) else "conv"
                 for i in range(30)]}, 2_569_272_320, 8192),
        (LFM2 | {"model_type": "lfm2_moe", "num_hidden_layers": 24, "intermediate_size": 7168,
                 "moe_intermediate_size": 1792, "num_experts": 32, "num_experts_per_tok": 4,
                 "num_dense_layers": 2, "full_attn_idxs": [2, 6, 10, 14, 18, 21]},
         8_339_929_856, 6144),
        (ERNIE, 299_484_163_264, 110_592),
        (SEEING_ERNIE, 28_624_635_776, 28_672),
        (SEEING_ERNIE | {"moe_layer_start_index": None, "moe_layer_end_index": None,
                         "model_type": "ernie4_5_vl_moe_text", "moe_num_experts": 64},
         28_624_635_776, 28_672),
        (ZAYA, 8_840_488_784, 20_480),
        (ZAYA | {"num_hidden_layers": 80, "ffn_hidden_size": 4096, "kv_channels": 128,
                 "moe_router_topk": 1, "num_experts_per_tok": None, "moe_intermediate_size": None,
                 "layer_types": None}, 8_840_488_784, 20_480),
        (DOTS, 279_551_718_016, 13 * 576 + 33 * 1088),
        (DOTS | {"model_type": "dots3_note_text", "layer_types": [
                 "sliding_attention" if i > 1 and i % 4 != 1 else "indexed_attention"
                 for i in range(46)], "per_layer_config": {
                 f"{i:02}": {"kv_lora_rank": 1024, "num_attention_heads": 64,
                             "qk_nope_head_dim": 192} for i in range(2, 46) if i % 4 != 1},
                 "swa_kv_lora_rank": None}, 279_551_718_016, 13 * 576 + 33 * 1088),
        (HUNYUAN, 80_393_183_232, 65_536),
        (STEP, 196_956_118_272, 92_160),
        (LAGUNA, 33_442_617_088, 81_920),
        (GEMMA4, 30_697_345_280, 450_560),
        ({"model_type": "falcon", "hidden_size": 8192, "num_hidden_layers": 60, "multi_query": True,
          "num_attention_heads": 128, "num_kv_heads": 8, "new_decoder_architecture": True,
          "vocab_size": 65024}, 41_303_293_952, 61_440),
        (MINIMAX, 456_089_655_296, 20_480),
        (MLLAMA, 9_775_192_080, 65_536),
        (HY_V4, 58_278_193_133, 19_584),
        (MUSE, 819_990_536_192, 126_976),
        (KIMI, 49_133_074_464, 3456),
        ({"model_type": "falcon_h1", "hidden_size": 4096, "num_hidden_layers": 32,
          "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
          "mamba_expand": 2, "vocab_size": 128_000, "mamba_d_ssm": 1024, "mamba_n_heads": 128,
          "mamba_d_head": "auto", "mamba_n_groups": 1, "mamba_d_state": 256},
         8_514_961_408, 65_536),
        (GLM_5_3_FLASH, 313_326_816_766, 5632),
        ({"model_type": "gpt2", "n_embd": 1600, "n_layer": 48, "n_head": 25, "vocab_size": 50257,
          "n_positions": 1024}, 1_557_611_200, 153_600),
        ({"model_type": "bloom", "hidden_size": 4096, "n_layer": 30, "n_head": 32,
          "vocab_size": 250_880}, 7_069_016_064, 245_760),
    ],
)  # fmt: skip
def test_families_with_words_of_their_own(
    config: dict[str, Any], parameters: int, values: int
) -> None:
    """Parameters as the classes of transformers 5.24 make them without numbers in them, and what
    their projections of keys and values leave of a token in all layers."""
    model = read_architecture(config)
    assert model.parameters == pytest.approx(parameters, rel=0.004)
    assert sum(count * one.cached_values for count, one, _ in model.layers) == values


def test_what_a_family_says_changes_nothing_where_it_says_nothing() -> None:
    """Encoders in a name of a class, one loop, no layers that share, and a window as long as the
    context."""
    plain = read_architecture(PLAIN)
    for part in (
        {"model_type": "modernbert-decoder"},
        {"architectures": ["LlamaForCausalLM"]},
        {"architectures": "LlamaForMaskedLM"},
        {"use_mla": False, "kv_lora_rank": 512, "q_lora_rank": 1536},  # as Hunyuan has it
        {"num_loops": 1, "layer_group_size": 1, "num_kv_shared_layers": 0, "per_layer_config": {}},
        {"kv_source_layers": [0, 1, 2], "num_attention_heads_per_layer": [16, 16, 16]},
        {"model_type": "odd", "sliding_window": 4096, "max_position_embeddings": 4096},
    ):
        assert read_architecture(PLAIN | part).layers == plain.layers


def test_words_stand_once_as_the_whole_file_says() -> None:
    """As vLLM and transformers 5 have it: beside what holds the model of language, where it is
    said there, and inside of it elsewhere."""
    for outer, inner, once in ((True, False, True), (False, True, False), (None, True, True)):
        config = {"text_config": PLAIN | {"tie_word_embeddings": inner}}
        config |= {} if outer is None else {"tie_word_embeddings": outer}
        assert read_architecture(config).tied_embeddings is once


@pytest.mark.parametrize(
    ("part", "mixed"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"moe_layer_start_index": 2, "moe_layer_end_index": 4}, [2, 3, 4]),
        ({"moe_layer_start_index": 0, "moe_layer_interval": 2}, [1, 3, 5]),
        ({"moe_layer_end_index": -1, "moe_layer_interval": 3}, [2, 5]),
    ],
)
def test_which_layers_of_ernie_are_mixtures(part: dict[str, Any], mixed: list[int]) -> None:
    """Between two layers, both included, every so manieth counted from the first of all."""
    asked = PLAIN | {"num_hidden_layers": 6, "model_type": "ernie4_5_moe", "moe_num_experts": 8}
    asked |= {"moe_k": 2, "moe_num_shared_experts": 3, "moe_intermediate_size": 512}
    kinds = {bool(one.experts): (n, one) for n, _, one in read_architecture(asked | part).layers}
    assert kinds[True][0] == len(mixed)
    assert kinds[False][0] == 6 - len(mixed)
    assert kinds[True][1].dense_parameters == 3 * 1024 * 3 * 512 + 8 * 1024  # shared, and a router


def test_what_stands_in_a_sketch_is_read() -> None:
    """What a refusal says is read is enough."""
    said = re.findall("'(\\w+)'", SKETCH)
    config = {key: PLAIN.get(key, 8) for key in said if "expert" not in key and "moe" not in key}
    assert read_architecture(config).layers == read_architecture(PLAIN).layers
    mixed = {key: 8 for key in said if key not in config}
    assert read_architecture(config | mixed).expert_counts == (8,)


def test_experts_of_images_are_held_and_not_passed() -> None:
    """ERNIE-4.5-VL-28B-A3B: three billion parameters for a token of a text."""
    model = read_architecture(SEEING_ERNIE)
    assert model.looked_up == 27 * 64 * 3 * 2560 * 512
    assert model.active_parameters / 1e9 == pytest.approx(3, rel=0.12)
    fewer = read_architecture(SEEING_ERNIE | {"moe_num_experts": [64, 32]})
    assert model.parameters - fewer.parameters == model.looked_up / 2
    assert fewer.active_parameters == model.active_parameters


@pytest.mark.parametrize(
    ("part", "width"),
    [
        ({"block_ff_dim": 3000}, 2048),  # two thirds, and no block less
        ({"block_ff_dim": 3000, "block_ffn_dim_multiplier": 1.5}, 3072),
        ({"block_ff_dim": 3000, "block_ffn_dim_multiplier": 1.5, "block_multiple_of": 64}, 3008),
        ({"block_ff_dim": 3000, "block_ffn_dim_multiplier": None}, 2000),
        ({"block_ff_dim": 3000, "block_auto_adjust_ff_dim": False}, 3000),
        ({"block_ff_dim": None}, 2816),  # of 4,096
    ],
)
def test_how_wide_lfm2_is(part: dict[str, Any], width: int) -> None:
    asked = PLAIN | {"model_type": "lfm2", "block_ffn_dim_multiplier": 1, "full_attn_idxs": [1]}
    layers = read_architecture(asked | part).layers
    assert {one.dense_parameters for _, _, one in layers} == {3 * 1024 * width}
    assert not read_architecture(asked | part | {"tie_embedding": False}).tied_embeddings
    (conv,) = (one for _, one, _ in layers if one.kind == "linear")
    assert (conv.parameters, conv.state_values) == (4 * 1024 * 1024, 1024)  # two tokens in 16 bits


def test_what_differs_from_layer_to_layer_is_refused() -> None:
    """Where one value for all is read: Hunyuan's lists, and Gemma 4's heads of layers that have a
    window."""
    hunyuan = PLAIN | NESTED["in words of Hunyuan"]
    for key in ("num_experts", "moe_topk", "num_shared_expert", "moe_intermediate_size"):
        with pytest.raises(
            ValueError, match=r"must be a whole number from \d to .*, got \[2, 4, 2\]"
        ):
            read_architecture(hunyuan | {key: [2, 4, 2]})
    unsaid = {key: value for key, value in hunyuan.items() if key != "num_shared_expert"}
    assert read_architecture(unsaid).layers == read_architecture(hunyuan).layers  # one is shared
    with pytest.raises(ValueError, match="'cla_share_factor' says of layers what is not read"):
        read_architecture(hunyuan | {"use_cla": True, "cla_share_factor": 2})
    gemma = PLAIN | NESTED["in words of Gemma"]
    assert {one.kv_heads for _, one, _ in read_architecture(gemma).layers} == {4, 8}
    two = gemma | {"layer_types": ["full_attention", "sliding_attention", "full_attention"]}
    with pytest.raises(ValueError, match="'per_layer_config' says of layers what is not read"):
        read_architecture(two)  # of which one has other heads
    for heads in (
        {"01": {"head_dim": 128}},
        {"00": {"head_dim": 128}, "01": {"head_dim": 128}},
        {"00": {"hidden_size": 512}},
    ):
        with pytest.raises(ValueError, match="'per_layer_config' says of layers what is not read"):
            read_architecture(gemma | {"per_layer_config": heads})


def test_heads_are_those_of_each_layer() -> None:
    """By hand: queries and the way out of 16, 24 and 32 heads of 64, keys and values of 8."""
    each = PLAIN | NESTED["heads of each"]
    rest = 1024 * 2 * 8 * 64
    assert [one.parameters for _, one, _ in read_architecture(each).layers] == [
        2 * 1024 * heads * 64 + rest for heads in (16, 24, 32)
    ]
    step = PLAIN | NESTED["in words of Step"]
    full, window = (one for _, one, _ in read_architecture(step).layers)
    assert (full.parameters, window.parameters) == (
        2 * 1024 * 16 * 64 + rest,
        2 * 1024 * 24 * 64 + rest,
    )
    listed = read_architecture(step | {"moe_layers_enum": [1, 2]})
    assert listed.layers == read_architecture(step).layers
    assert [bool(one.experts) for _, _, one in listed.layers] == [False, True]


def test_latents_of_windows_in_dots() -> None:
    """They end; what chooses is in the others alone, and nowhere where a file says so."""
    full, window = ([one for _, one, _ in read_architecture(DOTS).layers][at] for at in (0, -1))
    assert (full.selected_tokens, full.index_values, full.window_tokens) == (2048, 128, 0)
    assert (window.selected_tokens, window.index_values, window.window_tokens) == (0, 0, 512)
    assert window.score_width == 64 * (2 * 1024 + 64)
    model = read_architecture(DOTS | {"use_dsa": False})
    assert {one.selected_tokens for _, one, _ in model.layers} == {0}
    assert model.cached_values(600) == 600 * 13 * 576 + 512 * 33 * 1088
    odd = {"per_layer_config": {"02": {"kv_lora_rank": 9}}, "layer_types": None}
    with pytest.raises(ValueError, match="'per_layer_config' says of layers what is not read"):
        read_architecture(DOTS | odd)


def test_step_5_by_hand() -> None:
    """Of each region of eight tokens one row of 256 for four heads to choose by, in layers without
    a window."""
    step = PLAIN | NESTED["in words of Step 5"]
    full, window = (one for _, one, _ in read_architecture(step).layers)
    assert (full.selected_tokens, full.index_values, full.index_width) == (64 * 8, 32, 4 * 32)
    assert (window.selected_tokens, window.index_values, window.window_tokens) == (0, 0, 128)
    plain = read_architecture(step | {"sparse_config": {"enabled": False}})
    assert [one.selected_tokens for _, one, _ in plain.layers] == [0, 0]
    more = read_architecture(step).parameters - plain.parameters
    assert more == 1024 * (4 * 256 + 256)
    assert read_architecture(step | {"sparse_config": None}) == plain


def test_layers_that_see_images_keep_nothing_of_the_text() -> None:
    plain, seeing = read_architecture(PLAIN), read_architecture(PLAIN | NESTED["images"])
    assert seeing.parameters == plain.parameters
    assert seeing.cached_values(9) == plain.cached_values(9) * 2 / 3


def test_a_latent_without_a_turned_part_is_smaller() -> None:
    """By hand: 512 values, and 64 more where some of each head is turned; and gates of HY V4, of
    each value or of each head."""
    part = PLAIN | NESTED["not turned"]
    turned, still = (one for _, one, _ in read_architecture(part).layers)
    assert (turned.cached_values, still.cached_values) == (576, 512)
    assert turned.parameters - still.parameters == 1024 * 64 - 512 * 16 * 64
    plain, by_value, by_head, none = (
        read_architecture(part | gate).layers[0][1].parameters
        for gate in (
            {},
            {"model_type": "hy_v4"},
            {"model_type": "hy_v4_vl_text", "gating_type": "headwise"},
            {"model_type": "hy_v4", "gated_mla": False},
        )
    )
    assert (by_value - plain, by_head - plain, none - plain) == (1024 * 16 * 128, 1024 * 16, 0)


def test_a_layer_with_own_rates_by_hand() -> None:
    """Kimi Linear: queries, keys, values and the way out, rates and a gate through 128, and a
    number a head."""
    linear = next(one for _, one, _ in read_architecture(KIMI).layers if one.kind == "linear")
    through = 2 * (2304 * 128 + 128 * 4096)
    assert linear.parameters == 4 * 2304 * 4096 + through + 2304 * 32
    assert linear.state_values == 32 * 128 * 128


@pytest.mark.parametrize(
    ("part", "kv_heads"),
    [
        ({}, 1),
        ({"multi_query": False}, 16),
        ({"num_kv_heads": 4}, 1),
        ({"new_decoder_architecture": True, "num_kv_heads": 4}, 4),
    ],
)
def test_heads_of_falcons(part: dict[str, Any], kv_heads: int) -> None:
    asked = PLAIN | {"model_type": "falcon", "num_key_value_heads": None}
    ((_, one, wide),) = read_architecture(asked | part).layers
    assert one.kv_heads == kv_heads
    assert wide.dense_parameters == 2 * 1024 * 4096


def test_an_index_of_pools_is_as_much_smaller() -> None:
    """GLM-5.3-Flash looks at sixteen tokens as one: an index of 128 values leaves 8 of each."""
    pooled, single = (
        next(one for _, one, _ in read_architecture(config).layers if one.kind == "latent")
        for config in (GLM_5_3_FLASH, GLM_5_3_FLASH | {"index_kpool": 1})
    )
    assert (pooled.index_values, single.index_values) == (8, 128)
    assert 16 * pooled.index_width == single.index_width == 32 * 128
    assert pooled.selected_tokens == single.selected_tokens == 2048
    assert pooled.parameters - single.parameters == 4096 * 128  # a gate of the pool


def test_halves_that_are_counted_together_are_halved() -> None:
    """Qwen-7B of 2023: 22,016 in its file, 7.72 billion parameters."""
    config = {"model_type": "qwen", "hidden_size": 4096, "num_hidden_layers": 32}
    config |= {"num_attention_heads": 32, "intermediate_size": 22016, "vocab_size": 151_936}
    assert read_architecture(config).parameters / 1e9 == pytest.approx(7.72, rel=0.001)
    molmo = {"model_type": "molmo", "hidden_size": 3584, "num_hidden_layers": 28}
    molmo |= {"num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152_064}
    model = read_architecture(molmo | {"intermediate_size": 37888})  # on Qwen2-7B
    assert model.parameters / 1e9 == pytest.approx(7.615, rel=0.001)


@pytest.mark.parametrize(
    ("part", "window_heads"),
    [({}, 16), ({"swa_num_key_value_heads": 4}, 4)],
)
def test_a_window_has_twice_the_heads_of_keys_in_mimo(
    part: dict[str, Any], window_heads: int
) -> None:
    kinds = ["full_attention", "sliding_attention", "sliding_attention"]
    asked = {"model_type": "mimo_v2_flash", "sliding_window": 128, "layer_types": kinds}
    layers = read_architecture(PLAIN | asked | part).layers
    assert [one.kv_heads for _, one, _ in layers] == [8, window_heads]


@pytest.mark.parametrize(
    ("told", "precision"),
    [
        ({"quant_method": "gptq", "bits": 4}, "int4"),
        ({"quant_method": "awq", "bits": 4, "comment": "not fp4, not fp8"}, "int4"),
        ({"quant_method": "fp8", "comment": "not fp4, not mxfp4"}, "fp8"),
        ({"quant_method": "auto-round", "bits": 4}, "int4"),
        ({"quant_algo": "W4A16_AWQ"}, "int4"),
        ({"quantization": {"quant_algo": "NVFP4"}}, "fp4"),
        ({"quant_method": "fp8", "bits": 8}, "fp8"),
        ({"quant_algo": "MIXED_PRECISION", "num_bits": 4, "type": "float"}, "fp4"),
        ({"quant_algo": "MIXED_PRECISION",
          "quantized_layers": {"a": {"quant_algo": "FP8"}, "b": {"quant_algo": "NVFP4"}}}, "fp4"),
        ({"quant_method": "compressed-tensors", "config_groups": {
            "a": {"weights": {"num_bits": 8, "type": "float"}, "input_activations": {"num_bits": 8}}
        }}, "fp8"),
        ({"quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized",
          "config_groups": {"a": {"weights": {"num_bits": 4, "type": "float"}}}}, "mxfp4"),
        ({"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp8_e4m3"}}},
         "fp8"),
    ],
)  # fmt: skip
def test_formats_are_read_by_their_fields(told: dict[str, object], precision: str) -> None:
    assert published_precision({"quantization_config": told}) == precision


@pytest.mark.parametrize(
    ("told", "got"),
    [
        ({"quant_method": "gptq", "bits": 8}, "quant_method 'gptq', bits 8"),
        ({"quant_method": "gptq", "bits": 3}, "quant_method 'gptq', bits 3"),
        ({"quant_method": "gptq"}, "quant_method 'gptq'"),
        ({"quant_method": "awq", "bits": 8}, "quant_method 'awq', bits 8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "quant_method 'bitsandbytes', lo"),
        ({"quant_method": "hqq", "note": "fp8"}, "quant_method 'hqq'"),
        ({"quant_method": "exl2", "bits": 4.0}, "quant_method 'exl2', bits 4.0"),
        ({"load_in_8bit": True}, "load_in_8bit True"),
        ({"quant_method": "compressed-tensors", "config_groups": {
            "a": {"weights": {"num_bits": 8, "type": "int"}}}}, "quant_method 'compressed-"),
        ({"quant_algo": "MIXED_PRECISION"}, "quant_algo 'MIXED_PRECISION'"),
        ({"quant_algo": "INT8_SQ"}, "quant_algo 'INT8_SQ'"),
        ({"note": "fp4"}, "neither"),
        ({"quant_method": "fp8", "bits": 4}, "quant_method 'fp8', bits 4"),
        ({"quant_method": "mxfp4", "bits": 8}, "quant_method 'mxfp4', bits 8"),
    ],
)  # fmt: skip
def test_a_format_that_is_not_known_is_said_by_the_reader(
    told: dict[str, object], got: str
) -> None:
    config = {"quantization_config": told}
    with pytest.raises(ValueError, match=f"quantization_config must be of fp8, .*, got {got}"):
        published_precision(config)
    model = read_architecture(PLAIN | config, "a")
    with pytest.raises(ValueError, match=r"a: quantization_config must be .*; or say a precision"):
        own_precision(model)


@pytest.mark.parametrize("dtype", ["int8", "float8_e4m3fn", "x"])
def test_a_type_of_numbers_that_is_not_known_is_no_bf16(dtype: str) -> None:
    with pytest.raises(ValueError, match=f"torch_dtype must be bfloat16, .*, got '{dtype}'"):
        published_precision({"torch_dtype": dtype})
    assert (
        published_precision({"torch_dtype": dtype, "quantization": {"quant_algo": "FP8"}}) == "fp8"
    )
    assert published_precision({"dtype": "float32"}) == "bf16"


def test_a_precision_that_is_said_takes_the_place_of_a_format(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(PLAIN | {"quantization_config": {"quant_method": "hqq"}}))
    asked = {"rate_per_s": 1, "model": str(file), "mean_prompt_tokens": 100}
    with pytest.raises(ValueError, match=r"precision: .*quantization_config must be of"):
        read_choices(asked)
    assert read_choices(asked | {"precision": "fp8"})[0].deployment.precision == "fp8"


def test_a_list_says_which_layers_are_mixtures() -> None:
    config = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 3}
    config |= {"intermediate_size": 128, "vocab_size": 100, "num_experts": 8}
    config |= {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
    one = read_architecture(config | {"moe_layer_freq": [0, 1, 1]})
    assert one.routed_parameters == 2 * 8 * 3 * 64 * 32


INSIDE: dict[str, tuple[dict[str, Any], int, int]] = {  # as published: what is usual is left out
    "llava-1.5-7b": (
        {"model_type": "llama", "max_position_embeddings": 4096, "vocab_size": 32064},
        6_738_939_904, 262_144,
    ),
    "gemma-3-4b": (
        {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240,
         "num_hidden_layers": 34, "sliding_window": 1024},
        3_880_263_168, 69_632,
    ),
    "gemma-3-12b": (
        {"model_type": "gemma3_text", "hidden_size": 3840, "intermediate_size": 15360,
         "num_attention_heads": 16, "num_key_value_heads": 8, "num_hidden_layers": 48,
         "sliding_window": 1024},
        11_766_034_176, 196_608,
    ),
    "pixtral-12b": (
        {"model_type": "mistral", "head_dim": 128, "hidden_size": 5120, "intermediate_size": 14336,
         "num_hidden_layers": 40, "num_key_value_heads": 8, "sliding_window": None,
         "vocab_size": 131_072},
        12_247_782_400, 81_920,
    ),
    "paligemma2-3b": (
        {"model_type": "gemma2", "hidden_size": 2304, "intermediate_size": 9216,
         "num_hidden_layers": 26, "num_key_value_heads": 4, "vocab_size": 257_216},
        2_617_143_552, 53_248,
    ),
    "qwen2-audio": (
        {"model_type": "qwen2", "intermediate_size": 11008, "vocab_size": 156_032},
        7_754_878_976, 262_144,
    ),
    "aria": (
        {"model_type": "aria_text", "hidden_size": 2560, "intermediate_size": 1664,
         "moe_num_experts": 64, "moe_num_shared_experts": 2, "moe_topk": 6, "vocab_size": 100_352,
         "num_attention_heads": 20, "num_hidden_layers": 28, "num_key_value_heads": 20},
        24_869_091_840, 143_360,
    ),
    "blip2-opt-2.7b": (
        {"model_type": "opt", "ffn_dim": 10240, "hidden_size": 2560, "num_attention_heads": 32,
         "num_hidden_layers": 32, "word_embed_proj_dim": 2560},
        2_651_596_800, 163_840,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", INSIDE)
def test_what_a_part_leaves_out_is_as_its_class_has_it(name: str) -> None:
    """Parameters of the language models as the classes of transformers 5.24 make them from the same
    parts, and what their projections leave of a token; nothing of the whole's widths is theirs."""
    part, parameters, values = INSIDE[name]
    outside = {"model_type": "own", "head_dim": 7, "num_experts": 8, "num_hidden_layers": 99}
    whole = outside | {"text_config": part, "vision_config": {"hidden_size": 1024}}
    model = read_architecture(whole)
    assert model.parameters == pytest.approx(parameters, rel=0.003)
    assert sum(count * one.cached_values for count, one, _ in model.layers) == values
    assert model.layers == read_architecture({"thinker_config": whole}).layers
    assert model.beside == ("vision_config",)
    assert read_architecture(part).layers == model.layers
    assert read_architecture(part).beside == ()


@pytest.mark.parametrize(
    ("family", "parameters", "values"),
    [
        ("llama", 6_738_415_616, 262_144),
        ("mistral", 7_241_732_096, 65_536),
        ("qwen2", 12_049_846_272, 262_144),
        ("qwen3", 12_049_461_248, 262_144),
        ("gemma", 8_537_680_896, 229_376),
        ("gemma2", 2_614_341_888, 53_248),
        ("gemma3_text", 2_628_658_432, 53_248),
        ("phi3", 3_821_079_552, 196_608),
        ("opt", 125_239_296 - 2050 * 768, 18_432),  # without positions
    ],
)
def test_a_family_alone_is_as_its_class_makes_it(family: str, parameters: int, values: int) -> None:
    """Where nothing else is said, as counted in the classes of transformers 5.24."""
    model = read_architecture({"model_type": family})
    assert model.parameters == pytest.approx(parameters, rel=0.001)
    assert sum(count * one.cached_values for count, one, _ in model.layers) == values


def test_what_a_whole_says_of_formats_holds_inside() -> None:
    whole = {"text_config": INSIDE["aria"][0], "quantization_config": {"quant_method": "fp8"}}
    assert read_architecture(whole).published == "fp8"
    untyped = {key: value for key, value in PLAIN.items() if key != "vocab_size"}
    plain = read_architecture(PLAIN)
    assert read_architecture({"llm_config": untyped, "vocab_size": 32000}).layers == plain.layers
    assert read_architecture({"language_config": PLAIN, "hidden_size": 8}).layers == plain.layers


def test_parts_that_see_and_hear_are_told() -> None:
    seen = {"audio_config": {"d_model": 8}, "vision_config": {}, "img_processor": {"name": "clip"}}
    seen |= {
        "rope_parameters": {"rope_theta": 1e4},
        "vision\n": {"a": 1},
        f"tts{'x' * 99}": {"a": 1},
    }
    model = read_architecture(PLAIN | seen | {"cross_attention_layers": [1]})
    assert model.beside == ("audio_config", "img_processor", "the cache of cross_attention_layers")
    assert read_architecture(PLAIN | {"cross_attention_layers": []}).beside == ()


@pytest.mark.parametrize(
    ("part", "engines"),
    [
        ({}, ()),
        ({"model_type": "qwen3_next"}, ("vllm", "trtllm")),
        ({"model_type": "qwen4_exp_text"}, ("vllm",)),
        ({"model_type": "qwen4_exp_text", "mamba_ssm_dtype": "float32"}, ()),
        ({"model_type": "qwen3_next", "mamba_ssm_dtype": "float32"}, ("vllm", "trtllm")),
        ({"model_type": "olmo_hybrid"}, ("vllm",)),
        ({"model_type": "qwen3_5_text", "mamba_ssm_dtype": "float32"}, ("trtllm",)),
        ({"model_type": "qwen3_5_text", "mamba_ssm_dtype": "bfloat16"},
         ("vllm", "sglang", "trtllm")),
        ({"model_type": "qwen3_5_text", "mamba_ssm_cache_dtype": "bfloat16"}, ("trtllm",)),
        ({"model_type": "qwen3_5_text", "mamba_ssm_cache_dtype": "float32"}, ()),
        ({"model_type": "nemotron_h", "mamba_ssm_cache_dtype": "float16"}, ("vllm", "trtllm")),
        ({"model_type": "nemotron_h", "mamba_ssm_cache_dtype": "float32"}, ()),
        ({"model_type": "nemotron_h", "mamba_ssm_dtype": "float16"}, ("sglang", "trtllm")),
    ],
)  # fmt: skip
def test_engines_that_keep_states_in_16_bits(
    part: dict[str, Any], engines: tuple[str, ...]
) -> None:
    """As vLLM 0.33 has it in models/config.py and mamba_utils.py, SGLang 0.5.23 in mamba_utils.py:
    32 bits unless the file says fewer to them, but as the model's values in vLLM for the rest; and
    TensorRT-LLM in validate_and_set_mamba_ssm_cache_dtype: as those, unless the file says more."""
    assert read_architecture(PLAIN | NESTED["every"] | part).half_states == engines
    full = {"layer_types": ["full_attention"] * 3}
    assert read_architecture(PLAIN | full | part).half_states == ()


def test_a_window_has_other_names() -> None:
    """As in MiMo-V2's files."""
    pattern = {"hybrid_layer_pattern": [0, 1, 1], "sliding_window_size": 128}
    layers = read_architecture(PLAIN | pattern).layers
    assert [(count, one.window_tokens) for count, one, _ in layers] == [(1, 0), (2, 128)]
    unused = {"hybrid_layer_pattern": [0, 1, 1], "use_sliding_window": False}
    ((_, one, _),) = read_architecture(PLAIN | unused).layers
    assert one.window_tokens == 0


def test_a_window_that_is_not_used_is_none() -> None:
    """Qwen2 and Qwen3 use theirs where their files say so."""
    for family, window in (("qwen2", 0), ("qwen3_moe", 0), ("mistral", 128)):
        ((_, one, _),) = read_architecture(WINDOWED | {"model_type": family}).layers
        assert one.window_tokens == window
    used = {"model_type": "qwen3", "use_sliding_window": True}
    assert [one.window_tokens for _, one, _ in read_architecture(used).layers] == [0, 4096]
    assert read_architecture(used).layers[0][0] == 28


def test_ling_3_as_its_makers_and_as_transformers_write_it() -> None:
    """124,414,191,072 parameters in transformers' class; seven latent layers of 42, and whole
    matrices for rates and gate of the others."""
    config = LATENT | {
        "model_type": "bailing_hybrid", "hidden_size": 2560, "intermediate_size": 6144,
        "num_hidden_layers": 42, "num_attention_heads": 32, "head_dim": 128, "vocab_size": 157_184,
        "layer_group_size": 6, "first_k_dense_replace": 2, "moe_intermediate_size": 768,
        "num_experts": 512, "num_shared_experts": 1,
    }  # fmt: skip
    model = read_architecture(config)
    assert model.parameters == pytest.approx(124_414_191_072, rel=0.0001)
    latent = [count for count, one, _ in model.layers if one.kind == "latent"]
    linear = next(one for _, one, _ in model.layers if one.kind == "linear")
    assert latent == [7]
    assert linear.parameters == 6 * 2560 * 4096 + 2560 * 32
    assert linear.state_values == 32 * 128 * 128
    kinds = ["full_attention" if i % 6 == 5 else "linear_attention" for i in range(42)]
    written = {"layer_types": kinds, "linear_num_heads": 32, "linear_head_dim": 128, "head_dim": 64}
    assert read_architecture(config | written).layers == model.layers
    more = read_architecture(config | {"num_hidden_layers": 44})  # two of them in no group
    assert sum(count for count, one, _ in more.layers if one.kind == "latent") == 9


FIRST_MAMBA = {"model_type": "mamba", "hidden_size": 2560, "num_hidden_layers": 64}
SMALL_GEMMA = {
    "model_type": "gemma4_text", "num_attention_heads": 8, "head_dim": 256, "global_head_dim": 512,
    "vocab_size": 262_144, "hidden_size_per_layer_input": 256, "sliding_window": 512,
}  # fmt: skip
LESSER_GEMMA = SMALL_GEMMA | {
    "model_type": "gemma3n_text", "hidden_size": 2048, "num_key_value_heads": 2,
    "vocab_size": 262_400, "vocab_size_per_layer_input": 262_144, "altup_num_inputs": 4,
    "laurel_rank": 64, "global_head_dim": None,
}  # fmt: skip
INKLING = {
    "model_type": "inkling_text", "hidden_size": 6144, "num_hidden_layers": 66, "head_dim": 128,
    "num_attention_heads": 64, "num_key_value_heads": 8, "swa_num_key_value_heads": 16,
    "sliding_window_size": 512, "d_rel": 16, "conv_kernel_size": 4, "intermediate_size": 24576,
    "moe_intermediate_size": 3072, "n_routed_experts": 256, "n_shared_experts": 2,
    "num_experts_per_tok": 6, "vocab_size": 201_024,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "parameters", "values", "states"),
    [
        (FIRST_MAMBA | {"vocab_size": 50280}, 2_768_345_600, 0, 64 * 5120 * 16),
        (FIRST_MAMBA | {"model_type": "falcon_mamba", "hidden_size": 4096, "vocab_size": 65024,
                        "expand": 16, "intermediate_size": 8192, "time_step_rank": 256,
                        "tie_word_embeddings": False}, 7_272_665_088, 0, 64 * 8192 * 16),
        ({"model_type": "mamba2", "hidden_size": 4096, "num_hidden_layers": 64, "head_dim": 64,
          "num_heads": 128, "n_groups": 8, "state_size": 128, "vocab_size": 32768},
         7_285_403_648, 0, 64 * 8192 * 128),
        (SMALL_GEMMA | {"hidden_size": 1536, "intermediate_size": 6144, "num_hidden_layers": 35,
                        "num_key_value_heads": 1, "num_kv_shared_layers": 20,
                        "use_double_wide_mlp": True,
                        "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * 7},
         4_628_569_344, 9216, 0),
        (SMALL_GEMMA | {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 42,
                        "num_key_value_heads": 2, "num_kv_shared_layers": 18,
                        "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 7},
         7_463_013_376, 28_672, 0),
        (LESSER_GEMMA | {"intermediate_size": 16384, "num_hidden_layers": 35,
                         "num_kv_shared_layers": 15,
                         "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * 7},
         6_835_235_568, 20_480, 0),
        (LESSER_GEMMA | {"intermediate_size": [8192] * 30, "num_hidden_layers": 30,
                         "num_kv_shared_layers": 10,
                         "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * 6},
         4_435_182_688, 20_480, 0),
        ({"model_type": "lfm3", "hidden_size": 2048, "num_hidden_layers": 24, "head_dim": 128,
          "num_attention_heads": 16, "num_key_value_heads": 4, "intermediate_size": 7680,
          "vocab_size": 128_000, "conv_L_cache": 7, "sliding_window": 256,
          "layer_types": ["conv", "conv", *["full_attention", "conv", "sliding_attention", "conv"]
                          * 5, "full_attention", "conv"]}, 1_728_801_536, 11_264, 13 * 2048 * 3),
        (INKLING, 975_340_270_146, 247_808, 4 * (66 * 2 * 6144 + 247_808) // 2),
        (INKLING | {"intermediate_size": 3072, "moe_intermediate_size": None,
                    "dense_intermediate_size": 24576, "use_sconv": True, "conv_kernel_size": None,
                    "sconv_kernel_size": 4, "model_type": "inkling_model",
                    "local_layer_ids": [i for i in range(66) if (i + 1) % 6]},
         975_340_270_146, 247_808, 4 * (66 * 2 * 6144 + 247_808) // 2),
        ({"model_type": "inkling2_text", "hidden_size": 4608, "num_hidden_layers": 48,
          "num_attention_heads": 48, "num_key_value_heads": 8, "head_dim": 128, "d_rel": 16,
          "sliding_window_size": 1024, "conv_kernel_size": 4, "moe_intermediate_size": 2304,
          "n_routed_experts": 384, "num_experts_per_tok": 8, "vocab_size": 201_024},
         593_718_478_848, 98_304, 4 * (48 * 2 * 4608 + 98_304) // 2),
    ],
)  # fmt: skip
def test_families_that_keep_what_others_do_not(
    config: dict[str, Any], parameters: int, values: int, states: int
) -> None:
    """Parameters as transformers 5.24 makes them, values of a token that its layers keep
    themselves, and states."""
    model = read_architecture(config)
    assert model.parameters == pytest.approx(parameters, rel=0.001)
    own = [(count, one) for count, one, _ in model.layers if not one.borrowed]
    assert sum(count * one.cached_values for count, one in own) == values
    assert sum(count * one.state_values for count, one in own) == states
    one = replace(WORKED, architecture=model)
    assert sequence_bytes(one, 1) - sequence_bytes(one, 0) == 2 * values


def test_small_gemmas_by_hand() -> None:
    """What a token passes is what their makers call effective, 2.3 and 4.5 billion; of tables it
    takes a row; layers that read others' caches have no keys and values of their own."""
    kinds = {"layer_types": ["sliding_attention", "full_attention", "full_attention"]}
    own = PLAIN | kinds | {"model_type": "gemma4_text", "sliding_window": 128}
    asked = own | {"hidden_size_per_layer_input": 64}
    plain, lending = read_architecture(own), read_architecture(asked | {"num_kv_shared_layers": 1})
    assert lending.looked_up == 32000 * 64 * 3
    keys = 1024 * 2 * 8 * 64
    more = 3 * 3 * 1024 * 64
    assert lending.active_parameters - plain.active_parameters == more - keys
    assert lending.parameters - plain.parameters == more - keys + lending.looked_up
    assert [one.borrowed for _, one, _ in lending.layers] == [False, False, True]
    assert lending.cached_values(9) == plain.cached_values(9) * 2 / 3
    one = replace(WORKED, architecture=lending)
    assert set(_layer_cells(lending, 1, stored(one))[6]) == {2 * 2 * 8 * 64}  # and all are read
    twice = read_architecture(asked | {"num_kv_shared_layers": 1, "use_double_wide_mlp": True})
    assert twice.parameters - lending.parameters == 3 * 1024 * 4096
    with pytest.raises(ValueError, match="'num_kv_shared_layers' must be a whole number from 0 to"):
        read_architecture(asked | {"num_kv_shared_layers": 3})


@pytest.mark.parametrize(
    ("left_out", "config"),
    [
        ({"state_size": 128}, PLAIN | {"model_type": "mamba2", "num_heads": 32}),
        ({"state_size": 16}, PLAIN | {"model_type": "mamba", "intermediate_size": None}),
        ({"conv_L_cache": 3, "layer_types": ["full_attention"] * 3},
         PLAIN | {"model_type": "lfm2", "block_ff_dim": 3072}),
        ({"conv_L_cache": 7, "layer_types": ["conv", "conv", "full_attention", "conv",
                                             "sliding_attention", "conv", "full_attention"]},
         PLAIN | {"model_type": "lfm3", "num_hidden_layers": 7, "sliding_window": 256}),
    ],
)  # fmt: skip
def test_what_a_file_leaves_out_is_what_its_class_takes(
    left_out: dict[str, Any], config: dict[str, Any]
) -> None:
    """As transformers 5.24 has it: a file of Mamba-2 had an eighth of its states, one of LFM2 or
    LFM3 that names no layers no cache at all."""
    assert read_architecture(config) == read_architecture(config | left_out)


def test_longcat_as_published() -> None:
    """LongCat-Flash: 560 billion parameters, 27 for a token in the mean; of twelve experts that it
    takes of 768, 256 do nothing. The class of transformers has no less of each than published, and
    gates for these 256 too."""
    config = LATENT | {
        "model_type": "longcat_flash", "hidden_size": 6144, "num_layers": 28, "moe_topk": 12,
        "num_attention_heads": 64, "q_lora_rank": 1536, "ffn_hidden_size": 12288,
        "expert_ffn_hidden_size": 2048, "n_routed_experts": 512, "zero_expert_num": 256,
        "vocab_size": 131_072, "n_shared_experts": None, "num_experts_per_tok": None,
    }  # fmt: skip
    model = read_architecture(config)
    gates = 2 * 28 * 256 * 6144 * 2048
    assert model.parameters == pytest.approx(741_053_585_408 - gates, rel=0.001)
    assert model.parameters / 1e9 == pytest.approx(560, rel=0.002)
    assert model.active_parameters / 1e9 == pytest.approx(27, rel=0.01)
    assert [(n, part.chosen) for n, _, part in model.layers] == [(28, 8), (28, 0)]
    assert bytes_of(model) == 2 * 56 * 576
    with pytest.raises(ValueError, match="'num_experts_per_tok' must be a whole number from 1"):
        read_architecture(config | {"moe_topk": 11})


def test_gigachat_as_published() -> None:
    """GigaChat 3.5: 432 billion parameters, 28 for a token; of 40 layers ten keep a latent, and the
    others have the states of Qwen3-Next."""
    config = LATENT | {
        "model_type": "gigachat3_5", "hidden_size": 7168, "intermediate_size": 18432,
        "num_hidden_layers": 40, "num_attention_heads": 64, "q_lora_rank": 1536,
        "moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1,
        "num_experts_per_tok": 8, "first_k_dense_replace": 3, "vocab_size": 128_256,
        "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_num_key_heads": 32,
        "linear_num_value_heads": 64, "full_attention_layers": list(range(3, 40, 4)),
    }  # fmt: skip
    model = read_architecture(config)
    assert model.parameters / 1e9 == pytest.approx(432, rel=0.005)
    both = model.active_parameters + 128_256 * 7168  # words, as makers count; and a draft's layer
    assert both / 1e9 == pytest.approx(28, rel=0.06)
    assert bytes_of(model) == 2 * 10 * 576
    states = {one.state_values for _, one, _ in model.layers}
    assert states == {0, 64 * 128 * 128}
    kinds = ["attention" if i % 4 == 3 else "linear_attention" for i in range(40)]
    named = {"full_attention_layers": None, "layer_types": kinds}
    assert read_architecture(config | named) == model
    ungated = read_architecture(config | {"gated_attention": False})
    assert model.parameters - ungated.parameters == 10 * 7168 * 64 * 128


def bytes_of(model: Architecture) -> float:
    return 2 * (model.cached_values(2) - model.cached_values(1))


def test_ring_as_published() -> None:
    """Ring-2.5-1T: of 80 layers every eighth has a latent; a trillion parameters, 63 billion for a
    token. Its other layers by hand as in vLLM 0.33: queries, keys, values, gate and the way out."""
    config = LATENT | {
        "model_type": "bailing_hybrid", "architectures": ["BailingMoeV2_5ForCausalLM"],
        "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "head_dim": 128,
        "layer_group_size": 8, "q_lora_rank": 1536, "intermediate_size": 18432,
        "moe_intermediate_size": 2048, "num_experts": 256, "num_shared_experts": 1,
        "n_shared_experts": None, "first_k_dense_replace": 4, "vocab_size": 157_184,
    }  # fmt: skip
    model = read_architecture(config)
    assert model.parameters / 1e12 == pytest.approx(1, rel=0.02)
    assert model.active_parameters / 1e9 == pytest.approx(63, rel=0.02)
    linear = next(one for _, one, _ in model.layers if one.kind == "linear")
    assert (linear.parameters, linear.state_values) == (5 * 8192 * 8192, 64 * 128 * 128)
    assert sum(count for count, one, _ in model.layers if one.kind == "latent") == 10
    assert model.half_states == ("vllm",)
    more = read_architecture(config | {"num_hidden_layers": 82})  # what is in no group is linear
    assert sum(count for count, one, _ in more.layers if one.kind == "latent") == 10


BEAM = {
    "model_type": "beam", "hidden_size": 5120, "intermediate_size": 20480, "head_dim": 128,
    "num_hidden_layers": 52, "num_attention_heads": 48, "num_key_value_heads": 8,
    "moe_intermediate_size": 2560, "num_experts": 256, "num_experts_per_tok": 8,
    "vocab_size": 151_936, "mlp_layer_types": ["dense"] * 3 + ["sparse"] * 49,
}  # fmt: skip
MINICPM5 = {
    "model_type": "minicpm5_moe", "hidden_size": 2048, "intermediate_size": 8192, "head_dim": 128,
    "num_hidden_layers": 28, "num_attention_heads": 32, "num_key_value_heads": 2,
    "moe_intermediate_size": 512, "n_routed_experts": 160, "n_shared_experts": 1,
    "num_experts_per_tok": 16, "first_k_dense_replace": 1, "vocab_size": 130_560,
}  # fmt: skip
AXK2 = {
    "model_type": "axk2", "hidden_size": 2048, "intermediate_size": 5120, "num_hidden_layers": 48,
    "num_attention_heads": 32, "kv_lora_rank": 128, "q_lora_rank": 384, "qk_rope_head_dim": 32,
    "qk_nope_head_dim": 64, "v_head_dim": 64, "index_topk": 2048, "index_head_dim": 128,
    "index_n_heads": 16, "moe_intermediate_size": 512, "n_routed_experts": 128,
    "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 1,
    "vocab_size": 163_840,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "beside"),
    [
        (BEAM, 501_267_599_808 - 493_250_150_400 - 2 * 777_912_320),
        (MINICPM5, 15_002_552_320 - 13_589_544_960 - 2 * 267_386_880),
        (AXK2, 20_314_494_976 - 18_924_699_648 - 2 * 335_544_320),
    ],
)
def test_gates_that_no_key_tells(config: dict[str, Any], beside: int) -> None:
    """Parameters beside the experts and the words, which a token passes all, as transformers 5.24
    makes them: of all of them, a gate that is left out is less than one in a hundred."""
    model = read_architecture(config)
    assert model.attention_parameters + model.dense_parameters == pytest.approx(beside, rel=0.015)


def test_a_gate_of_k2_horizon_is_told_by_its_function() -> None:
    plain, gated = (
        read_architecture(PLAIN | {"attention_gate_func": function}).attention_parameters
        for function in (None, "sigmoid")
    )
    assert gated - plain == 3 * 1024 * 1024
