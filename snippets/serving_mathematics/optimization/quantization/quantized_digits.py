"""A trained digit reader in fewer bits: what changes on images that it was not trained on.

Weights of each layer are rounded with one scale for the layer, for each unit, or for each group of
inputs of a unit. The rounded model reads the same held-out images as the original, so that only the
images on which they differ say something.

Assumes: the 720 images that are not in the training set stand for all; biases stay in 32 bits.

Source: measurement on held-out images.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.classifiers.digits_classifier import (
    Classifier,
    Images,
    cross_entropy_gradient,
    load_digits,
    train_classifier,
)
from serving_mathematics.optimization.quantization.bits_and_noise import sqnr_db, stored_bytes
from serving_mathematics.optimization.quantization.block_formats import block_rounded
from serving_mathematics.optimization.quantization.code_books import lloyd_max, normal_float
from serving_mathematics.optimization.quantization.paired_accuracy import Change, paired_change
from serving_mathematics.optimization.quantization.quantization import (
    integer_logits,
    rounded_weights,
)
from serving_mathematics.support import checks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

HIDDEN, GROUP = 64, 16  # units of the hidden layer, and inputs that share a scale
READERS = 4  # trainings that differ in their seed


@cache
def _readers() -> tuple[Classifier, ...]:
    """Digit readers that differ in the seed of their training; the first is the one in use."""
    train = load_digits().train
    gradient = cross_entropy_gradient(train.labels)
    return tuple(
        train_classifier(train.pixels, gradient, HIDDEN, np.random.default_rng(seed))
        for seed in range(1, 1 + READERS)
    )


@cache
def _held_out() -> Images:
    """The 720 images that no reader has been trained on."""
    digits = load_digits()
    pixels = np.vstack([digits.validation.pixels, digits.test.pixels])
    return Images(pixels, np.concatenate([digits.validation.labels, digits.test.labels]))


def _right(reader: Classifier) -> BoolArray:
    """Which held-out images a classifier reads correctly."""
    images = _held_out()
    return np.asarray(reader.logits(images.pixels).argmax(axis=1) == images.labels)


def _rounded(reader: Classifier, rounding: Callable[[FloatArray], FloatArray]) -> Classifier:
    """The classifier with other weights and the same biases."""
    return Classifier(tuple((rounding(weights), biases) for weights, biases in reader.layers))


def _rounding(bits: int, way: str) -> Callable[[FloatArray], FloatArray]:
    """Rounding with one scale for the layer, for each unit, or for each group of inputs."""
    if way == "layer":
        return lambda w: rounded_weights(w, bits)
    return lambda w: rounded_weights(w, bits, len(w) if way == "unit" else GROUP)


@cache
def _answers(bits: int, way: str) -> BoolArray:
    """Right answers of every reader after rounding its weights, shape (readers, images); bits 32:
    before.
    """
    if bits == 32:
        return np.array([_right(reader) for reader in _readers()])
    rounding = _rounding(bits, way)
    return np.array([_right(_rounded(reader, rounding)) for reader in _readers()])


def _compare(before: BoolArray, after: BoolArray) -> Change:
    """The change between two sets of answers."""
    return paired_change(int((before & ~after).sum()), int((after & ~before).sum()), before.size)


def _change(bits: int, way: str) -> Change:
    """The change of the reader in use."""
    return _compare(_answers(32, "")[0], _answers(bits, way)[0])


def _shares(bits: int, way: str) -> FloatArray:
    """Change of accuracy [points] of every reader."""
    return np.asarray(100 * (_answers(bits, way).mean(axis=1) - _answers(32, "").mean(axis=1)))


def _bytes(bits: int, group: int | None) -> float:
    """Bytes of both layers."""
    return sum(stored_bytes(w.shape[0], w.shape[1], bits, group) for w, _ in _readers()[0].layers)


def _row(before: BoolArray, after: BoolArray, size: float) -> str:
    """Accuracy, change with interval, and bytes, as cells of a table."""
    change = _compare(before, after)
    points = f"{100 * change.share:+.2f} ({100 * change.low:+.2f} to {100 * change.high:+.2f})"
    return f"{100 * after.mean():.2f} | {points.replace('-', '−')} | {size:,.0f}"


def example() -> SimpleNamespace:
    """Numbers quoted in the text: rows of a table, accuracies in percent, ratios in dB."""
    images, layers = _held_out(), _readers()[0].layers
    first = layers[0][0]
    columns = np.ascontiguousarray(first.T)  # a row holds the weights of a unit
    before = _answers(32, "")[0]
    whole = integer_logits(layers, images.pixels).argmax(axis=1) == images.labels
    rows = {
        (bits, way): _row(before, _answers(bits, way)[0], _bytes(bits, group))
        for bits in (8, 4, 3, 2)
        for way, group in (("layer", None), ("unit", HIDDEN), ("group", GROUP))
    }
    code = normal_float(4)
    nf4 = _right(_rounded(_readers()[0], lambda w: block_rounded(w.T, code, GROUP).T))
    lloyd = lloyd_max(16, 1e-8)
    return SimpleNamespace(
        held_out_images=before.size,
        float_percent=100 * float(before.mean()),
        float_half_percent=196 * float(before.std()) / float(np.sqrt(before.size)),
        float_bytes=_bytes(32, None),
        row_8_layer=rows[8, "layer"],
        row_8_integer=_row(before, whole, _bytes(8, HIDDEN)),
        row_4_layer=rows[4, "layer"],
        row_4_unit=rows[4, "unit"],
        row_4_group=rows[4, "group"],
        row_nf4_group=_row(before, nf4, _bytes(4, GROUP)),
        row_3_group=rows[3, "group"],
        row_2_unit=rows[2, "unit"],
        row_2_group=rows[2, "group"],
        two_bits_unit_points=100 * _compare(before, _answers(2, "unit")[0]).share,
        three_bits_group_in_use=float(_shares(3, "group")[0]),
        three_bits_unit_in_use=float(_shares(3, "unit")[0]),
        **{
            f"mean_{bits}_{way}": float(_shares(bits, way).mean())
            for bits in (4, 3)
            for way in ("layer", "unit", "group")
        },
        zero_percent=100 * float((np.abs(first) < 1e-3).mean()),
        two_bit_zeros_percent=100 * float((rounded_weights(first, 2, HIDDEN) == 0).mean()),
        int4_unit_db=sqnr_db(first, rounded_weights(first, 4, HIDDEN)),
        nf4_unit_db=sqnr_db(columns, block_rounded(columns, normal_float(4), HIDDEN)),
        lloyd_unit_db=sqnr_db(columns, block_rounded(columns, lloyd / lloyd[-1], HIDDEN)),
    )


def figure_accuracy_by_bits(figure: Figure) -> None:
    """Down to five bits nothing changes that 720 images could show; below, the scales decide.

    Change of accuracy on 720 held-out images against the original, in percentage points, with 95%
    intervals for models that read the same images. The scale is one for the layer, one for each
    unit, or one for each 16 inputs of a unit. Small dots: three other trainings of the same model.

    Alt: Chart of the change of accuracy, from about −6 to +1 points, against 3 to 8 bits per
    weight. From 8 to 5 bits all three series lie at 0 with intervals of a few tenths. At 4 bits one
    scale per layer lies at about −0.8. At 3 bits one scale per layer has lost four to five points,
    the finer scales one to three, with intervals of about a point to each side; the small dots of
    other trainings scatter as widely.
    """
    axes = figure.subplots()
    axes.axhline(0, color="C4", linewidth=1)
    for place, (way, colour, text) in enumerate(
        (
            ("layer", "C0", "one scale per layer"),
            ("unit", "C1", "per unit"),
            ("group", "C2", "per 16 inputs"),
        )
    ):
        every = range(3, 9)
        changes = 100 * np.array(
            [[c.low, c.share, c.high] for c in (_change(b, way) for b in every)]
        )
        x, share = np.array(every) + 0.22 * (place - 1), changes[:, 1]
        others = np.array([_shares(bits, way)[1:] for bits in every])
        axes.plot(x + 0.055, others, ".", color=colour, markersize=3.5)
        ends = np.abs(changes[:, [0, 2]].T - share)
        axes.errorbar(x, share, ends, fmt="o", color=colour, markersize=5)
        axes.annotate(text, (4.4, -3 - 0.8 * place), color=colour)
    axes.set(xlabel="bits per weight", ylabel="change of accuracy [points]")


def figure_weights_on_code_books(figure: Figure) -> None:
    """Weights crowd around 0, where equal steps have few values and NF4 has many.

    The first layer of the digit reader, each unit's weights divided by their largest. A third of
    the weights are 0 but for rounding, because they belong to pixels that are never inked, and are
    left out of the histogram. Ticks: the values of equal steps, of NF4, and of Lloyd and Max for a
    Gaussian, scaled to end at 1; only the first two have an exact 0.

    Alt: Histogram of weights from −1 to 1, highest in the middle and nearly flat zero beyond 0.8.
    Below it three rows of vertical ticks: fifteen at equal distances, sixteen of NF4 that are close
    together around 0, and sixteen of Lloyd and Max, symmetric, without one at 0.
    """
    figure.set_size_inches(5.8, 3.7)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
    first = _readers()[0].layers[0][0]
    weights = (first / np.abs(first).max(axis=0)).ravel()
    weights = weights[np.abs(weights) > 0.005]
    top.hist(weights, bins=61, range=(-1, 1), color="C0", histtype="stepfilled")
    lloyd = lloyd_max(16, 1e-8)
    for place, (name, code, colour) in enumerate(
        (
            ("Lloyd–Max", lloyd / lloyd[-1], "C5"),
            ("NF4", normal_float(4), "C2"),
            ("equal", np.arange(-7, 8) / 7, "C1"),
        )
    ):
        bottom.vlines(code, place - 0.35, place + 0.35, color=colour, linewidth=2)
        bottom.annotate(name, (-1.06, place), color=colour, va="center", ha="right")
    bottom.set(xlim=(-1.5, 1.05), ylim=(-0.6, 2.6), yticks=[])
    bottom.set(xlabel="weight over the largest of its unit", ylabel="codes")
    top.set(ylabel="weights", xlabel="weight over the largest of its unit")


def check_eight_bits_change_nothing_that_shows() -> None:
    """In eight bits, weights alone or everything in whole numbers, fewer than one image in a
    hundred is read differently, and the interval of the change holds 0.

    Source: the same 720 held-out images, read by the original.
    """
    reader, images = _readers()[0], _held_out()
    original = reader.logits(images.pixels)
    whole = integer_logits(reader.layers, images.pixels)
    rounded = _rounded(reader, _rounding(8, "layer")).logits(images.pixels)
    before = _right(reader)
    for name, logits in (("weights", rounded), ("whole numbers", whole)):
        differs = float((logits.argmax(axis=1) != original.argmax(axis=1)).mean())
        checks.inside(f"{name}: read differently", differs, 0.0, 0.01, kind="measured")
        change = _compare(before, logits.argmax(axis=1) == images.labels)
        held = change.low <= 0 <= change.high
        checks.holds(f"{name}: 0 in the interval", held, got=change.share, kind="measured")
    checks.inside("logits in whole numbers [dB]", sqnr_db(original, whole), 30, 60, kind="measured")


def check_finer_scales_help() -> None:
    """In three bits one scale per layer loses more than chance explains; in two bits a scale for
    each 16 inputs keeps what coarser ones lose; over four trainings finer is better.

    Source: 720 held-out images, changes with 95% intervals.
    """
    three = _change(3, "layer")
    checks.inside("3 bits, layer: upper end", three.high, -1.0, -0.01, kind="measured")
    two = {way: _change(2, way) for way in ("layer", "unit", "group")}
    for way in ("layer", "unit"):
        label = f"2 bits: group's lower end over {way}'s upper end"
        checks.inside(label, two["group"].low - two[way].high, 0.05, 1.0, kind="measured")
    for bits in (4, 3):
        means = [float(_shares(bits, way).mean()) for way in ("layer", "unit", "group")]
        label = f"{bits} bits, mean of {READERS} trainings: order"
        checks.holds(label, means[0] < means[1] < means[2], got=means, kind="measured")
    four = _change(4, "group")
    checks.inside("4 bits, group: change", four.share, -0.01, 0.01, kind="measured")


def check_rounding_noise_in_the_logits() -> None:
    """The error of the logits is what independent rounding errors of s²/12 in the last layer add up
    to.

    Source: Σh²·s²/12 over the hidden units h of an image, averaged over images and outputs, for 6
    and 8 bits; the logits of the rounded layer.
    """
    (w1, b1), (w2, _) = _readers()[0].layers
    hidden = np.maximum(_held_out().pixels @ w1 + b1, 0)
    for bits in (6, 8):
        step = np.abs(w2).max() / (2 ** (bits - 1) - 1)
        expected = float(np.square(hidden).sum(axis=1).mean()) * step**2 / 12
        error = hidden @ (rounded_weights(w2, bits) - w2)
        got = float(np.square(error).mean())
        checks.inside(
            f"{bits} bits, error over expected", got / expected, 0.6, 1.5, kind="measured"
        )
