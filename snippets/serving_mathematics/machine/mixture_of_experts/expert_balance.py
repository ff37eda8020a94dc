"""Experts over several devices: what is sent, and who is waited for.

A layer waits for the device with most tokens: chance evens out with the tokens of a step, and
popularity does not.

Assumes: experts of a layer split evenly over the devices, in any order; popularity as benchmarks of
kernels draw it.

Source: kernels of aiconfigurator-core 0.12.0, in `records/machine_series.json.gz`; DeepSeek-AI,
DeepEP, docs/legacy.md; the step of `step_time`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from serving_mathematics.core.hardware.catalogue import deployed
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    count_work,
    decode_step_s,
    exchange_s,
)
from serving_mathematics.machine.mixture_of_experts.expert_kernels import _line
from serving_mathematics.machine.mixture_of_experts.expert_routing import (
    busiest_device,
    skewed_counts,
)
from serving_mathematics.machine.mixture_of_experts.experts_touched import _counted_popularity
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

NODE_LOADS = (64.0, 256.0, 512.0)  # sequences of one node
TOKENS = (8, 16, 32, 64, 128, 256, 512, 2048, 8192)


@cache
def _by_chance(tokens: int, devices: int, drawn: int = 160_000) -> tuple[float, float]:
    """Busiest device over the mean where tokens take 8 of 256 experts at random: the mean of many
    draws, and its standard error. Of eight experts at random, nine in ten times all differ.

    drawn: tokens of all draws; a tenth will do for a line."""
    rng = np.random.default_rng([tokens, devices])
    draws = drawn // tokens
    eight = np.sort(rng.integers(0, 256, (5 * drawn // 4, 8)))
    apart = eight[(np.diff(eight) > 0).all(axis=1)][: draws * tokens].reshape(draws, -1)
    places = apart // (256 // devices) + devices * np.arange(draws)[:, None]
    counts = np.bincount(places.ravel().astype(np.intp), minlength=draws * devices)
    loads = counts.reshape(draws, devices)
    over = loads.max(axis=1) * devices / (8 * tokens)
    return float(over.mean()), float(over.std() / draws**0.5)


@cache
def _skewed(tokens: int) -> float:
    """Busiest of eight devices over the mean where popularity is drawn from a power law."""
    rng = np.random.default_rng([tokens, 256])
    drawn = [skewed_counts(tokens, 256, 8, 1.2, rng) for _ in range(100)]
    return float(np.mean([busiest_device(counts, 8)[1] for counts in drawn]))


def _most_touched(popularity: NDArray[np.float64]) -> float:
    """Experts that the one of eight devices touches which touches most, of 32 tokens, on average,
    where experts lie on devices at random."""
    rng = np.random.default_rng(8)
    taken = rng.random((200, popularity.size)) < 1 - (1 - popularity) ** 32
    return float(rng.permuted(taken, axis=1).reshape(200, 8, -1).sum(axis=2).max(axis=1).mean())


def _measured(tokens: int) -> float:
    """Skewed over balanced kernels of DeepSeek-V3 over eight H100, TensorRT-LLM."""
    skewed, level = (
        _line(backend="trtllm", model="DeepSeek-V3", devices=8, routing=routing)
        for routing in ("power_law_1.2", "balanced")
    )
    place = skewed["x"].index(tokens)
    return float(skewed["seconds"][place] / level["seconds"][place])


def _gathered(devices: int, load: float, model: str = "DeepSeek-R1", bits: str = "fp8") -> float:
    """A step in which every device gets all tokens, over one in which they go to their experts
    where that is cheaper: on H200 with attention apart, contexts of 2,000 tokens."""
    one = deployed(model, "h200", precision=bits, attention_data=devices, expert=devices)
    work, tokens = count_work([one]), np.array([load])
    step_s = decode_step_s(work, FITTED, tokens, np.array([2000.0]))[0]
    chosen, gathered = (
        float((each.count * exchange_s(each, FITTED, tokens[:, None])).sum())
        for each in (work, replace(work, spread=np.ones_like(work.spread)))
    )
    return float((step_s - chosen + gathered) / step_s)


def example() -> SimpleNamespace:
    """Numbers of the page."""
    return SimpleNamespace(
        chance_8=_by_chance(128, 8)[0] - 1,
        chance_64=_by_chance(128, 64)[0] - 1,
        skew_8=_skewed(2048),
        measured_2048=_measured(2048),
        gathered_near=max(_gathered(8, load) for load in NODE_LOADS) - 1,
        gathered_far=_gathered(32, 2048.0) - 1,
    )


def figure_busiest_device(figure: Figure) -> None:
    """What chance makes uneven evens out with more tokens in a step; what popularity makes uneven
    does not, and then kernels wait for the busiest device.

    Each token takes 8 of 256 experts, which are spread evenly over the devices: at random, or by a
    power law as in benchmarks. Left, tokens of the busiest device over the mean. Right, measured
    time of a kernel over eight H100, with skewed over balanced routing.

    Alt: Two charts against tokens in a step, on logarithmic axes. Left, the busiest device's tokens
    over the mean: with random choices the line falls towards one, over 64 devices from far higher
    than over eight; with a power law over eight devices it first falls and then rises to nearly
    two. Right, the time of a skewed kernel over that of a balanced one: mostly below one with few
    tokens, above one and a half with many.
    """
    axes, kernels = figure.subplots(1, 2)
    for devices, colour in ((64, "C1"), (8, "C0")):
        drawn = [_by_chance(each, devices, 16_000)[0] for each in TOKENS[:-1]]
        axes.plot(TOKENS[:-1], drawn, color=colour, label=f"{devices} devices, by chance")
    axes.plot(TOKENS, [_skewed(each) for each in TOKENS], color="C3", label="8 devices, power law")
    axes.legend(loc="upper right")
    axes.set(ylim=(0, 5.2), ylabel="busiest device over the mean")
    kernels.plot(TOKENS, [_measured(each) for each in TOKENS], "x", color="C3")
    kernels.axhline(1, color="C4", linewidth=0.8, linestyle=":")
    kernels.set(ylim=(0, 2.2), ylabel="kernel time, skewed over balanced")
    for one in (axes, kernels):
        one.set(xscale="log", xlim=(7, 9500), xlabel="tokens in a step")


def check_chance_against_whole_draws() -> None:
    """By chance, the busiest of eight devices has as many tokens as if each token takes the first
    eight experts of a shuffle.

    Source: 60 batches of 128 tokens; four standard errors.
    """
    rng = np.random.default_rng(3)
    keys = rng.random((60, 128, 256)).argpartition(8, axis=2)[:, :, :8] // 32
    counts = np.stack([(keys == device).sum(axis=(1, 2)) for device in range(8)])
    over = counts.max(axis=0) * 8 / 1024
    told, error = _by_chance(128, 8)
    within = 4 * float(np.hypot(error, over.std() / 60**0.5))
    checks.close(
        "128 tokens: busiest over the mean",
        told,
        float(over.mean()),
        atol=within,
        kind="simulation",
    )


def check_few_tokens_forgive_skew() -> None:
    """With 16 to 128 tokens a skewed kernel is faster than a balanced one, and with 2,048 and 8,192
    it takes at least one and a half times as long: watch the balance of large steps.

    Source: kernels of DeepSeek-V3 over eight H100, `records/machine_series.json.gz`.
    """
    for tokens in (16, 32, 64, 128):
        checks.inside(f"{tokens} tokens: skewed over balanced", _measured(tokens), 0.4, 0.95)
    for tokens in (2048, 8192):
        checks.inside(f"{tokens} tokens: skewed over balanced", _measured(tokens), 1.5, 2.5)


def check_few_tokens_forgive_skew_beside_chance_too() -> None:
    """With 32 tokens, the device that touches the most experts touches at least a fifth fewer with
    the popularity that was counted than if all are equally popular. In the latter case it touches
    at least a fifth fewer than with experts in turn, where each device touches all of its 32.

    Source: 200 draws of 256 experts on eight devices.
    """
    alike, counted = np.full(256, 8 / 256), _counted_popularity(256)
    ratio = _most_touched(counted) / _most_touched(alike)
    checks.inside("experts touched, popular over alike", ratio, 0.6, 0.8)
    in_turn = _most_touched(alike) / 32
    checks.inside("experts touched, alike over dealt in turn", in_turn, 0.7, 0.8)


def check_messages_over_a_network() -> None:
    """Messages of 128 tokens take four times as long over 32 devices with a network between them as
    over eight within a node.

    Source: DeepEP's low-latency kernels over eight H100, `records/machine_series.json.gz`; DeepEP,
    docs/legacy.md, for 32 devices.
    """
    line = _line(kernel="messages", hidden=7168)
    near = line["seconds"][line["x"].index(128)]
    for name, here, printed in zip(("out", "back"), near, (155e-6, 273e-6), strict=True):
        checks.close(f"{name}: 32 devices over eight", printed / here, 4, atol=0.5, kind="stated")


def check_gathering_costs_a_wide_group() -> None:
    """If every device gets all tokens, a step of either of two models takes at most 3% longer over
    eight devices than if tokens go to their experts, and 10% to 35% longer over 16 and 32.

    Source: the scored step model; each of 32 devices gets 32 times its own tokens, instead of
    sending each of its own to eight experts.
    """
    for model, bits in (("DeepSeek-R1", "fp8"), ("Kimi-K2.5", "int4")):
        for load in NODE_LOADS:
            found = _gathered(8, load, model, bits)
            checks.inside(f"{model}, 8 devices, {load:.0f} sequences", found, 1.0, 1.03)
        for devices, load in ((16, 512.0), (32, 512.0), (32, 2048.0)):
            found = _gathered(devices, load, model, bits)
            checks.inside(f"{model}, {devices} devices, {load:.0f} sequences", found, 1.1, 1.35)
