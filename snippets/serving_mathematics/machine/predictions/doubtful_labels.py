"""Doubtful labels: runs that two labels read as two deployments, and that take as long.

Where a run's label counts an engine's devices twice, the reading takes its attention to be in
parallel over data. If that is what was run, a token takes another time than with plain tensor
parallelism, as it does where a label is plain. Of some models it does not, at any load.

Assumes: runs that agree in model, device, engine, precision, lengths and load differ in the split.

Source: `records/machine_runs.json.gz`, from aiconfigurator-core 0.12.0; the rules of `run_reading`.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.hardware.run_reading import read_lines, read_runs
from serving_mathematics.support import checks

TWICE = (("Kimi-K2.5", "b200_sxm"), ("MiniMax-M2.5", "h100_sxm"))
PLAIN = (("DeepSeek-V3, R1", "b200_sxm"),)
ALIKE = 0.05


@cache
def _ratios(model: str, system: str) -> list[float]:
    """Times per token with tensor parallelism over those with attention over data, alike else."""
    rows = [
        row
        for row in read_lines()
        if row["mode"] == "agg" and row["system"] == system and row["model"].count(model[:6])
    ]
    alike: dict[tuple[object, ...], dict[bool, list[float]]] = {}
    for run in read_runs(rows):
        one = run.answers
        if run.family != model or run.kind != "engine" or one.devices == 1:
            continue
        if one.devices in (one.tensor, one.attention_data):
            key = (
                *(one.backend, one.precision, one.devices, one.pipeline, one.draft_tokens),
                *(one.concurrency, one.mean_input_tokens, one.mean_output_tokens),
            )
            ways = alike.setdefault(key, {})
            ways.setdefault(one.tensor == one.devices, []).append(run.per_token_s)
    return [
        float(np.median(ways[True]) / np.median(ways[False]))
        for ways in alike.values()
        if len(ways) == 2
    ]


def _alike(ratios: list[float]) -> int:
    return sum(abs(ratio - 1) <= ALIKE for ratio in ratios)


def example() -> SimpleNamespace:
    """Numbers of the page."""
    ratios = [ratio for label in TWICE for ratio in _ratios(*label)]
    return SimpleNamespace(label_pairs=len(ratios), label_alike=_alike(ratios))


def check_the_label_makes_no_difference() -> None:
    """Four in five pairs or more take as long, to a twentieth, where a label counts devices twice,
    and one in five at most where it is plain.

    Source: runs of Kimi K2.5, MiniMax M2.5 and DeepSeek models in the record.
    """
    for labels, least, most in ((TWICE, 0.8, 1.0), (PLAIN, 0.0, 0.2)):
        for label in labels:
            ratios = _ratios(*label)
            share = _alike(ratios) / len(ratios)
            name = f"{' on '.join(label)}, {len(ratios)} pairs: share alike"
            checks.inside(name, share, least, most, kind="measured")
