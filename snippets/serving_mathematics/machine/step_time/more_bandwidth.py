"""What more bandwidth buys: the share of a step that reads, and nothing else, gets shorter.

Where a share r of a step reads and the bandwidth grows k times, the step is

    1 / (1 - r + r / k)

times as fast. An H200 multiplies and sends like an H100 and reads 1.43 times as fast, so runs of
one deployment on both are a trial of it.

Assumes: floors, messages and the host's work as they were; no more sequences in the larger memory.

Source: the published runs of `step_terms` that differ in the device alone, H100 or H200.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serving_mathematics.core.hardware.calibration import KERNELS
from serving_mathematics.core.hardware.catalogue import find_system
from serving_mathematics.core.hardware.step_terms import (
    REGIMES,
    engine_runs,
    regimes,
    roofline_parts,
)
from serving_mathematics.core.hardware.step_time import step_parts
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_floats, require, require_positive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]


def bandwidth_gain(reading_share: ArrayLike, faster: float) -> Array:
    """How many times as fast a step becomes with so many times the bandwidth.

    reading_share: of the step's time, in [0, 1]. faster: > 0. Raises ValueError outside.

    >>> bandwidth_gain([0.0, 0.5, 1.0], faster=2.0).round(3)
    array([1.   , 1.333, 2.   ])
    """
    share = as_floats(reading_share=reading_share)
    inside = bool(np.all((share >= 0) & (share <= 1)))
    require(inside, "reading_share", "in [0, 1]", reading_share)
    faster = require_positive(faster=faster)
    return np.asarray(1 / (1 - share + share / faster), dtype=float)


@cache
def _pairs() -> tuple[Array, Array, NDArray[np.int64]]:
    """Runs on an H100 and an H200 that differ in nothing else: the share of a token's time that
    reads on the H100, how many times as fast the H200 was, and the largest term on the H100."""
    table, added, _ = engine_runs()
    work = table.engines
    running = np.minimum(work.concurrency, work.room)
    parts = step_parts(work, KERNELS, running, work.prompt + work.answer / 2)
    share = roofline_parts(parts) / work.accepted / added["prompts of others"]
    led = regimes(work, KERNELS)
    alike: dict[tuple[object, ...], dict[str, list[int]]] = {}
    for row, run in enumerate(table.runs):
        one = run.answers
        known = one.system.name in ("h100_sxm", "h200_sxm")
        if not known or work.concurrency[row] > work.room[row]:
            continue
        key = (
            one.architecture.name,
            *(one.backend, one.precision, one.tensor, one.attention_data, one.expert, one.pipeline),
            *(one.draft_tokens, one.concurrency, one.mean_input_tokens, one.mean_output_tokens),
        )
        alike.setdefault(key, {}).setdefault(one.system.name, []).append(row)
    found = []
    for rows in alike.values():
        if len(rows) == 2:
            slow, fast = (np.median(table.per_token_s[rows[n]]) for n in ("h100_sxm", "h200_sxm"))
            first = rows["h100_sxm"][0]
            found.append((share[first], slow / fast, led[first]))
    shares, gains, terms = np.array(found, dtype=float).T
    return shares, gains, terms.astype(np.int64)


@cache
def _faster() -> float:
    """Bandwidth of an H200 over that of an H100, by their data sheets."""
    new, old = find_system("h200"), find_system("h100")
    return new.bandwidth_bytes_per_s / old.bandwidth_bytes_per_s


def _led_by(name: str) -> float:
    """Median measured gain of the pairs whose largest term it is."""
    _, gains, led = _pairs()
    return float(np.median(gains[led == REGIMES.index(name)]))


def example() -> SimpleNamespace:
    """Numbers of the page."""
    shares, gains, _ = _pairs()
    return SimpleNamespace(
        pairs=shares.size,
        bandwidth_more=_faster() - 1,
        floors_gain=_led_by("kernels") - 1,
        weights_gain=_led_by("weights") - 1,
        gain_error=float(np.median(np.abs(bandwidth_gain(shares, _faster()) / gains - 1))),
    )


def figure_bandwidth_bought(figure: Figure) -> None:
    """More bandwidth shortens what reads, and nothing else.

    Each point is one deployment, measured on an H100 and on an H200; the line is the formula.

    Alt: Scatter plot of how many times as fast an H200 was against the share of a token's time that
    reads, from none to all. Points rise from about one at the left to well above it at the right,
    on both sides of a line that ends at the ratio of the bandwidths.
    """
    axes = figure.subplots()
    shares, gains, led = _pairs()
    for name, colour in (("kernels", "C4"), ("weights", "C0")):
        inside = led == REGIMES.index(name)
        label = "floors lead" if name == "kernels" else f"{name} lead"
        axes.plot(shares[inside], gains[inside], ".", color=colour, label=label)
    others = ~np.isin(led, [REGIMES.index("kernels"), REGIMES.index("weights")])
    axes.plot(shares[others], gains[others], ".", color="C1", label="something else leads")
    line = np.linspace(0, 1, 50)
    axes.plot(line, bandwidth_gain(line, _faster()), "-", color="C3", linewidth=1.2)
    axes.legend(loc="upper left")
    axes.set(
        xlim=(0, 1),
        ylim=(0.8, 1.8),
        xlabel="share of a token's time that reads, on an H100",
        ylabel="H200: times as fast",
    )


def check_bandwidth_buys_what_reads() -> None:
    """Pairs in which weights lead gain more from the H200 than those in which floors do, and the
    ranking stays where the shares that read are a fifth less or more than thought.

    Source: published runs of one deployment on H100 and on H200; thirds of the pairs by their
    share, drawn with shares that are off by up to a fifth.
    """
    shares, gains, _ = _pairs()
    weights, floors = _led_by("weights"), _led_by("kernels")
    checks.holds("weights over floors", weights > 1.1 * floors, got=weights / floors)
    rng = np.random.default_rng(8)
    turned = []
    for _ in range(20):
        told = shares * rng.uniform(0.8, 1.2, shares.size)
        low, high = np.quantile(told, [1 / 3, 2 / 3])
        turned.append(np.median(gains[told >= high]) / np.median(gains[told <= low]))
    checks.holds("upper third over lower, at worst", min(turned) > 1.05, got=min(turned))


def check_gain_is_that_of_the_pairs() -> None:
    """The formula is within a tenth of what the H200 was measured to gain, in the median.

    Source: published runs of one deployment on H100 and on H200.
    """
    checks.close("median error", example().gain_error, 0.05, atol=0.05, kind="measured")


def check_bad_input_is_refused() -> None:
    """A share above one and no bandwidth name the argument."""
    checks.raises("share", bandwidth_gain, [1.1], 2.0, match="reading_share must be in")
    checks.raises("bandwidth", bandwidth_gain, [0.5], 0.0, match="faster must be")
