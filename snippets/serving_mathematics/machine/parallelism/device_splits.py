"""Every way to lay a model over devices, and those that no other beats in latency and cost.

Tensor, pipeline and attention-data widths multiply to the number of devices; a layout's time per
token and price come from the closed loop of `benchmark_loops`.

Assumes: device hours are the price, at any width; a pipeline has a batch for each stage.

Source: Pope et al. (2023), MLSys, section 3; DeepSeek-AI (2024), arXiv 2412.19437, section 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serving_mathematics.core.hardware.benchmark_loops import (
    loop_latencies,
    tokens_per_s_per_device,
)
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployments import (
    WORKED,
    Deployment,
    Impossible,
    require_deployment,
)
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    count_work,
    decode_step_s,
    two_batches_s,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_finite,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]


def layouts(one: Deployment, devices: int) -> list[Deployment]:
    """The deployment over so many devices, in every way that can be: tensor, stages, groups.

    one: what is served, on what, under what load; its own widths do not matter. devices: a positive
    integer. All widths are powers of two or what is left; experts lie over all devices of a stage,
    where their number allows. Raises ValueError unless devices is a positive integer.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> [(x.tensor, x.pipeline, x.attention_data) for x in layouts(WORKED, 2)]
    [(2, 1, 1), (1, 2, 1)]
    """
    devices = require_positive_integer(devices=devices)
    require_work(devices * 20, devices=devices)
    divisors = [n for n in range(devices, 0, -1) if devices % n == 0]
    mixture = bool(one.architecture.expert_counts)
    found = []
    for tensor in divisors:
        for groups in (n for n in divisors if (devices // tensor) % n == 0):
            if groups > 1 and not mixture:
                continue
            width = tensor * groups
            tried = replace(
                one,
                tensor=tensor,
                attention_data=groups,
                pipeline=devices // width,
                expert=width if mixture else 1,
            )
            try:
                require_deployment(tried)
            except Impossible:
                continue
            found.append(tried)
    return found


def pareto_front(first: ArrayLike, second: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other beats in both numbers, shape (n,); less is better in both.

    first, second: shape (n,), n >= 1. Of equal points the first stays. Raises ValueError on other
    shapes or numbers that are not finite.

    >>> pareto_front([1.0, 2.0, 3.0], [3.0, 1.0, 2.0]).tolist()
    [True, True, False]
    """
    x, y = as_floats(first=first), as_floats(second=second)
    require(x.ndim == 1 and x.size > 0, "first", "of shape (n,), n >= 1", x)
    require(y.shape == x.shape, "second", f"of shape {x.shape}", y)
    require_all_finite(first=x, second=y)
    kept, best = np.zeros(x.size, dtype=bool), np.inf
    for i in np.lexsort((y, x)):
        if y[i] < best:
            kept[i], best = True, y[i]
    return kept


def _choices(
    name: str, system: str, precision: str, counts: Sequence[int], loads: Sequence[float]
) -> tuple[list[Deployment], Array, Array]:
    """Every layout and load, with its time per token [s] and device hours a million tokens."""
    one = replace(
        WORKED,
        architecture=find_model(name)[0],
        system=find_system(system),
        backend="sglang",
        precision=precision,
        input_tokens=1024,
        output_tokens=1024,
        shortest_share=0.8,
    )
    tried = [
        replace(layout, concurrency=load)
        for devices in counts
        for layout in layouts(one, devices)
        for load in loads
    ]
    work = count_work(tried)
    found = loop_latencies(work, FITTED)
    widths = np.array([float(x.devices) for x in tried])
    rate = tokens_per_s_per_device(found, work.answer, work.concurrency, widths)
    return tried, found.per_token_s, 1e6 / rate / 3600


PARETO_LOADS = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0)
PARETO_COUNTS = (4, 8, 16, 32)


@cache
def _r1_choices() -> tuple[list[Deployment], Array, Array]:
    return _choices("DeepSeek-R1", "b200", "fp8", PARETO_COUNTS, PARETO_LOADS)


def _layout_name(one: Deployment) -> str:
    parts = (("TP", one.tensor), ("DP", one.attention_data), ("PP", one.pipeline))
    return " × ".join(f"{name} {width}" for name, width in parts if width > 1)


MEASURED_DEVICES = 8  # of one engine, at most, in the record of runs
HALVES_CONTEXT = 2000.0  # tokens of a sequence where half batches take turns


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


def _front() -> list[str]:
    """Lines of the page's table: the layouts on the front, by time per token."""
    tried, each, hours = _r1_choices()
    kept = np.flatnonzero(pareto_front(each, hours))
    rows = []
    for i in kept[np.argsort(each[kept])]:
        mark = "" if _measured(tried[i]) else " ○"
        rows.append(
            f"| {tried[i].devices} | {_layout_name(tried[i])}{mark} | {tried[i].concurrency:,.0f} |"
            f" {1e3 * each[i]:.1f} | {hours[i]:.2f} |"
        )
    return rows


def example() -> SimpleNamespace:
    """Numbers of the page."""
    few, many = _hidden(32 * 16.0), _hidden(32 * 512.0)
    return SimpleNamespace(
        front_rows="\n".join(_front()),
        halves_context=HALVES_CONTEXT,
        halves_few=few[1] / few[0],
        halves_many=many[1] / many[0],
    )


def figure_pareto(figure: Figure) -> None:
    """A faster token costs more devices, and each count has its part of the front.

    DeepSeek-R1 in 8 bits on B200 with SGLang, prompts and answers of 1,024 tokens, every layout of
    4 to 32 devices and loads from 1 to 1,024; the line joins what nothing beats. Hollow points are
    wider than any engine that was measured, or have stages, of which none was.

    Alt: Scatter plot with logarithmic axes of device hours a million tokens against time per token,
    four colours for 4, 8, 16 and 32 devices, those of 16 and 32 hollow. The front falls from about
    twenty hours at nine milliseconds to a tenth of an hour at forty; eight devices hold both of its
    ends, wide layouts the middle, and most points lie well above it.
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
    kept = pareto_front(each, hours)
    order = np.argsort(each[kept])
    axes.plot(1e3 * each[kept][order], hours[kept][order], "-", color="C4", linewidth=1)
    axes.legend(loc="upper right")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="time per token [ms]",
        ylabel="device hours a million tokens",
    )
    axes.minorticks_off()


def check_front_is_not_beaten() -> None:
    """Nothing on the front is beaten in both numbers, and everything else is.

    Source: all pairs, compared one by one.
    """
    rng = np.random.default_rng(27)
    x, y = rng.uniform(0, 1, (2, 60))
    beaten = [
        bool(np.any((x <= a) & (y <= b) & ((x < a) | (y < b)))) for a, b in zip(x, y, strict=True)
    ]
    checks.close("on the front", pareto_front(x, y), ~np.array(beaten), rtol=0)


def check_bad_input_is_refused() -> None:
    """Fronts of nothing, and half a device, name the argument."""
    checks.raises("no points", pareto_front, [], [], match="first must be")
    checks.raises("half", layouts, WORKED, 0.5, match="devices must be a positive integer")
