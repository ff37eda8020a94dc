"""Latency against price for a mixture, over every layout, and how much of it was ever measured.

A layout's time per token and price come from the closed loop of `benchmark_loops`.

Assumes: device hours are the price, at any width; a pipeline has a batch for each stage.

Source: Pope et al. (2023), MLSys, section 3; DeepSeek-AI (2024), arXiv 2412.19437, section 3.4.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serving_mathematics.core.hardware.benchmark_loops import (
    loop_latencies,
    tokens_per_s_per_device,
)
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployments import WORKED, Deployment
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    Constants,
    count_work,
    decode_step_s,
    two_batches_s,
)
from serving_mathematics.machine.parallelism.device_splits import every_split, pareto_front
from serving_mathematics.support import checks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
PARETO_LOADS = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0)
PARETO_COUNTS = (4, 8, 16, 32)
MEASURED_DEVICES = 8  # of one engine, at most, in the record of runs
HALVES_CONTEXT = 2000.0  # tokens of a sequence where half batches take turns


@cache
def _r1_choices(constants: Constants = FITTED) -> tuple[list[Deployment], Array, Array]:
    """Every layout and load, with its time per token [s] and device hours a million tokens."""
    one = replace(
        WORKED,
        architecture=find_model("DeepSeek-R1")[0],
        system=find_system("b200"),
        backend="sglang",
        precision="fp8",
        input_tokens=1024,
        output_tokens=1024,
        shortest_share=0.8,
    )
    tried = [
        replace(layout, concurrency=load)
        for devices in PARETO_COUNTS
        for layout in every_split(one, devices)
        for load in PARETO_LOADS
    ]
    work = count_work(tried)
    found = loop_latencies(work, constants)
    widths = np.array([float(x.devices) for x in tried])
    rate = tokens_per_s_per_device(found, work.answer, work.concurrency, widths)
    return tried, found.per_token_s, 1e6 / rate / 3600


def _measured(one: Deployment) -> bool:
    """Whether the record has runs of engines so wide, without stages."""
    return one.devices <= MEASURED_DEVICES and one.pipeline == 1


def _hidden(load: float) -> tuple[float, float]:
    """DeepSeek-R1 on 32 GB200: a step's time at once, and in two halves that take turns [s]."""
    one = replace(
        WORKED,
        architecture=find_model("DeepSeek-R1")[0],
        system=find_system("gb200"),
        backend="sglang",
        precision="fp8",
        attention_data=32,
        expert=32,
        concurrency=load,
    )
    work, many, context = count_work([one]), np.array([load]), np.array([HALVES_CONTEXT])
    steps = decode_step_s(work, FITTED, many, context), two_batches_s(work, FITTED, many, context)
    return float(steps[0][0]), float(steps[1][0])


def example() -> SimpleNamespace:
    """Numbers of the page."""
    few, many = _hidden(32 * 16.0), _hidden(32 * 512.0)
    tried, each, hours = _r1_choices()
    kept = pareto_front(each, hours)
    return SimpleNamespace(
        front_points=int(kept.sum()),
        front_measured=sum(_measured(tried[i]) for i in np.flatnonzero(kept)),
        halves_few=few[1] / few[0],
        halves_many=many[1] / many[0],
    )


def figure_pareto(figure: Figure) -> None:
    """A faster token costs more devices. Wide layouts would hold the middle, where nothing was
    measured.

    DeepSeek-R1 in 8 bits on B200 with SGLang, prompts and answers of 1,024 tokens, every layout of
    4 to 32 devices and loads from 1 to 1,024. The solid line joins the layouts that nothing beats
    among engines as wide as measured ones; the dotted one also counts layouts that are wider or
    have stages, which are hollow.

    Alt: Scatter plot with logarithmic axes of device hours a million tokens against time per token,
    in four colours by devices, the two widest hollow. A solid line falls from the upper left to the
    lower right, a dotted one runs below it in the middle, and most points lie well above both.
    """
    axes = figure.subplots()
    tried, each, hours = _r1_choices()
    counts = np.array([one.devices for one in tried])
    seen = np.array([_measured(one) for one in tried])
    for devices, colour in zip(PARETO_COUNTS, ("C2", "C0", "C1", "C3"), strict=True):
        label: str | None = f"{devices} devices"
        for inside, fill in ((seen, "full"), (~seen, "none")):
            chosen = inside & (counts == devices)
            if chosen.any():
                axes.plot(
                    1e3 * each[chosen],
                    hours[chosen],
                    "o",
                    markersize=4,
                    fillstyle=fill,
                    color=colour,
                    label=label,
                )
                label = None
    for chosen, line in ((np.flatnonzero(seen), "-"), (np.arange(each.size), ":")):
        kept = chosen[pareto_front(each[chosen], hours[chosen])]
        kept = kept[np.argsort(each[kept])]
        axes.plot(1e3 * each[kept], hours[kept], line, color="C4", linewidth=1)
    axes.legend(loc="upper right")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="time per token [ms]",
        ylabel="device hours a million tokens",
    )
    axes.minorticks_off()


def check_ends_of_the_front_stay() -> None:
    """With floors of messages, or the share of the link, a fifth off in either direction, the
    fastest layout shares its layers within one node, and the cheapest has attention apart.

    Source: the same layouts and loads, with other constants.
    """
    for name, change in (("link_share", 0.8), ("link_share", 1.25), ("factor_sglang", 1.25)):
        other = replace(FITTED, **{name: getattr(FITTED, name) * change})
        tried, each, hours = _r1_choices(other)
        fast, cheap = tried[int(np.argmin(each))], tried[int(np.argmin(hours))]
        label = f"{name} × {change}"
        checks.equal(f"{label}: fastest", (fast.tensor <= 8, fast.pipeline), (True, 1))
        checks.equal(f"{label}: fastest has one group", fast.attention_data, 1)
        checks.holds(f"{label}: cheapest", cheap.attention_data > 1, got=cheap.attention_data)
