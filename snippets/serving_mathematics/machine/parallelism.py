"""Several devices for one model: what each holds, what is sent, and what that buys.

A layer that n devices share sends two messages, each

    floor + 2 (n - 1)/n * bytes / (attained share of the link)

and so no token comes sooner than 2 L floors after the last. Devices divide weights and
multiplications; floors of kernels, messages and a cache of fewer heads than devices they do not.

Assumes: messages are not hidden behind other work; devices of one kind, evenly loaded.

Source: Pope et al. (2023), MLSys, section 3; Shoeybi et al. (2019), arXiv 1909.08053, section 3
(two messages a layer); Patarasuk and Yuan (2009), JPDC 69(2) (bytes of an all-reduce); all-reduces
measured for aiconfigurator-core 0.12.0, in `records/machine_shapes.json.gz`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serving_mathematics import checks
from serving_mathematics.machine.benchmark_loops import (
    interruptions_s,
    loop_latencies,
    tokens_per_s_per_device,
)
from serving_mathematics.machine.calibration import (
    KERNELS,
    Table,
    descend,
    predict_runs,
    tabulate,
)
from serving_mathematics.machine.catalogue import find_model, find_system
from serving_mathematics.machine.deployments import (
    WORKED,
    Deployment,
    require_deployment,
    weight_bytes,
)
from serving_mathematics.machine.run_reading import Run, read_lines, read_runs
from serving_mathematics.machine.step_time import (
    CONSTANT_NAMES,
    FITTED,
    MESSAGE_S,
    SEND_S,
    count_work,
    decode_step_s,
    message_s,
    ring_hops,
    step_parts,
)
from serving_mathematics.measuring import read_record
from serving_mathematics.require import (
    require,
    require_all_positive,
    require_positive,
    require_positive_integer,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]


def latency_cap(layers: int, floor_s: float) -> float:
    """Tokens a second of one sequence that messages alone allow: 1 / (2 L floor).

    layers: L, a positive integer. floor_s: of a message without bytes [s], > 0. Raises ValueError
    outside.

    >>> latency_cap(80, 8e-6)
    781.25
    """
    require_positive_integer(layers=layers)
    require_positive(floor_s=floor_s)
    return 1 / (2 * layers * floor_s)


def fit_messages(
    message_bytes: ArrayLike, seconds: ArrayLike, devices: int, link: float
) -> tuple[float, float, float]:
    """Floor [s], attained share of the link, and the median error left, of measured all-reduces.

    message_bytes: of each, shape (m,), m >= 2. seconds: measured, shape (m,). devices: n >= 2.
    link [bytes/s], one direction. A share above one says that fewer bytes crossed than a ring
    sends. Raises ValueError outside.

    >>> sizes = np.array([1e3, 1e6, 1e8])
    >>> found = fit_messages(sizes, 5e-6 + sizes / (0.5 * 4.5e11), devices=2, link=4.5e11)
    >>> round(found[0] * 1e6, 3), round(found[1], 3), round(found[2], 6)
    (5.0, 0.5, 0.0)
    """
    size, measured = np.asarray(message_bytes, float), np.asarray(seconds, float)
    require_positive_integer(devices=devices)
    require_positive(link=link)
    require(devices >= 2, "devices", "2 or more", devices)
    require(size.ndim == 1 and size.size >= 2, "message_bytes", "of shape (m,), m >= 2", size)
    require(measured.shape == size.shape, "seconds", f"of shape {size.shape}", measured)
    require_all_positive(message_bytes=size, seconds=measured)
    hops = ring_hops(np.array(float(devices)))

    def residuals(logs: Array) -> Array:
        floor, share = np.exp(logs)
        return np.asarray(np.log(message_s(hops, size, np.array(link), share, floor) / measured))

    start = np.log([np.min(measured), 0.5])
    found = descend(residuals, start, np.full(2, np.inf), 0.1, steps=60)
    floor, share = np.exp(found)
    return float(floor), float(share), float(np.median(np.abs(residuals(found))))


def layouts(one: Deployment, devices: int) -> list[Deployment]:
    """The deployment over so many devices, in every way that can be: tensor, stages, groups.

    one: what is served, on what, under what load; its own widths do not matter. devices: a positive
    integer. All widths are powers of two or what is left; experts lie over all devices of a stage,
    where their number allows. Raises ValueError unless devices is a positive integer.

    >>> from serving_mathematics.machine.deployments import WORKED
    >>> [(x.tensor, x.pipeline, x.attention_data) for x in layouts(WORKED, 2)]
    [(2, 1, 1), (1, 2, 1)]
    """
    require_positive_integer(devices=devices)
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
            except ValueError:
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
    x, y = np.asarray(first, float), np.asarray(second, float)
    require(x.ndim == 1 and x.size > 0, "first", "of shape (n,), n >= 1", x)
    require(y.shape == x.shape, "second", f"of shape {x.shape}", y)
    require(bool(np.isfinite([x, y]).all()), "first, second", "finite", "others")
    kept, best = np.zeros(x.size, dtype=bool), np.inf
    for i in np.lexsort((y, x)):
        if y[i] < best:
            kept[i], best = True, y[i]
    return kept


def devices_for_cache(heads: int, tensor: int, split: int) -> float:
    """Share of a layer's cache that each device holds: its heads, and its part of the context.

    heads: that keep keys and values (1 for latent attention). tensor: devices that share the layer.
    split: devices over which one head's context is cut, a divisor of tensor. All positive integers;
    heads and split together reach at most tensor. Raises ValueError outside.

    >>> devices_for_cache(8, tensor=16, split=1), devices_for_cache(8, tensor=16, split=2)
    (0.125, 0.0625)
    """
    require_positive_integer(heads=heads, tensor=tensor, split=split)
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
    Source: Bhatia et al. (2025), arXiv 2507.07120, section 2.

    >>> context_split_s([8e6, 8e8], 1e4, 1, 4e12, 4e11).tolist()
    [2e-06, 0.0002]
    >>> (1e6 * context_split_s([8e6, 8e8], 1e4, 8, 4e12, 4e11)).round(1).tolist()
    [7.3, 32.0]
    """
    require_positive_integer(split=split)
    require_positive(bandwidth=bandwidth, link=link)
    cache, result = np.asarray(cache_bytes, float), np.asarray(result_bytes, float)
    require(bool(np.all(cache >= 0) and np.all(np.isfinite(cache))), "cache_bytes", ">= 0", cache)
    require(
        bool(np.all(result >= 0) and np.all(np.isfinite(result))), "result_bytes", ">= 0", result
    )
    sent = (split > 1) * SEND_S + (split - 1) / split * result / link
    return np.asarray(cache / split / bandwidth + sent, dtype=float)


