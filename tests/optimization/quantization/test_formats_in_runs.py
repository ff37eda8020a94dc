"""Pairs of published runs against a count by hand from the record's rows."""

from __future__ import annotations

from statistics import median

import pytest
from serving_mathematics.core.hardware.published_runs import read_lines
from serving_mathematics.optimization.quantization.formats_in_runs import DENSE, _gains, example

SAME = ("concurrency", "backend", "isl", "osl", "tp", "dp", "moe_tp", "ep", "system", "source")


def test_the_dense_pairs_are_those_of_the_rows() -> None:
    """Of the dense model no row is a fleet or repeated: they are paired as they are."""
    formats: dict[str, dict[tuple[str, ...], list[float]]] = {"fp8": {}, "fp4": {}}
    for row in read_lines():
        if row["mode"] == "agg" and row["model"] == "meta-llama/Llama-3.1-70B":
            same = tuple(row[name] for name in SAME)
            if row["precision"] in formats:
                times = formats[row["precision"]].setdefault(same, [])
                times.append(float(row["tpot_ms"]))
    both = formats["fp8"].keys() & formats["fp4"].keys()
    expected = [median(formats["fp8"][key]) / median(formats["fp4"][key]) for key in both]
    assert sorted(_gains("fp8", "fp4", DENSE)) == pytest.approx(sorted(expected))
    assert len(both) > 100
    one, eight = (
        sum(row["tp"] == width for row in [dict(zip(SAME, key, strict=True)) for key in both])
        for width in ("1", "8")
    )
    assert (example().alone_pairs, example().eight_pairs) == (one, eight)
