"""Pairs of published runs against a count by hand from the record's rows."""

from __future__ import annotations

from statistics import median

import pytest
from serving_mathematics.core.hardware.published_runs import read_lines
from serving_mathematics.optimization.quantization.formats_in_runs import (
    DENSE,
    FEW,
    MIXTURE,
    _gains,
    example,
)

SAME = ("concurrency", "version", "isl", "osl", "tp", "dp", "moe_tp", "ep", "system", "source")


def _by_hand(model: str, wide: str, narrow: str) -> dict[tuple[str, ...], float]:
    """Times as fast, of each that was measured in both formats by one release of one engine."""
    formats: dict[str, dict[tuple[str, ...], list[float]]] = {wide: {}, narrow: {}}
    for row in read_lines():
        if row["mode"] == "agg" and row["model"].endswith(model) and row["precision"] in formats:
            same = (*(row[name] for name in SAME), row["backend"])
            formats[row["precision"]].setdefault(same, []).append(float(row["tpot_ms"]))
    both = formats[wide].keys() & formats[narrow].keys()
    return {key: median(formats[wide][key]) / median(formats[narrow][key]) for key in both}


def test_the_dense_pairs_are_those_of_the_rows() -> None:
    """Of the dense model no row is a fleet or repeated: they are paired as they are."""
    found = _by_hand("Llama-3.1-70B", "fp8", "fp4")
    assert sorted(_gains("fp8", "fp4", DENSE)) == pytest.approx(sorted(found.values()))
    assert len(found) > 100
    one, eight = (sum(key[SAME.index("tp")] == width for key in found) for width in ("1", "8"))
    assert (example().alone_pairs, example().eight_pairs) == (one, eight)


def test_a_mixture_s_pairs_are_of_one_release() -> None:
    few = [gain for key, gain in _by_hand(MIXTURE, "bf16", "fp8").items() if int(key[0]) <= FEW]
    assert sorted(_gains("bf16", "fp8", MIXTURE, FEW)) == pytest.approx(sorted(few))
