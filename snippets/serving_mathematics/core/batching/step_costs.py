"""What a step costs, from measured steps, and how far a prediction made of it is off.

A step of p prompt tokens, b decoding sequences and c tokens of their context takes

    t = β + α_p·p + α·b + γ·c,

and π more for each of the pairs of prompt tokens of which one attends to the other, where these are
counted. Fitted by least squares to relative errors, so that a step of 10 ms counts as much as one
of 300. Costs are not negative: a term that would be is left out.

An engine may also take longer for a step with another number of tokens than the step before. A grid
that repeats each step does not show that; steps taken in turns do.

Assumes: a quiet machine, and costs that do not change; the residuals tell.

Source: the step of the handbook's `continuous_batching`; least squares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Engine, StepTable
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import STUDENT_T_975
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_finite,
    require_all_positive,
)

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StepCosts:
    """Seconds of a step, a prompt token, a decoding sequence, a token of context, and a pair of
    prompt tokens; and what is left: the median and the largest error of a step relative to what was
    measured."""

    step_s: float
    prompt_token_s: float
    decode_token_s: float
    context_token_s: float
    median_error: float
    largest_error: float
    pair_s: float = 0.0

    def predict_s(self, tokens: npt.ArrayLike) -> FloatArray:
        """Times of steps [s], shape (n,), from their prompt tokens, decoding sequences, context and
        pairs, shape (n, 4); without pairs (n, 3)."""
        rows = as_floats(tokens=tokens)
        costs = [self.prompt_token_s, self.decode_token_s, self.context_token_s, self.pair_s]
        return np.asarray(self.step_s + rows @ np.array(costs[: rows.shape[1]]))

    def engine(
        self,
        *,
        kv_blocks: int,
        block_tokens: int,
        token_budget: int,
        max_sequences: int,
        context_tokens: int,
        change_s: float = 0.0,
    ) -> Engine:
        """The engine that the simulators run, with these costs and the given limits.

        context_tokens: of a request at most. change_s: what a step with another number of tokens
        than the one before takes longer [s]. The rest as for `Engine`, which refuses what is none.
        """
        lengths = np.arange(context_tokens + 1.0)
        table = StepTable(
            np.zeros(max_sequences + 1), self.pair_s * lengths * (lengths + 1) / 2, 0.0, change_s
        )
        return Engine(
            self.step_s,
            self.prompt_token_s,
            self.decode_token_s,
            self.context_token_s,
            kv_blocks,
            block_tokens,
            token_budget,
            max_sequences,
            table,
        )


def fit_costs(tokens: npt.ArrayLike, step_s: npt.ArrayLike) -> StepCosts:
    """The costs that measured steps show.

    tokens: prompt tokens, decoding sequences and tokens of context of each step, shape (n, 3),
    n ≥ 4; with pairs of prompt tokens shape (n, 4), n ≥ 5. step_s: their times [s], positive, shape
    (n,). Raises ValueError on other shapes or numbers, and when the steps do not tell the costs
    apart.

    >>> steps = [[0, 1, 10], [0, 2, 10], [0, 1, 20], [4, 1, 10]]
    >>> costs = fit_costs(steps, [4.0, 5.0, 5.0, 6.0])
    >>> [round(cost, 9) for cost in (costs.step_s, costs.prompt_token_s, costs.decode_token_s)]
    [2.0, 0.5, 1.0]
    """
    rows, times = as_floats(tokens=tokens), as_floats(step_s=step_s)
    shaped = rows.ndim == 2 and rows.shape[1] in (3, 4) and rows.shape[0] > rows.shape[1]
    require(shaped, "tokens", "of shape (n, 3), n ≥ 4, or (n, 4), n ≥ 5", rows.shape)
    require(times.shape == rows.shape[:1], "step_s", f"of shape {rows.shape[:1]}", times.shape)
    require_all_finite(tokens=rows)
    require_all_positive(step_s=times)
    terms = np.column_stack([np.ones(len(times)), rows]) / times[:, None]
    size = terms.shape[1]
    rank = int(np.linalg.matrix_rank(terms))
    require(rank == size, "tokens", f"steps that tell {size} costs apart", f"rank {rank}")
    kept, costs = np.ones(size, dtype=bool), np.zeros(size)
    while True:
        costs[:] = 0
        costs[kept] = np.linalg.lstsq(terms[:, kept], np.ones(len(times)), rcond=None)[0]
        if not np.any(costs < 0):
            break
        kept[int(np.argmin(costs))] = False
    errors = np.abs(terms @ costs - 1)
    step, prompt, decode, context, *pair = costs.tolist()
    left = float(np.median(errors)), float(errors.max())
    return StepCosts(step, prompt, decode, context, *left, *pair)


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float]:
    """The mean of three to five independent runs and half of its 95% interval by Student's t.

    values: one of each run. Raises ValueError on another number of them, or one not finite.

    >>> mean, half = mean_and_half_width([1.0, 2.0, 3.0])
    >>> mean, round(half, 3)  # 4.303/√3
    (2.0, 2.484)
    """
    sample = as_floats(values=values)
    known = sample.ndim == 1 and sample.size - 1 in STUDENT_T_975
    require(known, "values", "of three to five runs", sample.shape)
    require_all_finite(values=sample)
    half = STUDENT_T_975[sample.size - 1] * sample.std(ddof=1) / math.sqrt(sample.size)
    return float(sample.mean()), float(half)


def check_costs_are_found_again() -> None:
    """From steps whose times follow the sum the fit finds the costs; noise of 3% in each of 200
    steps moves a predicted step by less than 3%.

    Source: costs chosen beforehand; the noise is drawn.
    """
    rng = np.random.default_rng(4)
    rows = np.column_stack(
        [rng.integers(0, 512, 200), rng.integers(1, 32, 200), rng.integers(64, 20_000, 200)]
    )
    known = StepCosts(7e-3, 5e-4, 1.5e-3, 2e-6, 0.0, 0.0)
    exact = fit_costs(rows, known.predict_s(rows))
    got = exact.step_s, exact.prompt_token_s, exact.decode_token_s, exact.context_token_s
    checks.close("costs", got, [7e-3, 5e-4, 1.5e-3, 2e-6], rtol=1e-9)
    noisy = fit_costs(rows, known.predict_s(rows) * rng.normal(1, 0.03, 200))
    squares = np.column_stack([rows, rows[:, 0] * (rows[:, 0] + 1) / 2])
    bent = replace(known, pair_s=4e-7)
    found = fit_costs(squares, bent.predict_s(squares))
    checks.close("a pair", found.pair_s, 4e-7, rtol=1e-6)
    ratio = noisy.predict_s(rows) / known.predict_s(rows)
    checks.close("predicted over true step", ratio, np.ones(200), atol=0.03, kind="simulation")
    due = 0.6745 * 0.03  # the median size of what was drawn
    checks.close("median residual", noisy.median_error, due, rtol=0.2, kind="simulation")


def check_no_cost_is_negative() -> None:
    """Steps that become shorter with their context have no cost of context.

    Source: four steps written by hand; without context the other three costs fit three of them.
    """
    costs = fit_costs([[0, 1, 0], [0, 2, 0], [4, 1, 0], [0, 1, 100]], [3.0, 4.0, 5.0, 2.9])
    checks.equal("context", costs.context_token_s, 0.0)
    checks.close("a decoding sequence", costs.decode_token_s, 1.0, atol=0.06)
