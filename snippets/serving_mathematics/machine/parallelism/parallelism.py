"""Several devices for one model: what each holds, what is sent, and what that buys.

Devices that share every layer divide weights, cache and multiplications; floors of kernels,
messages and a cache of fewer heads than devices they do not. What that leaves of a gain is held
against published runs that differ in nothing but their devices.

Assumes: messages are not hidden behind other work; devices of one kind, evenly loaded.

Source: Pope et al. (2023), MLSys, section 3; Shoeybi et al. (2019), arXiv 1909.08053, section 3
(two messages a layer); Bhatia et al. (2025), arXiv 2507.07120 (a cut context); published runs from
aiconfigurator-core 0.12.0.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serving_mathematics.core.hardware.benchmark_loops import (
    interruptions_s,
    loop_latencies,
    tokens_per_s_per_device,
)
from serving_mathematics.core.hardware.calibration import KERNELS, predict_runs, tabulate
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployments import WORKED, Deployment, weight_bytes
from serving_mathematics.core.hardware.run_reading import Run, read_lines, read_runs
from serving_mathematics.core.hardware.step_time import (
    CONSTANT_NAMES,
    FITTED,
    SEND_S,
    count_work,
    decode_step_s,
    step_parts,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_non_negative,
    require_positive,
    require_positive_integer,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]


def devices_for_cache(heads: int, tensor: int, split: int) -> float:
    """Share of a layer's cache that each device holds: its heads, and its part of the context.

    heads: that keep keys and values (1 for latent attention). tensor: devices that share the layer.
    split: devices over which one head's context is cut, a divisor of tensor. All positive integers;
    heads and split together reach at most tensor. Raises ValueError outside.

    >>> devices_for_cache(8, tensor=16, split=1), devices_for_cache(8, tensor=16, split=2)
    (0.125, 0.0625)
    """
    heads, tensor, split = require_positive_integer(heads=heads, tensor=tensor, split=split)
    require(tensor % split == 0, "split", f"a divisor of {tensor}", split)
    return 1 / (min(heads, tensor // split) * split)


def context_split_s(
    cache_bytes: ArrayLike, result_bytes: ArrayLike, split: int, bandwidth: float, link: float
) -> Array:
    """Time of one layer to read a cache whose context is cut over devices, in seconds.

    cache_bytes: that a device would read uncut, shape (n,), >= 0. result_bytes: of a device's part
    of the answer, in 32 bits, shape (n,) or (); it is exchanged once, with the sums that weigh the
    parts. split: over how many devices, 1 for none. bandwidth and link: as attained [bytes/s].
    Raises ValueError outside.
    Source: Bhatia et al. (2025), arXiv 2507.07120.

    >>> context_split_s([8e6, 8e8], 1e4, 1, 4e12, 4e11).tolist()
    [2e-06, 0.0002]
    >>> (1e6 * context_split_s([8e6, 8e8], 1e4, 8, 4e12, 4e11)).round(1).tolist()
    [7.3, 32.0]
    """
    split = require_positive_integer(split=split)
    bandwidth, link = require_positive(bandwidth=bandwidth, link=link)
    cache_bytes, result_bytes = require_all_non_negative(
        cache_bytes=cache_bytes, result_bytes=result_bytes
    )
    cache, result = as_floats(cache_bytes=cache_bytes), as_floats(result_bytes=result_bytes)
    sent = (split > 1) * SEND_S + (split - 1) / split * result / link
    return np.asarray(cache / split / bandwidth + sent, dtype=float)


def _engines() -> list[Run]:
    """Runs whose devices share every layer."""
    runs = read_runs(line for line in read_lines() if line["mode"] == "agg")
    return [
        run
        for run in runs
        if run.kind == "engine" and run.answers.attention_data == 1 and not run.answers.draft_tokens
    ]


@cache
def _alike() -> list[dict[int, Array]]:
    """Times per token of runs that differ in nothing but devices, by devices: measured, by kernels
    alone, and fitted [s], shape (3,)."""
    alike: dict[tuple[object, ...], dict[int, list[Run]]] = {}
    for run in _engines():
        a = run.answers
        key = (run.model, a.system.name, a.backend, a.precision, a.input_tokens, a.output_tokens)
        place = alike.setdefault((*key, run.concurrency, run.source, a.expert > 1), {})
        place.setdefault(a.tensor, []).append(run)
    several = [by_devices for by_devices in alike.values() if len(by_devices) > 1]
    table = tabulate(
        [run for by_devices in several for runs in by_devices.values() for run in runs]
    )
    predicted = [predict_runs(table, told).per_token_s for told in (KERNELS, FITTED)]
    times, row = np.array([table.per_token_s, *predicted]), 0
    found = []
    for by_devices in several:
        medians = {}
        for devices, runs in by_devices.items():
            medians[devices] = np.median(times[:, row : row + len(runs)], axis=1)
            row += len(runs)
        found.append(medians)
    return found


def _speedups(fewer: int, more: int) -> tuple[Array, Array, Array]:
    """Gains of runs that differ in nothing but devices: measured, by kernels alone, and fitted."""
    gains = [times[fewer] / times[more] for times in _alike() if {fewer, more} <= times.keys()]
    measured, kernels, fitted = np.array(gains).T
    return measured, kernels, fitted


PAIRS = ((1, 2), (2, 4), (4, 8), (1, 8))


def _speedup_rows() -> list[str]:
    rows = []
    for fewer, more in PAIRS:
        measured, kernels, fitted = _speedups(fewer, more)
        low, middle, high = np.quantile(measured, (0.1, 0.5, 0.9))
        rows.append(
            f"| {fewer} to {more} | {measured.size} | {middle:.2f} ({low:.2f} to {high:.2f}) |"
            f" {np.median(kernels):.2f} | {np.median(fitted):.2f} |"
        )
    return rows


def example() -> SimpleNamespace:
    """Numbers of the page."""
    eight = _speedups(1, 8)[0]
    doubled = _speedups(4, 8)[0]
    one, many = (_spread(devices) for devices in (1, 8))
    r1 = find_model("DeepSeek-R1")[0]
    return SimpleNamespace(
        gain_eight=float(np.median(eight)),
        gain_pairs=eight.size,
        gain_doubling=float(np.median(doubled)),
        speedup_rows="\n".join(_speedup_rows()),
        fixed_one=_fixed_share(one),
        fixed_eight=_fixed_share(many),
        r1_cache_eight=devices_for_cache(1, 8, 1),
        r1_layer_kb=2 * (r1.cached_values(1) - r1.cached_values(0)) * 1000 / r1.layer_count / 1e3,
    )


def _llama_on(devices: int, load: float) -> Deployment:
    """Llama-3.1-70B in 8 bits on H200: prompts of 1,024 tokens, answers of as many."""
    return replace(
        WORKED,
        architecture=find_model("Llama-3.1-70B")[0],
        system=find_system("h200"),
        precision="fp8",
        input_tokens=1024,
        output_tokens=1024,
        shortest_share=0.8,
        tensor=devices,
        concurrency=load,
    )


def _spread(devices: int, load: float = 16.0) -> dict[str, float]:
    """Parts of the time per token of that model on so many devices [s]."""
    work = count_work([_llama_on(devices, load)])
    running = np.minimum(work.concurrency, work.room)
    parts = step_parts(work, FITTED, running, work.prompt + work.answer / 2)
    return {
        "weights": float((parts.weights + parts.vocabulary)[0]),
        "cache": float(parts.cache[0]),
        "prompts of others": float(interruptions_s(work, FITTED, running)[0]),
        "kernels": float(parts.kernels[0]),
        "messages": float(parts.messages[0]),
        "host": float(parts.host[0]),
    }


def _fixed_share(parts: dict[str, float]) -> float:
    """Share of a token's time that more devices do not shorten."""
    fixed = parts["kernels"] + parts["messages"] + parts["host"]
    return fixed / sum(parts.values())


