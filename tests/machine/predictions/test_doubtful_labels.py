"""Doubtful labels: pairs against the raw rows of the record."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.hardware.run_reading import read_lines
from serving_mathematics.machine.predictions.doubtful_labels import (
    ALIKE,
    TWICE,
    _alike,
    _ratios,
    example,
)


def test_counts_of_the_page() -> None:
    told = example()
    ratios = np.concatenate([_ratios(*label) for label in TWICE])
    assert told.label_pairs == ratios.size
    assert told.label_alike == int((np.abs(ratios - 1) <= ALIKE).sum())
    assert _alike([1.0, 1.04, 0.96, 1.06, 0.94]) == 3


def test_a_pair_is_two_labels_of_the_record() -> None:
    """With 64 requests of 1,024 and 1,024 tokens: the medians of rows told by their columns."""
    rows = [
        row
        for row in read_lines()
        if "Kimi" in row["model"]
        and (row["system"], row["mode"], row["precision"]) == ("b200_sxm", "agg", "fp4")
        and (row["concurrency"], row["isl"], row["osl"]) == ("64", "1024", "1024")
    ]
    twice = [float(row["tpot_ms"]) for row in rows if row["dp"] == row["tp"] == "4"]
    plain = [float(row["tpot_ms"]) for row in rows if row["dp"] == "1"]
    assert twice
    assert plain
    wanted = np.median(plain) / np.median(twice)
    assert min(abs(ratio / wanted - 1) for ratio in _ratios(*TWICE[0])) < 1e-9
    assert wanted == pytest.approx(1, abs=ALIKE)
