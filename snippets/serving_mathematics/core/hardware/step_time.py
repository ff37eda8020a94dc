"""What one step costs: weights and cache read, arithmetic, kernels, messages, host.

A decoding step of B sequences on one engine takes

    sum over layers of [ floor of its kernels * factor of the backend
                         + max(weights / bandwidth, arithmetic / peak)
                         + max(cache / bandwidth, attention's arithmetic / peak)
                         + max(touched experts / bandwidth, their arithmetic / peak)
                         + 2 messages, or one and an exchange of tokens ]
    + a message to each further stage + vocabulary + B * host time a sequence

where groups that hold attention for their own requests exchange tokens instead of the second
message, and every bandwidth and peak is the data sheet's times an attained share. Reading and
arithmetic of one kernel overlap (the larger counts), kernels follow one another (they add). Of E
experts, of which each token takes k, B tokens touch E (1 - (1 - k/E)^B); the arithmetic is that of
the busiest device.

Assumes: CUDA graphs in decoding; tokens that choose experts alike and independently; an engine that
takes the cheaper of the two ways to exchange tokens; no overlap between two batches.

Source: `kernel_floors`; Williams, Waterman and Patterson (2009), CACM 52(4) (roofline); Patarasuk
and Yuan (2009), JPDC 69(2) (all-reduce); DeepSeek-AI (2024), arXiv 2412.19437, section 3.4, and its
DeepEP, docs/legacy.md; Harter (1961), Biometrika 48(1/2) (largest of normal values).
"""

# In one piece: one formula: the work, what each kind of it takes, and the sum; the fit computes all
# of it in one table.

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serving_mathematics.core.hardware.architectures import Architecture
from serving_mathematics.core.hardware.deployments import (
    BACKENDS,
    OWN_HEADS,
    Deployment,
    Storage,
    cache_devices,
    layer_token_bytes,
    room_sequences,
    stored,
)
from serving_mathematics.core.hardware.kernel_floors import layers_floor_s
from serving_mathematics.support.require import (
    as_floats,
    as_numbers,
    require,
    require_all_non_negative,
    require_all_positive,
    require_finite,
    require_non_negative,
    require_positive,
)

Array = NDArray[np.float64]

MESSAGE_S = 5e-6  # a small all-reduce in a CUDA graph: 3.5-7.4 us on Hopper and Blackwell
SMALL_BYTES = 2 * 2**20  # of a message; what is longer attains BULK_SHARE of the link
BULK_SHARE = 0.75  # 0.71-0.79 from 1 MiB to 1 GiB over two to eight H100, B200 and GB300
FAR_MESSAGE_S = 44e-6  # more for one that leaves the domain: 46-51 us over four nodes of GB300
EXCHANGE_S = 17e-6  # tokens to their experts, one way, of no bytes: 13 us on H100, 20 us on B200
EXCHANGE_SHARE = 0.55  # of the link, attained by them: 0.50-0.69 with 1,024 tokens over eight
FAR_EXCHANGE_SHARE = 0.75  # of a network's: 155 and 273 us for 128 tokens over 32 devices (DeepEP)
SENT_BYTES = 3.0  # of a value: out in 8 bits, back in 16
SEND_S = 7e-6  # to the next stage: NCCL's exchange of two devices, 6.5 us on Hopper, 9 on Blackwell
MESSAGES_A_LAYER = 2  # after attention and after the feed-forward part (Megatron-LM, 2019)
SEQUENCE_S = 20e-6  # host time a sequence and step that no fit tells from messages: see `fronts`
LARGEST_NORMAL = (0.0, 0.564, 1.029, 1.424, 1.766, 2.07, 2.344, 2.595, 2.827)  # of 1, 2, 4, ... 256


