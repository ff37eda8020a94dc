"""Quantile sketches: time to fill them, error of their quantiles, time to merge them.

Every sketch sees the same values as an array. Those that take arrays get it whole; the others are
filled in the fastest loop that Python has.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVELS = (0.5, 0.9, 0.99, 0.999)
PARTS = 100  # sketches that are merged


@dataclass(frozen=True)
class Sketch:
    """How a package makes a sketch of an array, adds sketches up, and answers."""

    package: str
    fill: Callable[[Any], Any]
    merge: Callable[[list[Any]], Any]
    quantile: Callable[[Any, float], float]


def _log_histogram() -> Sketch:
    from serving_mathematics.definitions.latency_distribution import latency_sketch as ours

    def merge(parts: list[Any]) -> Any:
        whole = parts[0]
        for part in parts[1:]:
            whole = ours.merge(whole, part)
        return whole

    return Sketch("numpy", ours.sketch, merge, ours.sketch_quantile)


def _ddsketch() -> Sketch:
    from ddsketch import DDSketch

    def fill(values: Any) -> Any:
        sketch = DDSketch(0.01)
        add = sketch.add
        for value in values.tolist():
            add(value)
        return sketch

    def merge(parts: list[Any]) -> Any:
        whole = DDSketch(0.01)
        for part in parts:
            whole.merge(part)
        return whole

    return Sketch(
        "ddsketch", fill, merge, lambda sketch, level: float(sketch.get_quantile_value(level))
    )


def _crick() -> Sketch:
    from crick import TDigest

    def fill(values: Any) -> Any:
        sketch = TDigest()
        sketch.update(values)
        return sketch

    def merge(parts: list[Any]) -> Any:
        whole = TDigest()
        whole.merge(*parts)
        return whole

    return Sketch("crick", fill, merge, lambda sketch, level: float(sketch.quantile(level)))


def _fastdigest() -> Sketch:
    import fastdigest

    return Sketch(
        "fastdigest",
        fastdigest.TDigest.from_values,
        fastdigest.merge_all,
        lambda sketch, level: float(sketch.quantile(level)),
    )


def _kll() -> Sketch:
    import datasketches

    def fill(values: Any) -> Any:
        sketch = datasketches.kll_doubles_sketch()
        sketch.update(values)
        return sketch

    def merge(parts: list[Any]) -> Any:
        whole = datasketches.kll_doubles_sketch()
        for part in parts:
            whole.merge(part)
        return whole

    return Sketch(
        "datasketches", fill, merge, lambda sketch, level: float(sketch.get_quantile(level))
    )


SKETCHES: dict[str, Callable[[], Sketch]] = {
    "log histogram": _log_histogram,
    "DDSketch": _ddsketch,
    "t-digest in C": _crick,
    "t-digest in Rust": _fastdigest,
    "KLL": _kll,
}


def sample(name: str, values: int, seed: int) -> dict[str, Any]:
    """Processor time a value, error of quantiles, and the same of PARTS sketches merged.

    The values are log-normal. The relative error of a quantile is against the value with that rank;
    the error of rank is the share of values between the answer and that value.
    """
    sketch = SKETCHES[name]()
    x = np.random.default_rng(seed).lognormal(0.0, 1.0, values)
    sketch.fill(x[:1000])  # whatever is done on first use
    started = time.process_time()
    whole = sketch.fill(x)
    fill_s = time.process_time() - started
    parts = [sketch.fill(part) for part in np.array_split(x, PARTS)]
    started = time.process_time()
    merged = sketch.merge(parts)
    merge_s = time.process_time() - started
    x.sort()
    return {
        "fill_ns": 1e9 * fill_s / values,
        "merge_us": 1e6 * merge_s / PARTS,
        "errors": _errors(sketch, whole, x),
        "merged_errors": _errors(sketch, merged, x),
    }


def _errors(sketch: Sketch, summary: Any, ordered: Any) -> dict[str, dict[str, float]]:
    found = {}
    for level in LEVELS:
        got = sketch.quantile(summary, level)
        exact = float(ordered[int(level * (ordered.size - 1))])
        rank = float(np.searchsorted(ordered, got)) / ordered.size
        found[f"{level:g}"] = {"relative": abs(got / exact - 1), "rank": abs(rank - level)}
    return found
