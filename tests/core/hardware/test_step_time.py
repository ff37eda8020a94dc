"""The step by hand, against a second implementation, and its limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_mathematics.core.hardware.architectures import FeedForward
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployments import WORKED, Deployment, cache_devices, storage
from serving_mathematics.core.hardware.kernel_floors import layers_floor_s
from serving_mathematics.core.hardware.step_time import (
    BULK_SHARE,
    CONSTANT_NAMES,
    EXCHANGE_S,
    EXCHANGE_SHARE,
    FAR_EXCHANGE_SHARE,
    FAR_MESSAGE_S,
    FITTED,
    LARGEST_NORMAL,
    MESSAGE_S,
    SEND_S,
    SENT_BYTES,
    SMALL_BYTES,
    Constants,
    Parts,
    Work,
    busiest_of,
    by_backend,
    constants_of,
    count_work,
    decode_step_s,
    exchange_s,
    message_s,
    prompt_s,
    ring_hops,
    roof_s,
    step_parts,
    touched_experts,
    two_batches_s,
)
from serving_mathematics.support.measuring import read_record

PERFECT = Constants(
    **{name: 1.0 if name.endswith("_share") else 0.0 for name in CONSTANT_NAMES}
)  # every share is attained, and no kernel, host or front costs anything
H100 = find_system("h100")
MODELS = [
    "Llama-3.1-70B", "DeepSeek-R1", "gpt-oss-120b", "GLM-5", "Qwen3.5-397B-A17B", "MiniMax-M2.5",
    "Kimi-K3", "DeepSeek-V4-Pro", "Nemotron-H-56B-Base-8K", "gemma-4-26B-A4B", "MiniMax-M3",
]  # fmt: skip


def deployed(name: str, **changes: object) -> Deployment:
    one = replace(WORKED, architecture=find_model(name)[0], system=find_system("b200"))
    return replace(one, **({"precision": "fp8", "tensor": 8} | changes))  # type: ignore[arg-type]


def step(one: Deployment, sequences: float, context: float, constants: Constants) -> float:
    work = count_work([one])
    return float(decode_step_s(work, constants, np.array([sequences]), np.array([context]))[0])


def reduced(one: Deployment, devices: int, size: float, c: Constants) -> tuple[float, float]:
    """An all-reduce of some bytes within a domain, and what leaving it adds."""
    system = one.system
    near = min(devices, system.domain_devices)
    few = min(size, SMALL_BYTES)
    crossing = few / c.link_share + (size - few) / BULK_SHARE
    within = across = 0.0
    if near > 1:
        within = MESSAGE_S + 2 * (near - 1) / near * crossing / system.link_bytes_per_s
    if devices > near:  # of m domains, each device sends its part of the bytes to the others
        domains = devices / near
        across = 2 * (domains - 1) / domains / near * crossing / system.outside_bytes_per_s
        across += FAR_MESSAGE_S
    return within, across


def exchanged(one: Deployment, part: FeedForward, tokens: float, c: Constants) -> float:
    """What groups pay to share a feed-forward layer: the cheaper of two ways."""
    system, devices = one.system, one.tensor * one.attention_data
    hidden = one.architecture.hidden
    gathered = sum(reduced(one, devices, hidden * 2 * tokens, c))
    if not part.experts or one.expert == 1:
        return gathered
    sent = tokens / devices * part.chosen * hidden * SENT_BYTES
    inside = min(devices, system.domain_devices) / devices
    near = (inside - 1 / devices) * sent / (EXCHANGE_SHARE * system.link_bytes_per_s)
    far = (1 - inside) * sent / (FAR_EXCHANGE_SHARE * system.outside_bytes_per_s)
    return min(gathered, 2 * EXCHANGE_S + max(near, far))


def by_hand(one: Deployment, sequences: float, context: float, c: Constants) -> float:
    """The same step, term by term, in plain loops."""
    model, system = one.architecture, one.system
    kept = storage(model, one.precision)
    devices = one.tensor * one.attention_data
    here = max(sequences / one.pipeline, one.attention_data)
    a_group, width = here / one.attention_data, 1 + one.draft_tokens
    factor = {
        "trtllm": c.factor_trtllm,
        "sglang": c.factor_sglang,
        "vllm": c.factor_vllm,
    }[one.backend]
    peak = {2: system.bf16_flops_per_s, 1: system.fp8_flops_per_s}
    peak[0.5625] = system.fp4_flops_per_s
    peak[0.53125] = (
        system.bf16_flops_per_s
        if one.precision == "int4"
        else system.fp8_flops_per_s
        if system.generation == "blackwell"
        else system.bf16_flops_per_s
    )
    total, states = 0.0, 2 if one.backend in model.half_states else 4
    for count, attention, part in model.layers:
        weights = (attention.parameters + part.dense_parameters) / one.tensor
        read = weights * kept.attention / (system.bandwidth_bytes_per_s * c.weight_share)
        done = 2 * weights * a_group * width / (peak[kept.attention] * c.prompt_share)
        seen = min(context, attention.window_tokens or math.inf)
        taken = min(seen, attention.selected_tokens or math.inf)
        split = cache_devices(attention, one.tensor)
        cached = attention.cached_values * kept.cache
        if model.name.startswith("deepseek-ai/DeepSeek-V4"):  # 584 bytes for 512 values
            cached = attention.cached_values * 584 / 512
        elif attention.kind == "latent" and attention.selected_tokens and kept.cache == 1:
            cached = (attention.cached_values - 64) * 132 / 128 + 64 * 2
        cache = a_group * (
            taken * cached / split
            + seen * attention.index_values * 132 / 128
            + 2 * states * attention.state_values / split
        )
        scores = taken * attention.score_width + seen * attention.index_width
        look = cache / (system.bandwidth_bytes_per_s * c.cache_share)
        think = 2 * a_group * width * scores / one.tensor
        think /= system.bf16_flops_per_s * c.attention_share
        mixed = 0.0
        if part.experts:
            missed = (1 - part.chosen / part.experts) ** (here * width)
            touched = part.experts * (1 - missed)
            load = touched * part.expert_parameters * kept.experts / devices
            passes, shared = part.chosen * here * width, one.expert
            above = np.interp(math.log2(shared), range(9), LARGEST_NORMAL)
            spread = math.sqrt(passes / shared * (1 - 1 / shared))
            busiest = min(passes / shared + above * spread, passes) * shared
            work = 2 * busiest * part.expert_parameters / devices
            mixed = max(
                load / (system.bandwidth_bytes_per_s * c.expert_share),
                work / (system.bf16_flops_per_s * c.prompt_expert_share),
            )
        if one.attention_data > 1 and (part.dense_parameters or part.experts):
            mixed += exchanged(one, part, here * width, c)
        total += count * (max(read, done) + max(look, think) + mixed)
    total += factor * layers_floor_s(model, system.generation, one.backend, kept)
    size, alone = model.hidden * 2 * width * a_group, one.attention_data == 1
    within, across = reduced(one, one.tensor, size, c)
    total += model.layer_count * ((2 if alone else 1) * within + (2 if alone else 0) * across)
    total *= 1 + one.draft_tokens / model.layer_count
    if one.pipeline > 1:
        whole = devices * one.pipeline
        inside = whole <= system.domain_devices
        link = system.link_bytes_per_s if inside else system.outside_bytes_per_s
        total += (one.pipeline - 1) * (SEND_S + size / (link * c.link_share))
    words = model.vocabulary * model.hidden * 2 / one.tensor
    read = words / (system.bandwidth_bytes_per_s * c.weight_share)
    total += width * max(read, words * a_group * width / (system.bf16_flops_per_s * c.prompt_share))
    return total + c.sequence_s * a_group


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tensor": 1, "attention_data": 8, "expert": 8, "backend": "sglang"},
        {"precision": "fp4", "backend": "trtllm", "draft_tokens": 3, "accepted_tokens": 2.5},
        {"precision": "bf16", "tensor": 2, "pipeline": 4},
        {"tensor": 4, "pipeline": 4, "draft_tokens": 1, "accepted_tokens": 1.5},
        {"precision": "int4", "system": find_system("h200")},
        {"tensor": 16},
        {"tensor": 1, "attention_data": 32, "expert": 32},
        {"tensor": 4, "attention_data": 2, "expert": 8},
    ],
)
def test_a_step_is_the_sum_by_hand(name: str, changes: dict[str, object]) -> None:
    one = deployed(name, **changes)
    for sequences, context in ((1.0, 10.0), (48.0, 3000.0), (900.0, 7e4), (3e5, 9.0)):
        expected = by_hand(one, sequences, context, FITTED)
        assert step(one, sequences, context, FITTED) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("time_of", [decode_step_s, two_batches_s])
def test_one_number_is_for_all_rows_and_lists_are_arrays(time_of: Callable[..., Any]) -> None:
    work = count_work([WORKED, replace(WORKED, precision="fp8")])
    arrays = time_of(work, FITTED, np.full(2, 8.0), np.full(2, 1000.0))
    for sequences, context in ((8, 1000), ([8, 8], [1000.0, 1000]), (8, np.full(2, 1000.0))):
        assert np.array_equal(time_of(work, FITTED, sequences, context), arrays)


def test_one_sequence_reads_the_weights_once() -> None:
    """With everything attained and no kernels, a step of a dense model is bytes over bandwidth."""
    model = WORKED.architecture
    read = 2 * (model.parameters - model.vocabulary * model.hidden)  # one table of two
    assert step(WORKED, 1, 0, PERFECT) == pytest.approx(read / 3.35e12, rel=1e-12)
    assert step(WORKED, 1, 1000, PERFECT) == pytest.approx(
        (read + 1000 * 131_072) / 3.35e12, rel=1e-12
    )


def test_many_sequences_are_arithmetic() -> None:
    model = WORKED.architecture
    matrices = model.attention_parameters + model.dense_parameters
    words = model.vocabulary * model.hidden * 2 * 4096 / 989e12
    assert step(WORKED, 4096, 0, PERFECT) == pytest.approx(
        2 * matrices * 4096 / 989e12 + words, rel=1e-12
    )


def test_a_prompt_is_arithmetic_and_half_its_square() -> None:
    """2 FLOPs a parameter and token; every token meets the half of the prompt before it."""
    model = WORKED.architecture
    matrices = model.attention_parameters + model.dense_parameters
    scores = 32 * 8192 * 2 * 500
    found = float(prompt_s(count_work([WORKED]), PERFECT)[0])
    assert found == pytest.approx(1000 * (2 * matrices + scores) / 989e12, rel=1e-12)


def test_a_prompt_on_several_devices_sends_two_messages_a_layer() -> None:
    one, eight = deployed("Llama-3.1-70B", tensor=1), deployed("Llama-3.1-70B")
    alone, shared = (float(prompt_s(count_work([x]), PERFECT)[0]) for x in (one, eight))
    sent = 2 * 80 * 2 * 7 / 8 * 8192 * 2 * 1000 / 900e9
    assert shared == pytest.approx(alone / 8 + sent, rel=1e-12)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "changes", [{}, {"tensor": 1, "attention_data": 8, "expert": 8}, {"precision": "fp4"}]
)
def test_a_prompt_is_the_sum_by_hand(name: str, changes: dict[str, object]) -> None:
    """Term by term, in plain loops."""
    one = deployed(name, input_tokens=9000.0, **changes)
    model, system, c = one.architecture, one.system, FITTED
    rest = storage(model, one.precision).attention
    peak = {2: system.bf16_flops_per_s, 1: system.fp8_flops_per_s}.get(rest, system.fp4_flops_per_s)
    total = 0.0
    for count, attention, part in model.layers:
        seen = min(
            4500.0, attention.window_tokens or math.inf, attention.selected_tokens or math.inf
        )
        scores = 2 * seen * attention.prompt_score_width + 9000 * attention.index_width
        total += count * (
            2 * (attention.parameters + part.dense_parameters) / (peak * c.prompt_share)
            + 2
            * part.chosen
            * part.expert_parameters
            / (system.bf16_flops_per_s * c.prompt_expert_share)
            + scores / (system.bf16_flops_per_s * c.attention_share)
        )
    sent = 2 * model.layer_count * 2 * 7 / 8 * model.hidden * 2 / one.attention_data
    total = total / 8 + sent / (system.link_bytes_per_s * c.prompt_link_share)
    found = float(prompt_s(count_work([one]), FITTED)[0])
    assert found == pytest.approx(9000 * total, rel=1e-12)


def test_a_prompt_that_leaves_the_domain_sends_a_part_more() -> None:
    """Sixteen devices of two domains: seven eighths twice within, and an eighth of half twice."""
    sixteen = deployed("Llama-3.1-70B", tensor=16)
    alone, shared = (
        float(prompt_s(count_work([x]), PERFECT)[0])
        for x in (deployed("Llama-3.1-70B", tensor=1), sixteen)
    )
    bytes_sent = 2 * 80 * 8192 * 2 * 1000
    sent = bytes_sent * (2 * 7 / 8 / 900e9 + 1 / 8 / 50e9)
    assert shared == pytest.approx(alone / 16 + sent, rel=1e-12)


def test_parts_are_where_they_belong() -> None:
    """Each part alone: what is left when everything else costs nothing."""
    one = deployed("DeepSeek-R1", backend="sglang", draft_tokens=2, accepted_tokens=2.0)
    work, three, long = count_work([one]), np.array([3.0]), np.array([1e4])
    parts = step_parts(work, FITTED, three, long)
    assert isinstance(parts, Parts)
    assert float(parts.total()[0]) == pytest.approx(step(one, 3.0, 1e4, FITTED), rel=1e-14)
    assert float(parts.host[0]) == pytest.approx(3 * FITTED.sequence_s)
    kept = storage(one.architecture, "fp8")
    floors = layers_floor_s(one.architecture, "blackwell", "sglang", kept)
    assert float(parts.kernels[0]) == pytest.approx(FITTED.factor_sglang * floors * (1 + 2 / 61))
    size = 7168 * 2 * 3 * 3
    sent = MESSAGE_S + 1.75 * size / (900e9 * FITTED.link_share)
    assert float(parts.messages[0]) == pytest.approx(2 * 61 * sent * (1 + 2 / 61))
    words = 129_280 * 7168 * 2 / 8 / (7.7e12 * FITTED.weight_share)
    assert float(parts.vocabulary[0]) == pytest.approx(3 * words)
    read = 61 * 3 * 1e4 * 576 * 2 / (7.7e12 * FITTED.cache_share)  # whole on every device
    assert float(parts.cache[0]) == pytest.approx(read * (1 + 2 / 61))
    assert float(step_parts(work, FITTED, three, 0 * long).cache[0]) == 0
    assert float(parts.experts[0] + parts.weights[0]) > 0


def test_the_longer_of_two_counts() -> None:
    sizes, work = np.array([8.0, 1.0]), np.array([3.0, 30.0])
    assert roof_s(sizes, np.array(2.0), work, np.array(3.0)).tolist() == [4.0, 10.0]


def test_hops_of_a_ring_are_counted() -> None:
    """A ring of n passes n parts round twice, less the last step of each round."""
    for devices in (2, 3, 8):
        parts_sent = 2 * (devices - 1)
        assert ring_hops(np.array(float(devices))) == pytest.approx(parts_sent / devices)
    assert ring_hops(np.array(1.0)) == 0
    none = message_s(np.array([0.0]), np.array([1e9]), np.array([1e9]), 0.5, 1e-3)
    assert none.tolist() == [0.0]
    some = message_s(np.array([1.5]), np.array([1e9]), np.array([1e9]), 0.5, 1e-3)
    assert some.tolist() == pytest.approx([1e-3 + 3.0])


def test_stages_share_the_layers_and_send() -> None:
    """Four stages with four sequences work like one with a single sequence, and send thrice."""
    one, four = deployed("Llama-3.1-70B", tensor=2), deployed("Llama-3.1-70B", tensor=2, pipeline=4)
    sent = 3 * (SEND_S + 8192 * 2 / (900e9 * FITTED.link_share))
    assert step(four, 4, 500, FITTED) == pytest.approx(step(one, 1, 500, FITTED) + sent, rel=1e-12)
    far = replace(four, pipeline=8)  # sixteen devices: the next stage is in another domain
    slower = 7 * (SEND_S + 8192 * 2 / (50e9 * FITTED.link_share))
    assert step(far, 8, 500, FITTED) == pytest.approx(step(one, 1, 500, FITTED) + slower, rel=1e-12)


def test_kernels_tell_what_a_message_out_of_the_domain_takes() -> None:
    """The floor of four nodes is NCCL's of sixteen devices, and a send that of two devices."""
    lines = read_record("machine_shapes")["messages"]

    def floor(**told: object) -> float:
        line = next(x for x in lines if all(x[key] == value for key, value in told.items()))
        small = [us for size, us in zip(line["bytes"], line["us"], strict=True) if size <= 16384]
        return float(np.median(small)) * 1e-6

    for backend in ("vllm", "sglang"):
        far = floor(system="gb300", devices=16, backend=backend, kernel="custom, in a graph")
        assert far == pytest.approx(FAR_MESSAGE_S + MESSAGE_S, rel=0.12)
    sends = [floor(system=system, operation="alltoall") for system in ("h100_sxm", "b200_sxm")]
    assert 0.9 * min(sends) < SEND_S < max(sends)


