"""The classifier that servers serve: its data, and how good it is."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.datasets
import sklearn.neural_network
from serving_mathematics.core.classifiers.digits_classifier import (
    DATA,
    HIDDEN,
    Classifier,
    Digits,
    Images,
    load_digits,
    trained_classifier,
)


def test_the_file_is_scikit_learns_copy_of_the_data() -> None:
    bunch = sklearn.datasets.load_digits()
    table = np.loadtxt(DATA, delimiter=",")
    np.testing.assert_array_equal(table[:, :64], bunch.data)
    np.testing.assert_array_equal(table[:, 64], bunch.target)


def test_the_parts_have_no_image_in_common() -> None:
    """And each image its own digit: the whole file has no image twice."""
    digits = load_digits()
    assert isinstance(digits, Digits)
    table = set(map(tuple, np.loadtxt(DATA, delimiter=",").tolist()))
    rows = [
        set(map(tuple, np.column_stack([part.pixels * 16, part.labels]).tolist()))
        for part in (digits.train, digits.test)
        if isinstance(part, Images)
    ]
    assert [len(part) for part in rows] == [1077, 360]
    assert not rows[0] & rows[1]
    assert rows[0] | rows[1] < table


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # as many passes as ours
def test_the_model_is_as_good_as_scikit_learns() -> None:
    digits, ours = load_digits(), trained_classifier()
    peer = sklearn.neural_network.MLPClassifier(
        (HIDDEN,), batch_size=32, learning_rate_init=1e-3, max_iter=40, random_state=0
    )
    peer.fit(digits.train.pixels, digits.train.labels)
    theirs = peer.score(digits.test.pixels, digits.test.labels)
    right = ours.logits(digits.test.pixels).argmax(axis=1) == digits.test.labels
    assert right.mean() == pytest.approx(theirs, abs=0.02)


def test_rectification_lies_between_the_layers_only() -> None:
    to_two = np.zeros((64, 2))
    to_two[0] = [1.0, -1.0]
    onward = np.zeros((2, 10))
    onward[:, 0] = -1.0
    model = Classifier(((to_two, np.zeros(2)), (onward, np.zeros(10))))
    pixels = np.zeros((1, 64))
    pixels[0, 0] = 3.0
    assert model.logits(pixels)[0, 0] == -3.0
    with pytest.raises(ValueError, match="pixels must be of shape"):
        model.logits(pixels[:, 1:])
    with pytest.raises(ValueError, match="pixels must be finite"):
        model.logits(np.full((1, 64), np.nan))
