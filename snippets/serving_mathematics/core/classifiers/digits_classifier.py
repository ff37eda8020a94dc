"""A real model small enough to train while you wait: handwritten digits, one hidden layer.

z = W₂·max(0, W₁x + b₁) + b₂, fitted to the cross-entropy by Adam on minibatches.

Assumes: the 1,797 images are exchangeable. They come from 13 writers, and the split ignores who
wrote what, so that accuracies here are those for known hands, not for strangers.

Source: Alpaydin and Kaynak (1998), the data set's test part, 8 x 8 counts from 0 to 16, as
distributed by scikit-learn; Kingma and Ba (2015), algorithm 1, for Adam; He et al. (2015), section
2.2, for the initial weights.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serving_mathematics.support.require import as_floats, require

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DATA = Path(
    str(files("serving_mathematics.core.classifiers") / "digits.csv.gz")
)  # part of the package
DIGITS = 10
INK = 16  # the largest count of a pixel
TRAIN, TEST = 1077, 360  # images; nothing is done with the others
HIDDEN, EPOCHS, BATCH = 64, 40, 32  # units, passes over the data, images per step
LEARNING_RATE = 1e-2  # falling linearly to 0
WEIGHT_DECAY = 1e-3  # share of a weight added to its gradient (L2)
FIRST_DECAY, SECOND_DECAY, TINY = 0.9, 0.999, 1e-8  # β₁, β₂ and ε of Kingma and Ba (2015)


@dataclass(frozen=True, eq=False)
class Images:
    """Images as rows, ink from 0 to 1, shape (n, 64), and the digits they show, shape (n,)."""

    pixels: FloatArray
    labels: IntArray


@dataclass(frozen=True)
class Digits:
    """Two disjoint parts of the data: to fit, and to report on."""

    train: Images
    test: Images


def load_digits() -> Digits:
    """Of the 1,797 digits, shuffled once with a fixed seed, the first 1,077 and the last 360.

    >>> digits = load_digits()
    >>> digits.train.pixels.shape, digits.test.labels.shape, digits.test.pixels.max()
    ((1077, 64), (360,), np.float64(1.0))
    """
    table = np.loadtxt(DATA, delimiter=",")
    order = np.random.default_rng(0).permutation(len(table))
    pixels, labels = table[order, :64] / INK, table[order, 64].astype(np.int64)
    return Digits(Images(pixels[:TRAIN], labels[:TRAIN]), Images(pixels[-TEST:], labels[-TEST:]))


@dataclass(frozen=True, eq=False)
class Classifier:
    """Layers of weights, shape (inputs, outputs), and biases, shape (outputs,), rectified between
    layers.
    """

    layers: tuple[tuple[FloatArray, FloatArray], ...]

    def logits(self, pixels: npt.ArrayLike) -> FloatArray:
        """Scores of the ten digits, shape (n, 10), of images, shape (n, 64).

        Raises ValueError unless the pixels are finite and have that shape.
        """
        x = as_floats(pixels=pixels)
        inputs = self.layers[0][0].shape[0]
        require(x.ndim == 2 and x.shape[1] == inputs, "pixels", f"of shape (n, {inputs})", x.shape)
        require(np.isfinite(x).all(), "pixels", "finite numbers", x[~np.isfinite(x)][:1])
        for depth, (weights, bias) in enumerate(self.layers):
            x = np.maximum(x, 0.0) if depth else x
            x = x @ weights + bias
        return x


@functools.cache
def trained_classifier() -> Classifier:
    """The classifier that the servers serve, trained once.

    >>> model, test = trained_classifier(), load_digits().test
    >>> bool((model.logits(test.pixels).argmax(axis=1) == test.labels).mean() > 0.95)
    True
    """
    known, rng = load_digits().train, np.random.default_rng(1)
    x, wanted = known.pixels, np.eye(DIGITS)[known.labels]
    widths = (x.shape[1], HIDDEN, DIGITS)
    shapes = [shape for a, b in itertools.pairwise(widths) for shape in ((a, b), (b,))]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    value, slope, m, v = np.zeros((4, ends[-1]))  # of all weights and biases, in one row
    values, slopes = (
        [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True)]
        for flat in (value, slope)
    )
    for weights in values[::2]:
        weights[:] = rng.standard_normal(weights.shape) * math.sqrt(2 / weights.shape[0])
    steps, step = EPOCHS * math.ceil(len(x) / BATCH), 0
    for _ in range(EPOCHS):
        order = rng.permuted(np.arange(len(x)))
        for rows in np.split(order, range(BATCH, len(x), BATCH)):
            active = np.maximum(x[rows] @ values[0] + values[1], 0.0)
            scores = active @ values[2] + values[3]
            shares = np.exp(scores - scores.max(axis=1, keepdims=True))  # softmax of the scores
            shares /= shares.sum(axis=1, keepdims=True)
            back = (shares - wanted[rows]) / rows.size
            slopes[2][:], slopes[3][:] = active.T @ back, back.sum(axis=0)
            back = (back @ values[2].T) * (active > 0)
            slopes[0][:], slopes[1][:] = x[rows].T @ back, back.sum(axis=0)
            step += 1
            rate = LEARNING_RATE * (1 - (step - 1) / steps)
            warm_m, warm_v = 1 - FIRST_DECAY**step, 1 - SECOND_DECAY**step
            slope += WEIGHT_DECAY * value
            m += (1 - FIRST_DECAY) * (slope - m)
            v += (1 - SECOND_DECAY) * (slope * slope - v)
            value -= rate * (m / warm_m) / (np.sqrt(v / warm_v) + TINY)
    return Classifier(tuple(zip(values[::2], values[1::2], strict=True)))
