"""The log histogram gives the answers of Datadog's ddsketch, merged or not."""

from __future__ import annotations

import importlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from serving_mathematics.definitions.latency_distribution.latency_sketch import (
    LatencySketch,
    _bucket_ratio,
    merge,
    sketch,
    sketch_quantile,
)

ddsketch: Any = importlib.import_module("ddsketch")  # it has no type hints

LEVELS = np.linspace(0, 1, 41)


def reference(latencies: Any, error: float) -> Any:
    found = ddsketch.DDSketch(error)
    for x in np.asarray(latencies).tolist():
        found.add(x)
    return found


@pytest.mark.parametrize("error", [0.005, 0.01, 0.1, 0.5])
def test_answers_are_those_of_ddsketch(error: float) -> None:
    x = np.exp(np.random.default_rng(8).normal(-3, 2, 4000))
    ours, theirs = sketch(x, error), reference(x, error)
    got = [sketch_quantile(ours, q) for q in LEVELS]
    assert got == pytest.approx([theirs.get_quantile_value(q) for q in LEVELS], rel=1e-9)
    assert ours.counts.sum() == theirs.count == 4000


def test_merged_answers_are_those_of_merged_ddsketches() -> None:
    rng = np.random.default_rng(9)
    parts = [rng.exponential(mean, 700) for mean in (0.01, 0.02, 3.0)]
    ours, theirs = sketch(parts[0]), reference(parts[0], 0.01)
    for part in parts[1:]:
        ours = merge(ours, sketch(part))
        theirs.merge(reference(part, 0.01))
    got = [sketch_quantile(ours, q) for q in LEVELS]
    assert got == pytest.approx([theirs.get_quantile_value(q) for q in LEVELS], rel=1e-9)


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0, 2.0, 150.0])
def test_counting_and_sorting_find_the_same_buckets(spread: float) -> None:
    x = 10 ** np.random.default_rng(7).uniform(-spread / 2, spread / 2, 150)
    found = sketch(x)
    keys = np.ceil(np.log(x) / np.log(_bucket_ratio(0.01))).astype(int).tolist()
    assert dict(zip(found.keys.tolist(), found.counts.tolist(), strict=True)) == Counter(keys)
    assert found.keys.tolist() == sorted(set(keys))


def test_a_sketch_by_hand() -> None:
    found = LatencySketch(0.5, np.array([0, 2]), np.array([3, 1]))
    assert [sketch_quantile(found, q) for q in (0.0, 0.99, 1.0)] == [0.5, 0.5, 4.5]
    found = LatencySketch(0.5, np.array([0, 2]), np.array([29, 72]))
    assert sketch_quantile(found, 0.29) == 4.5  # 29 before it, although 0.29·100 is less in floats
