"""Which bits a full memory asks for: those of the weights, or those of the cache.

Where memory is full, FP8 for the weights makes room and multiplies faster, and eight bits for the
cache hold twice the sequences. Which carries more follows from the weights over the cache and from
the share of the time that prompts take.

Assumes: places for all that fit, a backlog, prompts and answers of independent lengths.

Source: `deployments` for memory and `deployed_engine` for steps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.batching.event_skipping import saturated_rate
from serving_mathematics.core.hardware.catalogue import deployed
from serving_mathematics.core.hardware.deployed_engine import engine_of
from serving_mathematics.core.hardware.deployments import (
    Deployment,
    cache_room_bytes,
    weight_bytes,
)
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.machine.attention_memory.who_fits import sequences_that_fit
from serving_mathematics.support import checks


def _full_rate(one: Deployment, prompt: float, answer: float) -> float:
    """Requests a second at most of such lengths, to a half more or less, and places for all that
    fit."""
    draws = np.random.default_rng(5).uniform(0.5, 1.5, (2, 400))
    prompts, answers = np.rint(draws * [[prompt], [answer]]).astype(int)
    fit = sequences_that_fit(one, prompt + answer / 2)
    asked = Workload(np.zeros(prompts.size), prompts, answers)
    made = engine_of(one, asked, CHAT.token_budget, fit, memory_share=one.memory_share)
    return saturated_rate(prompts, answers, replace(made.engine, max_sequences=fit))


def _short_of_memory(model: str, system: str, devices: int, share: float) -> Deployment:
    """A deployment in sixteen bits whose engine takes a share of its devices' memory."""
    made = deployed(model, system, CHAT.deployment, tensor=devices, precision="bf16")
    return replace(made, cache_bytes=2.0, memory_share=share)


def _weights_over_cache(one: Deployment, prompt: float, answer: float) -> float:
    """Requests a second at most with the weights in FP8 over those with the cache in FP8."""
    smaller = replace(one, precision="fp8"), replace(one, cache_bytes=1.0)
    weights, cache = (_full_rate(way, prompt, answer) for way in smaller)
    return weights / cache


def _time_of_prompts(one: Deployment, prompt: float, answer: float) -> float:
    """The share of a full engine's time that prompts take, by one alone on an idle engine."""
    alone = Workload(np.zeros(1), np.array([prompt]), np.ones(1, dtype=int))
    made = engine_of(one, alone, CHAT.token_budget, 1, memory_share=one.memory_share)
    reads = saturated_rate(np.full(9, prompt), np.ones(9, dtype=int), made.engine)
    return _full_rate(one, prompt, answer) / reads


_ENGINES = [
    _short_of_memory("Llama-3.1-8B", "h100", 1, 0.9),
    _short_of_memory("Qwen3-32B", "b200", 1, 0.7),
    _short_of_memory("Qwen3-32B", "h200", 1, 0.9),
    _short_of_memory("Qwen3-14B", "h100", 1, 0.68),
    _short_of_memory("Qwen3-14B", "h100", 1, 0.5),
    _short_of_memory("Qwen3-14B", "l40s", 1, 0.95),
    _short_of_memory("Llama-3.1-70B", "h200", 2, 0.9),
    _short_of_memory("Llama-3.1-70B", "h200", 2, 0.82),
    _short_of_memory("Qwen3-32B", "h200", 1, 0.7),
]
_LONG = [(1000, 6000), (1000, 2000), (2000, 1000), (8000, 1000), (1000, 300), (4000, 200)]
_SHORT = (300, 1000)  # tokens of prompts and answers of which memory holds hundreds


def check_which_bits_a_full_memory_asks_for() -> None:
    """If memory is full, take FP8 for the weights where they are more than one and a half times the
    cache, or where prompts take more than a third of the time; else take eight bits for the cache.
    This carries at least nine tenths of the requests that the better of the two does, or four
    fifths where hundreds of short requests run.

    Source: the scored step model, with weights in sixteen bits that are a quarter of the cache to
    three times; the time of prompts is that of one alone on an idle engine.
    """
    worst = {"long": 1.0, "short": 1.0}
    for one in _ENGINES:
        size = weight_bytes(one) / cache_room_bytes(one)
        short = [_SHORT] if size > 0.5 else []  # the places of the first end before its memory
        for prompt, answer in [*_LONG, *short]:
            ratio = _weights_over_cache(one, prompt, answer)
            weights_first = size > 1.5 or _time_of_prompts(one, prompt, answer) > 1 / 3
            kind = "short" if (prompt, answer) == _SHORT else "long"
            worst[kind] = min(worst[kind], ratio if weights_first else 1 / ratio)
    checks.inside("told over the better, at worst", worst["long"], 0.9, 1.0)
    checks.inside("the same where hundreds of short ones run", worst["short"], 0.8, 0.9)


def check_weights_twice_the_cache_ask_for_fewer_bits() -> None:
    """If memory is full and answers take nearly all of the time, weights in FP8 carry as many
    requests as a cache in eight bits does where the weights are twice the cache, and a quarter
    fewer where both are equal.

    Source: reading alone, by hand: if weights are w times the cache, those in FP8 leave room for 1
    + w/2 caches, eight bits hold twice the sequences, and a step reads w + 1 caches either way, so
    FP8 carries (1 + w/2)/2 times as much; within a tenth the scored step model, with answers six
    times as long as prompts.
    """
    for one in _ENGINES:
        size = weight_bytes(one) / cache_room_bytes(one)
        label = f"weights {size:.2f} times the cache"
        checks.close(label, _weights_over_cache(one, *_LONG[0]), (1 + size / 2) / 2, rtol=0.1)


def check_prompts_ask_for_smaller_weights() -> None:
    """If memory is full and the weights are a fifth to a third of the cache, a cache in eight bits
    carries more requests than weights in FP8 where answers take most of the time, and fewer where
    prompts do.

    Source: the scored step model, with the chat machine's model in sixteen bits.
    """
    one = replace(CHAT.deployment, precision="bf16", cache_bytes=2.0)
    checks.inside("weights over cache", weight_bytes(one) / cache_room_bytes(one), 0.2, 0.35)
    for prompt, answer, low, high in ((6000.0, 1500.0, 0.6, 0.9), (4000.0, 200.0, 1.1, 1.4)):
        ratio = _weights_over_cache(one, prompt, answer)
        checks.inside(f"{prompt:.0f} and {answer:.0f} tokens", ratio, low, high)
