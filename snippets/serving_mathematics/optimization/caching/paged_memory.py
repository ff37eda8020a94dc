"""Cache reserved for the longest sequence stays mostly empty; in blocks, at most B − 1 slots do.

A request takes one step per output token and holds prompt + k − 1 tokens in step k, so that over
time a request counts as often as its output is long. Reserving R slots for it uses
E[o·p + o(o−1)/2] / E[o·R] of them; blocks of B tokens, taken when they are needed, waste half a
block per sequence on average.

Assumes: steps of equal length, memory given back with the last step, blocks of any place fit
anywhere; no fragmentation between what the requests were given.

Source: Kwon et al. (2023), sections 3.1 and 4.1 for the kinds of waste, figure 11 for the lengths,
figure 2 and section 6.1 for the measured shares.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_numbers,
    require,
    require_all_finite,
    require_positive_integer,
    require_shape,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

PROMPT_TOKENS, OUTPUT_TOKENS = 161.31, 337.99  # means of ShareGPT, Kwon et al., figure 11
RESERVED_TOKENS = 2048  # longest sequence of OPT, reserved for each request
BLOCK_TOKENS = 16  # block size of vLLM
MEASURED = {  # % of the cache: holds a token, will, never will; Kwon et al., figure 2, ShareGPT
    "2,048 reserved": (20.4, 13.3, 57.3),  # Orca (Max)
    "next power of two": (26.8, 17.9, 13.6),  # Orca (Pow2), of the output
    "own length reserved": (38.2, 25.2, 0.0),  # Orca (Oracle)
}  # the rest to 100 is external fragmentation, which blocks do not have
MEASURED_PAGED = 96.3  # % that holds a token, vLLM


def _lengths(prompts: npt.ArrayLike, outputs: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both as float arrays of one shape (n,), or a ValueError."""
    p, o = as_floats(prompts=prompts), as_floats(outputs=outputs)
    require(p.ndim == 1 and p.size > 0, "prompts", "a non-empty (n,) array", p.shape)
    require_shape(p.shape, outputs=o)
    for name, counts in (("prompts", p), ("outputs", o)):
        whole = np.all((counts >= 1) & (counts < 2**31)) and np.all(counts % 1 == 0)
        require(whole, name, "positive integers below 2³¹", counts)
    return p, o


def slot_shares(
    prompts: npt.ArrayLike, outputs: npt.ArrayLike, slots: npt.ArrayLike
) -> tuple[float, float, float]:
    """Shares of the reserved slots that hold a token, will hold one, and never will, over time.

    prompts, outputs: tokens of each request, positive integers, shape (n,). slots: reserved for
    each from its first step to its last, at least its length, a number or shape (n,). A request
    takes one step per output token and holds prompt + k − 1 tokens in step k, so its share counts
    as often as it is long. Raises ValueError on other shapes or numbers.

    >>> slot_shares([2], [3], slots=8)  # holds 2, 3, 4 of 8; 2, 1, 0 to come
    (0.375, 0.125, 0.5)
    """
    slots = as_numbers(slots=slots)
    p, o = _lengths(prompts, outputs)
    slots = require_all_finite(slots=slots)
    given = as_floats(slots=slots)
    require(given.shape in ((), p.shape), "slots", f"a number or of shape {p.shape}", given.shape)
    enough = np.all((given >= p + o - 1) & (given < math.inf))
    require(enough, "slots", "finite and at least prompt + output − 1", given)
    total = float(np.sum(o * given))
    later = float(np.sum(o * (o - 1) / 2))
    used = float(np.sum(o * p)) + later
    return used / total, later / total, (total - used - later) / total


