"""In blocks, at most B − 1 slots of a sequence are empty.

A request takes one step per output token and holds prompt + k − 1 tokens in step k, so that over
time a request counts as often as its output is long. Blocks of B tokens, taken when they are
needed, waste half a block per sequence on average.

Assumes: steps of equal length, memory given back with the last step, blocks of any place fit
anywhere.

Source: Kwon et al. (2023), section 4.1.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_positive_integer,
    require_shape,
)

FloatArray = npt.NDArray[np.float64]

BLOCK_TOKENS = 16  # block size of vLLM up to 0.33
LARGER_TOKENS = 64  # and from 0.34 on, config/cache.py


def _lengths(prompts: npt.ArrayLike, outputs: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both as float arrays of one shape (n,), or a ValueError."""
    p, o = as_floats(prompts=prompts), as_floats(outputs=outputs)
    require(p.ndim == 1 and p.size > 0, "prompts", "a non-empty (n,) array", p.shape)
    require_shape(p.shape, outputs=o)
    for name, counts in (("prompts", p), ("outputs", o)):
        whole = (counts >= 1) & (counts < 2**31) & (counts % 1 == 0)
        require(whole, name, "positive integers below 2³¹", counts)
    return p, o


def paged_use(prompts: npt.ArrayLike, outputs: npt.ArrayLike, block_tokens: int) -> float:
    """Share of the allocated slots that hold a token, over time, with blocks taken as needed.

    prompts, outputs: tokens of each request, positive integers, shape (n,). block_tokens: B, a
    positive integer. A request takes one step per output token and holds prompt + k − 1 tokens in
    step k, so it counts as often as its output is long. Raises ValueError on other input.

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


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    own = CHAT.sample
    use, less = (
        paged_use(own.prompt_tokens, own.output_tokens, size)
        for size in (BLOCK_TOKENS, LARGER_TOKENS)
    )
    return SimpleNamespace(chat_paged_percent=100 * use, chat_larger_percent=100 * less)


def check_half_a_block_is_empty() -> None:
    """Blocks of 16 use 98.5% of their slots for ShareGPT's mean lengths.

    Source: Kwon et al. (2023), figure 11, 161.31 and 337.99 tokens; half a block empty on average:
    for geometric lengths, whose time average is the mean length less the token not yet cached,
    drawn requests with a standard error from 32 batches.
    """
    rng = np.random.default_rng(171)
    prompts = rng.geometric(1 / 161.31, (32, 2000))
    outputs = rng.geometric(1 / 337.99, (32, 2000))
    shares = [paged_use(p, o, BLOCK_TOKENS) for p, o in zip(prompts, outputs, strict=True)]
    held = 161.31 + 337.99 - 1
    atol = 3 * float(np.std(shares, ddof=1)) / math.sqrt(32) + 2e-4
    checks.close("drawn", np.mean(shares), held / (held + 7.5), atol=atol, kind="simulation")


def check_paging_against_steps() -> None:
    """Slots summed in closed form equal slots counted step by step.

    Source: a loop over every step of 200 requests of the chat machine.
    """
    own = CHAT.sample
    prompts, outputs = own.prompt_tokens[:200], own.output_tokens[:200]
    used = blocks = 0
    for prompt, output in zip(prompts.tolist(), outputs.tolist(), strict=True):
        for held in range(prompt, prompt + output):
            used += held
            blocks += 16 * math.ceil(held / 16)
    checks.close("paged", paged_use(prompts, outputs, 16), used / blocks, rtol=1e-13)