def test_a_window_and_a_selection_end_the_square() -> None:
    gpt, short = deployed("gpt-oss-120b", input_tokens=8000), 128
    full = replace(gpt.architecture, layers=tuple(
        (count, replace(attention, window_tokens=0), part)
        for count, attention, part in gpt.architecture.layers
    ))  # fmt: skip
    less = float(prompt_s(count_work([gpt]), PERFECT)[0])
    more = float(prompt_s(count_work([replace(gpt, architecture=full)]), PERFECT)[0])
    saved = 18 * 2 * (4000 - short) * 64 * 128 / 8 * 8000 / 2.25e15
    assert more - less == pytest.approx(saved, rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(MODELS), sequences=st.floats(1, 2000), context=st.floats(1, 1e5),
    tensor=st.sampled_from([1, 2, 4, 8]),
)  # fmt: skip
def test_more_work_takes_longer(name: str, sequences: float, context: float, tensor: int) -> None:
    one = deployed(name, tensor=tensor)
    here = step(one, sequences, context, FITTED)
    assert here > 0
    assert step(one, 2 * sequences, context, FITTED) >= here
    assert step(one, sequences, 2 * context, FITTED) >= here
    fast = replace(one.system, bandwidth_bytes_per_s=2 * one.system.bandwidth_bytes_per_s)
    assert here / 2 <= step(replace(one, system=fast), sequences, context, FITTED) <= here