def figure_spread(figure: Figure) -> None:
    """Devices divide weights, cache and prompts; floors of kernels and messages stay.

    Llama-3.1-70B in 8 bits on H200 with vLLM, 16 requests of 1,024 and 1,024 tokens.

    Alt: Stacked bars of the time per token on 1, 2, 4 and 8 devices. Weights and cache shrink from
    about nineteen milliseconds to three; kernels stay at four; messages appear with the second
    device. A dotted line of an ideal eighth lies at less than half of the last bar.
    """
    axes = figure.subplots()
    widths = (1, 2, 4, 8)
    found = [_spread(devices) for devices in widths]
    at = np.zeros(len(widths))
    for name, colour in (
        ("weights", "C0"),
        ("cache", "C2"),
        ("prompts of others", "C1"),
        ("kernels", "C4"),
        ("messages", "C3"),
        ("host", "C5"),
    ):
        heights = np.array([1e3 * parts[name] for parts in found])
        axes.bar(range(len(widths)), heights, 0.6, bottom=at, color=colour, label=name)
        at += heights
    ideal = [at[0] / devices for devices in widths]
    axes.plot(range(len(widths)), ideal, ":", color="C4", label="one over n")
    axes.legend(loc="upper right")
    axes.set_xticks(range(len(widths)), [str(n) for n in widths])
    axes.set(xlabel="devices", ylabel="time per token [ms]")