@cache
def _messages() -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = read_record("machine_shapes")["messages"]
    return lines


def _series(system: str, devices: int, kernel: str, backend: str = "") -> tuple[Array, Array]:
    """Sizes and times [s] of an all-reduce: the fastest of the backends that have the kernel."""
    best: dict[float, float] = {}
    for line in _messages():
        told = (line["system"], line["devices"], line["operation"])
        if told != (system, devices, "all_reduce") or not line["kernel"].startswith(kernel):
            continue
        if backend and line["backend"] != backend:
            continue
        for size, micros in zip(line["bytes"], line["us"], strict=True):
            best[size] = min(best.get(size, np.inf), micros * 1e-6)
    return np.array(sorted(best)), np.array([best[size] for size in sorted(best)])


IN_GRAPH, EAGER = "custom, in a graph", "custom, launched one by one"


@cache
def _floor(system: str, devices: int, kernel: str, backend: str = "") -> float:
    """Median time [s] of messages of at most 16 KiB."""
    sizes, seconds = _series(system, devices, kernel, backend)
    return float(np.median(seconds[sizes <= 16384]))


@cache
def _engines() -> tuple[list[Run], Table, Array]:
    """Runs of one engine whose devices share every layer, and what kernels alone predict [s]."""
    runs = [
        run
        for run in read_runs(read_lines())
        if run.kind == "engine" and run.answers.attention_data == 1 and not run.answers.draft_tokens
    ]
    table = tabulate(runs)
    return runs, table, predict_runs(table, KERNELS).per_token_s


