"""Layers by hand: what a token leaves, what it multiplies with, and which layers see how far."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from serving_mathematics.core.hardware.catalogue import find_model
from serving_mathematics.core.hardware.deployments import WORKED, sequence_bytes, stored
from serving_mathematics.core.hardware.published_configs import read_architecture
from serving_mathematics.core.hardware.step_time import _layer_cells

from tests.core.hardware.configs import (
    DEEPSEEK_V2_LITE,
    JAMBA,
    NESTED,
    PLAIN,
    QWEN2_5_72B,
    WINDOWED,
)


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


def test_offsets_say_which_layer_of_a_period_is_which() -> None:
    """Of 32 layers every eighth attends and every second is a mixture, from the offset on."""
    for attends, mixes, alike in ((0, 0, True), (4, 1, False), (3, 1, True), (7, 0, False)):
        offsets = {"attn_layer_offset": attends, "expert_layer_offset": mixes}
        model = read_architecture(JAMBA | offsets)
        kinds = {(kind.kind, bool(part.experts)): count for count, kind, part in model.layers}
        assert kinds == {("full", alike): 4, ("linear", alike): 12, ("linear", not alike): 16}


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
