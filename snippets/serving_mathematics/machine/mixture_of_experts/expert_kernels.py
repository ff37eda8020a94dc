"""The time of a layer's experts: a floor, and the longer of reading and multiplying.

    t = floor + max(m x / (share * bandwidth), 2 B k p / peak)

with m experts touched, of p parameters and x bytes each, by B tokens that take k. Measured kernels
take as long as what their routing touches. Benchmarks deal experts out in turn ("balanced"), which
touches min(E, B k) of them, or by a power law; a balanced one overstates a decoding step.

Assumes: reading and multiplying overlap; the share of the bandwidth is that of whole runs, and no
constant is fitted to these kernels.

Source: Williams, Waterman and Patterson (2009); `step_time` for the share; kernels of
aiconfigurator-core 0.12.0, in `records/machine_series.json.gz`; its collector/helper.py for the
routing.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.core.hardware.architectures import FeedForward
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.kernel_floors import expert_floor_s
from serving_mathematics.core.hardware.step_time import FITTED, Array
from serving_mathematics.machine.mixture_of_experts.expert_routing import (
    experts_a_token,
    skewed_counts,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import require_non_negative, require_positive


def experts_s(
    touched: float,
    choices: float,
    expert_parameters: float,
    bytes_a_value: float,
    bandwidth_bytes_per_s: float,
    peak_flops_per_s: float,
    floor_s: float,
) -> float:
    """Time of a layer's expert kernels on one device, in seconds.

    touched: experts that it reads. choices: pairs of a token and an expert that it works on, B k if
    it holds all experts. expert_parameters: of one expert. floor_s: time with next to nothing to
    do. The attained share of the bandwidth is that of `FITTED`. Raises ValueError if a count or the
    floor is negative, or another argument is not positive.

    >>> one = experts_s(8, 8, 4.7e6, 2, 3.35e12, 989e12, floor_s=32e-6)
    >>> round(one * 1e6, 1)  # eight experts of 9.4 MB, and the floor
    55.8
    """
    touched, choices, floor_s = require_non_negative(
        touched=touched, choices=choices, floor_s=floor_s
    )
    expert_parameters, bytes_a_value, bandwidth_bytes_per_s, peak_flops_per_s = require_positive(
        expert_parameters=expert_parameters,
        bytes_a_value=bytes_a_value,
        bandwidth_bytes_per_s=bandwidth_bytes_per_s,
        peak_flops_per_s=peak_flops_per_s,
    )
    attained = FITTED.expert_share * bandwidth_bytes_per_s
    read_s = touched * expert_parameters * bytes_a_value / attained
    return floor_s + max(read_s, 2 * choices * expert_parameters / peak_flops_per_s)


VALUE_BYTES = {  # of the experts of the mixtures whose kernels were measured
    "Qwen3-30B-A3B": 2.0,
    "Mixtral-8x7B": 2.0,
    "MiniMax-M2.5": 1.0,
    "DeepSeek-V3": 1.0,
    "gpt-oss-120b": 0.53125,
}
ROUTINGS = ("balanced", "power_law_1.01", "power_law_1.2")
DECODING_TOKENS = 512  # in a step, at most


@cache
def _lines() -> list[dict[str, Any]]:
    """Kernels that were measured on H100."""
    series: list[dict[str, Any]] = read_record("machine_series")["series"]
    return [line for line in series if line["system"] == "h100_sxm"]


@cache
def _line(**wanted: object) -> dict[str, Any]:
    """The one of them with these properties."""
    return next(x for x in _lines() if all(x.get(key) == own for key, own in wanted.items()))


@cache
def _part(model: str) -> FeedForward:
    """A layer's experts."""
    return find_model(model)[0].layers[-1][2]


@cache
def _touched_as_routed(model: str, routing: str, tokens: int) -> float:
    """Experts that a benchmark's routing touches on one device, averaged over eight draws.

    "balanced" deals experts out in turn: all different until each has one.
    """
    part = _part(model)
    if routing == "balanced":
        return float(min(part.experts, part.chosen * tokens))
    rng = np.random.default_rng([tokens, part.experts])
    exponent = float(routing.split("_")[-1])
    drawn = [skewed_counts(tokens, part.experts, part.chosen, exponent, rng) for _ in range(8)]
    return float(np.mean([(counts > 0).sum() for counts in drawn]))


def _predicted_s(model: str, backend: str, touched: float, tokens: float) -> float:
    """Time of a kernel that touches so many experts, on one H100."""
    part, size, device = _part(model), VALUE_BYTES[model], find_system("h100")
    return experts_s(
        touched,
        part.chosen * tokens,
        part.expert_parameters,
        size,
        device.bandwidth_bytes_per_s,
        device.fp8_flops_per_s if size == 1 else device.bf16_flops_per_s,
        expert_floor_s(device.generation, backend, size, size < 1),
    )


@cache
def _scored() -> dict[str, dict[str, Array]]:
    """Of each model on one H100: predicted over measured, as routed and at random, and which
    kernels are faster than reading what their routing is said to touch.
    """
    found: dict[str, dict[str, list[float]]] = {}
    bandwidth = find_system("h100").bandwidth_bytes_per_s
    for line in _lines():
        if line["kernel"] != "experts" or line["devices"] != 1:
            continue
        model = line["model"]
        part = _part(model)
        into = found.setdefault(model, {"routed": [], "random": [], "impossible": []})
        for tokens, seconds in zip(line["x"], line["seconds"], strict=True):
            if tokens > DECODING_TOKENS:
                continue
            touched = _touched_as_routed(model, line["routing"], tokens)
            read = touched * part.expert_parameters * VALUE_BYTES[model]
            beaten = line["routing"] == "balanced" and seconds < read / bandwidth
            into["impossible"].append(float(beaten))
            if beaten:
                continue
            equal = tokens * experts_a_token(part, tokens)
            for name, experts in (("routed", touched), ("random", equal)):
                predicted = _predicted_s(model, line["backend"], experts, tokens)
                into[name].append(predicted / seconds)
    return {
        model: {name: np.array(values) for name, values in lists.items()}
        for model, lists in found.items()
    }