def _speedups(fewer: int, more: int) -> tuple[Array, Array]:
    """Measured and predicted gains of runs that differ in nothing but their devices."""
    runs, table, predicted = _engines()
    alike: dict[tuple[object, ...], dict[int, list[int]]] = {}
    for i, run in enumerate(runs):
        a = run.answers
        key = (run.model, a.system.name, a.backend, a.precision, a.input_tokens, a.output_tokens)
        place = alike.setdefault((*key, run.concurrency, run.source, a.expert > 1), {})
        place.setdefault(a.tensor, []).append(i)
    pairs = [(v[fewer], v[more]) for v in alike.values() if fewer in v and more in v]
    return tuple(
        np.array([np.median(times[few]) / np.median(times[many]) for few, many in pairs])
        for times in (table.per_token_s, predicted)
    )  # type: ignore[return-value]


PAIRS = ((1, 2), (2, 4), (4, 8), (1, 8))


def _speedup_rows() -> list[str]:
    rows = []
    for fewer, more in PAIRS:
        measured, predicted = _speedups(fewer, more)
        low, middle, high = np.quantile(measured, (0.1, 0.5, 0.9))
        rows.append(
            f"| {fewer} to {more} | {measured.size} | {middle:.2f} ({low:.2f} to {high:.2f}) |"
            f" {np.median(predicted):.2f} |"
        )
    return rows


def _message_rows() -> list[str]:
    """Lines of the page's table: floors and attained shares by device, width and kernel."""
    rows = []
    for system in ("h100_sxm", "b200_sxm"):
        link = find_system(system).link_bytes_per_s
        for devices in (2, 4, 8):
            sizes, seconds = _series(system, devices, IN_GRAPH)
            small = sizes <= 2**20
            floor, share, error = fit_messages(sizes[small], seconds[small], devices, link)
            whole = ring_hops(np.array(float(devices))) * sizes[-1] / (seconds[-1] * link)
            name = system.split("_")[0].upper()
            rows.append(
                f"| {name} | {devices} | {floor * 1e6:.1f} µs | {share:.0%} | {error:.0%} |"
                f" {float(whole):.0%} | {1e6 * _floor(system, devices, 'NCCL'):.0f} µs |"
                f" {1e6 * _floor(system, devices, EAGER):.0f} µs |"
            )
    return rows


