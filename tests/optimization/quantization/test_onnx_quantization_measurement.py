"""Quantized ONNX models compute what their codes say; the measurement runs on a small scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper
from serving_mathematics.core.classifiers.onnx_latency_measurement import perceptron, runner
from serving_mathematics.optimization.quantization import (
    onnx_quantization_measurement as measurement,
)
from serving_mathematics.optimization.quantization.bits_and_noise import sqnr_db
from serving_mathematics.optimization.quantization.onnx_quantization_measurement import (
    int4_model,
    int8_model,
    with_weights,
)
from serving_mathematics.optimization.quantization.quantization import (
    Quantized,
    clamped_product,
    integer_product,
    quantize,
)

RNG = np.random.default_rng


def test_weights_are_put_in_and_the_original_stays() -> None:
    model = perceptron((5, 4, 3), RNG(0))
    before = model.SerializeToString()
    layers = ((np.full((5, 4), 0.5), np.ones(4)), (np.full((4, 3), 2.0), np.zeros(3)))
    changed = with_weights(model, layers)
    assert model.SerializeToString() == before
    x = np.ones((2, 5), np.float32)
    assert runner(changed)(x).tolist() == [[28.0] * 3] * 2


def by_hand(
    model: onnx.ModelProto,
    x: npt.NDArray[Any],
    product: Callable[[Quantized, Quantized], npt.NDArray[np.float64]],
) -> npt.NDArray[np.float64]:
    """What a model of two layers in eight bits answers, with each product computed here."""
    held = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    after = np.asarray(x, float)
    for layer, names in enumerate((("x", "r0"), ("r0", "y"))):
        found = "x_scale" not in held
        scales, zeros = (
            [float(held.get(f"{name}_{kind}", np.zeros(1)).item()) for name in names]
            for kind in ("scale", "zero_point")
        )
        codes = np.rint(after / (scales[0] or 1)) + zeros[0]
        left = Quantized(
            np.clip(codes, -128, 127).astype(np.int64) + 128,  # as codes without a sign
            np.array([[scales[0]]]),
            np.array([[int(zeros[0]) + 128]]),
        )
        right = Quantized(
            held[f"w{layer}_quantized"].astype(np.int64),
            held[f"w{layer}_scale"].astype(float).reshape(1, -1),
            np.zeros((1, 1), np.int64),
        )
        after = product(quantize(after, 8, symmetric=False) if found else left, right)
        if found:
            after = np.maximum(after, 0) if layer == 0 else after
        else:
            codes = np.clip(np.rint(after / scales[1]) + zeros[1], -128, 127)
            after = (codes - zeros[1]) * scales[1]
    return after


@pytest.mark.parametrize(
    ("calibrated", "exact_db", "clamped_db"), [(False, 35.777, 35.777), (True, 36.140, 27.161)]
)
def test_int8_models_are_close_and_small(
    calibrated: bool, exact_db: float, clamped_db: float
) -> None:
    """The processor decides which of two products is computed: the numbers are of both kinds, the
    second as an Intel Haswell and an AMD EPYC without VNNI had it.
    """
    model = perceptron((64, 128, 32), RNG(1))
    before = model.SerializeToString()
    x = RNG(2).normal(size=(200, 64)).astype(np.float32)
    small = int8_model(model, x if calibrated else None)
    assert model.SerializeToString() == before
    assert len(small.SerializeToString()) < 0.35 * len(before)
    original, answers = runner(model)(x), runner(small)(x)
    exact, clamped = (by_hand(small, x, product) for product in (integer_product, clamped_product))
    assert sqnr_db(original, exact) == pytest.approx(exact_db, abs=0.02)
    assert sqnr_db(original, clamped) == pytest.approx(clamped_db, abs=0.02)
    assert max(sqnr_db(exact, answers), sqnr_db(clamped, answers)) > 55


def test_calibrated_ranges_clip_and_found_ranges_do_not() -> None:
    model = perceptron((32, 16), RNG(3))
    x = RNG(4).uniform(-1, 1, size=(50, 32)).astype(np.float32)
    far = 20 * x
    exact = runner(model)(far)
    assert sqnr_db(exact, runner(int8_model(model, x))(far)) < 5
    assert sqnr_db(exact, runner(int8_model(model))(far)) > 28


@pytest.mark.parametrize("group", [16, 32, 64])
def test_int4_models_read_the_codes(group: int) -> None:
    model = perceptron((64, 32, 64), RNG(5)) if group < 64 else perceptron((64, 64), RNG(5))
    small = int4_model(model, group)
    x = RNG(6).normal(size=(40, 64)).astype(np.float32)
    ratio = sqnr_db(runner(model)(x), runner(small)(x))
    assert 12 < ratio < 24
    packed = numpy_helper.to_array(small.graph.initializer[0])
    assert packed.shape[1:] == (64 // group, group // 2)


def test_int4_weights_of_zero_stay_zero() -> None:
    model = with_weights(perceptron((16, 2), RNG(0)), ((np.zeros((16, 2)), np.array([1.0, -1.0])),))
    x = RNG(1).normal(size=(3, 16)).astype(np.float32)
    assert runner(int4_model(model, 16))(x).tolist() == [[1.0, -1.0]] * 3


def test_input_is_refused() -> None:
    model = perceptron((48, 8), RNG(0))
    for group in (8, 24, 512, 0):
        with pytest.raises(ValueError, match="group must be a power of two"):
            int4_model(model, group)
    with pytest.raises(ValueError, match="group must be a divisor of 48"):
        int4_model(model, 32)
    with pytest.raises(ValueError, match="layers must be of shapes"):
        with_weights(model, ((np.ones((8, 48)), np.ones(8)),))
    with pytest.raises(ValueError, match="calibration must be rows"):
        int8_model(model, np.zeros((0, 48), np.float32))


def test_measurement_runs_on_a_small_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "WIDTHS", (32, 64, 32))
    monkeypatch.setattr(measurement, "BATCHES", (1, 3))
    monkeypatch.setattr(measurement, "REPEATS", 2)
    monkeypatch.setattr(measurement, "ROUNDS", 1)
    found = measurement._measure()
    assert found["command"] == measurement.COMMAND
    assert [len(found[part]) for part in ("digits", "perceptron")] == [4, 4]
    for row in found["digits"]:
        assert row["images"] == 720
        assert row["right"] == found["digits"][0]["right"] - row["lost"] + row["gained"]
        assert row["different"] >= row["lost"] + row["gained"]
    for row in found["perceptron"]:
        assert [time["batch"] for time in row["times"]] == [1, 3]
    assert found["perceptron"][0]["sqnr_db"] is None
    assert found["perceptron"][3]["sqnr_db"] < found["perceptron"][1]["sqnr_db"]


def test_times_are_the_median_and_the_quartiles_of_every_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = iter(np.arange(measurement.REPEATS, dtype=float)[:, None] * [1.0, 10.0])
    monkeypatch.setattr(measurement, "batch_times_ms", lambda *_: next(rows)[None, :])
    (found,) = measurement._times(
        {"float32": perceptron((4, 2), np.random.default_rng(0))}, (1, 8)
    ).values()
    last = measurement.REPEATS - 1
    for row, batch, scale in zip(found, (1, 8), (1.0, 10.0), strict=True):
        assert row == {
            "batch": batch,
            "median_ms": pytest.approx(scale * last / 2),
            "quartiles_ms": pytest.approx([scale * last / 4, scale * 3 * last / 4]),
        }