@pytest.mark.parametrize("name", CONSTANT_NAMES[:10])
def test_every_constant_of_a_step_matters(name: str) -> None:
    """Where it should: one of many kinds of steps is slower with less of it, or with more time."""
    kinds = [
        (deployed("DeepSeek-R1", backend=backend, tensor=8), sequences, context)
        for backend in ("trtllm", "sglang", "vllm")
        for sequences, context in ((1.0, 10.0), (64.0, 1e5), (4096.0, 10.0))
    ] + [
        (deployed("Llama-3.1-70B"), 4096.0, 10.0),
        (deployed("Llama-3.1-70B"), 64.0, 1e5),
        (deployed("DeepSeek-R1", tensor=1), 64.0, 1e5),  # every head looks at the one latent
    ]
    value = getattr(FITTED, name)
    worse = replace(FITTED, **{name: value / 2 if name.endswith("_share") else value * 2})
    pairs = [(step(*kind, FITTED), step(*kind, worse)) for kind in kinds]
    assert all(after >= before for before, after in pairs)
    assert any(after > 1.003 * before for before, after in pairs)


def test_rows_of_different_models_do_not_touch_each_other() -> None:
    many = [deployed(name) for name in MODELS]
    work = count_work(many)
    together = decode_step_s(work, FITTED, np.full(len(many), 16.0), np.full(len(many), 2000.0))
    alone = [step(one, 16.0, 2000.0, FITTED) for one in many]
    assert together == pytest.approx(alone, rel=1e-12)
    some = work.rows(np.array([3, 1]))
    assert isinstance(some, Work)
    assert some.layers.tolist() == [78.0, 61.0]
    assert by_backend(some, 1.0, 2.0, 3.0).tolist() == [3.0, 3.0]


