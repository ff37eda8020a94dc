"""What the streams of a real engine feel while a long prompt comes, with a large token budget and
with a small one.

Assumes: nothing of the machine; the milliseconds hold for the one that the record names.

Source: records/token_engine.json, written by `python -m
serving_mathematics.engine.engine_measurement`.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import read_record

RECORD = "token_engine"
PROMPT_TOKENS = 1000  # of the prompt that interrupts
STREAMS = 4


def example() -> SimpleNamespace:
    """Numbers quoted in the text, all from the record."""
    whole, small = read_record(RECORD)["interrupted"]
    return SimpleNamespace(
        real_whole_longest_ms=float(np.max(whole["gaps_ms"])),
        real_small_longest_ms=float(np.max(small["gaps_ms"])),
        real_whole_first_ms=whole["long_ttft_ms"],
        real_small_first_ms=small["long_ttft_ms"],
    )


def figure_interrupted_streams(figure: Figure) -> None:
    """A prompt of 1,000 tokens holds up every stream for the steps that compute it: twice and for
    long with a budget of 512 tokens, often and for less time with 64.

    Gaps between tokens of four streams of a real engine; the prompt comes after their 30th token.

    Alt: Two charts of the gap in milliseconds, logarithmic, against the number of the token, from 2
    to 80. Both are flat, and rise after token 30: above, with 512 tokens a step, to two or three
    high points; below, with 64 tokens a step, to a lower row of some twenty.
    """
    record = read_record(RECORD)
    figure.set_size_inches(5.8, 4.6)
    panels = figure.subplots(2, 1, sharex=True, sharey=True)
    for axes, run, colour in zip(panels, record["interrupted"], ("C3", "C0"), strict=True):
        gaps = np.array(run["gaps_ms"])
        for row in gaps:
            axes.semilogy(np.arange(2, gaps.shape[1] + 2), row, ".", color=colour, markersize=3)
        axes.annotate(f"{run['token_budget']} tokens a step", (55, gaps.max() * 0.6), color=colour)
        axes.set(xlabel="token", ylabel="gap [ms]", yticks=[10, 20, 50, 100, 200])
        axes.minorticks_off()


def check_a_prompt_takes_steps_in_proportion_to_the_budget() -> None:
    """The prompt's tokens, divided by what decoding leaves of the budget, give the number of its
    steps, and that many gaps are longer than twice the median.

    Source: 1,000 tokens over the budget less four; the record.
    """
    for run in read_record(RECORD)["interrupted"]:
        gaps = np.array(run["gaps_ms"])
        steps = -(-PROMPT_TOKENS // (run["token_budget"] - STREAMS))
        long = int((gaps[0] > 2 * np.median(gaps)).sum())
        label = f"{run['token_budget']} tokens a step: long gaps"
        checks.inside(label, long, steps - 1, steps + 2, kind="measured")


def check_a_small_budget_shortens_the_longest_gap() -> None:
    """With an eighth of the budget, the longest gap is shorter by at least half, and the first
    token of the prompt that interrupts comes later.

    Source: the record.
    """
    whole, small = read_record(RECORD)["interrupted"]
    ratio = np.max(small["gaps_ms"]) / np.max(whole["gaps_ms"])
    checks.inside("longest gap, small over large", ratio, 0, 0.5)
    later = small["long_ttft_ms"] / whole["long_ttft_ms"]
    checks.inside("first token, small over large", later, 1, 10)