LOADS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
WIDTHS = (1, 2, 4, 8)


def figure_more_devices(figure: Figure) -> None:
    """More devices shorten a step, and never by as much as they cost.

    Llama-3.1-70B in 8 bits on H200, prompts of 1,024 tokens and answers of as many.

    Alt: Line chart of time per token against requests held at the replica, from 1 to 256 on a
    logarithmic axis, for 1, 2, 4 and 8 devices. All rise with load; eight devices are about three
    times as fast as one, not eight.
    """
    work = count_work([_llama_on(devices, load) for devices in WIDTHS for load in LOADS])
    found = loop_latencies(work, FITTED).per_token_s.reshape(len(WIDTHS), len(LOADS))
    axes = figure.subplots()
    looks = (("C3", 5), ("C1", 5), ("C0", 4), ("C2", -12))
    for row, devices, (colour, up) in zip(found, WIDTHS, looks, strict=True):
        axes.plot(LOADS, 1e3 * row, color=colour)
        axes.annotate(
            f"{devices} device" + "s" * (devices > 1),
            (LOADS[0], 1e3 * row[0]),
            xytext=(3, up),
            textcoords="offset points",
            color=colour,
        )
    axes.set(
        xscale="log",
        xlim=(1, 256),
        ylim=(0, 70),
        xlabel="requests held at the replica",
        ylabel="time per token [ms]",
    )


def slider_more_devices() -> dict[str, Any]:
    """Hold more requests at a replica, and give it more devices."""
    work = count_work([_llama_on(devices, load) for load in LOADS for devices in WIDTHS])
    found = loop_latencies(work, FITTED)
    devices = np.array(WIDTHS * len(LOADS), float)
    rates = tokens_per_s_per_device(found, work.answer, work.concurrency, devices)
    shape = (len(LOADS), len(WIDTHS))
    return {
        "controls": [
            {"label": "requests held", "values": list(LOADS), "text": "C = {}", "start": 32},
            {"label": "devices", "values": list(WIDTHS), "text": "n = {}", "start": 4},
        ],
        "x": {"label": "requests held at the replica", "unit": "", "log": True, "range": (1, 256)},
        "y": {"label": "time per token", "unit": "ms", "range": (0, 70)},
        "curves": [
            {
                "label": "time per token",
                "unit": "ms",
                "values": (1e3 * found.per_token_s).reshape(shape).tolist(),
                "decimals": 1,
            }
        ],
        "readouts": [
            {
                "label": "yield",
                "unit": "tokens/s",
                "values": rates.reshape(shape).tolist(),
                "decimals": 0,
            }
        ],
        "reading": "With {requests held} and {devices} a token takes {time per token}, and every"
        " device yields {yield}.",
    }


