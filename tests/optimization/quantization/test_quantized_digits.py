"""The trained reader: what the page quotes comes from the same images and the same rounding."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.classifiers.digits_classifier import Classifier, load_digits
from serving_mathematics.optimization.quantization import quantized_digits as digits
from serving_mathematics.optimization.quantization.quantization import rounded_weights


def test_held_out_images_are_those_that_no_reader_saw() -> None:
    data = load_digits()
    held = digits._held_out()
    assert held.pixels.shape == (720, 64)
    seen = {row.tobytes() for row in data.train.pixels}
    unseen = sum(row.tobytes() not in seen for row in held.pixels)
    assert unseen >= 715  # a few images are there twice


def test_readers_differ_and_read() -> None:
    readers = digits._readers()
    assert len(readers) == digits.READERS
    assert all(digits._right(reader).mean() > 0.97 for reader in readers)
    assert not np.array_equal(readers[0].layers[0][0], readers[1].layers[0][0])


def test_rounding_touches_weights_only() -> None:
    reader = digits._readers()[0]
    rounded = digits._rounded(reader, lambda w: rounded_weights(w, 3))
    for (w, b), (original, bias) in zip(rounded.layers, reader.layers, strict=True):
        assert np.array_equal(b, bias)
        assert np.array_equal(w, rounded_weights(original, 3))
    images = digits._held_out()
    for bits, way, group in ((4, "layer", None), (4, "unit", 64), (3, "group", 16)):
        layers = [(rounded_weights(w, bits, group), b) for w, b in reader.layers]
        hidden = np.maximum(images.pixels @ layers[0][0] + layers[0][1], 0)
        right = (hidden @ layers[1][0] + layers[1][1]).argmax(axis=1) == images.labels
        assert np.array_equal(digits._answers(bits, way)[0], right)
        before = digits._right(reader)
        lost, gained = int((before & ~right).sum()), int((right & ~before).sum())
        assert digits._change(bits, way).share == (gained - lost) / 720
        assert digits._shares(bits, way)[0] == pytest.approx(100 * (gained - lost) / 720)


def test_a_reader_of_zeros_loses_what_is_no_zero() -> None:
    blind = Classifier(tuple((0 * w, np.zeros(len(b))) for w, b in digits._readers()[0].layers))
    before = digits._answers(32, "")[0]
    change = digits._compare(before, digits._right(blind))
    zeros = float((digits._held_out().labels == 0).mean())
    assert change.share == pytest.approx(zeros - before.mean(), abs=1e-12)


def test_rows_and_bytes() -> None:
    before = np.array([True] * 9 + [False])
    after = np.array([True] * 8 + [False] * 2)
    row = digits._row(before, after, 1234.0)
    assert row.startswith("80.00 | −10.00 (")
    assert row.endswith("| 1,234")
    assert digits._bytes(32, None) == 4 * (64 * 64 + 64 + 64 * 10 + 10)
