"""The step of a real engine against its batch: what was measured, and the sum that was fitted.

A step that decodes b sequences with c tokens of context takes β + αb + γc. The grid has steps of 1
to 32 sequences with three lengths of context; the costs are those that the page of the engine fits
to all of its grid, prompts included.

Assumes: nothing of the machine; the milliseconds hold for the one that the record names.

Source: records/token_engine.json, written by `python -m
serving_mathematics.engine.engine_measurement`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.step_costs import StepCosts
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
RECORD = "token_engine"
MOST = 0.2  # of a decode step, that the sum may be off


def decode_steps_s(record: dict[str, Any]) -> FloatArray:
    """Sequences, tokens of context, measured and fitted time [s] of the grid's steps without a
    prompt, shape (n, 4).

    record: with the grid under `calibration`.

    >>> costs = {"step_s": 1.0, "prompt_token_s": 0.0, "decode_token_s": 0.5,
    ...          "context_token_s": 0.25, "median_error": 0.0, "largest_error": 0.0}
    >>> rows = [{"prompt_tokens": 0, "decoding": 2, "context_tokens": 8, "step_s": 4.5},
    ...         {"prompt_tokens": 9, "decoding": 0, "context_tokens": 0, "step_s": 7.0}]
    >>> decode_steps_s({"calibration": {"costs": costs, "rows": rows}}).tolist()
    [[2.0, 8.0, 4.5, 4.0]]
    """
    costs = StepCosts(**record["calibration"]["costs"])
    rows = [row for row in record["calibration"]["rows"] if not row["prompt_tokens"]]
    seen = [[row["decoding"], row["context_tokens"], row["step_s"]] for row in rows]
    tokens = [[0, decoding, context] for decoding, context, _ in seen]
    return np.column_stack([np.array(seen, dtype=float), costs.predict_s(tokens)])


def example() -> SimpleNamespace:
    """Numbers quoted in the text, all from the record."""
    record = read_record(RECORD)
    costs = StepCosts(**record["calibration"]["costs"])
    steps = decode_steps_s(record)
    errors = np.abs(steps[:, 3] / steps[:, 2] - 1)
    one, full = (steps[steps[:, 0] == most, 2] for most in (1, steps[:, 0].max()))
    return SimpleNamespace(
        real_step_ms=1000 * costs.step_s,
        real_sequence_ms=1000 * costs.decode_token_s,
        real_context_us=1e6 * costs.context_token_s,
        real_batch_largest=int(steps[:, 0].max()),
        real_one_ms=1000 * float(one.min()),
        real_full_ms=1000 * float(full.min()),
        real_gain=float(steps[:, 0].max() * one.min() / full.min()),
        real_error_percent=100 * float(np.median(errors)),
        real_worst_percent=100 * float(errors.max()),
    )


def figure_real_steps(figure: Figure) -> None:
    """A step of a real engine grows with its batch and with what the batch has read.

    Points are measured, lines are the fitted sum at the same context.

    Alt: Chart of step time in milliseconds against decoding sequences from 1 to 32, with three rows
    of points for short, middle and long contexts. Each row rises nearly along its line; the row of
    long contexts is the steepest.
    """
    steps = decode_steps_s(read_record(RECORD))
    each = steps[:, 1] / steps[:, 0]
    axes = figure.subplots()
    for (low, high), colour, label, away in (
        ((0, 80), "C0", "short", -22),
        ((80, 300), "C2", "middle", 8),
        ((300, 4000), "C3", "long", 8),
    ):
        mine = steps[(low <= each) & (each < high)]
        mine = mine[np.argsort(mine[:, 0], kind="stable")]
        axes.plot(mine[:, 0], 1000 * mine[:, 2], "o", color=colour)
        axes.plot(mine[:, 0], 1000 * mine[:, 3], color=colour)
        middle = float(np.median(mine[:, 1] / mine[:, 0]))
        axes.annotate(
            f"{label}: {middle:.0f} tokens each",
            (mine[-1, 0], 1000 * mine[-1, 3]),
            (-6, away),
            textcoords="offset points",
            ha="right",
            color=colour,
        )
    axes.set(xlabel="decoding sequences [1]", ylabel="step [ms]", ylim=(0, None))


def check_the_sum_holds_for_every_batch() -> None:
    """From 1 to 32 sequences no measured decode step is further from the fitted sum than a fifth.

    Source: the record; the fit minimizes squares over prompts as well, not this largest error.
    """
    steps = decode_steps_s(read_record(RECORD))
    for sequences in np.unique(steps[:, 0]):
        ratios = (steps[:, 3] / steps[:, 2])[steps[:, 0] == sequences]
        label = f"{sequences:.0f} sequences: fitted over measured"
        checks.close(label, ratios, np.ones(ratios.size), atol=MOST, kind="measured")


def check_a_batch_shares_the_step() -> None:
    """A step of the largest batch takes less than a third of the time that its sequences would take
    one by one.

    Source: the record; the shortest contexts of both.
    """
    steps = decode_steps_s(read_record(RECORD))
    most = steps[:, 0].max()
    one, full = (steps[steps[:, 0] == size, 2].min() for size in (1.0, most))
    checks.inside("of the time one by one", full / (most * one), 0.0, 1 / 3, kind="measured")
