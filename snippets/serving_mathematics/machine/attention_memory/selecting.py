"""Selecting what to read: kernels of its own, which pay from a context on.

A layer that selects keeps all tokens and reads some. Choosing them takes an index and kernels, so
it gains where reading everything would take longer than these.

Assumes: one layer, one device, contexts of one length, decoding.

Source: kernels of aiconfigurator-core 0.12.0, in `records/machine_series.json.gz`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING

from serving_mathematics.machine.attention_memory.attention_kernels import _line
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_positive,
    require_all_sorted,
    require_shape,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def break_even_context(
    contexts: Sequence[float], first_s: Sequence[float], second_s: Sequence[float]
) -> float:
    """Context from which the second kernel is the faster one, between measurements on a line.

    contexts: tokens, increasing, n >= 2. first_s, second_s: times there [s], shape (n,). Infinite
    where the second never gets there from above. Raises ValueError on other shapes or orders.

    >>> break_even_context([1000, 2000], [1.0, 4.0], [2.0, 3.0])
    1500.0
    """
    places = as_floats(contexts=contexts)
    require(places.ndim == 1 and places.size > 1, "contexts", "two or more", contexts)
    require_all_sorted(contexts=places)
    require_shape(places.shape, first_s=first_s, second_s=second_s)
    first_s, second_s = require_all_positive(first_s=first_s, second_s=second_s)
    gain = as_floats(first_s=first_s) - as_floats(second_s=second_s)
    for at in range(places.size - 1):
        if gain[at] < 0 <= gain[at + 1]:
            part = gain[at] / (gain[at] - gain[at + 1])
            return float(places[at] + (places[at + 1] - places[at]) * part)
    return math.inf


def _both(sequences: int) -> tuple[list[int], list[float], list[float]]:
    """Contexts at which both modules were measured, and their times there [s]."""
    both = [
        _line(kernel=kernel, backend="vllm", sequences=sequences, cache="bfloat16")
        for kernel in ("latent module", "selecting module")
    ]
    places = sorted(set(both[0]) & set(both[1]))
    reads, selects = ([line[place] for place in places] for line in both)
    return places, reads, selects


def _break_even(sequences: int) -> float:
    """Tokens of context from which selecting is the faster way, with vLLM on an H100."""
    places, *times = _both(sequences)
    return break_even_context(places, *times)


def example() -> SimpleNamespace:
    """Numbers of the page."""
    return SimpleNamespace(
        even_sequences=64,
        even_64=round(_break_even(64), -2),
        even_longest=max(_both(1)[0]) - 1,
    )


def figure_selecting(figure: Figure) -> None:
    """Selecting pays from a context on that depends on the batch.

    Attention modules of DeepSeek-V3 (reads all) and DeepSeek-V3.2 (selects some), with their
    matrices, on one H100 with vLLM.

    Alt: Line chart of microseconds against tokens of context on a logarithmic axis from 1,024 to
    about 131,000. Solid lines of 1, 16 and 64 sequences rise, the last beyond the top at 2,000;
    dashed lines of the selecting module begin at about 300 and end between 309 and 790. The pair
    for 64 sequences crosses at about 6,400 tokens, that for 16 at four times as many, the pair for
    one does not.
    """
    axes = figure.subplots()
    for sequences, colour in ((1, "C0"), (16, "C2"), (64, "C3")):
        for kernel, style in (("latent module", "-"), ("selecting module", "--")):
            line = _line(kernel=kernel, backend="vllm", sequences=sequences, cache="bfloat16")
            points = [(x, 1e6 * seconds) for x, seconds in line.items() if x > 1000]
            label = f"{sequences} sequence" + "s" * (sequences > 1)
            axes.plot(
                *zip(*points, strict=True),
                style,
                color=colour,
                label=f"{label}, {'all' if style == '-' else 'selects'}",
            )
    axes.legend(loc="upper left")
    axes.set(
        xscale="log",
        xlim=(1000, 135000),
        ylim=(0, 2000),
        xlabel="tokens of context",
        ylabel="attention module [µs]",
    )
    axes.set_xticks([1024, 8192, 65536], ["1,024", "8,192", "65,536"])
    axes.minorticks_off()


def check_break_even_by_hand() -> None:
    """Two lines that cross, and two that do not.

    Source: 1 + s/1000 and 3 cross at 2,000 tokens.
    """
    places = [1000.0, 1500.0, 4000.0]
    found = break_even_context(places, [1 + s / 1000 for s in places], [3.0] * 3)
    checks.close("crossing [tokens]", found, 2000.0, rtol=1e-12)
    never = break_even_context(places, [1.0, 1.5, 2.0], [3.0] * 3)
    checks.equal("never", never, math.inf)


def check_what_selecting_gains_is_read() -> None:
    """Doubling a long context adds to the latent module what reading twice as much takes.

    Source: 65,536 tokens more of 64 sequences, 1,152 bytes each, at 85 to 100% of 3.35 TB/s; the
    selecting module adds the index's 128 values of one byte, and the arithmetic of choosing.
    """
    line = _line(kernel="latent module", backend="trtllm", sequences=64, cache="bfloat16")
    share = 64 * 65536 * 1152 / 3.35e12 / (line[131073] - line[65537])
    checks.inside("share of the bandwidth", share, 0.8, 1.0, kind="measured")
    choosing = _line(kernel="selecting module", backend="vllm", sequences=64, cache="bfloat16")
    index = 64 * 65536 * 128 / 3.35e12
    added = choosing[131073] - choosing[65537]
    checks.inside("choosing over reading the index", added / index, 1.0, 2.0, kind="measured")


def check_bad_input_is_refused() -> None:
    """A single context, times of another shape and an invalid order are errors that name the
    argument.
    """
    checks.raises(
        "one", break_even_context, [1], [1.0], [1.0], match="contexts must be two or more"
    )
    checks.raises("shape", break_even_context, [1, 2], [1.0], [1, 2], match="first_s must")
    checks.raises("order", break_even_context, [2, 1], [1, 2], [1, 2], match="contexts must be")
    checks.raises("time", break_even_context, [1, 2], [1, 0.0], [1, 2], match="first_s must be")
