"""Beyond the checks of the measured roofline: counts by hand, bounds, held-out rules, errors."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.latency_throughput_cost.measured_roofline import (
    DEVICES,
    MODELS,
    RECORD,
    Device,
    Transformer,
    _first_token,
    _rows,
    example,
    generation_time,
)
from serving_mathematics.support.measuring import read_record

TINY = Transformer(layers=2, width=4, kv_width=2, hidden=6, mlp_matrices=3, vocabulary=10)


def test_parameters_by_hand() -> None:
    assert TINY.layer_parameters == 2 * (4 * 4 * 2 + 4 * 2 * 2 + 3 * 4 * 6)
    assert TINY.head_parameters == 40
    assert MODELS["LLaMA 70B"].layer_parameters == 68_451_041_280


def test_prefill_and_steps_by_hand() -> None:
    fast = Device(1e30, 1.0, 1.0)  # only bytes count
    prefill, decode = generation_time(TINY, fast, 3, 5, 3, bytes_per_number=1.0)
    weights, token = 280, 2 * 2 * 2
    assert prefill == pytest.approx(weights + 3 * 5 * token)
    assert decode == pytest.approx(2 * weights + 3 * token * (6 + 7))
    slow = Device(1.0, 1e30, 1.0)  # only operations count
    prefill, decode = generation_time(TINY, slow, 3, 5, 3)
    attention = 4 * 2 * 4
    assert prefill == pytest.approx(3 * (2 * (240 * 5 + 40) + attention * 15))
    assert decode == pytest.approx(3 * (2 * 2 * 280 + attention * (6 + 7)))
    _, linear = generation_time(TINY, slow, 3, 5, 3, overlap=False)
    assert linear == pytest.approx(3 * 2 * 2 * 280)


@given(st.integers(1, 500), st.integers(1, 300), st.integers(1, 50), st.integers(1, 8))
def test_overlap_only_helps_and_devices_share(b: int, i: int, o: int, t: int) -> None:
    model, device = MODELS["LLaMA 7B"], DEVICES["A100"]
    one = generation_time(model, device, b, i, o)
    many = generation_time(model, device, b, i, o, devices=t)
    np.testing.assert_allclose(np.array(many) * t, one)
    serial = generation_time(model, device, b, i, o, overlap=False)[1]
    attention = 4 * model.layers * model.width * b * (o - 1) * (i + o) / device.peak_flops
    assert one[1] <= serial + attention
    half = generation_time(model, device, b, i, o, bytes_per_number=1.0)
    assert half[1] <= one[1]


def test_one_output_token_needs_no_step() -> None:
    assert generation_time(TINY, Device(1.0, 1.0, 1.0), 1, 1, 1)[1] == 0.0


@pytest.mark.parametrize("bad", [0, -1, 1.5, math.nan, math.inf])
def test_shapes_and_devices_that_cannot_be(bad: float) -> None:
    for name in vars(TINY):
        with pytest.raises(ValueError, match=f"^{name} must be a positive integer, got {bad}"):
            replace(TINY, **{name: bad})  # type: ignore[arg-type]
    for name in vars(DEVICES["A100"]):
        if bad != 1.5:
            with pytest.raises(ValueError, match=f"^{name} must be positive and finite, got {bad}"):
                replace(DEVICES["A100"], **{name: bad})


@pytest.mark.parametrize("bad", [0, -1, 1.5, math.nan, math.inf])
def test_bad_counts(bad: float) -> None:
    device = DEVICES["A100"]
    for place, name in enumerate(("batch", "input_tokens", "output_tokens")):
        counts = [1, 1, 1]
        counts[place] = bad  # type: ignore[call-overload]
        with pytest.raises(ValueError, match=f"{name} must be a positive integer"):
            generation_time(TINY, device, *counts)
    with pytest.raises(ValueError, match="devices must be a positive integer"):
        generation_time(TINY, device, 1, 1, 1, devices=bad)  # type: ignore[arg-type]
    if bad != 1.5:
        with pytest.raises(ValueError, match="bytes_per_number must be"):
            generation_time(TINY, device, 1, 1, 1, bytes_per_number=bad)


def test_record_has_provenance_and_breadth() -> None:
    record = read_record(RECORD)
    assert {"source", "url", "versions", "looked_up", "unit"} <= record.keys()
    rows = record["throughput"]
    assert len(rows) >= 30
    assert {row["gpu"] for row in rows} == DEVICES.keys()
    assert {row["model"] for row in rows} == MODELS.keys()
    assert len({(row["input"], row["output"]) for row in rows}) == 4
    keys = [tuple(sorted(row.items())) for row in rows]
    assert len(set(keys)) == len(keys)


def test_fullest_gpu_by_hand() -> None:
    """The weights and the cache of every token of the fullest run, from its printed shape."""
    sums = []
    for row in read_record(RECORD)["throughput"]:
        model, size = MODELS[row["model"]], {"fp8": 1, "fp16": 2}[row["precision"]]
        weights = model.layer_parameters + model.width * model.vocabulary
        cache = 2 * model.layers * model.kv_width * row["batch"] * (row["input"] + row["output"])
        sums.append((weights + cache) * size / row["tp"] / DEVICES[row["gpu"]].memory_bytes)
    assert max(row["fill"] for row in _rows()) == pytest.approx(max(sums), rel=1e-12)


def test_first_token_by_hand() -> None:
    """Bound over measurement of the first tokens: the model's own roofs, row by row."""
    shares = []
    for row in read_record(RECORD)["first_token"]:
        model, device = MODELS[row["model"]], DEVICES[row["gpu"]]
        size, n = {"fp8": 1, "fp16": 2}[row["precision"]], row["input"]
        flops = 2 * (model.layer_parameters * n + model.head_parameters)
        flops += 2 * model.layers * model.width * n * (n + 1)
        moved = model.layer_parameters + model.head_parameters
        moved += 2 * model.layers * model.kv_width * n
        peak = max(flops / device.peak_flops, moved * size / device.bandwidth) / row["tp"]
        shares.append(100 * peak * 1e3 / row["first_token_ms"])
    np.testing.assert_allclose(100 * _first_token(), shares, rtol=1e-9)
    assert example().first_token_lowest == pytest.approx(min(shares), rel=1e-6)
    assert example().first_token_highest == pytest.approx(max(shares), rel=1e-6)


def test_numbers_of_the_page() -> None:
    found, rows = example(), _rows()
    assert found.row_count == len(rows)
    assert 0 < found.misread_rows < len(rows)
