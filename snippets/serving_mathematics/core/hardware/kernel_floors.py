"""Floors of kernels: what a layer's kernels take when they have next to nothing to do.

They are medians of measured calls on Ampere, Hopper and Blackwell; other generations have Hopper's.

Assumes: CUDA graphs in decoding.

Source: the kernel measurements of aiconfigurator-core 0.12.0, in `records/machine_kernels.json`.
"""

from __future__ import annotations

from serving_mathematics.core.hardware.architectures import Architecture, Attention, FeedForward
from serving_mathematics.core.hardware.deployments import Storage
from serving_mathematics.support.require import require_positive, require_positive_integer

SMALL_S = 2.5e-6  # a norm, an activation, a rotation
SELECTION_S = 25e-6  # indexer and selection of sparse attention beside a latent layer
RECURRENT_S = 7e-6  # convolution and update of a linear layer's state
CHOOSING_S = 4e-6  # scores to experts


def matrix_floor_s(generation: str, bytes_a_value: float) -> float:
    """Time of a matrix product with little to do, quantizing its input included, in seconds.

    Raises ValueError unless bytes_a_value is positive and finite.

    >>> round(matrix_floor_s("hopper", 2.0) * 1e6, 1)
    3.2
    """
    bytes_a_value = require_positive(bytes_a_value=bytes_a_value)
    if generation == "blackwell":
        return 2.6e-6 if bytes_a_value == 2 else 6.0e-6
    if generation == "ampere" and bytes_a_value == 2:
        return 4.6e-6
    return 3.2e-6 if bytes_a_value == 2 else 5.2e-6


def attention_floor_s(attention: Attention, generation: str, bytes_a_value: float) -> float:
    """Time of a layer's attention kernels with one short sequence, in seconds.

    bytes_a_value: of the layer's weights.

    >>> grouped = Attention("full", 0)
    >>> round(attention_floor_s(grouped, "hopper", 2.0) * 1e6, 1)  # 2 * 3.2 + 10.5 + 2 * 2.5
    21.9
    """
    blackwell = generation == "blackwell"
    matrix = matrix_floor_s(generation, bytes_a_value)
    if attention.kind in ("full", "window"):
        kernel = {"ampere": 15e-6, "blackwell": 9.5e-6}.get(generation, 10.5e-6)
        selection = SELECTION_S if attention.index_width else 0.0
        return 2 * matrix + kernel + 2 * SMALL_S + selection
    if attention.kind == "latent":
        module = 40e-6 if blackwell else 52e-6
        selection = SELECTION_S if attention.selected_tokens else 0.0
        return module + SMALL_S + selection
    if attention.kind == "linear":
        return 3 * matrix + RECURRENT_S + 3 * SMALL_S
    return 0.0


def expert_floor_s(generation: str, backend: str, bytes_a_value: float, four_bit: bool) -> float:
    """Time of a mixture's expert kernels with a few tokens, in seconds.

    four_bit: published in four bits (MXFP4), which Hopper has no arithmetic for. Raises ValueError
    unless bytes_a_value is positive and finite.

    >>> expert_floor_s("hopper", "trtllm", 1.0, four_bit=False)
    3.2e-05
    """
    bytes_a_value = require_positive(bytes_a_value=bytes_a_value)
    if generation == "blackwell":
        if four_bit:
            return 19e-6
        return {2.0: 22e-6, 1.0: 29e-6, 0.5625: 18e-6}.get(bytes_a_value, 50e-6)
    if generation == "ampere":
        return 48e-6 if backend == "sglang" else 80e-6
    if four_bit:
        return {"trtllm": 72e-6, "vllm": 40e-6, "sglang": 36e-6}[backend]
    return 50e-6 if bytes_a_value == 0.53125 else 32e-6


def feed_forward_floor_s(
    part: FeedForward, hidden: int, generation: str, backend: str, kept: Storage, four_bit: bool
) -> float:
    """Time of a layer's feed-forward kernels with a few tokens, in seconds.

    hidden: width of the model. kept: bytes a value. four_bit: experts published in four bits.
    Raises ValueError unless hidden is a positive integer.

    >>> kept = Storage(2.0, 2.0, 2.0, 2.0, 2.0)
    >>> round(feed_forward_floor_s(FeedForward(10), 64, "hopper", "vllm", kept, False) * 1e6, 1)
    11.4
    """
    hidden = require_positive_integer(hidden=hidden)
    matrix = matrix_floor_s(generation, kept.dense)
    if part.experts:
        router = matrix_floor_s(generation, 2.0)
        shared = part.dense_parameters > hidden * part.experts
        return (
            expert_floor_s(generation, backend, kept.experts, four_bit)
            + router
            + CHOOSING_S
            + 2 * SMALL_S
            + (2 * matrix + SMALL_S if shared else 0.0)
        )
    return 2 * matrix + 2 * SMALL_S if part.dense_parameters else 0.0


def layers_floor_s(
    architecture: Architecture, generation: str, backend: str, kept: Storage
) -> float:
    """Time of all layers' kernels with next to nothing to do, in seconds.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> kept = Storage(2.0, 2.0, 2.0, 2.0, 2.0)
    >>> round(layers_floor_s(WORKED.architecture, "hopper", "vllm", kept) * 1e3, 2)  # 32 * 33.3 us
    1.07
    """
    return sum(
        count
        * (
            attention_floor_s(attention, generation, kept.attention)
            + feed_forward_floor_s(
                part, architecture.hidden, generation, backend, kept, architecture.four_bit_experts
            )
        )
        for count, attention, part in architecture.layers
    )
