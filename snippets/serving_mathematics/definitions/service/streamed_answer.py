"""A streamed answer has no single latency: it has a first token, gaps, a random length and an end.

With P(m) the chance of m tokens and g the law of a gap, the end comes m − 1 gaps after the first
token, so that the law of the end is that of the first token convolved with Σ_m P(m)·g^{*(m−1)}. A
gap may be the last one without being the end: what fails there is an answer that is cut off.

Assumes: gaps are independent of each other, of the length and of the first token; in one engine
they share steps, so that this is the law at one load.

Source: Feller (1968), chapter XII, for sums of a random number of terms; the grid of the chapter.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.definitions.service.service import (
    Service,
    answer_quantile,
    in_sequence,
    on_grid,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_floats, require, require_work

FloatArray = npt.NDArray[np.float64]


def streamed(first: Service, gap: Service, lengths: npt.ArrayLike) -> Service:
    """The end of a streamed answer: its first token, and a gap before each further one.

    first: until the first token; gap: from a token to the next, on the same grid; what fails in it
    cuts the answer off. lengths: probability of 1, 2, … tokens, shape (m,), of sum 1. A gap's cost
    is paid for each gap that begins. Raises ValueError on different grids and other lengths.

    >>> first = Service(np.array([0, 1.0, 0, 0]), np.zeros(4), step_s=1.0, cost=5.0)
    >>> gap = Service(np.array([0, 0.5, 0, 0]), np.array([0, 0.5, 0, 0]), step_s=1.0, cost=1.0)
    >>> whole = streamed(first, gap, lengths=[0.5, 0.5])
    >>> whole.ok.tolist(), whole.failed.tolist(), whole.cost
    ([0.0, 0.5, 0.25, 0.0], [0.0, 0.0, 0.25, 0.0], 5.5)
    """
    chances = as_floats(lengths=lengths)
    one_line = chances.ndim == 1 and chances.size > 0
    require(one_line and bool(np.all(chances >= 0)), "lengths", "non-negative (m,)", chances)
    require(abs(float(chances.sum()) - 1) <= 1e-9, "lengths", "of sum 1", float(chances.sum()))
    same = first.ok.size == gap.ok.size and first.step_s == gap.step_s
    require(same, "gap", "on the grid of first", (gap.ok.size, gap.step_s))
    cells, used = first.ok.size, 1 + int(np.max(np.nonzero(gap.ok)[0], initial=0))
    require_work(cells * used * chances.size / 10, cells=cells, lengths=chances.size)
    going = 1 - np.cumsum(chances)  # more than 1, 2, … tokens
    ended, open_, begun = np.zeros(cells), np.zeros(cells), 0.0
    for here, on in zip(chances[::-1].tolist(), going[::-1].tolist(), strict=True):
        ended = np.convolve(ended, gap.ok[:used])[:cells]
        open_ = np.convolve(open_, gap.ok[:used])[:cells]
        ended[0] += here
        open_[0] += max(on, 0.0)
        begun = max(on, 0.0) + float(gap.ok.sum()) * begun
    after = np.convolve(open_, gap.failed)[:cells]  # cut off, from the first token on
    return Service(
        np.convolve(first.ok, ended)[:cells],
        first.failed + np.convolve(first.ok, after)[:cells],
        first.step_s,
        first.cost + float(first.ok.sum()) * gap.cost * begun,
    )


STEP_S, CELLS = 0.004, 1500  # 6 s
RETRIEVE_S, PREFILL_S, GAP_S, CUT = 0.06, 0.2, 0.02, 0.0002  # means; a share of gaps cuts off
MEAN_TOKENS, MOST_TOKENS, TOOL_S = 50, 200, 0.1  # the mean without the limit


def _exponential(mean_s: float, failing: float = 0.0) -> Service:
    masses = on_grid(lambda t: -np.expm1(-t / mean_s), STEP_S, CELLS)
    masses[masses < 1e-12] = 0.0
    return Service((1 - failing) * masses, failing * masses, STEP_S, 0.0)


def _lengths() -> FloatArray:
    """Geometric with a limit, at which longer answers end."""
    tokens = np.arange(MOST_TOKENS)
    chances = (1 - 1 / MEAN_TOKENS) ** tokens / MEAN_TOKENS
    chances[-1] = (1 - 1 / MEAN_TOKENS) ** (MOST_TOKENS - 1)
    return chances


@functools.cache
def _pipeline() -> tuple[Service, Service]:
    """First token and end of: retrieve, read the prompt, decode."""
    first = in_sequence(_exponential(RETRIEVE_S), _exponential(PREFILL_S))
    return first, streamed(first, _exponential(GAP_S, CUT), _lengths())


def example() -> SimpleNamespace:
    """Numbers of the pipeline quoted in the text."""
    first, end = _pipeline()
    with_tool = in_sequence(end, _exponential(TOOL_S))
    return SimpleNamespace(
        retrieve_ms=1000 * RETRIEVE_S,
        prefill_ms=1000 * PREFILL_S,
        gap_ms=1000 * GAP_S,
        tool_ms=1000 * TOOL_S,
        gaps_to_a_cut=round(1 / CUT),
        mean_tokens=float(_lengths() @ np.arange(1, MOST_TOKENS + 1)),
        most_tokens=MOST_TOKENS,
        first_p90_ms=1000 * answer_quantile(first, 0.9),
        end_p90_s=answer_quantile(end, 0.9),
        tool_p90_s=answer_quantile(with_tool, 0.9),
        cut_percent=100 * float(end.failed.sum()),
    )


def check_stream_is_simulated() -> None:
    """The law of the end agrees with answers that are drawn token by token.

    Source: 56,000 simulated answers; shares that have ended well, or been cut off, by several
    times; batch means of independent draws.
    """
    rng, size = np.random.default_rng(17), 56_000
    tokens = np.minimum(rng.geometric(1 / MEAN_TOKENS, size), MOST_TOKENS)
    cut = rng.geometric(CUT, size)  # the gap that cuts it off
    gaps = np.minimum(tokens - 1, cut)
    drawn = rng.exponential(RETRIEVE_S, size) + rng.exponential(PREFILL_S, size)
    drawn += rng.gamma(np.maximum(gaps, 1e-9)) * GAP_S
    _, end = _pipeline()
    for time in (0.5, 1.0, 2.0, 4.0):
        for label, masses, ends in (
            ("whole", end.ok, cut >= tokens),
            ("cut off", end.failed, cut < tokens),
        ):
            got = float(masses[: round(time / STEP_S)].sum() + masses[round(time / STEP_S)] / 2)
            estimate = batch_means(((drawn <= time) & ends).astype(float))
            checks.close(
                f"{label} by {time:g} s",
                got,
                estimate.mean,
                atol=3 * estimate.standard_error + 1e-3,
                kind="simulation",
            )


def check_single_tokens_and_fixed_lengths() -> None:
    """One token ends with the first one; m tokens end after m − 1 gaps in sequence.

    Source: the chapter's composition in sequence, gap by gap.
    """
    first, gap = _exponential(0.1), _exponential(0.05, 0.01)
    checks.close("one token", streamed(first, gap, [1.0]).ok, first.ok, atol=1e-15)
    three = in_sequence(in_sequence(first, gap), gap)
    got = streamed(first, gap, [0.0, 0.0, 1.0])
    checks.close("three tokens", got.ok, three.ok, atol=1e-14)
    checks.close("three tokens, cut off", got.failed, three.failed, atol=1e-14)


def check_bad_input_is_refused() -> None:
    """Lengths that are no distribution and grids that differ are errors."""
    first = _exponential(0.1)
    other = Service(np.array([0.5, 0.5]), np.zeros(2), STEP_S, 0.0)
    checks.raises("sum", streamed, first, first, [0.5, 0.4], match="lengths must be of sum 1")
    checks.raises("none", streamed, first, first, [], match="lengths must be non-negative (m,)")
    checks.raises("grid", streamed, first, other, [1.0], match="gap must be on the grid of first")
