"""Kernels under their roof: a floor, and bytes or operations over an attained share.

A kernel that has to read b bytes and do o operations takes at least max(b / bandwidth, o / peak).
Measured, it takes

    floor + max(b / (share of the bandwidth), o / (share of the peak))

and so attains the share s / (1 + s * floor / least) of its roof, whose least time it is: small
kernels attain little, whatever the device.

Source: Williams, Waterman and Patterson (2009), CACM 52(4); the matrix products and attention
kernels of aiconfigurator-core 0.12.0, in `records/machine_shapes.json.gz`.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from serving_mathematics.core.hardware.calibration import descend
from serving_mathematics.core.hardware.catalogue import find_system
from serving_mathematics.core.hardware.kernel_floors import matrix_floor_s
from serving_mathematics.core.hardware.kernel_record import matrix_roof
from serving_mathematics.core.hardware.step_time import Array
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_positive,
    require_in,
    require_non_negative,
    require_positive,
)


def attained_share(least_s: ArrayLike, floor_s: float, share: float) -> Array:
    """Share of its roof that a kernel attains: s / (1 + s f / least).

    least_s: time at the roof [s], > 0. floor_s: f, of a kernel with nothing to do [s], >= 0. share:
    s in (0, 1], that a large one attains. Raises ValueError outside these ranges.

    >>> attained_share([4e-6, 4e-3], floor_s=4e-6, share=1.0).round(3)
    array([0.5  , 0.999])
    """
    least = as_floats(least_s=least_s)
    require_all_positive(least_s=least)
    floor_s = require_non_negative(floor_s=floor_s)
    share = require_in("(0, 1]", share=share)
    return np.asarray(share / (1 + share * floor_s / least), dtype=float)


def least_for_share(wanted: float, floor_s: float, share: float) -> float:
    """How long a kernel must take at its roof to attain a share of it, in seconds.

    wanted: that share, in (0, share). floor_s: > 0 [s]. share: of a large kernel, in (0, 1].
    Raises ValueError outside these ranges.

    >>> round(least_for_share(0.5, floor_s=4e-6, share=1.0) * 1e6, 6)
    4.0
    """
    wanted = as_number(wanted=wanted)
    floor_s = require_positive(floor_s=floor_s)
    share = require_in("(0, 1]", share=share)
    require(0 < wanted < share, "wanted", f"in (0, share) = (0, {share:g})", wanted)
    return floor_s * wanted * share / (share - wanted)


def _fit_kernels(
    read: Array, multiply: Array, measured: Array, overlap: bool
) -> tuple[float, float, float, float]:
    """Floor [s], shares of bandwidth and peak, and the median error left, of measured kernels.

    read, multiply: times at the data sheet's bandwidth and peak [s], shape (n,). overlap: whether
    the longer counts (a kernel reads while it computes), or the sum. Shares are at most 1.
    """

    def residuals(logs: Array) -> Array:
        floor, low, high = np.exp(logs)
        pair = read / low, multiply / high
        predicted = floor + (np.maximum(*pair) if overlap else np.add(*pair))
        return np.asarray(np.log(predicted / measured))

    start = np.log([np.min(measured), 0.7, 0.6])
    found = descend(residuals, start, np.array([np.inf, 0.0, 0.0]), 0.1, steps=60)
    floor, low, high = np.exp(found)
    return float(floor), float(low), float(high), float(np.median(np.abs(residuals(found))))


@cache
def _kernels() -> dict[str, Any]:
    return read_record("machine_shapes")


def _name(line: dict[str, Any]) -> str:
    device = line["system"].split("_")[0].upper()
    return f"{device}, {line['precision']}"


def _sheet(line: dict[str, Any]) -> tuple[float, float]:
    """Bandwidth and peak of a line's device, at its precision."""
    system = find_system(line["system"])
    return (
        system.bandwidth_bytes_per_s,
        float(getattr(system, f"{line['precision']}_flops_per_s")),
    )


@cache
def _forms(name: str) -> tuple[tuple[float, float, float, float], ...]:
    """Fits to the sample of a line of matrices: the longer counts, and the sum."""
    line = next(line for line in _kernels()["matrices"] if _name(line) == name)
    rows = np.array(line["sample"], dtype=float)
    bandwidth, peak = _sheet(line)
    size, operations, _ = matrix_roof(rows[:, :3], line["bytes_a_value"], bandwidth, peak)
    return tuple(
        _fit_kernels(size / bandwidth, operations / peak, rows[:, 3] * 1e-6, overlap)
        for overlap in (True, False)
    )


