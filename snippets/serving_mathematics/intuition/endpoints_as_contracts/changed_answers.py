"""What moves the answers of a model though no schema shows it, measured on an engine.

The likeliest tokens of a small language model, asked the same questions before and after each
change. A changed answer is another one, not a worse one: an evaluation has to say which.

Assumes: likeliest tokens, a small model, one engine on a processor; the questions stand for
others.

Source: measurement, made by `python -m serving_mathematics.engine.answers_measurement`; Wilson
(1927) for the intervals.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.core.queues.shares import wilson_interval
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import read_record

RECORD = "changed_answers"


@functools.cache
def _record() -> tuple[dict[str, Any], dict[str, list[int]]]:
    """The record, and for each change the places at which answers part from those before."""
    record = read_record(RECORD)
    rows = {
        row["change"]: [place for place in row["first_change"] if place is not None]
        for row in record["cases"]
    }
    return record, rows


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    record, rows = _record()
    asked = record["asked"]
    return SimpleNamespace(
        asked_questions=asked["questions"],
        asked_together=asked["together"],
        changed_chunks=100 * len(rows["prompts in small chunks"]) / asked["questions"],
    )


def figure_changed_answers(figure: Figure) -> None:
    """Weights in eight bits change most answers of a small model, and a cache in eight bits half of
    them; asking again, or one question at a time, changes none on this engine.

    Lines on the bars are 95% intervals.

    Alt: Horizontal bars, one for each change. The bar of weights in four bits reaches nearly to the
    right end, those of another system message and of weights in eight bits most of the way, and
    that of a cache in eight bits half of it; small chunks of prompts have a short bar, and the two
    other changes none.
    """
    record, rows = _record()
    asked = record["asked"]["questions"]
    figure.set_size_inches(5.8, 3.0)
    axes = figure.subplots()
    for row, places in enumerate(sorted(rows.values(), key=len)):
        share = len(places) / asked
        interval = wilson_interval(len(places), asked)
        axes.barh(row, 100 * share, color="C0", height=0.6)
        axes.hlines(row, 100 * interval.low, 100 * interval.high, color="C1", linewidth=2)
    axes.set_yticks(range(len(rows)), sorted(rows, key=lambda one: len(rows[one])))
    axes.set(xlim=(0, 100), xlabel="answers that differ [%]")
    axes.set_ylabel("change of engine or prompt")
    axes.grid(False, axis="y")


def check_record_agrees_with_itself() -> None:
    """A question asked again gets the same answer, and a coarser format changes more answers.

    Source: the record; rounding to fewer bits is the larger change.
    """
    record, rows = _record()
    asked = record["asked"]
    sizes = {len(row["first_change"]) for row in record["cases"]}
    checks.equal("questions of each change", sizes, {asked["questions"]}, kind="measured")
    checks.equal("asked again", len(rows["nothing, asked again"]), 0, kind="measured")
    eight, four = (rows[f"weights in {bits} bits"] for bits in (8, 4))
    checks.holds("four bits change no fewer than eight", len(four) >= len(eight))
    checks.holds("and earlier", float(np.median(four)) <= float(np.median(eight)))
    inside = [0 <= place <= asked["tokens"] for places in rows.values() for place in places]
    checks.holds("places within the answers", all(inside))