@dataclass(frozen=True)
class Constants:
    """What is fitted: shares of data sheets, factors and host times."""

    factor_trtllm: float  # a layer's time over its kernels' floors
    factor_sglang: float
    factor_vllm: float
    weight_share: float  # of the bandwidth, attained by weights of attention and dense parts
    expert_share: float  # of the bandwidth, attained by weights of experts
    cache_share: float  # of the bandwidth, attained by the cache
    attention_share: float  # of the 16-bit peak, attained by attention
    link_share: float  # of a link, attained by small messages
    sequence_s: float  # host time a sequence and step: given, not fitted
    prompt_share: float  # of the peak, attained by dense weights
    prompt_expert_share: float  # of the 16-bit peak, attained by experts
    prompt_link_share: float  # of a link, attained by large messages
    prompt_s: float  # host time a prompt: given, as for a sequence
    first_steps_trtllm: float  # steps of one sequence that pass around a prompt
    first_steps_sglang: float
    first_steps_vllm: float
    burst_share: float  # of the prompts at hand that a request waits for
    lockstep_trtllm: float  # the same where all lengths are equal
    lockstep_sglang: float
    lockstep_vllm: float

    def as_array(self) -> Array:
        """The constants in their order."""
        return np.array([*vars(self).values()], dtype=float)


FITTED = Constants(  # to all aggregated runs of the record, see records/machine_scores.json
    factor_trtllm=1.103,
    factor_sglang=1.354,
    factor_vllm=1.341,
    weight_share=0.8408,
    expert_share=0.9443,
    cache_share=0.8153,
    attention_share=0.3429,
    link_share=0.1485,
    sequence_s=SEQUENCE_S,
    prompt_share=0.8406,
    prompt_expert_share=0.3658,
    prompt_link_share=0.4866,
    prompt_s=SEQUENCE_S,
    first_steps_trtllm=17.13,
    first_steps_sglang=24.81,
    first_steps_vllm=9.252,
    burst_share=0.1085,
    lockstep_trtllm=0.1359,
    lockstep_sglang=0.459,
    lockstep_vllm=0.07054,
)
CONSTANT_NAMES = tuple(field.name for field in fields(Constants))


def constants_of(values: Array) -> Constants:
    """Constants from an array in their order. Raises ValueError on another length, and unless they
    are finite and not negative.

    >>> constants_of(np.arange(20.0)).factor_vllm
    2.0
    """
    count = len(CONSTANT_NAMES)
    require(np.shape(values) == (count,), "values", f"of shape ({count},)", values)
    values = require_all_non_negative(values=values)
    return Constants(*(float(value) for value in values))


def touched_experts(experts: Array, chosen: Array, tokens: Array) -> Array:
    """Experts that tokens take between them, each `chosen` of `experts` at random.

    >>> touched_experts(np.array([256.0]), np.array([8.0]), np.array([32.0])).round(2)
    array([163.31])
    """
    experts, chosen, tokens = as_numbers(experts=experts, chosen=chosen, tokens=tokens)
    none = np.zeros(np.shape(experts))
    share = np.divide(chosen, experts, out=none, where=np.asarray(experts) > 0)
    return np.asarray(experts * (1 - (1 - share) ** tokens), dtype=float)


