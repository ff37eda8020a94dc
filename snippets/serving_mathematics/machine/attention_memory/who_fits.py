"""Who fits: sequences that an engine holds, and how long it takes to read all that they hold.

A device that leaves M bytes to its cache holds M over the bytes of a sequence, fewer the longer
they are. A step that reads all of it takes M over the bandwidth, whatever their length: bytes a
token cancel. Two kinds of layers differ: those that select read less than they hold, and states are
written as well as read.

Assumes: sequences of one length; weights and what an engine reserves as `cache_room_bytes` says.

Source: `deployments`, for what is held and what is left; `step_time`, for the rest of a step.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.core.hardware.architectures import Attention
from serving_mathematics.core.hardware.catalogue import deployed, find_system
from serving_mathematics.core.hardware.deployments import (
    WORKED,
    Deployment,
    cache_devices,
    cache_room_bytes,
    layer_token_bytes,
    sequence_bytes,
    stored,
)
from serving_mathematics.core.hardware.step_time import FITTED, count_work, decode_step_s
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import require_positive, require_positive_integer

GIB = 2**30  # [B]
SHOWN = {  # what is shown: name, model, precision, colour
    "heads": ("MiniMax M2.5: heads", "MiniMax-M2.5", "fp8", "C0"),
    "windows": ("gpt-oss-120b: windows", "gpt-oss-120b", "fp4", "C2"),
    "latent": ("Kimi K2.5: latent", "Kimi-K2.5", "int4", "C3"),
    "selects": ("DeepSeek-V3.2: selects", "DeepSeek-V3.2", "fp8", "C4"),
    "states": ("Qwen3.5-397B: states", "Qwen3.5-397B-A17B", "fp8", "C1"),
}
LENGTHS = [1024 * 2**power for power in range(8)]
SPLITS = ("layers shared", "own sequences")
ASKING = 256


def spread_bytes(attention: Attention, devices: int, cache_bytes: float = 2.0) -> float:
    """Bytes that a token leaves in a layer, on all devices together that share it by its heads.

    What cannot be split is held more than once: a latent by every device, and a head by several if
    there are fewer heads than devices.

    >>> latent = Attention("latent", 0, cached_values=576, kv_heads=1)
    >>> spread_bytes(latent, devices=8), spread_bytes(latent, devices=1)
    (9216.0, 1152.0)
    """
    devices = require_positive_integer(devices=devices)
    cache_bytes = require_positive(cache_bytes=cache_bytes)
    parts = cache_devices(attention, devices)
    return attention.cached_values * cache_bytes * devices / parts


def sequences_that_fit(deployment: Deployment, tokens: float) -> int:
    """Whole sequences of so many tokens that the devices of a deployment hold together.

    Raises ValueError unless tokens is positive.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> sequences_that_fit(WORKED, tokens=8192)
    53
    """
    tokens = require_positive(tokens=tokens)
    each = sequence_bytes(deployment, tokens)
    return int(cache_room_bytes(deployment) // each) * deployment.attention_data


def full_read_s(deployment: Deployment, tokens: float) -> float:
    """Least time of a step that reads the cache of all sequences of so many tokens that fit [s].

    At the bandwidth of the data sheet. Raises ValueError unless tokens is positive.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> [round(1e3 * full_read_s(WORKED, tokens), 1) for tokens in (1000, 4000)]  # the same [ms]
    [17.0, 16.9]
    """
    tokens = require_positive(tokens=tokens)
    fit = sequences_that_fit(deployment, tokens) / deployment.attention_data
    kept, each = stored(deployment), 0.0
    for count, attention, _ in deployment.architecture.layers:
        seen = min(tokens, attention.window_tokens) if attention.window_tokens else tokens
        taken = min(seen, attention.selected_tokens) if attention.selected_tokens else seen
        parts = cache_devices(attention, deployment.tensor)
        cached, index = layer_token_bytes(attention, kept.cache)
        states = 2 * attention.state_values * 4 / parts
        each += count * (taken * cached / parts + seen * index + states)
    return fit * each / deployment.pipeline / deployment.system.bandwidth_bytes_per_s


def _engine(kind: str, split: str = SPLITS[0]) -> Deployment:
    """Eight H200 with one of the shown models, a cache in 16 bits, split in one of two ways."""
    _, model, precision, _ = SHOWN[kind]
    own = split == SPLITS[1]
    return deployed(
        model,
        "h200",
        precision=precision,
        cache_bytes=2.0,
        tensor=1 if own else 8,
        attention_data=8 if own else 1,
        expert=8 if own else 1,
    )


def _steps_ms(deployment: Deployment, counts: list[int], lengths: list[int]) -> list[float]:
    """Steps of so many sequences of so many tokens each [ms]."""
    work = count_work([deployment] * len(counts))
    found = decode_step_s(work, FITTED, np.array(counts, float), np.array(lengths, float))
    return [float(x) for x in 1e3 * found]


def example() -> SimpleNamespace:
    """Numbers of the page."""
    heads, latent = (_engine(kind).architecture.layers[0][1] for kind in ("heads", "latent"))
    spread = 61 * spread_bytes(latent, 8) / (62 * spread_bytes(heads, 8))
    return SimpleNamespace(spread_times=spread)


def figure_who_fits(figure: Figure) -> None:
    """Longer contexts leave room for fewer sequences; a full cache takes as long to read as before.

    Eight H200 that share layers, with a cache in BF16. Where a model selects what it reads, or
    keeps states, it takes less.

    Alt: Two line charts against the tokens of each sequence, with logarithmic axes. On the left,
    the sequences that fit fall in proportion for five models, gpt-oss-120b far above the others. On
    the right, the time to read a full cache is flat for heads, windows and a latent, falls steeply
    for the model that selects, and falls gently for the one with states.
    """
    figure.set_size_inches(5.8, 4.2)
    left, right = figure.subplots(1, 2)
    for kind, (label, _, _, colour) in SHOWN.items():
        one = _engine(kind)
        left.loglog(LENGTHS, [sequences_that_fit(one, n) for n in LENGTHS], color=colour)
        reads = [1e3 * full_read_s(one, n) for n in LENGTHS]
        right.semilogx(LENGTHS, reads, color=colour, label=label)
    figure.legend(loc="outside lower center", ncols=2)
    left.set(ylim=(3, 1e5), ylabel="sequences that fit")
    right.set(ylim=(0, 40), ylabel="time to read a full cache [ms]")
    for axes in (left, right):
        axes.set(xlim=(LENGTHS[0], LENGTHS[-1]), xlabel="tokens of a sequence")
        axes.set_xticks([2048, 16384, 131072], ["2,048", "16,384", "131,072"])
        axes.minorticks_off()


def slider_who_fits() -> dict[str, Any]:
    """An engine of eight devices has 256 requests. Lengthen contexts, then change the model."""
    fit, running, step, held, left, read = (
        [[[0.0] * len(SPLITS) for _ in SHOWN] for _ in LENGTHS] for _ in range(6)
    )
    for column, kind in enumerate(SHOWN):
        for side, split in enumerate(SPLITS):
            one = _engine(kind, split)
            counts = [sequences_that_fit(one, tokens) for tokens in LENGTHS]
            inside = [min(ASKING, count) for count in counts]
            steps = _steps_ms(one, inside, LENGTHS)
            for row, tokens in enumerate(LENGTHS):
                fit[row][column][side] = counts[row]
                running[row][column][side] = inside[row]
                step[row][column][side] = steps[row]
                each = sequence_bytes(one, tokens)
                held[row][column][side] = each * one.tensor / GIB
                left[row][column][side] = sequence_bytes(_engine(kind, SPLITS[1]), tokens) / GIB
                full_ms = 1e3 * full_read_s(one, tokens)
                read[row][column][side] = full_ms * inside[row] / max(counts[row], 1)
    names = [name for name, _, _, _ in SHOWN.values()]
    return {
        "controls": [
            {"label": "context", "values": LENGTHS, "text": "{:,} tokens", "start": 32_768},
            {"label": "model", "values": names, "start": SHOWN["latent"][0]},
            {"label": "devices", "values": list(SPLITS), "start": SPLITS[0]},
        ],
        "panels": [
            {
                "kind": "engine",
                "label": f"{ASKING} requests",
                "places": ASKING,
                "running": running,
                "waiting": [[[ASKING - n for n in x] for x in row] for row in running],
            },
            {
                "kind": "load",
                "x": {
                    "label": "tokens of a sequence",
                    "unit": "",
                    "log": True,
                    "range": (900, 150_000),
                },
                "y": {"label": "sequences that fit", "unit": "", "log": True, "range": (3, 1e5)},
                "curves": [
                    {"label": "sequences that fit", "unit": "", "decimals": 0, "values": fit}
                ],
            },
        ],
        "readouts": [
            {"label": "held by each", "unit": "GiB", "decimals": 2, "values": held},
            {"label": "in a step", "unit": "", "decimals": 0, "values": running},
            {"label": "step", "unit": "ms", "decimals": 0, "values": step},
            {"label": "left", "unit": "GiB", "decimals": 2, "values": left},
            {"label": "read", "unit": "ms", "decimals": 0, "values": read},
        ],
        "legend": {"answer": "fits", "waits": "waits for memory"},
        "reading": "A sequence of {context} leaves {left}, which take {held by each} of the eight"
        " devices' memory, so {sequences that fit} fit. With {in a step} of them a step takes"
        " {step}, at least {read} of it to read their cache.",
    }


def check_a_full_cache_takes_as_long_at_any_length() -> None:
    """Where all that is held is read (heads, windows and a latent), a full cache takes as long to
    read with 512, 4,096 and 32,768 tokens a sequence, but for the room that whole sequences leave
    unused, on three kinds of devices. Where a model selects, 64 times the context takes less than a
    fifth of the time.

    Source: what a device leaves to its cache over its bandwidth, within 2% and what whole sequences
    leave unused.
    """
    for kind in ("heads", "windows", "latent"):
        for system in ("h100", "h200", "b200"):
            one = replace(_engine(kind, SPLITS[0]), system=find_system(system))
            if kind == "latent" and system == "h100":
                continue  # its weights do not fit there
            room_s = cache_room_bytes(one) / one.system.bandwidth_bytes_per_s
            for tokens in (512, 4096, 32_768):
                label = f"{kind}, {system}, {tokens} tokens [s]"
                checks.close(label, full_read_s(one, tokens), room_s, rtol=0.02 + tokens / 4e5)
    times = [full_read_s(_engine("selects"), tokens) for tokens in (2048, 131_072)]
    checks.holds("selecting: a fifth or less", times[1] < times[0] / 5, got=times[1] / times[0])


def check_a_shared_beginning_is_read_by_each() -> None:
    """If all contexts have the same first half, which is held once, a full cache takes nearly twice
    as long to read.

    Source: sequences counted out of the room that the shared half leaves; each reads all its bytes.
    """
    for tokens in (4096, 16_384):
        room, each = cache_room_bytes(WORKED), sequence_bytes(WORKED, tokens)
        held, read = each / 2, 0.0
        while held + each / 2 <= room:
            held, read = held + each / 2, read + each
        took = read / WORKED.system.bandwidth_bytes_per_s
        label = f"{tokens} tokens: over a full cache"
        checks.inside(label, took / full_read_s(WORKED, tokens), 1.9, 2.0)
