"""One deployment under two labels: what a label that counts devices twice means.

Where a run's label has `dp` = `tp` and `ep` = `tp`^2, attention may be in parallel over groups of
`dp`, or `tp` devices may share it, with the width of the experts entered twice. Some of these runs
are in the record a second time, to the digit, under a label with `dp` = 1; and of the others most
take as long as runs of that label. Where attention is in parallel over data, a token takes another
time.

Assumes: runs that agree in model, device, engine and its version, precision, lengths and load
differ in the split, and in the day.

Source: `records/machine_runs.json.gz`, from aiconfigurator-core 0.12.0; rule 4 of
`published_runs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
from serving_mathematics.support import checks

SAME = ("model", "system", "backend", "version", "precision", "isl", "osl", "concurrency", "tp")
APART = "DeepSeek-V3, R1"  # whose runs on TensorRT-LLM have attention over data
ALIKE = 0.05


def _twice(row: Mapping[str, str]) -> bool:
    """Whether a label counts its devices twice."""
    tp = int(row["tp"] or 1)
    return tp > 1 and row["dp"] == row["tp"] and row["ep"] == str(tp * tp)


@cache
def _pairs() -> tuple[list[float], int, int]:
    """Times per token with `dp` = 1 over those of labels that count twice, a pair for all that is
    the same else; how many runs are labelled so, and how many of them are there under both."""
    rows = [row for row in read_lines() if row["mode"] == "agg"]
    twice = [row for row in rows if _twice(row)]
    plain: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
    for row in rows:
        if row["dp"] == "1":
            plain.setdefault(tuple(row[key] for key in SAME), []).append(row)
    found: dict[tuple[str, ...], list[float]] = {}
    same = 0
    for row in twice:
        key = tuple(row[key] for key in SAME)
        others = plain.get(key, [])
        same += any(_latencies(one) == _latencies(row) for one in others)
        if others:
            found.setdefault(key, []).append(float(row["tpot_ms"]))
    ratios = [
        float(np.median([float(one["tpot_ms"]) for one in plain[key]]) / np.median(times))
        for key, times in found.items()
    ]
    return ratios, len(twice), same


def _latencies(row: Mapping[str, str]) -> tuple[str, str]:
    return f"{float(row['ttft_ms']):.4g}", f"{float(row['tpot_ms']):.4g}"


@cache
def _over_data() -> list[float]:
    """The same of runs of which one has attention over data, as no label leaves open."""
    alike: dict[tuple[object, ...], dict[bool, list[float]]] = {}
    for run in read_runs([row for row in read_lines() if "DeepSeek" in row["model"]]):
        one = run.answers
        if (run.family, run.kind) != (APART, "engine") or one.devices == 1:
            continue
        if one.devices in (one.tensor, one.attention_data):
            key = (
                *(one.system.name, one.backend, one.precision, one.devices, one.draft_tokens),
                *(one.concurrency, one.mean_input_tokens, one.mean_output_tokens),
            )
            ways = alike.setdefault(key, {})
            ways.setdefault(one.tensor == one.devices, []).append(run.per_token_s)
    pairs = [ways for ways in alike.values() if len(ways) == 2]
    return [float(np.median(ways[True]) / np.median(ways[False])) for ways in pairs]


def _alike(ratios: Sequence[float]) -> int:
    return sum(abs(ratio - 1) <= ALIKE for ratio in ratios)


def example() -> SimpleNamespace:
    """Numbers of the page."""
    return SimpleNamespace(label_runs=_pairs()[1])


def check_the_label_makes_no_difference() -> None:
    """Where a label counts devices twice, two in three pairs, and the median one, take equally long
    to a twentieth; with attention parallel over data, one in five at most.

    Source: runs of Kimi K2.5 and MiniMax M2.5 in the record; those of DeepSeek models.
    """
    ratios, _, _ = _pairs()
    share = _alike(ratios) / len(ratios)
    checks.close("pairs alike", share, 2 / 3, atol=0.05, kind="measured")
    checks.close("middle of the pairs", float(np.median(ratios)), 1.0, atol=0.03, kind="measured")
    apart = _over_data()
    checks.inside("over data, alike", _alike(apart) / len(apart), 0.0, 0.2, kind="measured")


def check_some_runs_have_both_labels() -> None:
    """A quarter of these runs are in the record under both labels, with latencies equal to four
    digits.

    Source: the record; Kimi K2.5 in four bits on four B200, a table of its own and two dumps.
    """
    _, runs, same = _pairs()
    checks.close("under both", same / runs, 0.25, atol=0.02, kind="measured")