def example() -> SimpleNamespace:
    """Numbers of the page."""
    floor, read, _, _ = _forms("H100, bf16")[0]
    return SimpleNamespace(
        h100_floor_us=floor * 1e6,
        h100_read=read,
        micros_for_seventy=1e6 * least_for_share(0.7, floor, read),
    )


def figure_share_by_time(figure: Figure) -> None:
    """The share that a kernel attains follows from its time at the roof.

    Medians over all shapes in a class of times at the roof; dots show the formula with one floor
    and one share.

    Alt: Line chart of the median attained share of the roof against the time at the roof, from a
    tenth of a microsecond to ten milliseconds. Six kinds of matrix products and two of attention
    rise from a few percent through half at five to thirty microseconds to between half and 95
    percent; 16 bits lie above 8, 8 above 4. A dotted model curve follows the H100 in 16 bits.
    """
    axes = figure.subplots()
    told, looks = _kernels(), {}
    places = {
        "A100, bf16": ("C4", "-"),
        "H100, bf16": ("C0", "-"),
        "H100, fp8": ("C0", "--"),
        "B200, bf16": ("C1", "-"),
        "B200, fp8": ("C1", "--"),
        "B200, fp4": ("C1", ":"),
    }
    for line in told["matrices"]:
        rows = np.array(line["by_time"])
        colour, style = places[_name(line)]
        axes.plot(rows[:, 0] * 1e6, rows[:, 2], style, color=colour, label=_name(line))
        looks[_name(line)] = rows
    for line in told["attention"]:
        rows = np.array(line["by_time"])
        device = line["system"].split("_")[0].upper()
        axes.plot(
            rows[:, 0] * 1e6,
            rows[:, 2],
            "-",
            color="C2" if device == "H100" else "C5",
            label=f"{device}, attention",
        )
    floor, read, _, _ = _forms(_name(told["matrices"][1]))[0]
    least = looks["H100, bf16"][:, 0]
    axes.plot(
        least * 1e6,
        attained_share(least, floor, read),
        ".",
        color="C3",
        label=f"{floor * 1e6:.1f} µs and {read:.0%}",
    )
    figure.legend(loc="outside lower center", ncols=3)
    axes.set(
        xscale="log",
        xlim=(0.1, 1e4),
        ylim=(0, 1),
        xlabel="time at the roof [µs]",
        ylabel="attained share of the roof",
    )
    axes.minorticks_off()


def check_longer_or_sum() -> None:
    """On Hopper in 16 bits, the longer of reading and multiplying is nearer to measured times than
    their sum; in fewer bits the sum is nearer, by less than seven points of the median error.

    Source: 350 measured matrix products of each kind, drawn at random.
    """
    longer, both = _forms("H100, bf16")
    checks.holds(
        "median error, longer against sum", longer[3] < 0.8 * both[3], got=longer[3] / both[3]
    )
    checks.close("median error of the longer", longer[3], 0.08, atol=0.02, kind="stated")
    for name in ("H100, fp8", "B200, fp8", "B200, fp4"):
        longer, both = _forms(name)
        checks.inside(f"{name}, points", 100 * (longer[3] - both[3]), 0, 7)


def check_floors_of_the_step() -> None:
    """The floor that a step counts for a matrix in 16 bits is the one fitted to all shapes.

    Source: 350 measured matrix products each on H100 and B200.
    """
    for line in _kernels()["matrices"]:
        if line["precision"] == "bf16" and line["system"] != "a100_sxm":
            floor = _forms(_name(line))[0][0]
            told = matrix_floor_s(find_system(line["system"]).generation, 2.0)
            checks.close(f"{_name(line)} [µs]", floor * 1e6, told * 1e6, rtol=0.2, kind="measured")


def check_share_follows_from_time() -> None:
    """One floor and one share give the attained share of an H100 in 16 bits at every size.

    Source: medians over all 35,742 shapes, twenty classes of times at the roof.
    """
    line = next(x for x in _kernels()["matrices"] if _name(x) == "H100, bf16")
    rows = np.array(line["by_time"])
    floor, read, _, _ = _forms(_name(line))[0]
    found = attained_share(rows[:, 0], floor, read)
    checks.close("share, by class", found, rows[:, 2], atol=0.06, kind="measured")
