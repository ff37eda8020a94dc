"""Published counts as oracle, and what a cache holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.architectures import Architecture, Attention, FeedForward
from serving_mathematics.core.hardware.catalogue import find_model, model_names, preset_model
from serving_mathematics.core.hardware.published_configs import read_architecture

from tests.core.hardware.configs import QWEN2_5_72B, bytes_of

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


@pytest.mark.parametrize(("name", "counts"), PUBLISHED.items())
def test_parameters_are_those_published(name: str, counts: tuple[float, float | None]) -> None:
    model = preset_model(name)
    total, active = counts
    assert model.parameters / 1e9 == pytest.approx(total, rel=0.011)
    if active is not None:
        assert model.active_parameters / 1e9 == pytest.approx(active, rel=0.09)


def test_bytes_a_token_are_those_published() -> None:
    """Two bytes a value; DeepSeek-V3's from 576 values in 61 layers."""
    for name, size in (
        ("Llama-3.1-70B", 327_680),
        ("Qwen3-32B", 262_144),
        ("DeepSeek-V3", 70_272),
        ("gpt-oss-120b", 36_864),  # the other half of its layers keep 128 tokens
        ("Kimi-K3", 2 * 576 * 24),  # 24 of 93 layers keep a cache
    ):
        assert bytes_of(find_model(name)[0]) == size, name


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


def test_tied_words_count_once() -> None:
    tied = read_architecture({**QWEN2_5_72B, "tie_word_embeddings": True})
    assert tied.embedding_parameters == 152_064 * 8192
    assert read_architecture(QWEN2_5_72B).embedding_parameters == 2 * 152_064 * 8192