def test_constants_are_in_their_order_and_in_the_record() -> None:
    assert constants_of(FITTED.as_array()) == FITTED
    recorded = read_record("machine_scores")["constants"]
    assert {name: getattr(FITTED, name) for name in CONSTANT_NAMES} == recorded
    assert [field.name for field in fields(Constants)] == list(recorded)


def test_a_mixture_of_one_expert_is_that_one() -> None:
    one, none = np.array([1.0]), np.array([0.0])
    assert touched_experts(one, one, np.array([3.0])).tolist() == [1.0]
    assert touched_experts(none, none, np.array([3.0])).tolist() == [0.0]


def test_the_busiest_device_by_drawing() -> None:
    """The busiest of some devices among which passes fall by chance, to five standard errors."""
    rng = np.random.default_rng(4)
    for devices, passes in ((2, 100), (8, 512), (32, 4096)):
        drawn = rng.multinomial(passes, np.full(devices, 1 / devices), size=2000).max(axis=1)
        error = float(drawn.std() / 2000**0.5)
        got = float(busiest_of(np.array([float(passes)]), np.array([float(devices)]))[0]) / devices
        assert got == pytest.approx(float(drawn.mean()), abs=5 * error + 0.02 * got)
    one = busiest_of(np.array([7.0]), np.array([1.0]))
    assert one[0] == 7.0
    assert busiest_of(np.array([0.0]), np.array([8.0]))[0] == 0.0
    assert busiest_of(np.array([1.0]), np.array([64.0]))[0] <= 64.0
    with pytest.raises(ValueError, match="total must be"):
        busiest_of(np.array([-1.0]), np.array([8.0]))
    with pytest.raises(ValueError, match="devices must be"):
        busiest_of(np.array([1.0]), np.array([0.0]))