def example() -> SimpleNamespace:
    """Numbers of the page."""
    eight, pairs = _speedups(1, 8)
    doubled = _speedups(4, 8)[0]
    parts = [_spread(devices) for devices in (1, 8)]
    r1 = find_model("DeepSeek-R1")[0]
    front = _front()
    return SimpleNamespace(
        gain_eight=float(np.median(eight)),
        gain_eight_predicted=float(np.median(pairs)),
        gain_pairs=eight.size,
        gain_doubling=float(np.median(doubled)),
        speedup_rows="\n".join(_speedup_rows()),
        message_rows="\n".join(_message_rows()),
        cap_eight=latency_cap(80, 8e-6),
        cap_nineteen=latency_cap(80, 19e-6),
        fixed_one=_fixed_share(parts[0]),
        fixed_eight=_fixed_share(parts[1]),
        near_floor_us=1e6 * _floor("gb300", 4, IN_GRAPH, "vllm"),
        far_floor_us=1e6 * _floor("gb300", 16, IN_GRAPH, "vllm"),
        far_shot_us=1e6 * _floor("gb300", 16, "over nodes, one"),
        outside_ratio=find_system("h100").link_bytes_per_s
        / find_system("h100").outside_bytes_per_s,
        r1_cache_eight=devices_for_cache(1, 8, 1),
        r1_layer_kb=2 * (r1.cached_values(1) - r1.cached_values(0)) * 1000 / r1.layer_count / 1e3,
        front_rows="\n".join(front),
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


def _choices(
    name: str, system: str, precision: str, counts: Sequence[int], loads: Sequence[float]
) -> tuple[list[Deployment], Array, Array]:
    """Every layout and load, with its time per token [s] and device hours a million tokens."""
    one = replace(
        _llama_on(1, 1.0),
        architecture=find_model(name)[0],
        system=find_system(system),
        backend="sglang",
        precision=precision,
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


def _front() -> list[str]:
    """Lines of the page's table: the layouts on the front, by time per token."""
    tried, each, hours = _r1_choices()
    kept = np.flatnonzero(pareto_front(each, hours))
    rows = []
    for i in kept[np.argsort(each[kept])]:
        rows.append(
            f"| {tried[i].devices} | {_layout_name(tried[i])} | {tried[i].concurrency:,.0f} |"
            f" {1e3 * each[i]:.1f} | {hours[i]:.2f} |"
        )
    return rows


def figure_all_reduce(figure: Figure) -> None:
    """A message is a floor until it is some hundred thousand bytes, and then bytes over the link.

    Measured on H100: the fastest kernel in a CUDA graph (filled) and NCCL (open). Curves are floors
    and shares fitted to messages of up to a mebibyte.

    Alt: Line chart with logarithmic axes of the time of an all-reduce against its bytes, for two,
    four and eight devices. Filled points are flat at three to five microseconds up to 64 kilobytes
    and rise in proportion from a megabyte on; open points of NCCL begin at six to sixteen
    microseconds and join them there. Dotted fitted curves follow the filled points up to a
    megabyte and then lie above them.
    """
    axes = figure.subplots()
    link = find_system("h100").link_bytes_per_s
    for devices, colour in ((2, "C2"), (4, "C0"), (8, "C3")):
        sizes, seconds = _series("h100_sxm", devices, IN_GRAPH)
        axes.plot(sizes, 1e6 * seconds, "o", markersize=4, color=colour, label=f"{devices} devices")
        axes.plot(
            *(lambda x, y: (x, 1e6 * y))(*_series("h100_sxm", devices, "NCCL")),
            "o",
            markersize=4,
            fillstyle="none",
            color=colour,
        )
        small = sizes <= 2**20
        floor, share, _ = fit_messages(sizes[small], seconds[small], devices, link)
        fitted = message_s(ring_hops(np.array(float(devices))), sizes, np.array(link), share, floor)
        axes.plot(sizes, 1e6 * fitted, ":", color=colour)
    axes.legend(loc="upper left")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(200, 2e8),
        ylim=(2, 2000),
        xlabel="bytes of a message",
        ylabel="time [µs]",
    )
    axes.minorticks_off()


def figure_crossing_node(figure: Figure) -> None:
    """Beyond one node the floor is a matter of the kernel, not of the wire.

    All-reduces of at most 16 KiB on GB300, four devices a node, all of them on one NVLink domain.

    Alt: Line chart with a logarithmic axis of the time of a small all-reduce against 2, 4, 8 and 16
    devices. Kernels in a graph of vLLM and SGLang rise from four to eight microseconds within a
    node to about fifty with sixteen devices; the kernel of TensorRT-LLM made for several nodes
    stays at five; launched one by one every message takes fifty to more than a hundred.
    """
    axes = figure.subplots()
    counts = (2, 4, 8, 16)
    for label, colour, pick in (
        ("vLLM, in a graph", "C0", lambda n: _floor("gb300", n, IN_GRAPH, "vllm")),
        ("SGLang, in a graph", "C2", lambda n: _floor("gb300", n, IN_GRAPH, "sglang")),
        (
            "TensorRT-LLM, made for several nodes",
            "C3",
            lambda n: _floor("gb300", n, IN_GRAPH if n <= 4 else "over nodes, one", "trtllm"),
        ),
        ("vLLM, launched one by one", "C4", lambda n: _floor("gb300", n, EAGER, "vllm")),
    ):
        axes.plot(counts, [1e6 * pick(n) for n in counts], "o-", color=colour, label=label)
    axes.legend(loc="upper left")
    axes.axvline(4, color="C4", linewidth=1, linestyle=":")
    axes.annotate("one node", (3.9, 3.1), ha="right")
    axes.set(
        xscale="log",
        yscale="log",
        ylim=(2.5, 900),
        xlabel="devices",
        ylabel="time of a small message [µs]",
    )
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.set_yticks([3, 10, 30, 100], ["3", "10", "30", "100"])
    axes.minorticks_off()


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
    axes.plot(range(len(widths)), ideal, "k:", color="C4", label="one over n")
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


def figure_pareto(figure: Figure) -> None:
    """A faster token costs more devices, and each count has its part of the front.

    DeepSeek-R1 in 8 bits on B200 with SGLang, prompts and answers of 1,024 tokens, every layout of
    4 to 32 devices and loads from 1 to 1,024; the line joins what nothing beats.

    Alt: Scatter plot with logarithmic axes of device hours a million tokens against time per token,
    four colours for 4, 8, 16 and 32 devices. The front falls from about a hundred hours at five
    milliseconds to a few tenths of an hour at a hundred; eight devices hold its fast end, wide
    layouts its cheap end, and most points lie well above it.
    """
    axes = figure.subplots()
    tried, each, hours = _r1_choices()
    counts = np.array([one.devices for one in tried])
    for devices, colour in zip(PARETO_COUNTS, ("C2", "C0", "C1", "C3"), strict=True):
        inside = counts == devices
        label = f"{devices} devices"
        axes.plot(1e3 * each[inside], hours[inside], "o", markersize=4, color=colour, label=label)
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


def check_bytes_of_a_message() -> None:
    """64 tokens of 8,192 values take 2.33, 3.50 and 4.08 µs over 450 GB/s, beside their floor.

    Source: 2 (n - 1)/n of 2 * 64 * 8,192 bytes, by hand.
    """
    for devices, micros in ((2, 2.33), (4, 3.50), (8, 4.08)):
        hops = ring_hops(np.array([float(devices)]))
        found = message_s(hops, np.array([2.0 * 64 * 8192]), np.array([450e9]), 1.0, 0.0)
        checks.close(f"{devices} devices [µs]", 1e6 * float(found[0]), micros, atol=0.006)


def check_latency_caps_a_token() -> None:
    """80 layers cannot pass 781 tokens a second with messages of 8 µs, nor 329 with 19 µs.

    Source: 160 messages a token, by hand.
    """
    for floor, cap in ((8e-6, 781.25), (19e-6, 328.947)):
        checks.close(f"{floor * 1e6:.0f} µs", latency_cap(80, floor), cap, atol=5e-4)


def check_messages_are_a_floor_and_bytes() -> None:
    """A floor and a share of the link describe measured messages of up to a mebibyte.

    Source: all-reduces in CUDA graphs on H100 and B200, 2 to 8 devices, the fastest kernel each;
    the floor that a step counts lies among theirs.
    """
    floors = []
    for system in ("h100_sxm", "b200_sxm"):
        for devices in (2, 4, 8):
            sizes, seconds = _series(system, devices, IN_GRAPH)
            small = sizes <= 2**20
            link = find_system(system).link_bytes_per_s
            floor, _, error = fit_messages(sizes[small], seconds[small], devices, link)
            floors.append(floor)
            name = f"{system}, {devices}"
            checks.holds(f"{name}: median error", error < 0.08, got=error, kind="measured")
    inside = min(floors) < MESSAGE_S < max(floors) * 1.1
    checks.holds("the step's floor is among them", inside, got=MESSAGE_S, kind="measured")


def check_a_send_is_measured() -> None:
    """What two devices exchange at once has the floor that a step counts for a stage's message.

    Source: NCCL's all-to-all of two devices on H100 and B200, messages of at most 16 KiB.
    """
    for system in ("h100_sxm", "b200_sxm"):
        line = next(
            x for x in _messages() if x["system"] == system and x["operation"] == "alltoall"
        )
        small = [us for size, us in zip(line["bytes"], line["us"], strict=True) if size <= 16384]
        told = float(np.median(small)) * 1e-6
        checks.close(system, SEND_S, told, rtol=0.35, kind="measured")


def check_gains_of_devices() -> None:
    """Runs that differ in nothing but their devices gain as predicted: 2.5 times from 1 to 8.

    Source: published pairs; the model's constants are from kernels alone.
    """
    for fewer, more in PAIRS:
        measured, predicted = _speedups(fewer, more)
        got, expected = float(np.median(predicted)), float(np.median(measured))
        checks.close(f"{fewer} to {more} devices", got, expected, rtol=0.15, kind="measured")


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
    """No layers, a message of one device, and fronts of nothing name the argument."""
    checks.raises("no layers", latency_cap, 0, 1e-6, match="layers must be")
    checks.raises("one device", fit_messages, [1, 2], [1, 2], 1, 1.0, match="devices must be 2")
    checks.raises("no points", pareto_front, [], [], match="first must be")
    checks.raises("a third", devices_for_cache, 8, 8, 3, match="split must be a divisor of 8")
