"""What a message between devices takes: a floor, and bytes over an attained share of the link.

An all-reduce of b bytes over n devices takes

    floor + 2 (n - 1)/n * b / (share * link)

and a layer that devices share sends two, so that floors alone cap the tokens a second of one
sequence at 1 / (2 L floor).

Assumes: a ring, or what sends no more; messages that nothing hides.

Source: Patarasuk and Yuan (2009), JPDC 69(2); Shoeybi et al. (2019), arXiv 1909.08053, section 3;
all-reduces measured for aiconfigurator-core 0.12.0, in `records/machine_shapes.json.gz`.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.core.hardware.calibration import descend
from serving_mathematics.core.hardware.catalogue import find_system
from serving_mathematics.core.hardware.step_time import (
    MESSAGE_S,
    SEND_S,
    Array,
    message_s,
    ring_hops,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import (
    require_positive,
    require_positive_integer,
)


def latency_cap(layers: int, floor_s: float) -> float:
    """Most steps a second that messages allow where devices share every layer: 1 / (2 L floor).

    layers: L, a positive integer. floor_s: time of a message with next to no bytes [s], > 0. Raises
    ValueError outside.

    >>> round(latency_cap(80, 8e-6), 6)
    781.25
    """
    layers = require_positive_integer(layers=layers)
    floor_s = require_positive(floor_s=floor_s)
    return 1 / (2 * layers * floor_s)


def _fit_messages(
    size: Array, measured: Array, devices: int, link: float
) -> tuple[float, float, float]:
    """Floor [s], attained share of the link, and the median error left, of measured all-reduces.

    size [bytes] and measured [s]: shape (m,). link [bytes/s], one direction. A share above one says
    that fewer bytes crossed than a ring sends.
    """
    hops = ring_hops(np.array(float(devices)))

    def residuals(logs: Array) -> Array:
        floor, share = np.exp(logs)
        return np.asarray(np.log(message_s(hops, size, np.array(link), share, floor) / measured))

    start = np.log([np.min(measured), 0.5])
    found = descend(residuals, start, np.full(2, np.inf), 0.1, steps=60)
    floor, share = np.exp(found)
    return float(floor), float(share), float(np.median(np.abs(residuals(found))))


@cache
def _messages() -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = read_record("machine_shapes")["messages"]
    return lines


def _series(system: str, devices: int, kernel: str) -> tuple[Array, Array]:
    """Sizes and times [s] of an all-reduce: the fastest of the backends that have the kernel."""
    best: dict[float, float] = {}
    for line in _messages():
        told = (line["system"], line["devices"], line["operation"])
        if told != (system, devices, "all_reduce") or not line["kernel"].startswith(kernel):
            continue
        for size, micros in zip(line["bytes"], line["us"], strict=True):
            best[size] = min(best.get(size, np.inf), micros * 1e-6)
    return np.array(sorted(best)), np.array([best[size] for size in sorted(best)])


IN_GRAPH, EAGER = "custom, in a graph", "custom, launched one by one"


@cache
def _floor(system: str, devices: int, kernel: str) -> float:
    """Median time [s] of messages of at most 16 KiB."""
    sizes, seconds = _series(system, devices, kernel)
    return float(np.median(seconds[sizes <= 16384]))


@cache
def _small(system: str, devices: int) -> tuple[float, float, float]:
    """Floor [s], share of the link and error of messages of up to a mebibyte."""
    sizes, seconds = _series(system, devices, IN_GRAPH)
    few = sizes <= 2**20
    link = find_system(system).link_bytes_per_s
    return _fit_messages(sizes[few], seconds[few], devices, link)


def example() -> SimpleNamespace:
    """Numbers of the page."""
    h100 = find_system("h100")
    return SimpleNamespace(
        nccl_us=1e6 * _floor("h100_sxm", 8, "NCCL"),
        alone_us=1e6 * _floor("h100_sxm", 8, EAGER),
        outside_ratio=h100.link_bytes_per_s / h100.outside_bytes_per_s,
    )


def figure_all_reduce(figure: Figure) -> None:
    """A small message takes little more than its floor, and a large one time in proportion to its
    bytes.

    All-reduces measured on H100: the fastest kernel in a CUDA graph (filled) and NCCL (open).
    Dotted curves are the formula, with a floor and a share of the link fitted to messages of up to
    a mebibyte.

    Alt: Line chart with logarithmic axes of the time of an all-reduce against its bytes, for two,
    four and eight devices. Filled points are flat at three to five microseconds up to some tens of
    kilobytes and rise in proportion from a megabyte on; open points, of NCCL, begin at six to
    sixteen microseconds and join the filled ones there. Dotted fitted curves follow the filled
    points up to a megabyte and then lie above them.
    """
    axes = figure.subplots()
    link = find_system("h100").link_bytes_per_s
    for devices, colour in ((2, "C2"), (4, "C0"), (8, "C3")):
        sizes, seconds = _series("h100_sxm", devices, IN_GRAPH)
        axes.plot(sizes, 1e6 * seconds, "o", markersize=4, color=colour, label=f"{devices} devices")
        plain, slower = _series("h100_sxm", devices, "NCCL")
        axes.plot(plain, 1e6 * slower, "o", markersize=4, fillstyle="none", color=colour)
        floor, share, _ = _small("h100_sxm", devices)
        fitted = message_s(ring_hops(np.array(float(devices))), sizes, np.array(link), share, floor)
        axes.plot(sizes, 1e6 * fitted, ":", color=colour)
    axes.legend(loc="upper left", reverse=True)
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(200, 2e8),
        ylim=(2, 2000),
        xlabel="size of a message",
        ylabel="time [µs]",
    )
    axes.minorticks_off()
    sizes_told = ["1 kB", "10 kB", "100 kB", "1 MB", "10 MB", "100 MB"]
    axes.set_xticks([1e3, 1e4, 1e5, 1e6, 1e7, 1e8], sizes_told)


def check_bytes_of_a_message() -> None:
    """A message of 64 tokens, of 8,192 values in two bytes each, takes 2.33, 3.50 and 4.08 µs
    beside its floor over two, four and eight devices with links of 450 GB/s.

    Source: 2 (n - 1)/n of 2 * 64 * 8,192 bytes, by hand.
    """
    for devices, micros in ((2, 2.33), (4, 3.50), (8, 4.08)):
        hops = ring_hops(np.array([float(devices)]))
        found = message_s(hops, np.array([2.0 * 64 * 8192]), np.array([450e9]), 1.0, 0.0)
        checks.close(f"{devices} devices [µs]", 1e6 * float(found[0]), micros, atol=0.006)


def check_latency_caps_a_token() -> None:
    """Devices that share 80 layers take at most 781 steps a second with messages of 8 µs, and 329
    with messages of 19 µs.

    Source: two messages a layer, 160 a step, by hand.
    """
    for floor, cap in ((8e-6, 781.25), (19e-6, 328.947)):
        checks.close(f"{floor * 1e6:.0f} µs", latency_cap(80, floor), cap, atol=5e-4)


def check_messages_are_a_floor_and_bytes() -> None:
    """A floor and a share of the link describe measured messages of up to a mebibyte, within 8% in
    the median. The floor that the step model uses lies among the fitted ones, or at most a tenth
    above them.

    Source: all-reduces in CUDA graphs on H100 and B200, 2 to 8 devices, the fastest kernel of each.
    """
    floors = []
    for system in ("h100_sxm", "b200_sxm"):
        for devices in (2, 4, 8):
            floor, _, error = _small(system, devices)
            floors.append(floor)
            name = f"{system}, {devices}"
            checks.holds(f"{name}: median error", error < 0.08, got=error, kind="measured")
    inside = min(floors) < MESSAGE_S < max(floors) * 1.1
    checks.holds("the step's floor is among them", inside, got=MESSAGE_S, kind="measured")


def check_a_send_is_measured() -> None:
    """A small message that two devices exchange takes what the step model uses as the floor of a
    stage's message, within 35%.

    Source: NCCL's all-to-all of two devices on H100 and B200, the median of messages of at most 16
    KiB.
    """
    for system in ("h100_sxm", "b200_sxm"):
        line = next(
            x for x in _messages() if x["system"] == system and x["operation"] == "alltoall"
        )
        small = [us for size, us in zip(line["bytes"], line["us"], strict=True) if size <= 16384]
        told = float(np.median(small)) * 1e-6
        checks.close(f"{system}: floor [s]", SEND_S, told, rtol=0.35, kind="measured")
