"""Files of models for the tests of what reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from serving_mathematics.core.hardware.architectures import Architecture

PLAIN = {
    "hidden_size": 1024, "num_hidden_layers": 3, "num_attention_heads": 16, "head_dim": 64,
    "num_key_value_heads": 8, "intermediate_size": 4096, "vocab_size": 32000,
}  # fmt: skip
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
LATENT = {
    "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "n_shared_experts": 1, "num_experts_per_tok": 8,
}  # fmt: skip
WINDOWED = PLAIN | {"sliding_window": 128}
MIXED = PLAIN | {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 512}
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


def bytes_of(model: Architecture) -> float:
    """A token's, of two a value, where windows have ended."""
    return 2 * (model.cached_values(50_001) - model.cached_values(50_000))
