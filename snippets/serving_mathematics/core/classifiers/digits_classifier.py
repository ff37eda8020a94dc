"""A real model small enough to train while you wait: handwritten digits, softmax over logits.

One hidden layer of rectified units, z = W₂·max(0, W₁x + b₁) + b₂, or none (multinomial logistic
regression), fitted by Adam on minibatches. The loss enters only through its gradient with respect
to the logits, so that another loss is one argument.

Assumes: the 1,797 images are exchangeable. They come from 13 writers, and the split ignores who
wrote what, so that accuracies here are those for known hands, not for strangers.

Source: Alpaydin and Kaynak (1998), the data set's test part, 8 x 8 counts from 0 to 16, as
distributed by scikit-learn; Kingma and Ba (2015), algorithm 1, for Adam; He et al. (2015), section
2.2, for the initial weights.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_numbers,
    require,
    require_all_finite,
    require_in,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
    require_work,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
OutputGradient = Callable[[FloatArray, IntArray], FloatArray]

DATA = Path(
    str(files("serving_mathematics.core.classifiers") / "digits.csv.gz")
)  # part of the package
DIGITS = 10
INK = 16  # the largest count of a pixel
TRAIN, VALIDATION = 1077, 360  # images; the remaining 360 are the test set
FIRST_DECAY, SECOND_DECAY, TINY = 0.9, 0.999, 1e-8  # β₁, β₂ and ε of Kingma and Ba (2015)


@dataclass(frozen=True, eq=False)
class Images:
    """Images as rows, ink from 0 to 1, shape (n, 64), and the digits they show, shape (n,)."""

    pixels: FloatArray
    labels: IntArray


@dataclass(frozen=True)
class Digits:
    """Three disjoint parts of the data: to fit, to choose with, and to report on."""

    train: Images
    validation: Images
    test: Images


def load_digits(path: Path = DATA) -> Digits:
    """The 1,797 digits, shuffled once with a fixed seed and split 1077 : 360 : 360.

    path: a CSV file of 64 counts from 0 to 16 and the label in each row.
    Raises ValueError when the file holds anything else.

    >>> digits = load_digits()
    >>> digits.train.pixels.shape, digits.validation.labels.shape, digits.test.pixels.max()
    ((1077, 64), (360,), np.float64(1.0))
    """
    table = np.loadtxt(path, delimiter=",", ndmin=2)
    require(table.shape == (1797, 65), "path", "a file of 1797 rows of 65 numbers", table.shape)
    counts, labels = table[:, :64], table[:, 64].astype(np.int64)
    inside = ((counts >= 0) & (counts <= INK)).all() and ((labels >= 0) & (labels < DIGITS)).all()
    require(inside, "path", "a file of counts from 0 to 16 and labels from 0 to 9", path)
    order = np.random.default_rng(0).permutation(len(table))
    parts = np.split(order, [TRAIN, TRAIN + VALIDATION])
    return Digits(*(Images(counts[rows] / INK, labels[rows]) for rows in parts))


def softmax(logits: npt.ArrayLike) -> FloatArray:
    """Probabilities exp(z_i)/Σexp(z_j) along the last axis, for logits of any size.

    logits: finite numbers, shape (..., classes). Returns the same shape, each row summing to 1.
    Raises ValueError on empty or non-finite input.

    >>> softmax([1000.0, 1000.0]).tolist()
    [0.5, 0.5]
    """
    z = as_floats(logits=logits)
    require(z.ndim >= 1 and z.size > 0 and np.isfinite(z).all(), "logits", "finite numbers", z)
    weights: FloatArray = np.exp(z - z.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights


@dataclass(frozen=True, eq=False)
class Classifier:
    """Layers of weights, shape (..., inputs, outputs), and biases, shape (..., outputs), rectified
    between layers; several classifiers side by side have leading axes.
    """

    layers: tuple[tuple[FloatArray, FloatArray], ...]

    def logits(self, pixels: npt.ArrayLike) -> FloatArray:
        """Scores of the ten digits, shape (..., n, 10), of images, shape (n, 64).

        Raises ValueError unless the pixels are finite and have that shape.
        """
        x = as_floats(pixels=pixels)
        inputs = self.layers[0][0].shape[-2]
        require(x.ndim == 2 and x.shape[1] == inputs, "pixels", f"of shape (n, {inputs})", x.shape)
        require(np.isfinite(x).all(), "pixels", "finite numbers", x[~np.isfinite(x)][:1])
        for depth, (weights, bias) in enumerate(self.layers):
            x = np.maximum(x, 0.0) if depth else x
            x = x @ weights + bias[..., None, :]
        return x

    def accuracy(self, images: Images) -> float:
        """Share of the images whose largest score belongs to their digit."""
        return float(np.mean(self.logits(images.pixels).argmax(axis=-1) == images.labels))

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(weights.size + bias.size for weights, bias in self.layers)


def cross_entropy_gradient(labels: npt.ArrayLike) -> OutputGradient:
    """Gradient of the mean of −ln softmax(z)[label] with respect to the logits z.

    labels: digits, shape (n,). Returns a function of logits, shape (..., m, 10), and the rows they
    belong to, shape (..., m), which gives (softmax(z) − onehot)/m.
    Raises ValueError unless the labels are digits.

    >>> cross_entropy_gradient([1, 0])(np.zeros((1, 10)), np.array([1])).round(3)[0, :3].tolist()
    [-0.9, 0.1, 0.1]
    """
    labels = as_numbers(labels=labels)
    digits = np.asarray(labels)
    valid = digits.ndim == 1 and digits.size > 0 and np.isin(digits, np.arange(DIGITS)).all()
    require(valid, "labels", "a sequence of digits from 0 to 9", labels)
    wanted = np.eye(DIGITS)[digits.astype(np.int64)]

    def gradient(logits: FloatArray, rows: IntArray) -> FloatArray:
        return np.asarray((softmax(logits) - wanted[rows]) / rows.shape[-1])

    return gradient


# In one piece: arguments, then one loop of training, which shares all of them.
def train_classifier(
    pixels: npt.ArrayLike,
    output_gradient: OutputGradient,
    hidden: int,
    rng: np.random.Generator,
    epochs: int = 40,
    batch_size: int = 32,
    learning_rate: float = 1e-2,
    weight_decay: float = 1e-3,
    images: npt.ArrayLike | None = None,
) -> Classifier:
    """Fit a classifier by Adam to a loss that is given by its gradient at the logits, or several
    side by side.

    pixels: images, shape (n, 64). output_gradient: of the mean loss, as from
    `cross_entropy_gradient`. hidden: width of the hidden layer, 0 for none. epochs: passes over
    the data. batch_size: images per step. learning_rate: step size, falling linearly to 0.
    weight_decay: share of a weight added to its gradient (L2). images: rows of `pixels` to learn,
    shape (..., seen), one classifier for each of the leading axes; by default all, by one.
    Raises ValueError on non-finite pixels, images that are no rows of them, or settings that are
    not positive (hidden, weight_decay: negative).

    >>> dark_and_light, wanted = np.array([[1.0] * 64, [0.0] * 64]), np.eye(10)[[3, 8]]
    >>> squares, rng = lambda z, rows: z - wanted[rows], np.random.default_rng(0)
    >>> train_classifier(dark_and_light, squares, 0, rng).logits(dark_and_light).argmax(axis=1)
    array([3, 8])
    """
    pixels = require_all_finite(pixels=pixels)
    x = as_floats(pixels=pixels)
    require(x.ndim == 2 and x.size > 0, "pixels", "rows", x.shape)
    hidden = require_non_negative_integer(hidden=hidden)
    for name, whole in (("epochs", epochs), ("batch_size", batch_size)):
        require(1 <= whole < math.inf and whole == int(whole), name, "a positive integer", whole)
    epochs = require_in("[1, 1e6]", epochs=epochs)
    require_work(hidden * epochs + 200 * hidden + 200 * epochs, hidden=hidden, epochs=epochs)
    learning_rate = require_positive(learning_rate=learning_rate)
    weight_decay = require_non_negative(weight_decay=weight_decay)
    every = np.asarray(range(len(x)) if images is None else images)
    known = every.ndim >= 1 and every.size > 0 and np.isin(every, np.arange(len(x))).all()
    require(known, "images", "rows of the pixels", images)
    *stack, count = every.shape

    widths = [x.shape[1], *([hidden] if hidden else []), DIGITS]
    shapes = [shape for a, b in itertools.pairwise(widths) for shape in ((a, b), (b,))]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    value, slope, m, v = np.zeros((4, *stack, ends[-1]))  # of all weights and biases, in one row
    values, slopes = (
        [
            part.reshape(*stack, *shape)
            for part, shape in zip(np.split(flat, ends[:-1], axis=-1), shapes, strict=True)
        ]
        for flat in (value, slope)
    )
    for weights in values[::2]:
        weights[:] = rng.standard_normal(weights.shape) * math.sqrt(2 / weights.shape[-2])
    steps, step = epochs * math.ceil(count / batch_size), 0
    for _ in range(epochs):
        order = rng.permuted(every.astype(np.int64), axis=-1)
        for start in range(0, count, batch_size):
            rows = order[..., start : start + batch_size]
            seen = x[rows]
            inside = seen @ values[0] + values[1][..., None, :]
            active = np.maximum(inside, 0.0)
            scores = active @ values[2] + values[3][..., None, :] if hidden else inside
            back = output_gradient(scores, rows)
            if hidden:
                slopes[2][:], slopes[3][:] = active.mT @ back, back.sum(axis=-2)
                back = (back @ values[2].mT) * (inside > 0)
            slopes[0][:], slopes[1][:] = seen.mT @ back, back.sum(axis=-2)
            step += 1
            rate = learning_rate * (1 - (step - 1) / steps)
            warm_m, warm_v = 1 - FIRST_DECAY**step, 1 - SECOND_DECAY**step
            slope += weight_decay * value
            m += (1 - FIRST_DECAY) * (slope - m)
            v += (1 - SECOND_DECAY) * (slope * slope - v)
            value -= rate * (m / warm_m) / (np.sqrt(v / warm_v) + TINY)
    return Classifier(tuple(zip(values[::2], values[1::2], strict=True)))


def check_the_gradient_is_the_slope_of_the_loss() -> None:
    """The gradient at the logits equals central differences of the mean cross-entropy.

    Source: (L(z + h) − L(z − h))/2h with L computed from logsumexp.
    """
    rng = np.random.default_rng(5)
    labels, z = np.array([3, 1, 4]), rng.normal(size=(3, DIGITS))

    def loss(scores: FloatArray) -> float:
        picked = scores[np.arange(3), labels]
        return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - picked))

    slopes = cross_entropy_gradient(labels)(z, np.arange(3))
    for row, column in ((0, 3), (1, 7), (2, 4)):
        nudge = np.zeros_like(z)
        nudge[row, column] = 1e-5
        slope = (loss(z + nudge) - loss(z - nudge)) / 2e-5
        checks.close(f"∂L/∂z[{row},{column}]", slopes[row, column], slope, atol=1e-9)


def check_bad_input_is_refused() -> None:
    """Labels that are no digits, wrong shapes and non-finite pixels raise ValueError.

    Source: the contracts in the docstrings.
    """
    model = Classifier(((np.zeros((64, 10)), np.zeros(10)),))
    checks.raises("wrong shape", model.logits, np.zeros((1, 63)), match="pixels must be of shape")
    checks.raises("NaN", model.logits, np.full((1, 64), math.nan), match="pixels must be finite")
    checks.raises("no digit", cross_entropy_gradient, [1, 10], match="labels must be")
    checks.raises("empty logits", softmax, [], match="logits must be finite")