def paged_use(prompts: npt.ArrayLike, outputs: npt.ArrayLike, block_tokens: int) -> float:
    """Share of the allocated slots that hold a token, over time, with blocks taken as needed.

    Arguments and errors as for `slot_shares`; block_tokens: B, a positive integer.

    >>> paged_use([2], [3], block_tokens=2)  # holds 2, 3, 4 of 2, 4, 4
    0.9
    """
    p, o = _lengths(prompts, outputs)
    block_tokens = require_positive_integer(block_tokens=block_tokens)

    def blocks(n: FloatArray) -> FloatArray:
        """Sum of ⌈j/B⌉ over j = 1 … n."""
        full, rest = np.divmod(n, block_tokens)
        return np.asarray(block_tokens * full * (full + 1) / 2 + rest * (full + 1))

    allocated = block_tokens * (blocks(p + o - 1) - blocks(p - 1))
    return float(np.sum(o * p + o * (o - 1) / 2) / np.sum(allocated))


def _requests(count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Prompts and outputs with geometric lengths of ShareGPT's means, none beyond the limit."""
    rng = np.random.default_rng(170)
    prompts = rng.geometric(1 / PROMPT_TOKENS, count)
    outputs = rng.geometric(1 / OUTPUT_TOKENS, count)
    fits = prompts + outputs <= RESERVED_TOKENS
    return prompts[fits], outputs[fits]


@functools.cache
def _reserved() -> dict[str, tuple[float, float, float]]:
    """Modelled shares of the three ways to reserve that `MEASURED` names."""
    prompts, outputs = _requests(20_000)
    slots = (RESERVED_TOKENS, prompts + 2 ** np.ceil(np.log2(outputs)), prompts + outputs - 1)
    return {
        name: slot_shares(prompts, outputs, given)
        for name, given in zip(MEASURED, slots, strict=True)
    }


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    prompts, outputs = _requests(20_000)
    own = CHAT.sample
    return SimpleNamespace(
        most_points_off=max(
            float(np.abs(100 * np.array(shares) - 100 * np.array(seen) / sum(seen)).max())
            for shares, seen in ((_reserved()[name], MEASURED[name]) for name in MEASURED)
        ),
        paged_percent=100 * paged_use(prompts, outputs, BLOCK_TOKENS),
        paged_128_percent=100 * paged_use(prompts, outputs, 128),
        chat_paged_percent=100 * paged_use(own.prompt_tokens, own.output_tokens, BLOCK_TOKENS),
    )


def figure_fragmentation(figure: Figure) -> None:
    """Blocks of 16 tokens leave a few percent of their memory empty, reservations two fifths and
    more, as a model without fitted constants says and as was measured.

    Bars: shares over time for geometric lengths with ShareGPT's means. Ticks: measured by Kwon et
    al., their external fragmentation left out.

    Alt: Stacked horizontal bars of slots that hold a token, that will, and that never will. 2,048
    reserved: 23, 16 and 61%. Output rounded to a power of two: 44, 30 and 26%. Own length: 60, 40
    and 0%. Blocks of 16: 98.5% hold a token. Measured ticks lie within three points of each border.
    """
    figure.set_size_inches(5.8, 3.0)
    axes = figure.subplots()
    bars = dict(_reserved())
    use = paged_use(*_requests(20_000), BLOCK_TOKENS)
    bars[f"blocks of {BLOCK_TOKENS}"] = (use, 0.0, 1 - use)
    for place, (name, shares) in enumerate(bars.items()):
        left = 0.0
        for share, colour in zip(shares, ("C0", "C1", "C3"), strict=True):
            axes.barh(-place, 100 * share, left=100 * left, color=colour, height=0.62, alpha=0.5)
            if share > 0.1:
                middle = (100 * (left + share / 2), -place)
                text = f"{100 * share:.1f}%" if share > 0.9 else f"{100 * share:.0f}%"
                axes.annotate(text, middle, ha="center", va="center")
            left += share
        measured = np.array(MEASURED.get(name, (MEASURED_PAGED, 0.0, 100 - MEASURED_PAGED)))
        borders = 100 * np.cumsum(measured)[:2] / measured.sum()
        borders = borders[borders < 99]
        axes.plot(
            borders,
            np.full(borders.size, -place),
            "|",
            color="C4",
            markersize=19,
            markeredgewidth=1.6,
        )
    axes.set_yticks([-place for place in range(len(bars))], list(bars))
    for x, label, colour in ((0, "holds a token", "C0"), (35, "will hold one", "C1")):
        axes.annotate(label, (x, 0.52), color=colour)
    axes.annotate("never will", (72, 0.52), color="C3")
    axes.set(xlim=(0, 100), ylim=(-3.5, 0.9), ylabel="memory given to a request")
    axes.set(xlabel="share of allocated slots over time [%]")
    axes.grid(axis="y", visible=False)


def check_measured_shares() -> None:
    """Three ways to reserve waste what was measured, within three points and without a fitted
    constant.

    Source: Kwon et al. (2023), figure 2, shares of the cache of OPT-13B that hold tokens, are
    reserved for later ones or never used, divided by their sum to leave external fragmentation out.
    """
    for name, shares in _reserved().items():
        measured = np.array(MEASURED[name])
        expected = 100 * measured / measured.sum()
        checks.close(name, 100 * np.array(shares), expected, atol=3.0, kind="published")


def check_reservations_and_blocks() -> None:
    """Reserving 2,048 slots uses 24.4% of them for ShareGPT's mean lengths, blocks of 16 use 98.5%.

    Source: 499.3/2048 and 499.3/(499.3 + 7.5), half a block empty on average; for geometric
    lengths, whose time average is the mean length less the token not yet cached, drawn requests
    with a standard error from 32 batches.
    """
    length = PROMPT_TOKENS + OUTPUT_TOKENS
    checks.close("reserved", 100 * length / RESERVED_TOKENS, 24.4, atol=0.05, kind="published")
    checks.close("blocks of 16", 100 * length / (length + 7.5), 98.5, atol=0.05, kind="published")
    rng = np.random.default_rng(171)
    prompts = rng.geometric(1 / PROMPT_TOKENS, (32, 2000))
    outputs = rng.geometric(1 / OUTPUT_TOKENS, (32, 2000))
    for label, expected, shares in (
        (
            "reserved, drawn",
            (length - 1) / 8192,
            [slot_shares(p, o, 8192)[0] for p, o in zip(prompts, outputs, strict=True)],
        ),
        (
            "blocks, drawn",
            (length - 1) / (length + 6.5),
            [paged_use(p, o, BLOCK_TOKENS) for p, o in zip(prompts, outputs, strict=True)],
        ),
    ):
        error = float(np.std(shares, ddof=1) / math.sqrt(32))
        checks.close(label, np.mean(shares), expected, atol=3 * error + 2e-4, kind="simulation")


def check_blocks_are_full_in_real_conversations() -> None:
    """Blocks of 16 hold tokens in 99% of their slots with the lengths of a real trace, and blocks
    of 128 in nine tenths or more, where long prompts have long answers too.

    Source: the chat machine's lengths, drawn like the Azure trace's.
    """
    own = CHAT.sample
    for size, low in ((16, 0.985), (128, 0.9)):
        use = paged_use(own.prompt_tokens, own.output_tokens, size)
        checks.inside(f"blocks of {size}", use, low, 1.0)


def check_paging_against_steps() -> None:
    """Slots summed in closed form equal slots counted step by step.

    Source: a loop over every step of 200 requests.
    """
    prompts, outputs = (lengths[:200] for lengths in _requests(300))
    used = blocks = reserved = 0
    for prompt, output in zip(prompts.tolist(), outputs.tolist(), strict=True):
        for held in range(prompt, prompt + output):
            used += held
            blocks += 16 * math.ceil(held / 16)
            reserved += 2048
    checks.close("paged", paged_use(prompts, outputs, 16), used / blocks, rtol=1e-13)
    checks.close("reserved", slot_shares(prompts, outputs, 2048)[0], used / reserved, rtol=1e-13)


def check_bad_input_is_refused() -> None:
    """Half tokens, too few slots, other shapes and an empty block are errors that name the
    argument.
    """
    checks.raises("slots", slot_shares, [5], [5], 8, match="slots must be finite and at least")
    checks.raises("shapes", slot_shares, [5], [5, 6], 99, match="outputs must be of shape (1,)")
    checks.raises("NaN", paged_use, [math.nan], [5], 4, match="prompts must be positive integers")
    checks.raises("block", paged_use, [5], [5], 0, match="block_tokens must be a positive integer")