def _eight_and_sixteen(name: str) -> Array:
    """Predicted over measured of all kernels on an H100 but those of experts in four bits."""
    return np.concatenate([f[name] for model, f in _scored().items() if model != "gpt-oss-120b"])


def example() -> SimpleNamespace:
    """Numbers of the page."""
    return SimpleNamespace(
        random_16=16 * experts_a_token(_part("Qwen3-30B-A3B"), 16),
        overstated=1 / (1 - np.exp(-1)),
        kernels=_eight_and_sixteen("routed").size,
        kernels_error=float(np.median(np.abs(_eight_and_sixteen("routed") - 1))),
        four_bit_error=float(np.median(np.abs(_scored()["gpt-oss-120b"]["routed"] - 1))),
    )


def figure_touched_kernels(figure: Figure) -> None:
    """A kernel takes as long as it takes to read the experts that its routing touches.

    Experts of one layer of Qwen3-30B-A3B in 16 bits on an H100 with vLLM: measured (dots), and by
    the formula from what each routing touches (lines).

    Alt: Line chart of microseconds against tokens in a step on a logarithmic axis. Three sets of
    dots, with a line through each, rise from the same lowest time to the same highest. Balanced
    routing reaches the highest time at 16 tokens, where skewed routing takes half as long; skewed
    routing reaches it with several times as many.
    """
    axes = figure.subplots()
    looks = (("C3", "balanced: in turn"), ("C0", "power law 1.01"), ("C2", "power law 1.2"))
    grid = [1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
    for routing, (colour, label) in zip(ROUTINGS, looks, strict=True):
        line = _line(backend="vllm", model="Qwen3-30B-A3B", devices=1, routing=routing)
        points = [
            (tokens, 1e6 * seconds)
            for tokens, seconds in zip(line["x"], line["seconds"], strict=True)
            if tokens <= DECODING_TOKENS
        ]
        axes.plot(*zip(*points, strict=True), "o", color=colour, markersize=4)
        touched = [_touched_as_routed("Qwen3-30B-A3B", routing, tokens) for tokens in grid]
        told = [
            1e6 * _predicted_s("Qwen3-30B-A3B", "vllm", *one)
            for one in zip(touched, grid, strict=True)
        ]
        axes.plot(grid, told, color=colour, linewidth=1, label=label)
    axes.legend(loc="lower right")
    axes.set(
        xscale="log",
        xlim=(0.9, 560),
        ylim=(0, 520),
        xlabel="tokens in a step",
        ylabel="time of one layer's experts [µs]",
    )
    axes.set_xticks([1, 4, 16, 64, 256], ["1", "4", "16", "64", "256"])
    axes.minorticks_off()


def check_kernels_take_what_they_touch() -> None:
    """The formula, fitted to none of these kernels, is off by at most a tenth in the median for
    experts in 8 and 16 bits, and by more if experts are counted as touched at random. For one model
    it is off by at most a fifth, or by half in four bits.

    Source: kernels on one H100 of four mixtures in 8 or 16 bits and one in four, three backends,
    three routings, up to 512 tokens; `records/machine_series.json.gz`.
    """
    for model, found in _scored().items():
        error = float(np.median(np.abs(found["routed"] - 1)))
        most = 0.5 if VALUE_BYTES[model] < 1 else 0.21
        checks.inside(f"{model}: median error", error, 0.0, most, kind="measured")
    routed, random = (
        float(np.median(np.abs(_eight_and_sixteen(name) - 1))) for name in ("routed", "random")
    )
    checks.inside("8 and 16 bits, as routed: median error", routed, 0.0, 0.1, kind="measured")
    checks.holds("better than at random", routed < random, got=random)


def check_balanced_kernels_overstate() -> None:
    """With B = E/k tokens, routing in turn touches all experts, 1.58 times as many as random
    choices do, and a kernel takes as long as with far more tokens.

    Source: 1/(1 - 1/e) as the limit of the ratio of touched experts; measured: the balanced kernel
    of 16 tokens against that of 256, which touches as many. vLLM on an H100.
    """
    line = _line(backend="vllm", model="Qwen3-30B-A3B", devices=1, routing="balanced")
    at = dict(zip(line["x"], line["seconds"], strict=True))
    checks.close("16 over 256 tokens", at[16] / at[256], 1.0, rtol=0.1, kind="measured")
    part = FeedForward(0, 1, 4096, 8)
    limit = 4096 / (512 * experts_a_token(part, 512))
    checks.close("in turn over random", limit, 1 / (1 - np.exp(-1)), rtol=2e-3)


def check_experts_by_hand() -> None:
    """Reading eight experts of a megabyte takes eight megabytes over the attained bandwidth; with
    very many tokens the arithmetic takes longer.

    Source: 8e6 bytes over 0.9443 of 1e12 bytes a second; 2 operations for each parameter and
    choice.
    """
    few = experts_s(8, 8, 5e5, 2, 1e12, 1e15, floor_s=1e-5)
    checks.close("few [s]", few, 1e-5 + 8e6 / 0.9443e12, rtol=1e-9)
    many = experts_s(8, 1e6, 5e5, 2, 1e12, 1e15, floor_s=1e-5)
    checks.close("many [s]", many, 1e-5 + 2 * 1e6 * 5e5 / 1e15, rtol=1e-9)
