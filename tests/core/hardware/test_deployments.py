"""Memory by hand, and every rule that a deployment can break."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from serving_mathematics.core.hardware.architectures import Attention
from serving_mathematics.core.hardware.catalogue import (
    deployed,
    find_model,
    find_system,
    preset_model,
)
from serving_mathematics.core.hardware.deployments import (
    FROM_TEXT,
    OWN_HEADS,
    RESERVED_BYTES,
    WORKED,
    Deployment,
    Impossible,
    Storage,
    cache_devices,
    cache_room_bytes,
    draft_engine,
    fewest_devices,
    layer_token_bytes,
    own_precision,
    possible,
    require_deployment,
    room_sequences,
    sequence_bytes,
    storage,
    stored,
    weight_bytes,
)
from serving_mathematics.core.hardware.published_configs import read_architecture
from serving_mathematics.core.hardware.step_time import _layer_cells

R1 = deployed("DeepSeek-R1", "b200", precision="fp8", tensor=8)


def test_the_worked_example_is_the_preset() -> None:
    preset = find_model("Llama-3.1-8B")[0]
    assert WORKED.architecture.layers == preset.layers
    assert WORKED.system.bandwidth_bytes_per_s == find_system("h100").bandwidth_bytes_per_s
    assert (WORKED.devices, WORKED.mean_input_tokens) == (1, 1000)


@pytest.mark.parametrize(
    ("name", "precision", "expected"),
    [
        ("Llama-3.1-70B", "bf16", Storage(2, 2, 2, 2, 2)),
        ("Llama-3.1-70B", "fp8", Storage(1, 1, 1, 2, 2)),
        ("Llama-3.1-70B", "fp4", Storage(0.5625, 0.5625, 0.5625, 2, 1)),
        ("DeepSeek-R1", "fp8", Storage(1, 1, 1, 2, 2)),
        ("DeepSeek-R1", "fp4", Storage(2, 2, 0.5625, 2, 1)),  # attention stays in 16 bits
        ("Kimi-K2.5", "int4", Storage(2, 2, 0.53125, 2, 2)),
        ("gpt-oss-120b", "fp4", Storage(2, 2, 0.53125, 2, 2)),  # without a format of the cache
        ("gpt-oss-120b", "fp8", Storage(2, 2, 0.53125, 2, 2)),  # published in four bits
        ("DeepSeek-V4-Pro", "fp8", Storage(1, 1, 0.53125, 2, 2)),
    ],
)
def test_parts_are_stored_as_published(name: str, precision: str, expected: Storage) -> None:
    assert storage(find_model(name)[0], precision) == expected


def test_states_take_the_bytes_that_the_engine_keeps() -> None:
    """Qwen3-Next-80B: 36 layers of 32 heads of 128 by 128, in 16 bits with vLLM."""
    values = 36 * 32 * 128 * 128
    layer = Attention("linear", 0, state_values=32 * 128 * 128, kv_heads=32)
    model = replace(WORKED.architecture, layers=((36, layer, WORKED.architecture.layers[0][2]),))
    for engines, size in (((), 4), (("sglang",), 4), (("vllm", "sglang"), 2)):
        one = replace(WORKED, architecture=replace(model, half_states=engines), backend="vllm")
        assert sequence_bytes(one, 1000) == size * values
        assert _layer_cells(one.architecture, 1, stored(one))[8] == size * 32 * 128 * 128


def test_weights_are_split_by_part() -> None:
    model = R1.architecture
    whole = model.attention_parameters + model.dense_parameters + model.routed_parameters
    assert weight_bytes(R1) == pytest.approx((whole + 2 * model.embedding_parameters) / 8)
    apart = replace(R1, tensor=1, attention_data=8, expert=8)
    beside = model.attention_parameters + model.dense_parameters + 2 * model.embedding_parameters
    assert weight_bytes(apart) == pytest.approx(beside + model.routed_parameters / 8)
    four = replace(R1, precision="fp4")
    beside = 2 * (model.attention_parameters + model.dense_parameters + model.embedding_parameters)
    assert weight_bytes(four) == pytest.approx((beside + 0.5625 * model.routed_parameters) / 8)
    assert weight_bytes(replace(R1, pipeline=2)) == pytest.approx(
        whole / 16 + 2 * model.embedding_parameters / 8
    )


def test_caches_are_split_by_heads_and_latent_ones_not_at_all() -> None:
    assert cache_devices(Attention("full", 0, kv_heads=8), 4) == 4
    assert cache_devices(Attention("full", 0, kv_heads=2), 8) == 2
    assert cache_devices(Attention("none", 0), 8) == 1
    assert sequence_bytes(replace(R1, tensor=1), 1) == 70_272
    assert sequence_bytes(R1, 1) == 70_272  # on every device
    assert sequence_bytes(replace(WORKED, tensor=4), 1) == 131_072 / 4
    assert sequence_bytes(replace(WORKED, tensor=16), 1) == 131_072 / 8


def test_room_is_what_the_weights_leave() -> None:
    """A share of the device for everything, or one of what weights and the rest leave."""
    weights, beside = weight_bytes(WORKED), 4 * 2**30
    free = 0.9 * 85.9e9 - beside - weights
    assert cache_room_bytes(WORKED) == pytest.approx(free)
    assert room_sequences(WORKED) == pytest.approx(free / (131_072 * (1000 + 0.6 * 200)))
    whole = replace(WORKED, memory_share=1.0)
    assert cache_room_bytes(whole) == pytest.approx(85.9e9 - beside - weights)
    assert cache_room_bytes(WORKED, reserved_bytes=80e9) == 0.0
    reserved, left = replace(WORKED, backend="trtllm"), 0.9 * (85.9e9 - beside - weights)
    assert cache_room_bytes(reserved) == pytest.approx(left)
    assert room_sequences(reserved) == pytest.approx(left / (131_072 * 1200))
    assert room_sequences(replace(WORKED, attention_data=2)) == pytest.approx(
        2 * room_sequences(WORKED)
    )
    assert room_sequences(replace(WORKED, precision="fp4")) > 2 * room_sequences(WORKED)


def test_llama_70b_in_8_bits_has_room_for_48_on_one_h200() -> None:
    """Runs of 128 requests of 1,024 and 8,192 tokens on TensorRT-LLM show 48 at once.

    Source: line 2374 of the record; Little's law with its two latencies.
    """
    first, each, answer = 368.967, 0.03042, 0.9 * 8192
    running = 128 * answer * each / (first + answer * each)
    model = find_model("Llama-3.1-70B")[0]
    one = replace(WORKED, architecture=model, system=find_system("h200"), precision="fp8")
    one = replace(one, backend="trtllm", input_tokens=1024, output_tokens=8192)
    half = replace(one, precision="fp4")  # its cache is kept in eight bits too
    assert running == pytest.approx(48.4, abs=0.1)
    assert room_sequences(one) < running < room_sequences(half)


def test_fewest_devices_hold_the_weights() -> None:
    assert fewest_devices(replace(R1, system=find_system("h100"))) == 16
    assert fewest_devices(replace(R1, system=find_system("h200"))) == 8
    assert fewest_devices(WORKED) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tensor": 3}, "tensor must be a divisor of the 128 heads of deepseek-ai/DeepSeek-R1"),
        ({"expert": 7}, "expert must be a divisor of the 256 experts"),
        ({"expert": 16}, "expert must be a divisor of the 8 devices of a stage, got 16"),
        ({"pipeline": 62}, "pipeline must be at most the 61 layers"),
        ({"input_tokens": 163_000, "output_tokens": 1000}, "at most 163840, the context of"),
        ({"input_tokens": float("nan")}, "input_tokens must be from 1 to 1e8, got nan"),
        ({"concurrency": 0}, "concurrency must be from 1 to 1e8, got 0"),
        ({"output_tokens": -5}, "output_tokens must be from 1"),
        ({"tensor": 0}, "tensor must be from 1 to 4096"),
        ({"shortest_share": 0.0}, r"shortest_share must be in \(0, 1\]"),
        ({"held_steps": -0.5}, "held_steps must be non-negative and finite, got -0.5"),
        ({"draft_tokens": 17}, "draft_tokens must be from 0 to 16"),
        ({"accepted_tokens": 2.0}, r"accepted_tokens must be from 1 to draft_tokens \+ 1 = 1"),
        ({"backend": "sglang", "draft_tokens": 1, "pipeline": 2}, "pipeline must be 1 in sglang"),
        ({"backend": "llama.cpp"}, "backend must be one of trtllm, sglang, vllm"),
        ({"tensor": 1}, r"weights must be below .*\(4 devices would do at fp8\), got 67\d GB"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        require_deployment(replace(R1, **change))  # type: ignore[arg-type]


def test_a_layout_that_cannot_be_is_told_from_a_number_that_is_wrong() -> None:
    possible(True, "tensor", "anything", 1)
    with pytest.raises(Impossible, match="tensor must be even, got 1"):
        possible(False, "tensor", "even", 1)
    for change in ({"tensor": 3}, {"system": find_system("h100")}):
        with pytest.raises(Impossible):
            require_deployment(replace(R1, **change))  # type: ignore[arg-type]
    for change in ({"backend": "x"}, {"concurrency": math.nan}, {"draft_tokens": 99}):
        with pytest.raises(ValueError, match="must be") as refused:
            require_deployment(replace(R1, **change))  # type: ignore[arg-type]
        assert refused.type is ValueError


def test_what_can_be_is_let_through() -> None:
    for change in ({}, {"expert": 8}, {"draft_tokens": 3, "accepted_tokens": 4.0}):
        require_deployment(replace(R1, **change))  # type: ignore[arg-type]


def test_experts_of_a_dense_model_and_unknown_precisions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expert must be 1 for Llama-3\.1-8B, without experts"):
        require_deployment(replace(WORKED, tensor=2, expert=2))
    with pytest.raises(ValueError, match="precision must be one of bf16, fp8, fp4, int4, got fp3"):
        storage(WORKED.architecture, "fp3")
    assert isinstance(WORKED, Deployment)


def test_what_chooses_tokens_is_kept_beside_the_cache() -> None:
    """A latent layer of 576 values in 16 bits, and an index of 128 values of a byte with a
    scale of four."""
    latent = Attention("latent", 0, cached_values=576, kv_heads=1)
    model = R1.architecture
    count, _, forward = model.layers[0]
    sizes = []
    for attention in (latent, replace(latent, index_values=128)):
        layers = ((count, attention, forward),)
        sparse = replace(R1, architecture=replace(model, layers=layers), precision="bf16")
        sizes.append(sequence_bytes(sparse, 10))
    assert sizes == [count * 10 * 2 * 576, count * 10 * (2 * 576 + 132)]


def test_bytes_of_a_token_by_layout() -> None:
    """Plain values, and 512 bytes with a scale of four for 128 of them, and 64 values of two."""
    latent = Attention("latent", 0, cached_values=576, index_values=128, selected_tokens=2048)
    assert layer_token_bytes(latent, 1.0) == (512 + 16 + 128, 132)
    assert layer_token_bytes(latent, 2.0) == (1152, 132)
    assert layer_token_bytes(replace(latent, selected_tokens=0), 1.0) == (576, 132)
    grouped = Attention("full", 0, cached_values=2048)
    assert layer_token_bytes(grouped, 0.5625) == (1152, 0)


def test_the_refusal_says_how_much_there_is() -> None:
    there = find_system("h100").memory_bytes
    with pytest.raises(ValueError, match=rf"below the {(there - RESERVED_BYTES) / 1e9:.0f} GB of"):
        require_deployment(replace(R1, system=find_system("h100")))


def test_the_cache_may_have_a_format_of_its_own() -> None:
    assert stored(R1) == storage(R1.architecture, R1.precision)
    eight = replace(R1, cache_bytes=1.0)
    assert stored(eight) == replace(stored(R1), cache=1.0)
    assert sequence_bytes(eight, 1000) < sequence_bytes(R1, 1000)
    assert weight_bytes(eight) == weight_bytes(R1)
    with pytest.raises(ValueError, match=r"cache_bytes must be 0, 0\.5625, 1 or 2, got 4"):
        require_deployment(replace(R1, cache_bytes=4.0))
    with pytest.raises(ValueError, match=r"memory_share must be in \(0, 1\], got 1.1"):
        require_deployment(replace(R1, memory_share=1.1))


def test_the_whole_context_may_be_used_and_no_token_more() -> None:
    context = R1.architecture.context_tokens
    whole = replace(R1, input_tokens=context - 1000.0, output_tokens=1000.0)
    require_deployment(whole)
    rule = rf"input_tokens \+ output_tokens must be at most {context}"
    with pytest.raises(ValueError, match=rule):
        require_deployment(replace(whole, output_tokens=1001.0))


def test_every_limit_is_let_through() -> None:
    """Ends of ranges belong to them."""
    small = replace(WORKED, concurrency=1e8, input_tokens=1.0, output_tokens=1.0)
    require_deployment(small)
    require_deployment(replace(small, draft_tokens=16, accepted_tokens=17.0))
    require_deployment(replace(small, shortest_share=1.0, pipeline=32))
    require_deployment(replace(R1, expert=8, tensor=1, attention_data=8))
    with pytest.raises(ValueError, match="pipeline must be at most the 32 layers"):
        require_deployment(replace(small, pipeline=33))


def test_states_are_kept_in_32_bits_on_the_devices_of_their_heads() -> None:
    model = find_model("Qwen3.5-397B-A17B")[0]
    states = sum(count * attention.state_values for count, attention, _ in model.layers)
    one = replace(WORKED, architecture=model, precision="bf16")
    assert states > 0
    assert sequence_bytes(one, 0) == 4 * states
    assert sequence_bytes(replace(one, tensor=4), 0) == pytest.approx(states)
    assert sequence_bytes(replace(one, pipeline=2), 0) == 2 * states


def test_a_window_ends_what_a_sequence_holds() -> None:
    model = find_model("gpt-oss-120b")[0]
    one = replace(WORKED, architecture=model, precision="bf16")
    assert sequence_bytes(one, 1000) == 2 * 18 * (1000 + 128) * 1024
    assert sequence_bytes(one, 100) == 2 * 36 * 100 * 1024


SMALL = find_model("Qwen3-0.6B")[0]
DENSE = replace(WORKED, architecture=find_model("Qwen3-32B")[0], tensor=2)
GUESSED = replace(DENSE, draft_tokens=3, accepted_tokens=2.5, drafter=SMALL)


def test_a_draft_model_lives_on_the_same_devices() -> None:
    draft = draft_engine(GUESSED)
    assert draft == replace(DENSE, architecture=SMALL, precision="bf16", cache_bytes=2.0)
    assert draft_engine(replace(GUESSED, drafter=OWN_HEADS)) is None
    eight = replace(GUESSED, precision="fp4")  # whose cache is in eight bits
    alone = replace(DENSE, architecture=SMALL, cache_bytes=1.0)
    plain = replace(eight, draft_tokens=0, accepted_tokens=1.0, drafter=OWN_HEADS)
    assert weight_bytes(eight) == weight_bytes(plain) + weight_bytes(alone)
    assert sequence_bytes(eight, 77) == sequence_bytes(plain, 77) + sequence_bytes(alone, 77)
    spread = draft_engine(replace(R1, expert=8, draft_tokens=1, drafter=R1.architecture))
    assert spread is not None
    assert (spread.expert, spread.precision) == (8, "fp8")
    dense = draft_engine(replace(R1, expert=8, draft_tokens=1, drafter=SMALL))
    assert dense is not None
    assert dense.expert == 1


def test_devices_have_to_hold_both() -> None:
    heavy = replace(GUESSED, drafter=DENSE.architecture)
    assert fewest_devices(replace(DENSE, tensor=1)) == 1  # 66 GB of 84
    assert fewest_devices(heavy) == 2
    with pytest.raises(Impossible, match="2 devices would do at bf16"):
        require_deployment(replace(heavy, tensor=1))


def test_one_guess_of_a_draft_model_is_enough() -> None:
    require_deployment(replace(GUESSED, draft_tokens=1, accepted_tokens=1.5))
    with pytest.raises(ValueError, match="draft_tokens must be 1 or more where Qwen"):
        require_deployment(replace(GUESSED, draft_tokens=0, accepted_tokens=1.0))


def test_vocabularies_may_differ_by_their_padding() -> None:
    words = DENSE.architecture.vocabulary
    require_deployment(replace(GUESSED, drafter=replace(SMALL, vocabulary=words + 128)))
    for other in (round(1.011 * words), round(0.989 * words)):
        with pytest.raises(ValueError, match="drafter must be a model of the 151,936 tokens"):
            require_deployment(replace(GUESSED, drafter=replace(SMALL, vocabulary=other)))


@pytest.mark.parametrize("drafter", [FROM_TEXT, SMALL])
def test_sglang_does_not_guess_beside_attention_over_data(drafter: object) -> None:
    groups = replace(GUESSED, attention_data=2, drafter=drafter)
    require_deployment(groups)
    require_deployment(replace(groups, backend="sglang", drafter=OWN_HEADS))
    require_deployment(replace(groups, backend="sglang", attention_data=1))
    with pytest.raises(Impossible, match="attention_data must be 1 in sglang"):
        require_deployment(replace(groups, backend="sglang"))


def test_precision_is_as_published_where_nothing_is_said() -> None:
    assert own_precision(preset_model("deepseek-ai/DeepSeek-R1")) == "fp8"
    assert own_precision(preset_model("meta-llama/Meta-Llama-3.1-70B")) == "bf16"
    assert own_precision(preset_model("openai/gpt-oss-120b")) == "fp4"


def test_a_dense_model_is_one_whatever_its_attention() -> None:
    dense = {"hidden_size": 2560, "num_attention_heads": 40, "num_hidden_layers": 2}
    dense |= {"intermediate_size": 6400, "vocab_size": 73448, "q_lora_rank": 768}
    dense |= {"kv_lora_rank": 256, "qk_rope_head_dim": 32, "qk_nope_head_dim": 64, "v_head_dim": 64}
    kinds = [
        replace(WORKED, architecture=one).kind
        for one in (read_architecture(dense), find_model("DeepSeek-R1")[0], WORKED.architecture)
    ]
    assert kinds == ["dense, hopper", "latent mixture, hopper", "dense, hopper"]
