"""Messages by hand, planted floors and shares found again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.machine.parallelism.all_reduce_times import (
    IN_GRAPH,
    _fit_messages,
    _floor,
    _series,
    latency_cap,
)
from serving_mathematics.support.measuring import read_record


def test_a_cap_is_one_over_the_messages() -> None:
    assert latency_cap(1, 0.25) == 2.0
    assert latency_cap(61, 5e-6) == pytest.approx(1e6 / 610)


@given(
    floor=st.floats(1e-6, 5e-5), share=st.floats(0.05, 1.2), devices=st.sampled_from([2, 4, 8, 16])
)
def test_planted_floors_and_shares_are_found(floor: float, share: float, devices: int) -> None:
    sizes = np.geomspace(1e3, 1e8, 25)
    seconds = floor + 2 * (devices - 1) / devices * sizes / (share * 9e11)
    found = _fit_messages(sizes, seconds, devices, 9e11)
    assert found[0] == pytest.approx(floor, rel=0.01)
    assert found[1] == pytest.approx(share, rel=0.01)
    assert found[2] < 0.005


def test_a_series_is_the_fastest_of_its_backends() -> None:
    lines = read_record("machine_shapes")["messages"]
    found = {}
    for line in lines:
        named = (line["system"], line["devices"], line["kernel"], line["operation"])
        if named == ("h100_sxm", 8, IN_GRAPH, "all_reduce"):
            for size, micros in zip(line["bytes"], line["us"], strict=True):
                found.setdefault(size, []).append(micros)
    sizes, seconds = _series("h100_sxm", 8, IN_GRAPH)
    assert sizes.tolist() == sorted(found)
    assert 1e6 * seconds == pytest.approx([min(found[size]) for size in sorted(found)])
    small = [min(found[size]) for size in found if size <= 16384]
    assert 1e6 * _floor("h100_sxm", 8, IN_GRAPH) == pytest.approx(np.median(small))


def test_bytes_are_bytes() -> None:
    """At a gibibyte two devices of an H100 attain three quarters of the link, as the makers' tests
    do, and not three eighths, as with elements taken for bytes."""
    sizes, seconds = _series("h100_sxm", 2, IN_GRAPH)
    assert sizes[-1] == 2**30
    assert 0.7 < sizes[-1] / seconds[-1] / 450e9 < 0.8