@dataclass(frozen=True, eq=False)
class Work:
    """Deployments as arrays: shape (rows,), or (rows, groups) for what differs by layer."""

    backend: NDArray[np.int64]  # index into BACKENDS
    floor_s: Array
    bandwidth: Array
    link: Array  # within a domain
    hops: Array  # 2 (n-1)/n of the devices of a domain that share a message, 0 for one
    far_link: Array  # to devices outside of it
    far_hops: Array  # 2 (m-1)/m of m domains, over the devices of one; 0 within one
    stage_link: Array  # to the next stage of a pipeline
    tensor: Array
    groups: Array  # attention in parallel over data
    stage_devices: Array
    stages: Array
    layers: Array
    hidden: Array
    vocabulary_bytes: Array
    concurrency: Array
    room: Array
    prompt: Array  # mean tokens
    answer: Array
    locked: Array  # 1 where all lengths are equal
    drafts: Array
    heads: Array  # of them, by layers of the model's own
    accepted: Array
    held: Array  # steps for which new prompts are kept back
    near_hops: Array  # as hops, of the devices that share one group's attention
    spread: Array  # devices, or groups of them, that hold different experts
    inside: Array  # share of a stage's devices that are in one domain
    count: Array  # (rows, groups of layers)
    attention_parameters: Array
    dense_parameters: Array
    expert_parameters: Array
    experts: Array
    chosen: Array
    cached_bytes: Array  # a token, on one device
    index_bytes: Array
    state_bytes: Array
    score_width: Array
    prompt_score_width: Array
    index_width: Array
    window: Array  # infinite where there is none
    selected: Array
    rest_bytes: Array  # (rows,): bytes a value beside the experts
    expert_bytes: Array
    rest_peak: Array
    attention_peak: Array

    @property
    def running(self) -> Array:
        """Sequences in the engine: as many as are asked for, or as memory holds."""
        return np.minimum(self.concurrency, self.room)

    @property
    def context(self) -> Array:
        """Tokens that each of them has, on average."""
        return self.prompt + self.answer / 2

    def rows(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> "Work":
        """Some of the rows."""
        return Work(*(getattr(self, field.name)[index] for field in fields(self)))


LAYERED = slice(27, 41)  # the fields of `Work` that differ by layer


def _peak(deployment: Deployment, bytes_a_value: float) -> float:
    system = deployment.system
    if bytes_a_value == 2:
        return system.bf16_flops_per_s
    if bytes_a_value == 1:
        return system.fp8_flops_per_s
    if deployment.precision == "int4":
        return system.bf16_flops_per_s
    if bytes_a_value == 0.53125:  # MXFP4 weights meet 8-bit activations where there are any
        fast = system.fp4_flops_per_s > system.fp8_flops_per_s
        return system.fp8_flops_per_s if fast else system.bf16_flops_per_s
    if system.fp4_flops_per_s > system.bf16_flops_per_s:
        return system.fp4_flops_per_s
    return system.bf16_flops_per_s


def _layer_cells(model: Architecture, tensor: int, kept: Storage) -> Array:
    """What differs by layer, in the order of `Work`, shape (fields, groups of layers)."""
    groups = []
    for count, attention, part in model.layers:
        devices = cache_devices(attention, tensor)
        cached, index = layer_token_bytes(attention, kept.cache)
        groups.append(
            (
                count,
                attention.parameters,
                part.dense_parameters,
                part.expert_parameters,
                part.experts,
                part.chosen,
                cached / devices,
                index,
                attention.state_values * kept.state / devices,
                attention.score_width,
                attention.prompt_score_width,
                attention.index_width,
                attention.window_tokens or np.inf,
                attention.selected_tokens or np.inf,
            )
        )
    return np.array(groups, dtype=float).T


# In one piece: one column of the table after the other, from the same deployment.
def count_work(deployments: Sequence[Deployment]) -> Work:
    """Deployments as arrays of counts, one row each. Whether each can be is asked by
    `require_deployment`, and not here. Raises ValueError where there is none, and on another
    backend.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> count_work([WORKED]).layers
    array([32.])
    """
    require(len(deployments) > 0, "deployments", "one or more", "none")
    width = max(len(deployment.architecture.layers) for deployment in deployments)
    layered = [field.name for field in fields(Work)][LAYERED]
    cells = np.zeros((len(layered), len(deployments), width))
    cells[[layered.index("window"), layered.index("selected")]] = np.inf
    kept_floors: dict[tuple[int, str, str, Storage], float] = {}
    kept_layers: dict[tuple[int, int, Storage], Array] = {}
    rows = []
    for row, one in enumerate(deployments):
        model, kept = one.architecture, stored(one)
        require(one.backend in BACKENDS, "backend", f"one of {', '.join(BACKENDS)}", one.backend)
        key = (id(model), one.system.generation, one.backend, kept)
        if key not in kept_floors:
            kept_floors[key] = layers_floor_s(model, one.system.generation, one.backend, kept)
        split = (id(model), one.tensor, kept)
        if split not in kept_layers:
            kept_layers[split] = _layer_cells(model, one.tensor, kept)
        cells[:, row, : len(model.layers)] = kept_layers[split]
        stage = one.tensor * one.attention_data
        inside = min(stage, one.system.domain_devices)
        values = {
            "backend": BACKENDS.index(one.backend),
            "floor_s": kept_floors[key],
            "bandwidth": one.system.bandwidth_bytes_per_s,
            "link": one.system.link_bytes_per_s,
            "hops": inside,  # devices, until all are known
            "far_link": one.system.outside_bytes_per_s,
            "far_hops": stage / inside,
            "stage_link": one.system.link_bytes_per_s
            if one.devices <= one.system.domain_devices
            else one.system.outside_bytes_per_s,
            "tensor": one.tensor,
            "groups": one.attention_data,
            "stage_devices": stage,
            "stages": one.pipeline,
            "layers": model.layer_count,
            "hidden": model.hidden,
            "vocabulary_bytes": model.vocabulary * model.hidden * kept.vocabulary / one.tensor,
            "concurrency": one.concurrency,
            "room": room_sequences(one),
            "prompt": one.mean_input_tokens,
            "answer": one.mean_output_tokens,
            "locked": float(one.shortest_share == 1),
            "drafts": one.draft_tokens,
            "heads": one.draft_tokens if one.drafter == OWN_HEADS else 0,
            "accepted": one.accepted_tokens,
            "held": one.held_steps,
            "near_hops": min(one.tensor, one.system.domain_devices),
            "spread": one.expert,
            "inside": inside / stage,
            "rest_bytes": kept.attention,
            "expert_bytes": kept.experts,
            "rest_peak": _peak(one, kept.attention),
            "attention_peak": one.system.bf16_flops_per_s,
        }
        rows.append(list(values.values()))
    plain = dict(zip(values, np.array(rows, dtype=float).T.copy(), strict=True))
    plain |= dict(zip(layered, cells, strict=True))
    near, domains = plain["hops"], plain["far_hops"]  # devices of a domain that share, and domains
    plain |= {"hops": ring_hops(near), "far_hops": ring_hops(domains) / near}
    plain["near_hops"] = ring_hops(plain["near_hops"])
    return Work(**{**plain, "backend": plain["backend"].astype(np.int64)})


def by_backend(work: Work, trtllm: float, sglang: float, vllm: float) -> Array:
    """A number for every row by its backend, shape (rows,). Raises ValueError unless finite.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import count_work
    >>> by_backend(count_work([WORKED]), 1.0, 2.0, 3.0)
    array([3.])
    """
    trtllm, sglang, vllm = require_finite(trtllm=trtllm, sglang=sglang, vllm=vllm)
    return np.asarray(np.array([trtllm, sglang, vllm])[work.backend], dtype=float)


@dataclass(frozen=True, eq=False)
class Parts:
    """What a decoding step is made of, shape (rows,) each, in seconds; they add up to it.

    Drafts are in each part. What is bound by arithmetic counts where it is done.
    """

    kernels: Array  # floors of all kernels, times the backend's factor
    weights: Array  # attention and dense parts
    experts: Array
    cache: Array  # what attention reads or multiplies with
    messages: Array  # all-reduces, and what a stage sends to the next
    exchange: Array  # of tokens between groups that hold attention for their own requests
    vocabulary: Array
    host: Array

    def total(self) -> Array:
        """The whole step."""
        return np.asarray(sum(vars(self).values()), dtype=float)


def roof_s(read_bytes: Array, bandwidth: Array, operations: Array, peak: Array) -> Array:
    """Time of a kernel that reads while it computes: the longer of the two, in seconds.

    read_bytes [bytes] over bandwidth [bytes/s]; operations over peak [1/s]; shapes that broadcast.
    Source: Williams, Waterman and Patterson (2009).

    >>> roof_s(np.array([8.0]), np.array([2.0]), np.array([9.0]), np.array([3.0]))
    array([4.])
    """
    read_bytes, bandwidth, operations, peak = as_numbers(
        read_bytes=read_bytes, bandwidth=bandwidth, operations=operations, peak=peak
    )
    return np.asarray(np.maximum(read_bytes / bandwidth, operations / peak), dtype=float)


def ring_hops(devices: Array) -> Array:
    """How often the bytes of an all-reduce cross a device's link: 2 (n - 1)/n, 0 for one device.

    devices: n >= 1. Source: Patarasuk and Yuan (2009). Raises ValueError unless positive.

    >>> ring_hops(np.array([1.0, 2.0, 8.0]))
    array([0.  , 1.  , 1.75])
    """
    devices = require_all_positive(devices=devices)
    return np.asarray(2 * (devices - 1) / devices, dtype=float)


def message_s(
    hops: Array,
    message_bytes: Array,
    link: Array,
    share: float,
    floor_s: float,
    bulk_share: float | None = None,
) -> Array:
    """Time of one all-reduce: a floor, and bytes over the attained share of the link, in seconds.

    hops: of `ring_hops`; message_bytes: that each device holds; link [bytes/s], one direction;
    share: of it, attained; floor_s: of a message of no bytes; bulk_share: attained by the bytes
    above `SMALL_BYTES`, the same where it is not given. No time for one device. Between domains
    each device sends its part alone, so that hops are those of the domains, over devices.
    Raises ValueError unless shares are positive and floor_s is not negative; arrays are not
    checked.

    >>> micros = 1e6 * message_s(np.array([0.0, 1.75]), np.array([2.0**20]), np.array([4.5e11]),
    ...                          share=1.0, floor_s=5e-6)
    >>> micros.round(2)
    array([0.  , 9.08])
    """
    hops, message_bytes, link = as_numbers(hops=hops, message_bytes=message_bytes, link=link)
    share = require_positive(share=share)
    bulk = share if bulk_share is None else require_positive(bulk_share=bulk_share)
    floor_s = require_non_negative(floor_s=floor_s)
    few = np.minimum(message_bytes, SMALL_BYTES)
    crossing = few / share + (message_bytes - few) / bulk
    return np.asarray((hops > 0) * floor_s + hops * crossing / link, dtype=float)


def busiest_of(total: Array, devices: Array) -> Array:
    """What the busiest of some devices has of a count, times their number, on average.

    total: counted on all devices, each alike and independently; devices: those that share it, one
    or more. Shapes that broadcast. The largest of normal values stands for that of the counts, and
    no device has more than all.
    Source: Harter (1961).

    >>> busiest_of(np.array([64.0]), np.array([4.0])).round(1)  # 16 each, 19.6 the busiest
    array([78.3])
    """
    total = require_all_non_negative(total=as_floats(total=total))
    devices = require_all_positive(devices=as_floats(devices=devices))
    require(devices >= 1, "devices", "1 or more", devices)
    above = np.interp(np.log2(devices), np.arange(len(LARGEST_NORMAL)), LARGEST_NORMAL)
    deviation = np.sqrt(total * (1 - 1 / devices) / devices)
    return np.asarray(np.minimum(total + above * deviation * devices, total * devices), dtype=float)


def exchange_s(work: Work, constants: Constants, tokens: Array) -> Array:
    """Time that groups with attention of their own take to share a layer's feed-forward part.

    tokens: of a step in all groups, shape (rows, 1). Where experts are spread, each token's values
    can go to the experts that it takes and come back, at a floor each way; or all groups gather all
    tokens and add up their parts, which is an all-reduce. The cheaper counts. Shape (rows, groups
    of layers), in seconds; 0 for one group. Raises ValueError unless tokens are not negative.
    Source: DeepEP's low-latency kernels, measured for aiconfigurator-core 0.12.0.

    >>> from dataclasses import replace
    >>> from serving_mathematics.core.hardware.catalogue import find_model
    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import FITTED, count_work
    >>> model = find_model("Qwen3-30B-A3B")[0]
    >>> wide = count_work([replace(WORKED, architecture=model, attention_data=8, expert=8)])
    >>> micros = 1e6 * exchange_s(wide, FITTED, np.array([[4096.0]]))
    >>> bool(34 < micros[0, 0] < 200)
    True
    """
    tokens = require_all_non_negative(tokens=as_floats(tokens=tokens))
    apart = (work.groups[:, None] > 1) & (work.dense_parameters + work.experts > 0)
    if not apart.any():  # nearly always
        return np.zeros(apart.shape)
    stage, inside = work.stage_devices[:, None], work.inside[:, None]
    link, far_link = work.link[:, None], work.far_link[:, None]
    sent = tokens / stage * work.chosen * work.hidden[:, None] * SENT_BYTES
    near = (inside - 1 / stage) * sent / (EXCHANGE_SHARE * link)
    far = (1 - inside) * sent / (FAR_EXCHANGE_SHARE * far_link)
    routed = 2 * EXCHANGE_S + np.maximum(near, far)
    whole, share = work.hidden[:, None] * 2 * tokens, constants.link_share
    gathered = message_s(work.hops[:, None], whole, link, share, MESSAGE_S, BULK_SHARE)
    gathered += message_s(work.far_hops[:, None], whole, far_link, share, FAR_MESSAGE_S, BULK_SHARE)
    spread = (work.experts > 0) & (work.spread[:, None] > 1)
    cheaper = np.where(spread, np.minimum(routed, gathered), gathered)
    return np.asarray(np.where(apart, cheaper, 0.0), dtype=float)


# In one piece: a formula a part, of the same dozen of terms.
def step_parts(work: Work, constants: Constants, sequences: ArrayLike, context: ArrayLike) -> Parts:
    """The parts of one decoding step of the whole engine, in seconds.

    sequences: in the whole engine; context: tokens that each has; shape (rows,), or one for all.
    With guesses, a step handles the drafts and one token of each sequence; each of the model's own
    heads is a layer more, and what a draft model takes is in `guessed_steps`. The stages of a
    pipeline work on different sequences at once, and a step is the way of one share of them through
    all.
    Raises ValueError unless both are finite and not negative.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import FITTED, count_work
    >>> parts = step_parts(count_work([WORKED]), FITTED, np.array([1.0]), np.array([1000.0]))
    >>> float(parts.messages[0]), bool(parts.weights[0] > 10 * parts.cache[0])
    (0.0, True)
    """
    sequences, context = require_all_non_negative(sequences=sequences, context=context)
    sequences, context = np.atleast_1d(sequences, context)
    step = 1 + work.drafts
    stage_sequences = np.maximum(sequences / work.stages, work.groups)
    a_group = (stage_sequences / work.groups)[:, None]
    tensor, stage = work.tensor[:, None], work.stage_devices[:, None]
    bandwidth, tokens = work.bandwidth[:, None], step[:, None]
    seen = np.minimum(context[:, None], work.window)
    read = np.minimum(seen, work.selected)

    parameters = (work.attention_parameters + work.dense_parameters) / tensor
    weights_s = roof_s(
        parameters * work.rest_bytes[:, None],
        bandwidth * constants.weight_share,
        2 * parameters * a_group * tokens,
        work.rest_peak[:, None] * constants.prompt_share,
    )
    cache_s = roof_s(
        a_group * (read * work.cached_bytes + seen * work.index_bytes + 2 * work.state_bytes),
        bandwidth * constants.cache_share,
        2 * a_group * tokens * (read * work.score_width + seen * work.index_width) / tensor,
        work.attention_peak[:, None] * constants.attention_share,
    )
    all_tokens = stage_sequences[:, None] * tokens
    touched = touched_experts(work.experts, work.chosen, all_tokens)
    passes = work.chosen * all_tokens
    taken = busiest_of(passes, work.spread[:, None])
    experts_s = roof_s(
        touched * work.expert_parameters * work.expert_bytes[:, None] / stage,
        bandwidth * constants.expert_share,
        2 * work.expert_parameters * taken / stage,
        work.attention_peak[:, None] * constants.prompt_expert_share,
    )
    factor = by_backend(
        work, constants.factor_trtllm, constants.factor_sglang, constants.factor_vllm
    )
    a_message, share = work.hidden * 2 * step * stage_sequences / work.groups, constants.link_share
    near = message_s(work.near_hops, a_message, work.link, share, MESSAGE_S, BULK_SHARE)
    far = message_s(work.far_hops, a_message, work.far_link, share, FAR_MESSAGE_S, BULK_SHARE)
    alone = work.groups == 1
    messages = work.layers * (
        np.where(alone, MESSAGES_A_LAYER, 1) * near + np.where(alone, MESSAGES_A_LAYER, 0) * far
    )
    exchange = (work.count * exchange_s(work, constants, all_tokens)).sum(axis=1)
    sends = (work.stages - 1) * (SEND_S + a_message / (work.stage_link * share))
    drafting = 1 + work.heads / work.layers
    vocabulary = roof_s(
        work.vocabulary_bytes,
        work.bandwidth * constants.weight_share,
        work.vocabulary_bytes * stage_sequences / work.groups * step,  # two of each two bytes
        work.attention_peak * constants.prompt_share,
    )
    return Parts(
        kernels=factor * work.floor_s * drafting,
        weights=(work.count * weights_s).sum(axis=1) * drafting,
        experts=(work.count * experts_s).sum(axis=1) * drafting,
        cache=(work.count * cache_s).sum(axis=1) * drafting,
        messages=messages * drafting + sends,
        exchange=exchange * drafting,
        vocabulary=vocabulary * (1 + work.heads),
        host=constants.sequence_s * stage_sequences / work.groups,
    )


def decode_step_s(
    work: Work, constants: Constants, sequences: ArrayLike, context: ArrayLike
) -> Array:
    """Time of one decoding step of the whole engine, shape (rows,), in seconds.

    sequences, context: as for `step_parts`, whose sum it is.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import FITTED, count_work
    >>> one = decode_step_s(count_work([WORKED]), FITTED, np.array([1.0]), np.array([1000.0]))
    >>> 15e9 / 3.35e12 < float(one[0]) < 0.01  # its weights once, and kernels
    True
    """
    return step_parts(work, constants, sequences, context).total()


def two_batches_s(
    work: Work, constants: Constants, sequences: ArrayLike, context: ArrayLike
) -> Array:
    """Time of a step whose two halves take turns: one exchanges tokens while the other computes.

    Each half reads the weights and pays the floors for itself. sequences, context: as for
    `step_parts`, of both halves together. Shape (rows,), in seconds.
    Source: DeepSeek-AI (2024), arXiv 2412.19437, section 3.4.2 (two micro-batches).

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import FITTED, count_work
    >>> from serving_mathematics.core.hardware.step_time import decode_step_s
    >>> work, many = count_work([WORKED]), np.array([64.0])
    >>> alone = decode_step_s(work, FITTED, many / 2, np.array([1000.0]))
    >>> bool(two_batches_s(work, FITTED, many, np.array([1000.0]))[0] == 2 * alone[0])
    True
    """
    sequences = np.asarray(require_all_non_negative(sequences=sequences))
    half = step_parts(work, constants, sequences / 2, context)
    own = half.total() - half.exchange
    return np.asarray(2 * np.maximum(own, half.exchange), dtype=float)


def prompt_s(work: Work, constants: Constants) -> Array:
    """Time of one prompt of mean length on the whole engine, alone, shape (rows,), in seconds.

    Attention over data takes prompts of all groups at once; a pipeline's stages work on several.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import FITTED, count_work
    >>> 0.01 < float(prompt_s(count_work([WORKED]), FITTED)[0]) < 0.05  # 15 TFLOP at most of 989/s
    True
    """
    tokens = work.prompt[:, None]
    stage = work.stage_devices
    dense = (
        2
        * (work.attention_parameters + work.dense_parameters)
        / (work.rest_peak[:, None] * constants.prompt_share)
    )
    routed = (
        2
        * work.expert_parameters
        * work.chosen
        / (work.attention_peak[:, None] * constants.prompt_expert_share)
    )
    seen = np.minimum(np.minimum(tokens / 2, work.window), work.selected)
    scores = 2 * seen * work.prompt_score_width + tokens * work.index_width
    attention = scores / (work.attention_peak[:, None] * constants.attention_share)
    a_token = (work.count * (dense + routed + attention)).sum(axis=1) / stage
    crossing = work.hops / work.link + work.far_hops / work.far_link
    sent = MESSAGES_A_LAYER * work.layers * crossing * work.hidden * 2 / work.groups
    return np.asarray(work.prompt * (a_token + sent / constants.prompt_link_share))