def test_groups_exchange_what_is_cheaper() -> None:
    """Few tokens are gathered everywhere, many are sent to their experts; one group sends none."""
    wide = deployed("DeepSeek-R1", tensor=1, attention_data=32, expert=32)
    rack = replace(wide, system=find_system("gb200"))
    work = count_work([rack])
    sparse = np.argmax(work.experts[0])
    found = [float(exchange_s(work, FITTED, np.array([[x]]))[0, sparse]) for x in (1.0, 1e5)]
    assert found[0] < 2 * EXCHANGE_S
    sent = 1e5 / 32 * 8 * 7168 * SENT_BYTES
    expected = 2 * EXCHANGE_S + 31 / 32 * sent / (EXCHANGE_SHARE * rack.system.link_bytes_per_s)
    assert found[1] == pytest.approx(expected)
    assert not exchange_s(count_work([deployed("DeepSeek-R1")]), FITTED, np.array([[64.0]])).any()
    with pytest.raises(ValueError, match="tokens must be"):
        exchange_s(work, FITTED, np.array([[-1.0]]))


def test_the_exchange_of_a_network_is_that_of_deepep() -> None:
    """128 tokens a device over 32 devices of four nodes: 155 us out and 273 us back, to a sixth."""
    one = replace(deployed("DeepSeek-R1", tensor=1, attention_data=32, expert=32), system=H100)
    work = count_work([one])
    sparse = np.argmax(work.experts[0])
    found = float(exchange_s(work, FITTED, np.array([[32 * 128.0]]))[0, sparse])
    assert found == pytest.approx(155e-6 + 273e-6, rel=1 / 6)


def test_two_halves_hide_each_others_exchange() -> None:
    """Where exchanges are all that takes time, halves gain nothing; where none is, they cost."""
    wide = replace(
        deployed("DeepSeek-R1", tensor=1, attention_data=32, expert=32),
        system=find_system("gb200"),
    )
    work, many, context = count_work([wide]), np.array([16384.0]), np.array([2000.0])
    parts = step_parts(work, FITTED, many / 2, context)
    own = parts.total() - parts.exchange
    got = two_batches_s(work, FITTED, many, context)
    assert got == pytest.approx(2 * np.maximum(own, parts.exchange))
    assert got < decode_step_s(work, FITTED, many, context)
    few = np.array([64.0])
    assert two_batches_s(work, FITTED, few, context) > decode_step_s(work, FITTED, few, context)