def check_gains_of_devices() -> None:
    """Pairs that differ in nothing but devices gain 2.5 times from 1 to 8, and less each doubling.

    Source: published pairs; the step with fitted constants, and by kernels alone, whose messages
    are too cheap and whose gains are at most a quarter too large.
    """
    gains = []
    for fewer, more in PAIRS:
        measured, kernels, fitted = (float(np.median(x)) for x in _speedups(fewer, more))
        name = f"{fewer} to {more} devices"
        checks.close(f"{name}, fitted", fitted, measured, rtol=0.12, kind="measured")
        checks.close(f"{name}, kernels alone", kernels, measured, rtol=0.25, kind="measured")
        gains.append(measured)
    checks.close("1 to 8", gains[3], 2.53, atol=0.005, kind="measured")
    checks.holds("less each time", gains[0] > gains[1] > gains[2], got=gains[2], kind="measured")


def check_a_step_by_hand() -> None:
    """One sequence of Llama-3.1-70B reads its weights once, and eight devices read an eighth each.

    Source: 70.55 billion parameters less one table of the vocabulary, one byte each, the table two;
    over 4.8 TB/s times the attained share.
    """
    perfect = replace(
        FITTED,
        **{name: 0.0 for name in CONSTANT_NAMES if name.startswith(("factor", "sequence"))},
    )
    for devices in (1, 8):
        one = _llama_on(devices, 1)
        step = decode_step_s(count_work([one]), perfect, np.ones(1), np.zeros(1))
        matrices = 70_553_706_496 - 2 * 128_256 * 8_192 - 81 * 2 * 8_192 + 8_192
        read = (matrices + 2 * 128_256 * 8_192) / devices / (4.8e12 * FITTED.weight_share)
        sent = 0.0 if devices == 1 else 160 * (5e-6 + 28_672 / (450e9 * FITTED.link_share))
        checks.close(f"{devices} devices [s]", float(step[0]), read + sent, rtol=1e-9)


def check_weights_say_how_many_devices() -> None:
    """DeepSeek-R1 in 8 bits takes 84 GB of each of eight devices, and does not fit four H200.

    Source: 671 billion parameters, one byte each, and a byte more for the vocabulary's tables.
    """
    one = replace(_llama_on(8, 1), architecture=find_model("DeepSeek-R1")[0])
    tables = 2 * 129_280 * 7_168
    expected = (671.0e9 + tables) / 8
    checks.close("bytes a device", weight_bytes(one), expected, rtol=1e-3, kind="published")
    checks.holds("four are too few", 2 * expected > one.system.memory_bytes, got=2 * expected)


def check_a_cut_context_by_hand() -> None:
    """100,000 tokens of latent attention: eight devices read an eighth each, and exchange once.

    Source: 576 values of two bytes a token at 6 TB/s; 16 heads of 513 values of four bytes at 100
    GB/s, seven eighths of which leave; 7 µs.
    """
    read, result = 1e5 * 576 * 2, 16 * 513 * 4
    whole, cut = (float(context_split_s([read], result, c, 6e12, 1e11)[0]) for c in (1, 8))
    checks.close("whole [µs]", 1e6 * whole, 19.2, atol=1e-9)
    checks.close("cut [µs]", 1e6 * cut, 19.2 / 8 + 7 + 7 / 8 * 0.32832, atol=1e-9)


def check_bad_input_is_refused() -> None:
    """A context cut in three over eight devices, and a cache that is none, name the argument."""
    checks.raises("a third", devices_for_cache, 8, 8, 3, match="split must be a divisor of 8")
    checks.raises("no link", context_split_s, [1.0], 1.0, 2, 1.0, 0.0, match="link must be")
