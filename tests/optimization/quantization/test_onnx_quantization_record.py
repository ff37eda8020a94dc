"""The record and the little arithmetic beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from serving_mathematics.optimization.quantization import onnx_quantization_record as record
from serving_mathematics.optimization.quantization.onnx_quantization_record import chained_sqnr_db
from serving_mathematics.support.measuring import read_record


def test_errors_of_layers_add_up() -> None:
    layer = 10 ** (-20 / 10)
    assert chained_sqnr_db(20.0, 1) == 20.0
    for layers in (2, 7, 40):
        assert chained_sqnr_db(20.0, layers) == pytest.approx(-10 * math.log10(layers * layer))


def test_simulated_layers_add_up() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(200, 300))
    exact = noisy = x
    for _ in range(3):
        w = rng.normal(size=(300, 300)) / math.sqrt(300)
        exact, noisy = exact @ w, noisy @ (w * (1 + 0.05 * rng.standard_normal(w.shape)))
    ratio = 10 * math.log10(np.square(exact).sum() / np.square(noisy - exact).sum())
    assert ratio == pytest.approx(chained_sqnr_db(-20 * math.log10(0.05), 3), abs=0.3)


def test_record_is_whole() -> None:
    content = read_record("onnx_quantization")
    names = [record.FLOAT, record.FOUND, record.CALIBRATED, record.FOUR]
    assert [row["model"] for row in content["digits"]] == names
    assert [row["model"] for row in content["perceptron"]] == names
    assert {"command", "date", "machine", "versions", "asked"} <= content.keys()
    for row in content["perceptron"]:
        for time in row["times"]:
            low, high = time["quartiles_ms"]
            assert 0 < low <= time["median_ms"] <= high
