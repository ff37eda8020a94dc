"""What a token leaves behind: limits, a loop by hand, configurations of models that are no presets.

The files in `configs` hold dimensions (facts) of published `config.json` files: Jamba-v0.1 as in
jranaraki/vllm-fit, tests/fixtures/hf_configs; Granite-3.1-1B-A400M, OLMoE-1B-7B and MiniCPM3-4B
as loaders of theirs repeat them; Kimi-Linear-48B-A3B and MiniMax-Text-01 as their makers'
documentation and loaders' tests state them.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.architectures import (
    Architecture,
    Attention,
    FeedForward,
)
from serving_mathematics.core.hardware.catalogue import find_model, find_system, model_names
from serving_mathematics.core.hardware.deployments import (
    WORKED,
    require_deployment,
    sequence_bytes,
)
from serving_mathematics.core.hardware.published_configs import read_architecture
from serving_mathematics.machine.attention_memory.attention_memory import (
    GIB,
    _shapes,
    attention_flops,
    example,
    held_bytes,
    read_bytes,
    token_bytes,
)
from serving_mathematics.machine.mixture_of_experts.mixture_of_experts import device_hours

CONFIGS = Path(__file__).parents[1] / "configs"
NOTHING = FeedForward(0)


def one_of_each() -> Architecture:
    """Two full layers, three with a window, one latent that selects, five linear."""
    return Architecture(
        "mixed",
        hidden=64,
        vocabulary=10,
        heads=4,
        context_tokens=10_000,
        layers=(
            (2, Attention("full", 0, cached_values=10, score_width=40), NOTHING),
            (3, Attention("window", 0, cached_values=10, score_width=40, window_tokens=7), NOTHING),
            (
                1,
                Attention(
                    "latent",
                    0,
                    cached_values=6,
                    score_width=44,
                    selected_tokens=5,
                    index_values=3,
                    index_width=9,
                ),
                NOTHING,
            ),
            (5, Attention("linear", 0, state_values=11), NOTHING),
        ),
    )


@pytest.mark.parametrize("tokens", [0, 1, 5, 6, 7, 8, 100])
def test_by_hand(tokens: int) -> None:
    window, selected = min(tokens, 7), min(tokens, 5)
    index = 3 * 132 / 128  # a scale of four bytes for 128 values
    held = 2 * 10 * tokens * 2 + 3 * 10 * window * 2 + tokens * (6 * 2 + index) + 5 * 11 * 4
    read = 2 * 10 * tokens * 2 + 3 * 10 * window * 2 + selected * 12 + tokens * index + 5 * 11 * 8
    flops = 2 * (2 * 40 * tokens + 3 * 40 * window + 44 * selected + 9 * tokens)
    model = one_of_each()
    assert held_bytes(model, tokens) == pytest.approx(held)
    assert read_bytes(model, tokens) == pytest.approx(read)
    assert attention_flops(model, tokens) == flops
    assert token_bytes(model) == pytest.approx(2 * 10 * 2 + 12 + index)
    half = 0.5625  # four bits with a scale for 16 values
    small = (held - tokens * index) / 2 * half + 5 * 11 * 2 * (1 - half) + tokens * index
    assert held_bytes(model, tokens, half, state_bytes=2) == pytest.approx(small)


def test_a_latent_that_selects_has_a_layout_of_its_own() -> None:
    """656 and 132 bytes a token and layer of DeepSeek-V3.2 in 8 bits; 576 where nothing selects."""
    sparse, whole = find_model("DeepSeek-V3.2")[0], find_model("DeepSeek-R1")[0]
    assert token_bytes(sparse, 1.0) == 61 * (656 + 132)
    assert token_bytes(sparse) == 61 * (1152 + 132)
    assert token_bytes(whole, 1.0) == 61 * 576


@given(st.sampled_from(sorted(model_names())), st.floats(0, 1e6), st.floats(0, 1e6))
def test_more_tokens_hold_and_read_no_less(name: str, one: float, other: float) -> None:
    model = find_model(name)[0]
    short, long = sorted((one, other))
    for function in (held_bytes, read_bytes, attention_flops):
        assert function(model, short) <= function(model, long) * (1 + 1e-12)
    states = held_bytes(model, 0)
    assert read_bytes(model, long) <= (held_bytes(model, long) + states) * (1 + 1e-12)


def test_every_preset_is_in_the_table_once() -> None:
    shown = [name for name, _ in _shapes()]
    assert len(shown) == len(set(shown))
    assert example().preset_table.count("\n    | ") == len(shown) + 1
    shapes = {
        tuple(sorted((token_bytes(model), held_bytes(model, 0), held_bytes(model, 9000))))
        for _, model in _shapes()
    }
    for name in model_names():
        model = find_model(name)[0]
        key = (token_bytes(model), held_bytes(model, 0), held_bytes(model, 9000))
        assert tuple(sorted(key)) in shapes, name
    rates = [token_bytes(model) for _, model in _shapes()]
    assert rates == sorted(rates, reverse=True)


def test_only_what_has_windows_alone_stops_growing() -> None:
    """A preset whose full layers were lost would: Gemma-3-27B has ten of 62."""
    stopped = [name for name in model_names() if token_bytes(find_model(name)[0]) == 0]
    assert stopped == ["Mistral-7B-v0.1"]
    assert token_bytes(find_model("Gemma-3-27B")[0]) == 10 * 2 * 16 * 128 * 2


PUBLISHED = {  # parameters and active ones [1e9], bytes a token in 16 bits, MiB of states
    # Lieber et al. (2024), arXiv 2403.19887: 52B, 12B, 4 GB at 256K tokens
    "jamba": (52, 12, 4 * GIB / 262144, 14),
    # MiniMax (2025), arXiv 2501.08313: 456B, 45.9B without the vocabulary's 1.2B
    "minimax-text-01": (456, 45.9 + 1.2, 10 * 2 * 8 * 128 * 2, 70 * 64 * 128 * 128 * 4 / 2**20),
    # Kimi Team (2025): 48B, 3B; 7 of 27 layers have a cache
    "kimi-linear-48b": (48, 3.1, 7 * 576 * 2, 20 * 32 * 128 * 128 * 4 / 2**20),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_models_that_are_no_presets_are_read_and_priced(name: str) -> None:
    total, active, a_token, states = PUBLISHED[name]
    model, _ = find_model(str(CONFIGS / f"{name}.json"))
    assert model.parameters / 1e9 == pytest.approx(total, rel=0.03)
    assert model.active_parameters / 1e9 == pytest.approx(active, rel=0.06)
    assert token_bytes(model) == pytest.approx(a_token, rel=1e-9)
    assert held_bytes(model, 0) / 2**20 == pytest.approx(states, rel=1e-9)
    one = dataclasses.replace(
        WORKED,
        architecture=model,
        system=find_system("b200"),
        precision="fp8",
        tensor=8,
        input_tokens=8192,
        output_tokens=1024,
        concurrency=16,
    )
    require_deployment(one)
    assert sequence_bytes(one, 8192) <= held_bytes(model, 8192)
    dense = dataclasses.replace(one, architecture=find_model("Llama-3.1-405B")[0])
    assert 0 < device_hours(one) < device_hours(dense)


BY_HAND = {  # parameters, and bytes a token in 16 bits
    "granite-3.1-1b-a400m": (  # its words are read and written with one matrix
        24 * (2 * 1024**2 + 2 * 1024 * 512 + 32 * 3 * 1024 * 512 + 32 * 1024) + 49152 * 1024,
        24 * 2 * 8 * 64 * 2,
    ),
    "olmoe-1b-7b": (
        16 * (4 * 2048**2 + 64 * 3 * 2048 * 1024 + 64 * 2048) + 2 * 50304 * 2048,
        16 * 2 * 16 * 128 * 2,
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_published_files_are_counted_as_by_hand(name: str) -> None:
    model, _ = find_model(str(CONFIGS / f"{name}.json"))
    parameters, a_token = BY_HAND[name]
    assert model.parameters == parameters
    assert token_bytes(model) == a_token
    one = dataclasses.replace(WORKED, architecture=model, input_tokens=1024, output_tokens=256)
    require_deployment(one)
    assert 0 < device_hours(one) < device_hours(dataclasses.replace(one, concurrency=1))


def test_what_a_published_file_leaves_out_is_named() -> None:
    """MiniCPM3's values are as wide as its keys without position, which its code knows."""
    config = json.loads((CONFIGS / "minicpm3-4b.json").read_text(encoding="utf-8"))
    with pytest.raises(ValueError, match=r"config\.json must have 'v_head_dim'"):
        read_architecture(config)
    model = read_architecture(config | {"v_head_dim": 64, "tie_word_embeddings": True})
    attention = 2560 * 768 + 768 * 40 * 96 + 2560 * 288 + 256 * 40 * 128 + 40 * 64 * 2560
    assert model.parameters == 62 * (attention + 3 * 2560 * 6400) + 73448 * 2560
    assert token_bytes(model) == 62 * 288 * 2


def test_periods_and_lists_say_which_layers_are_which() -> None:
    config = json.loads((CONFIGS / "jamba.json").read_text(encoding="utf-8"))
    model = read_architecture(config)
    kinds = {(attention.kind, bool(part.experts)): count for count, attention, part in model.layers}
    assert kinds == {("linear", False): 12, ("linear", True): 16, ("full", False): 4}
    every = read_architecture(config | {"attn_layer_period": 1, "attn_layer_offset": 0})
    assert token_bytes(every) == 8 * token_bytes(model)
    config = json.loads((CONFIGS / "minimax-text-01.json").read_text(encoding="utf-8"))
    short = config | {"attn_type_list": [0, 1]}
    with pytest.raises(ValueError, match="'attn_type_list' must have 80 entries"):
        read_architecture(short)
    with pytest.raises(ValueError, match="must have 'mamba_d_state'"):
        read_architecture(
            {key: value for key, value in json.loads(
                (CONFIGS / "jamba.json").read_text(encoding="utf-8")
            ).items() if key != "mamba_d_state"}
        )  # fmt: skip
