"""Solutions: the speed of decoding with fewer bits, what to quantize first, and how many answers an
evaluation needs.

Source: the chapter's formulas; for the number of answers, the variance of a paired difference.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.core.hardware.catalogue import deployed, find_system
from serving_mathematics.core.hardware.deployments import (
    cache_room_bytes,
    sequence_bytes,
    weight_bytes,
)
from serving_mathematics.core.hardware.fronts import find_front, front_constants
from serving_mathematics.core.hardware.guessed_steps import guessed_step_s
from serving_mathematics.core.machines.machines import CHAT, INSTALLED
from serving_mathematics.optimization.quantization.paired_accuracy import NORMAL_975, paired_change
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive,
)

HINTS = {
    "what_to_quantize": (
        "Ask first whether the time goes into prompts: that is arithmetic, and products have to be"
        " in eight bits. If not, a step mostly reads the cache if that is larger than the weights."
        " Otherwise ask whether it multiplies for many sequences."
    ),
    "decode_speedup": (
        "Memory-bound time is bytes over bandwidth, and the bandwidth cancels. Only the weights"
        " shrink; the caches are read before and after, which is why the ratio of the bits is "
        "too good."
    ),
    "answers_needed": (
        "The difference is a mean of +1, 0 and −1, with variance `changed` less the squared "
        "loss. It must exceed the 97.5% quantile with the given power, so two normal quantiles "
        "add up before they are squared."
    ),
}


def what_to_quantize(cache_over_weights: float, prompt_share: float, over_ridge: float) -> str:
    """What to give fewer bits to first: "cache", "weights and products" or "weights".

    cache_over_weights: bytes of the tokens in use over those of the weights. prompt_share: of the
    engine's time, in [0, 1]. over_ridge: positions of a step, one or more a sequence, over the
    device's operations a byte. Products pay where prompts take half of the time, or a step has half
    as many positions; from as many on, the weights take that many times as long as to read. Raises
    ValueError outside.

    >>> what_to_quantize(cache_over_weights=0.1, prompt_share=0.1, over_ridge=0.2)
    'weights'
    """
    cache_over_weights, over_ridge = require_non_negative(
        cache_over_weights=cache_over_weights, over_ridge=over_ridge
    )
    prompt_share = require_in("[0, 1]", prompt_share=prompt_share)
    if prompt_share >= 0.5:
        return "weights and products"
    if cache_over_weights > max(1.0, over_ridge):
        return "cache"
    return "weights and products" if over_ridge >= 0.5 else "weights"


def decode_speedup(
    weight_bits: float, context_bytes: float, parameters: float, from_bits: float = 16
) -> float:
    """How many times as fast decoding gets with smaller weights, when reading memory takes all the
    time.

    weight_bits: of a weight afterwards, with its scales. context_bytes: of the KV caches of all
    sequences in the batch, read in every step and not quantized, non-negative [B]. parameters:
    weights that are read in a step. from_bits: of a weight before. Raises ValueError unless the
    other three are positive and all are finite.

    >>> decode_speedup(weight_bits=4, context_bytes=0.0, parameters=8.0)
    4.0
    """
    weight_bits, parameters, from_bits = require_positive(
        weight_bits=weight_bits, parameters=parameters, from_bits=from_bits
    )
    context_bytes = require_non_negative(context_bytes=context_bytes)
    before = parameters * from_bits / 8 + context_bytes
    return before / (parameters * weight_bits / 8 + context_bytes)


def answers_needed(loss: float, changed: float, power: float = 0.8) -> int:
    """Number of answers that shows a loss of accuracy in a 95% interval, with the given
    probability.

    loss: of accuracy, in (0, 1). changed: share of answers that one of the models reads right and
    the other wrong, from the loss to 1. power: in [0.5, 1). With n answers the difference has
    variance (changed − loss²)/n, and must exceed its 97.5% quantile. Raises ValueError on other
    input.

    >>> answers_needed(loss=0.01, changed=0.01, power=0.5)  # n = 1.96² · 0.0099/0.0001
    381
    """
    changed = as_number(changed=changed)
    loss = require_in("(0, 1)", loss=loss)
    require(loss <= changed <= 1, "changed", f"from {loss} to 1", changed)
    power = require_in("[0.5, 1)", power=power)
    quantiles = NORMAL_975 + NormalDist().inv_cdf(power)
    return math.ceil(quantiles**2 * (changed - loss**2) / loss**2)


def example() -> SimpleNamespace:
    """Numbers quoted in the text."""
    return SimpleNamespace(
        pencil_alone=decode_speedup(4.5, 0.0, 8e9),
        pencil_full=decode_speedup(4.5, 16e9, 8e9),
        board_first=what_to_quantize(0.1, 0.1, 0.1),
        board_second=what_to_quantize(0.5, 0.7, 0.3),
        board_third=what_to_quantize(2.0, 0.3, 0.4),
        code_answers=answers_needed(0.005, 0.015),
    )


def check_what_to_quantize() -> None:
    """The rule by hand, on both sides of its borders.

    Source: worked by hand.
    """
    for shown, first in (
        ((0.2, 0.9, 0.0), "weights and products"),
        ((2.0, 0.1, 0.9), "cache"),
        ((0.99, 0.49, 0.49), "weights"),
        ((1.01, 0.49, 0.49), "cache"),
        ((3.0, 0.5, 0.0), "weights and products"),
        ((0.99, 0.0, 0.5), "weights and products"),
        ((2.01, 0.0, 2.0), "cache"),
    ):
        checks.equal(str(shown), what_to_quantize(*shown), first)


def check_the_rule_is_that_of_the_step() -> None:
    """While no prompt is read, following the rule makes a step at most a tenth longer than the best
    of the three choices: two dense models on three kinds of devices, contexts of 150 to 16,000
    tokens and up to 512 sequences, as many as fit, behind two fronts.

    Source: the scored step with weights in int4, weights and products in FP8, and a cache in FP8.
    """
    engines = (
        CHAT.deployment,
        replace(CHAT.deployment, system=find_system("b200")),
        deployed("Qwen3-32B", "h200", CHAT.deployment),
    )
    formats: dict[str, dict[str, Any]] = {
        "weights": {"precision": "int4", "cache_bytes": 2.0},
        "weights and products": {"precision": "fp8", "cache_bytes": 2.0},
        "cache": {"cache_bytes": 1.0},
    }
    for one, front in itertools.product(engines, (CHAT.front, INSTALLED.front)):
        worst, constants = 1.0, front_constants(find_front(front))
        ridge = one.system.bf16_flops_per_s / one.system.bandwidth_bytes_per_s
        for length in (150.0, 600.0, 1226.0, 4000.0, 16_000.0):
            each = sequence_bytes(one, length)
            most = cache_room_bytes(one) / each
            fit = [size for size in (1, 4, 16, 64, 128, 256, 384, 512) if size < most]
            steps = {
                name: guessed_step_s(replace(one, **form), constants, fit, length)
                for name, form in formats.items()
            }
            for place, size in enumerate(fit):
                held = size * each / weight_bytes(one)
                said = what_to_quantize(held, 0.0, size / ridge)
                best = min(found[place] for found in steps.values())
                worst = max(worst, float(steps[said][place] / best))
        label = f"{one.architecture.name} on {one.system.shown}, {front}: over the best"
        checks.inside(label, worst, 1.0, 1.1)


def check_decode_speedup() -> None:
    """Without context the speed-up is the ratio of the bits; with as much context as weights, the
    gain is halved.

    Source: times of 16 GB and 4.5-bit weights at 1 TB/s, added up in milliseconds.
    """
    weights, context = 8e9, 16e9
    checks.close("no context", decode_speedup(4.5, 0.0, weights), 16 / 4.5, rtol=1e-12)
    checks.close("from eight bits", decode_speedup(4, weights, weights, 8), 2 / 1.5, rtol=1e-12)
    before, after = 16.0 + 16.0, 4.5 + 16.0  # ms at 1 TB/s
    got = decode_speedup(4.5, context, weights)
    checks.close("as much context as weights", got, before / after, rtol=1e-12)


def check_answers_needed() -> None:
    """With that many answers, the loss shows in 80% of the evaluations.

    Source: 20,000 multinomial evaluations and the interval of the chapter, which is a little wider;
    for a large loss the variance of twenty questions, five lost and one gained.
    """
    twenty = [1.0] * 5 + [-1.0] + [0.0] * 14
    for power, quantile in ((0.5, 1.959964), (0.8, 1.959964 + 0.841621)):
        enough = math.ceil((quantile / 0.2) ** 2 * float(np.var(twenty)))
        checks.equal(
            f"five lost, one gained of twenty, {power:.0%}", answers_needed(0.2, 0.3, power), enough
        )
    rng = np.random.default_rng(4)
    for loss, changed in ((0.005, 0.015), (0.01, 0.03)):
        n = answers_needed(loss, changed)
        gained = (changed - loss) / 2
        chances = [changed - gained, gained, 1 - changed]
        draws = rng.multinomial(n, chances, size=20_000)
        found, counts = np.unique(draws[:, :2], axis=0, return_counts=True)
        shown = sum(
            times
            for (lost, won), times in zip(found.tolist(), counts.tolist(), strict=True)
            if paired_change(lost, won, n).high < 0
        )
        checks.inside(
            f"loss {loss}, {n} answers: shown", shown / 20_000, 0.76, 0.83, kind="simulation"
        )


def check_bad_input_is_refused() -> None:
    """Shares above 1, negative caches and losses larger than the share of changed answers are
    errors that name the argument.
    """
    told = "prompt_share must be in [0, 1]"
    checks.raises("share", what_to_quantize, 1, 1.5, 0.1, match=told)
    checks.raises("context", decode_speedup, 4, -1.0, 8.0, match="context_bytes must be non-neg")
    checks.raises("loss", answers_needed, 0.02, 0.01, match="changed must be from 0.02 to 1")
