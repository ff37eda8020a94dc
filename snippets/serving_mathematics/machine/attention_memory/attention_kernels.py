"""What attention kernels take: their bytes, where arithmetic does not take longer.

A kernel of B sequences with s tokens each takes the longer of B s c / bandwidth and of its
multiplications over the peak: grouped heads are bound by the former, a latent with all its heads by
both about alike.

Assumes: one layer, one device, contexts of one length, decoding.

Source: Williams, Waterman and Patterson (2009); kernels of aiconfigurator-core 0.12.0, in
`records/machine_series.json.gz`.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import read_record


@cache
def _series() -> list[dict[str, Any]]:
    series: list[dict[str, Any]] = read_record("machine_series")["series"]
    return series


@cache
def _line(**wanted: object) -> dict[int, float]:
    """Seconds by context of the one measured line of kernels on an H100 with these properties."""
    wanted = {"system": "h100_sxm"} | wanted
    line = next(
        line for line in _series() if all(line.get(key) == value for key, value in wanted.items())
    )
    return dict(zip(line["x"], line["seconds"], strict=True))


def example() -> SimpleNamespace:
    """Numbers of the page."""
    whole = {
        kind: _line(kernel="latent", backend="trtllm", heads=128, sequences=64, cache=kind)[131072]
        for kind in ("bfloat16", "fp8")
    }
    split = {
        kind: _line(
            kernel="grouped", backend="trtllm", heads=64, width=128, sequences=64, cache=kind
        )[4096]
        for kind in ("bfloat16", "fp8")
    }
    slow, quick = (
        _line(kernel="latent", backend="sglang", heads=128, sequences=64, cache=kind)[131072]
        for kind in ("fp8", "bfloat16")
    )
    return SimpleNamespace(
        latent_small=100 * (1 - whole["fp8"] / whole["bfloat16"]),
        grouped_small=100 * (1 - split["fp8"] / split["bfloat16"]),
        slow_factor=slow / quick,
    )


KERNELS = (  # kernel, its properties, bytes of a token, colour, what it is called
    ("grouped", {"heads": 64, "width": 128}, 4096, "C0", "8 heads"),
    ("latent", {"heads": 128}, 1152, "C3", "latent"),
)
BATCHES = (1, 16, 64)


def figure_kernels(figure: Figure) -> None:
    """Few long sequences take as long as many short ones: what counts is the sum of their tokens.

    Measured on an H100 with TensorRT-LLM, in 16 bits; lines are the bytes over the bandwidth.

    Alt: Line chart with logarithmic axes of microseconds against the tokens of all sequences
    together. Circles, plus signs and crosses, for one, sixteen and sixty-four sequences, lie on top
    of each other along two curves, one for eight heads and, further down, one for a latent. Each
    curve rises from a floor towards a straight line below it.
    """
    axes = figure.subplots()
    for kernel, wanted, token, colour, name in KERNELS:
        for sequences, marker in zip(BATCHES, "o+x", strict=True):
            line = _line(
                kernel=kernel, backend="trtllm", sequences=sequences, cache="bfloat16", **wanted
            )
            points = [(sequences * x, 1e6 * seconds) for x, seconds in line.items()]
            label = f"{name}, {sequences} sequence" + "s" * (sequences > 1)
            x, y = zip(*points, strict=True)
            axes.plot(x, y, marker, color=colour, markersize=5, fillstyle="none", label=label)
        ends = np.array([4096, 2**21])
        axes.plot(ends, 1e6 * token * ends / 3.35e12, color=colour, linewidth=1)
    axes.legend(loc="upper left")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(1600, 2.6e6),
        ylim=(4, 2000),
        xlabel="tokens of all sequences together",
        ylabel="time of one layer's attention [µs]",
    )
    axes.set_xticks([4096, 65536, 2**20], ["4,096", "65,536", "1,048,576"])
    axes.minorticks_off()


def check_kernels_read_their_bytes() -> None:
    """With long contexts, kernels of grouped heads and of latents read their bytes at 55 to 100% of
    the bandwidth of the data sheet.

    Source: kernels of two backends on an H100, 64 sequences, the longest context of each;
    `records/machine_series.json.gz`.
    """
    for kernel, wanted, a_token in (
        ("grouped", {"heads": 64, "width": 128}, 4096),
        ("latent", {"heads": 16}, 1152),
    ):
        for backend in ("trtllm", "sglang"):
            line = _line(
                kernel=kernel,
                backend=backend,
                sequences=64,
                cache="bfloat16",
                **wanted,
            )
            longest = max(line)
            share = 64 * longest * a_token / line[longest] / 3.35e12
            checks.inside(f"{kernel}, {backend}: of the bandwidth", share, 0.55, 1.0)


def check_few_long_take_as_long_as_many_short() -> None:
    """From 131,072 tokens in all, attention takes as long with sixteen sequences as with sixty-four
    of a quarter of their length, within an eighth: for heads on three engines, and for latents on
    two.

    Source: kernels on an H100, in 16 bits; `records/machine_series.json.gz`.
    """
    for kernel, wanted, _, _, name in KERNELS:
        for backend in ("trtllm", "sglang", *["vllm"] * (kernel == "grouped")):
            few, many = (
                _line(kernel=kernel, backend=backend, sequences=n, cache="bfloat16", **wanted)
                for n in (16, 64)
            )
            ratios = [few[4 * x] / many[x] for x in many if x >= 2048 and 4 * x in few]
            worst = max(ratios, key=lambda ratio: abs(ratio - 1))
            label = f"{name}, {backend}: few over many, at worst"
            checks.close(label, worst, 1.0, atol=0.125, kind="measured")
