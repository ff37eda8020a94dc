"""Every key that is needed is missed by name, and what is not known is refused by its key."""

from __future__ import annotations

import re
from typing import Any

import pytest
from serving_mathematics.core.hardware.catalogue import find_model, preset_model
from serving_mathematics.core.hardware.config_reader import SKETCH
from serving_mathematics.core.hardware.published_configs import read_architecture
from serving_mathematics.core.hardware.weight_formats import published_precision

from tests.bad_json import BAD_JSON, changed, places
from tests.core.hardware.configs import (
    DEEPSEEK_V2_LITE,
    GLM_4_5,
    JAMBA,
    MIXED,
    NESTED,
    PLAIN,
    QWEN2_5_72B,
)

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


@pytest.mark.parametrize(
    ("config", "billions"), [(QWEN2_5_72B, 72.7), (GLM_4_5, 353), (DEEPSEEK_V2_LITE, 15.7)]
)
def test_models_that_are_no_presets_are_read(config: dict[str, Any], billions: float) -> None:
    assert read_architecture(config).parameters / 1e9 == pytest.approx(billions, rel=0.01)


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


def test_kinds_of_layers_are_read_where_there_is_one_for_each() -> None:
    every = read_architecture(GLM_4_5)
    layers = GLM_4_5["num_hidden_layers"]
    kinds = ["dense"] * 40 + ["sparse"] * (layers - 40)
    told = read_architecture({**GLM_4_5, "mlp_layer_types": kinds})
    sparse = sum(count for count, _, forward in told.layers if forward.experts)
    assert sparse == layers - 40
    assert sum(count for count, _, forward in every.layers if forward.experts) != sparse


def test_experts_of_a_narrow_space_by_hand() -> None:
    """Nemotron-3-Super: experts of two matrices in 1,024 values, a way there and back."""
    model = find_model("NVIDIA-Nemotron-3-Super-120B-A12B")[0]
    part = next(part for _, _, part in model.layers if part.experts)
    assert part.expert_parameters == 2 * 1024 * 2688
    assert part.dense_parameters == 2 * 4096 * 5376 + 4096 * 512 + 2 * 4096 * 1024


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"layer_types": ["full_attention", "conv", "conv"]},
         "entry 2 of 'layer_types' must be one of full_attention, linear_attention, sliding_att"),
        ({"layer_types": ["full_attention", None, "mamba"]}, "entry 2 of 'layer_types' must be"),
        ({"model_type": "qwen4_exp_text", "layer_types": [None] * 3},
         "entry 1 of 'layer_types' must be one of .*, got None$"),
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


def test_words_stand_once_as_the_whole_file_says() -> None:
    """As vLLM and transformers 5 have it: beside what holds the model of language, where it is
    said there, and inside of it elsewhere."""
    for outer, inner, once in ((True, False, True), (False, True, False), (None, True, True)):
        config = {"text_config": PLAIN | {"tie_word_embeddings": inner}}
        config |= {} if outer is None else {"tie_word_embeddings": outer}
        assert read_architecture(config).tied_embeddings is once


def test_what_stands_in_a_sketch_is_read() -> None:
    """What a refusal says is read is enough."""
    said = re.findall("'(\\w+)'", SKETCH)
    config = {key: PLAIN.get(key, 8) for key in said if "expert" not in key and "moe" not in key}
    assert read_architecture(config).layers == read_architecture(PLAIN).layers
    mixed = {key: 8 for key in said if key not in config}
    assert read_architecture(config | mixed).expert_counts == (8,)


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
    """As vLLM 0.34 has it in models/config.py and mamba_utils.py, SGLang 0.5.23 in mamba_utils.py:
    32 bits unless the file says fewer to them, but as the model's values in vLLM for the rest; and
    TensorRT-LLM in validate_and_set_mamba_ssm_cache_dtype: as those, unless the file says more."""
    assert read_architecture(PLAIN | NESTED["every"] | part).half_states == engines
    full = {"layer_types": ["full_attention"] * 3}
    assert read_architecture(PLAIN | full | part).half_states == ()
