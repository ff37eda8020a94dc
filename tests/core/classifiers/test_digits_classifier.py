"""The shared classifier: its data, its training loop and its refusals."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
import sklearn.linear_model
from scipy.special import softmax as scipy_softmax
from serving_mathematics.core.classifiers.digits_classifier import (
    DATA,
    DIGITS,
    Classifier,
    Digits,
    FloatArray,
    Images,
    IntArray,
    cross_entropy_gradient,
    load_digits,
    softmax,
    train_classifier,
)


def test_the_file_is_scikit_learns_copy_of_the_data() -> None:
    bunch = sklearn.datasets.load_digits()
    table = np.loadtxt(DATA, delimiter=",")
    np.testing.assert_array_equal(table[:, :64], bunch.data)
    np.testing.assert_array_equal(table[:, 64], bunch.target)


def test_the_parts_are_a_partition_of_the_file() -> None:
    digits = load_digits()
    assert isinstance(digits, Digits)
    rows = np.concatenate(
        [
            np.column_stack([part.pixels * 16, part.labels])
            for part in (digits.train, digits.validation, digits.test)
        ]
    )
    table = np.loadtxt(DATA, delimiter=",")
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, table.tolist()))


@pytest.mark.parametrize("damage", ["rows", "ink", "label"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    lines = gzip.decompress(DATA.read_bytes()).decode().splitlines()
    if damage == "rows":
        lines = lines[:-1]
    elif damage == "ink":
        lines[5] = "17," + lines[5].partition(",")[2]
    else:
        lines[5] = lines[5].rpartition(",")[0] + ",10"
    file = tmp_path / "digits.csv"
    file.write_text("\n".join(lines))
    with pytest.raises(ValueError, match="path must be a file of"):
        load_digits(file)


def test_softmax_agrees_with_scipy() -> None:
    z = np.random.default_rng(0).normal(0, 300, size=(5, 7))
    np.testing.assert_allclose(softmax(z), scipy_softmax(z, axis=1), atol=1e-15)
    np.testing.assert_allclose(softmax(z - 1e4), softmax(z), atol=1e-11)


@pytest.mark.parametrize("hidden", [0, 6])
def test_the_first_step_of_adam_moves_every_weight_against_its_slope(hidden: int) -> None:
    """Adam's first step is the learning rate times the sign of the gradient."""
    rng = np.random.default_rng(3)
    pixels, labels = rng.random((12, 64)), rng.integers(0, DIGITS, 12)
    rate, decay = 1e-4, 0.01
    settings = {"epochs": 1, "batch_size": 12, "weight_decay": decay}
    gradient = cross_entropy_gradient(labels)
    still = train_classifier(
        pixels, gradient, hidden, np.random.default_rng(7), learning_rate=1e-99, **settings
    )
    moved = train_classifier(
        pixels, gradient, hidden, np.random.default_rng(7), learning_rate=rate, **settings
    )

    def loss() -> float:
        z = still.logits(pixels)
        fit = np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(12), labels])
        squares = sum((w**2).sum() + (b**2).sum() for w, b in still.layers)
        return float(fit + decay * squares / 2)

    checked = 0
    for layer, after in zip(still.layers, moved.layers, strict=True):
        for values, later in zip(layer, after, strict=True):
            flat = values.reshape(-1)
            for index in range(0, flat.size, max(1, flat.size // 9)):
                kept = flat[index]
                flat[index] = kept + 1e-5
                up = loss()
                flat[index] = kept - 1e-5
                slope = (up - loss()) / 2e-5
                flat[index] = kept
                if abs(slope) > 1e-5:
                    step = later.reshape(-1)[index] - kept
                    assert step == pytest.approx(-rate * math.copysign(1, slope), rel=0.01)
                    checked += 1
    assert checked > 15


def test_the_linear_model_is_as_good_as_scikit_learns() -> None:
    digits = load_digits()
    peer = sklearn.linear_model.LogisticRegression(C=1.0, max_iter=300)
    peer.fit(digits.train.pixels, digits.train.labels)
    ours = train_classifier(
        digits.train.pixels,
        cross_entropy_gradient(digits.train.labels),
        0,
        np.random.default_rng(0),
    )
    theirs = peer.score(digits.test.pixels, digits.test.labels)
    assert ours.accuracy(digits.test) == pytest.approx(theirs, abs=0.03)


def test_training_is_the_same_for_the_same_generator() -> None:
    digits = load_digits()
    gradient = cross_entropy_gradient(digits.train.labels)
    first, second = (
        train_classifier(digits.train.pixels, gradient, 4, np.random.default_rng(2), epochs=2)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.layers[1][0], second.layers[1][0])


class Drawn:
    """Draws of the three classifiers of a stack, or of one of them, in place of a generator's."""

    def __init__(self, which: slice | int) -> None:
        self.which, self.weights = which, np.random.default_rng(5)
        self.orders = np.random.default_rng(6)

    def standard_normal(self, shape: tuple[int, ...]) -> FloatArray:
        drawn: FloatArray = self.weights.standard_normal((3, *shape[-2:]))[self.which]
        assert drawn.shape == shape
        return drawn

    def permuted(self, images: IntArray, axis: int) -> IntArray:
        places = self.orders.permuted(np.tile(np.arange(images.shape[axis]), (3, 1)), axis=1)
        return np.take_along_axis(images, places[self.which], axis=axis)


@pytest.mark.parametrize("hidden", [0, 6])
def test_classifiers_side_by_side_are_those_that_are_trained_apart(hidden: int) -> None:
    train = load_digits().train
    gradient = cross_entropy_gradient(train.labels)
    images = np.random.default_rng(7).permuted(np.tile(np.arange(200), (3, 1)), axis=1)[:, :50]

    def trained(which: slice | int) -> Classifier:
        drawn: Any = Drawn(which)
        return train_classifier(train.pixels, gradient, hidden, drawn, 2, 20, images=images[which])

    stack, apart = trained(slice(None)), [trained(place) for place in range(3)]
    assert stack.parameters == 3 * apart[0].parameters
    scores = stack.logits(train.pixels)
    np.testing.assert_allclose(scores, [one.logits(train.pixels) for one in apart], rtol=1e-9)
    assert stack.accuracy(train) == pytest.approx(np.mean([one.accuracy(train) for one in apart]))
    assert scores[0] != pytest.approx(scores[1], abs=0.1)


def test_only_the_images_that_are_named_are_learned() -> None:
    train = load_digits().train
    few, settings = np.arange(30, 60), {"hidden": 4, "epochs": 2}
    gradient = cross_entropy_gradient(train.labels)
    named = train_classifier(
        train.pixels, gradient, rng=np.random.default_rng(2), images=few, **settings
    )
    gradient = cross_entropy_gradient(train.labels[few])
    cut = train_classifier(train.pixels[few], gradient, rng=np.random.default_rng(2), **settings)
    np.testing.assert_array_equal(named.layers[1][0], cut.layers[1][0])


@pytest.mark.parametrize("images", [[], [[]], 0, [-1], [2], [0.5], [math.nan], ["0"], [0, 2]])
def test_images_that_are_not_there_are_refused(images: Any) -> None:
    with pytest.raises(ValueError, match="images must be rows of the pixels"):
        train_classifier(
            np.zeros((2, 64)),
            cross_entropy_gradient([0, 1]),
            0,
            np.random.default_rng(0),
            images=images,
        )


def test_a_classifier_counts_its_parameters_and_its_hits() -> None:
    model = Classifier(((np.zeros((64, 3)), np.zeros(3)), (np.zeros((3, 10)), np.arange(10.0))))
    assert model.parameters == 64 * 3 + 3 + 3 * 10 + 10
    images = Images(np.zeros((4, 64)), np.array([9, 9, 9, 0]))
    assert model.accuracy(images) == 0.75


def test_rectification_lies_between_the_layers_only() -> None:
    to_two = np.zeros((64, 2))
    to_two[0] = [1.0, -1.0]
    onward = np.zeros((2, 10))
    onward[:, 0] = -1.0
    model = Classifier(((to_two, np.zeros(2)), (onward, np.zeros(10))))
    pixels = np.zeros((1, 64))
    pixels[0, 0] = 3.0
    assert model.logits(pixels)[0, 0] == -3.0
