"""Doubtful labels: pairs against the raw rows of the record, and how they are read."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
from serving_mathematics.machine.predictions.doubtful_labels import (
    ALIKE,
    _alike,
    _pairs,
    _twice,
    example,
)


def test_counts_of_the_page() -> None:
    ratios, runs, same = _pairs()
    assert (example().label_runs, runs, same, len(ratios)) == (97, 97, 24, 61)
    assert _alike(ratios) == int((np.abs(np.array(ratios) - 1) <= ALIKE).sum())
    assert _alike([1.0, 1.04, 0.96, 1.06, 0.94]) == 3


def test_a_pair_is_two_labels_of_the_record() -> None:
    """With 64 requests of 1,024 and 1,024 tokens: the medians of rows told by their columns."""
    rows = [
        row
        for row in read_lines()
        if "Kimi" in row["model"]
        and (row["system"], row["mode"], row["precision"]) == ("b200_sxm", "agg", "fp4")
        and (row["concurrency"], row["isl"], row["osl"]) == ("64", "1024", "1024")
        and (row["version"], row["tp"]) == ("0.17.0", "4")
    ]
    twice = [float(row["tpot_ms"]) for row in rows if row["dp"] == "4"]
    plain = [float(row["tpot_ms"]) for row in rows if row["dp"] == "1"]
    assert twice
    assert plain
    wanted = np.median(plain) / np.median(twice)
    assert min(abs(ratio / wanted - 1) for ratio in _pairs()[0]) < 1e-9
    assert wanted == pytest.approx(1, abs=ALIKE)


def test_what_is_there_under_both_labels_is_read_as_one_deployment() -> None:
    """A run whose latencies stand under a plain label, too, has that label's split."""
    rows = [row for row in read_lines() if row["mode"] == "agg" and "Kimi" in row["model"]]
    splits: dict[tuple[str, ...], set[tuple[int, int, int]]] = {}
    both: dict[tuple[str, ...], set[bool]] = {}
    for row, run in zip(rows, read_runs(rows), strict=True):
        times = f"{float(row['ttft_ms']):.4g}", f"{float(row['tpot_ms']):.4g}"
        key = (row["concurrency"], row["isl"], row["osl"], *times)
        one = run.answers
        splits.setdefault(key, set()).add((one.tensor, one.attention_data, one.expert))
        both.setdefault(key, set()).add(_twice(row))
    found = [splits[key] for key, labels in both.items() if len(labels) == 2]
    assert len(found) >= 12
    assert all(one == {(4, 1, 4)} for one in found)
