"""Families by the counts of their classes and of their makers, in all of their words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from serving_mathematics.core.hardware.deployments import WORKED, sequence_bytes, stored
from serving_mathematics.core.hardware.published_configs import read_architecture
from serving_mathematics.core.hardware.step_time import _layer_cells

from tests.core.hardware.configs import GLM_4_5, LATENT, MIXED, NESTED, PLAIN, bytes_of

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


def test_gemma_4_has_no_matrix_for_values_where_they_are_the_keys() -> None:
    """31B: 30,697,345,280 parameters in the class of transformers, whose ten layers without a
    window have no `v_proj`, and keep values all the same. Without the flag it passes over the
    number of heads there."""
    model = read_architecture(GEMMA4)
    assert model.parameters == pytest.approx(30_697_345_280, rel=1e-4)
    rows = {"per_layer_config": {}, "global_head_dim": 512, "num_global_key_value_heads": 4}
    for told in ({}, {"attention_k_eq_v": True}):
        assert read_architecture(GEMMA4 | rows | told) == model
    plain = read_architecture(GEMMA4 | rows | {"attention_k_eq_v": False})
    (full,) = (one for _, one, _ in plain.layers if not one.window_tokens)
    assert (full.kv_heads, full.cached_values) == (16, 2 * 16 * 512)
    assert full.parameters == 2 * 5376 * (32 + 16) * 512
    apart = read_architecture(GEMMA4 | {"attention_k_eq_v": False})
    assert apart.parameters - model.parameters == 10 * 5376 * 4 * 512


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
    """LongCat-Flash: 560 billion parameters, 27 for a token on average; of twelve experts that it
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
