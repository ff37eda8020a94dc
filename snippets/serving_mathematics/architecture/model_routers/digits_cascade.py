"""A cascade of two digit readers: the small one answers when it is sure, the large one answers the
rest, and held-out images say what that costs and loses.

A query is deferred when the small model's confidence, its largest probability, lies below a
threshold. Mean cost is c_1 + c_2·P(deferred), because a deferred query pays both models. The
confidence is calibrated by one temperature, softmax(z/T), that minimizes the log loss of validation
images; the threshold is the lowest one at which the cascade loses no more than a tolerance there.
Test images are used once, to report.

Assumes: validation and test images are exchangeable; cost is counted in multiplications.

Source: Alpaydin and Kaynak (1998), a cascade on these very digits; Guo, Pleiss, Sun and Weinberger
(2017) for the temperature; Chen, Zaharia and Zou (2023) for thresholds on a score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.architecture.model_routers.model_routers import cascade_cost, router_cost
from serving_mathematics.core.classifiers.digits_classifier import (
    Digits,
    cross_entropy_gradient,
    load_digits,
    softmax,
    train_classifier,
)
from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.core.queues.shares import wilson_interval
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_numbers,
    require,
    require_in,
    require_non_negative_integer,
    require_positive,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

NORMAL_975 = 1.959963984540054  # 97.5% point of the normal distribution
SMALL, MIDDLE, LARGE = 0, 16, 64  # hidden units; 0 is the linear model
INPUTS, CLASSES = 64, 10


def confidences(logits: npt.ArrayLike, temperature: float = 1.0) -> FloatArray:
    """Largest probability of every row of logits divided by a temperature.

    logits: finite, shape (n, classes). temperature: T > 0; below 1 is surer. Returns shape (n,).
    Raises ValueError outside these ranges.

    >>> confidences([[0.0, 0.0], [math.log(3.0), 0.0]]).round(12).tolist()
    [0.5, 0.75]
    """
    z = as_floats(logits=logits)
    require(z.ndim == 2 and z.size > 0 and np.isfinite(z).all(), "logits", "finite rows", z.shape)
    temperature = require_positive(temperature=temperature)
    scaled = (z - z.max(axis=1, keepdims=True)) / temperature
    return np.asarray(1.0 / np.exp(scaled).sum(axis=1))


def fit_temperature(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """The temperature in [0.01, 100] at which the log loss of labelled rows of logits is smallest.

    logits: finite, shape (n, classes). labels: classes, shape (n,). The loss is convex in 1/T with
    the derivative mean(Σp_i·(z_i − z_label)), of which bisection finds the root. Raises ValueError
    outside these ranges. Source: Guo, Pleiss, Sun and Weinberger (2017).

    >>> z = [[1.0, 0.0]] * 4  # right three times of four: odds 3, so 1/T = ln 3
    >>> round(fit_temperature(z, [0, 0, 0, 1]) * math.log(3.0), 9)
    1.0
    """
    labels = as_numbers(labels=labels)
    z, y = as_floats(logits=logits), np.asarray(labels)
    require(z.ndim == 2 and z.size > 0 and np.isfinite(z).all(), "logits", "finite rows", z.shape)
    known = y.shape == z.shape[:1] and np.isin(y, np.arange(z.shape[1])).all()
    require(known, "labels", "one class per row", labels)
    above = z - z[np.arange(len(z)), y.astype(np.int64)][:, None]
    low, high = 0.01, 100.0
    for _ in range(60):
        inverse = math.sqrt(low * high)
        weights = np.exp((z - z.max(axis=1, keepdims=True)) * inverse)
        slope = ((weights * above).sum(axis=1) / weights.sum(axis=1)).mean()
        low, high = (inverse, high) if slope < 0 else (low, inverse)
    return 1.0 / math.sqrt(low * high)


@dataclass(frozen=True)
class Frontier:
    """Every cascade that thresholds on the confidence can make: thresholds, rising to infinity, the
    share deferred and the accuracy, all of shape (m,).
    """

    thresholds: FloatArray
    deferred: FloatArray
    accuracy: FloatArray


def cascade_frontier(
    confidence: npt.ArrayLike, small_right: npt.ArrayLike, large_right: npt.ArrayLike
) -> Frontier:
    """Share deferred and accuracy of the cascade at every threshold that makes a difference.

    confidence: of the small model, in [0, 1], shape (n,); a query below the threshold is deferred.
    small_right, large_right: whether each model answers it correctly, booleans, shape (n,). The
    last threshold is infinite and defers everything. Raises ValueError outside these ranges.

    >>> frontier = cascade_frontier([0.9, 0.6], [True, False], [True, True])
    >>> frontier.deferred.tolist(), frontier.accuracy.tolist()
    ([0.0, 0.5, 1.0], [0.5, 1.0, 1.0])
    """
    p = as_floats(confidence=confidence)
    require(p.ndim == 1 and p.size > 0, "confidence", "a non-empty sequence", confidence)
    require(np.all((p >= 0) & (p <= 1)), "confidence", "in [0, 1]", confidence)
    answers = [np.asarray(small_right), np.asarray(large_right)]
    for name, right in zip(("small_right", "large_right"), answers, strict=True):
        rule = f"booleans of shape {p.shape}"
        require(right.dtype == np.bool_ and right.shape == p.shape, name, rule, right)
    order = np.argsort(p)
    small, large = (np.concatenate([[0], np.cumsum(right[order])]) for right in answers)
    thresholds = np.append(np.unique(p), math.inf)
    below = np.searchsorted(p[order], thresholds)
    accuracy = (large[below] + small[-1] - small[below]) / p.size
    return Frontier(thresholds, below / p.size, accuracy)


def choose_threshold(frontier: Frontier, tolerance: float = 0.0) -> float:
    """The lowest threshold at which a cascade loses at most a tolerance against the large model.

    frontier: from validation data; its last point defers everything. tolerance: accuracy that may
    be lost, in [0, 1]. Raises ValueError outside this range.

    >>> accuracy = np.array([0.5, 1.0, 1.0])
    >>> choose_threshold(Frontier(np.array([0.6, 0.9, 1.0]), np.array([0.0, 0.5, 1.0]), accuracy))
    0.9
    """
    tolerance = require_in("[0, 1]", tolerance=tolerance)
    good = frontier.accuracy >= frontier.accuracy[-1] - tolerance - 1e-12
    return float(frontier.thresholds[np.argmax(good)])


def paired_difference(first_right: npt.ArrayLike, second_right: npt.ArrayLike) -> MeanEstimate:
    """Accuracy of the first minus that of the second on the same queries, with a 95% interval.

    first_right, second_right: booleans, shape (n,), n ≥ 2. Only the queries on which they disagree
    count for the error, which is why it is smaller than that of two separate accuracies. Raises
    ValueError on anything else.

    >>> paired_difference([True, True, False, True], [True, False, False, True]).mean
    0.25
    """
    first, second = np.asarray(first_right), np.asarray(second_right)
    require(first.ndim == 1 and first.size >= 2, "first_right", "two or more", first.shape)
    for name, right in (("first_right", first), ("second_right", second)):
        rule = f"booleans of shape {first.shape}"
        require(right.dtype == np.bool_ and right.shape == first.shape, name, rule, right)
    difference = first.astype(float) - second.astype(float)
    error = float(difference.std(ddof=1)) / math.sqrt(difference.size)
    return MeanEstimate(float(difference.mean()), error, NORMAL_975 * error)


def multiplications(hidden: int) -> int:
    """Multiplications of weights for one image of 64 pixels and ten digits.

    hidden: units of the hidden layer, 0 for none. Raises ValueError on a negative count.

    >>> multiplications(0), multiplications(64)
    (640, 4736)
    """
    hidden = require_non_negative_integer(hidden=hidden)
    return hidden * (INPUTS + CLASSES) if hidden else INPUTS * CLASSES


@dataclass(frozen=True)
class _Readings:
    """Logits of the small model, labels and correct answers per model of one part of the data."""

    logits: FloatArray
    labels: npt.NDArray[np.int64]
    right: dict[int, BoolArray]


@cache
def _readings() -> tuple[_Readings, _Readings]:
    """Validation and test images as the three models read them; trained on neither."""
    digits: Digits = load_digits()
    gradient = cross_entropy_gradient(digits.train.labels)
    models = {
        hidden: train_classifier(digits.train.pixels, gradient, hidden, np.random.default_rng(1))
        for hidden in (SMALL, MIDDLE, LARGE)
    }
    parts = []
    for part in (digits.validation, digits.test):
        logits = {hidden: model.logits(part.pixels) for hidden, model in models.items()}
        right = {hidden: z.argmax(axis=1) == part.labels for hidden, z in logits.items()}
        parts.append(_Readings(logits[SMALL], part.labels, right))
    return parts[0], parts[1]


def _chosen() -> tuple[float, float]:
    """Temperature and threshold, both from the validation images."""
    validation, _ = _readings()
    temperature = fit_temperature(validation.logits, validation.labels)
    sure = confidences(validation.logits, temperature)
    frontier = cascade_frontier(sure, validation.right[SMALL], validation.right[LARGE])
    return temperature, choose_threshold(frontier)


def _cascade(readings: _Readings) -> tuple[BoolArray, BoolArray]:
    """Which images the chosen cascade defers, and which it reads correctly."""
    temperature, threshold = _chosen()
    deferred = confidences(readings.logits, temperature) < threshold
    return deferred, np.where(deferred, readings.right[LARGE], readings.right[SMALL])


@cache
def _resplit() -> tuple[float, MeanEstimate, MeanEstimate]:
    """Mean loss promised on validation and delivered on test, and share of splits that lost, over
    400 new splits of the 720 images on which no model was trained; intervals are of the splits.
    """
    validation, test = _readings()
    rng = np.random.default_rng(161)
    sure = confidences(np.vstack([validation.logits, test.logits]), _chosen()[0])
    small = np.concatenate([validation.right[SMALL], test.right[SMALL]])
    large = np.concatenate([validation.right[LARGE], test.right[LARGE]])
    promised: list[float] = []
    delivered: list[float] = []
    for _ in range(400):
        order = rng.permutation(sure.size)
        choose, report = order[:360], order[360:]
        frontier = cascade_frontier(sure[choose], small[choose], large[choose])
        threshold = choose_threshold(frontier)
        for rows, losses in ((choose, promised), (report, delivered)):
            answers = np.where(sure[rows] < threshold, large[rows], small[rows])
            losses.append(float(answers.mean() - large[rows].mean()))
    means = []
    for values in (np.array(delivered), np.less(delivered, 0)):
        error = float(np.std(values, ddof=1)) / math.sqrt(values.size)
        means.append(MeanEstimate(float(np.mean(values)), error, NORMAL_975 * error))
    return float(np.mean(promised)), means[0], means[1]


def example() -> SimpleNamespace:
    """Numbers quoted in the text, accuracies and shares in percent of the test images."""
    validation, test = _readings()
    temperature, threshold = _chosen()
    deferred, answers = _cascade(test)
    interval = wilson_interval(int(answers.sum()), answers.size)
    loss = paired_difference(answers, test.right[LARGE])
    rival = paired_difference(answers, test.right[MIDDLE])
    small, large = multiplications(SMALL), multiplications(LARGE)
    cost = cascade_cost([small, large], [float(deferred.mean())])
    promised, delivered, lost = _resplit()
    needs = float((test.right[LARGE] & ~test.right[SMALL]).mean())
    return SimpleNamespace(
        small_percent=100 * float(test.right[SMALL].mean()),
        large_percent=100 * float(test.right[LARGE].mean()),
        cascade_percent=100 * float(answers.mean()),
        cascade_low=100 * interval.low,
        cascade_high=100 * interval.high,
        loss_points=100 * loss.mean,
        loss_half_points=100 * loss.half_width,
        fitted_temperature=temperature,
        raw_confidence=100 * float(confidences(test.logits).mean()),
        calibrated_confidence=100 * float(confidences(test.logits, temperature).mean()),
        threshold=threshold,
        deferred_validation=100 * float(_cascade(validation)[0].mean()),
        deferred_test=100 * float(deferred.mean()),
        cascade_multiplications=cost,
        large_multiplications=large,
        cost_ratio=large / small,
        saved_percent=100 * (1 - cost / large),
        middle_percent=100 * float(test.right[MIDDLE].mean()),
        middle_multiplications=multiplications(MIDDLE),
        middle_difference=100 * rival.mean,
        middle_half=100 * rival.half_width,
        promised_points=100 * promised,
        delivered_points=100 * delivered.mean,
        delivered_half=100 * delivered.half_width,
        splits_that_lost=100 * lost.mean,
        splits_half=100 * lost.half_width,
        perfect_multiplications=router_cost([small, large], [1 - needs, needs]),
    )


def figure_accuracy_cost(figure: Figure) -> None:
    """A few percent of deferred images buy most of the large model's accuracy, and one model of the
    middle size is nearly as good.

    Accuracy on 360 test images against multiplications per image. Line: the cascade at every
    threshold; large dot: the threshold chosen on validation images, with a 95% interval. Dashed: a
    router without information, which sends a random share to the large model. Squares: single
    models of 0, 16 and 64 hidden units. Star: a router that always knows who is right.

    Alt: Chart of accuracy from 0.95 to 1 against multiplications from 640 to 5,400. The cascade
    rises steeply from 0.969 at 640 to 0.98 at about 850 and 0.989 at about 1,030, then stays level.
    The dashed line rises slowly from the small to the large model. The model with 16 units lies at
    1,184 and 0.983, just below the cascade. The interval of the chosen
    threshold reaches a third of the chart to each side.
    """
    _, test = _readings()
    axes = figure.subplots()
    small, large = multiplications(SMALL), multiplications(LARGE)
    sure = confidences(test.logits, _chosen()[0])
    frontier = cascade_frontier(sure, test.right[SMALL], test.right[LARGE])
    axes.step(small + large * frontier.deferred, frontier.accuracy, color="C0", where="post")
    ends = [float(test.right[hidden].mean()) for hidden in (SMALL, LARGE)]
    axes.plot([small, large], ends, color="C4", linestyle="--", linewidth=1.2)
    for hidden in (SMALL, MIDDLE, LARGE):
        axes.plot(multiplications(hidden), test.right[hidden].mean(), "s", color="C1")
    deferred, answers = _cascade(test)
    interval = wilson_interval(int(answers.sum()), answers.size)
    axes.errorbar(
        small + large * deferred.mean(),
        answers.mean(),
        [[answers.mean() - interval.low], [interval.high - answers.mean()]],
        fmt="o",
        color="C5",
        markersize=8,
    )
    needs = float((test.right[LARGE] & ~test.right[SMALL]).mean())
    axes.plot(
        router_cost([small, large], [1 - needs, needs]),
        (test.right[LARGE] | test.right[SMALL]).mean(),
        "*",
        color="C2",
        markersize=11,
    )
    for text, place, colour in (
        ("cascade", (2300, 0.9905), "C0"),
        ("chosen on validation", (950, 0.9665), "C5"),
        ("random share", (2700, 0.9765), "C4"),
        ("one model", (1270, 0.9825), "C1"),
        ("perfect router", (760, 0.9945), "C2"),
    ):
        axes.annotate(text, place, color=colour)
    axes.set(xlim=(500, 5500), ylim=(0.955, 1.0))
    axes.set(xlabel="cost [multiplications per image]", ylabel="accuracy [share of test images]")


def check_both_models_read_digits() -> None:
    """Held-out digits are read better with a hidden layer than without, and better than by means.

    Source: the nearest class mean, computed on the same 360 images.
    """
    digits, (_, test) = load_digits(), _readings()
    known = digits.train
    means = np.array([known.pixels[known.labels == digit].mean(axis=0) for digit in range(CLASSES)])
    distances = ((digits.test.pixels[:, None, :] - means) ** 2).sum(axis=2)
    bar = float(np.mean(distances.argmin(axis=1) == test.labels))
    for hidden in (SMALL, LARGE):
        accuracy = float(test.right[hidden].mean())
        label = f"accuracy with {hidden} hidden units"
        checks.inside(label, accuracy, bar, 1.0, kind="measured")
        bar = accuracy


def check_temperature() -> None:
    """One temperature makes the small model's confidence agree with its accuracy on images that it
    was not fitted to.

    Source: the smallest log loss on a grid of 100 temperatures; accuracy on the test images within
    3 binomial standard errors.
    """
    validation, test = _readings()
    temperature, _ = _chosen()
    grid = np.geomspace(0.4, 1.0, 100)
    rows = np.arange(validation.labels.size)
    losses = [
        -float(np.log(softmax(validation.logits / t)[rows, validation.labels]).mean()) for t in grid
    ]
    best = float(grid[int(np.argmin(losses))])
    checks.close("temperature", temperature, best, rtol=0.006)
    right = test.right[SMALL]
    error = math.sqrt(right.mean() * (1 - right.mean()) / right.size)
    sure = float(confidences(test.logits, temperature).mean())
    checks.close("confidence, calibrated", sure, right.mean(), atol=3 * error, kind="measured")
    gap = (right.mean() - float(confidences(test.logits).mean())) / error
    checks.holds("before, unsure by 3 s.e.", bool(gap > 3), got=f"{gap:.1f}", kind="measured")


def check_frontier() -> None:
    """The frontier is what asking one model per image would give, at every threshold.

    Source: a loop over images and thresholds; its ends are the two models.
    """
    _, test = _readings()
    sure = confidences(test.logits)
    frontier = cascade_frontier(sure, test.right[SMALL], test.right[LARGE])
    for i in (3, 40, 200):
        answers = [
            large if p < frontier.thresholds[i] else small
            for p, small, large in zip(sure, test.right[SMALL], test.right[LARGE], strict=True)
        ]
        checks.close(
            f"accuracy at threshold {i}", frontier.accuracy[i], np.mean(answers), rtol=1e-12
        )
    ends = [test.right[SMALL].mean(), test.right[LARGE].mean()]
    checks.close("ends", frontier.accuracy[[0, -1]], ends, rtol=1e-12)


def check_cascade_on_held_out_images() -> None:
    """The cascade chosen on validation images costs less than a fifth of the large model, and is
    better than the same share of deferrals at random.

    Source: 360 test images; a random share defers as often and has the mixture of the two
    accuracies; the exact mean of the deferred ones is hypergeometric.
    """
    validation, test = _readings()
    deferred, answers = _cascade(test)
    cost = cascade_cost([640, 4736], [float(deferred.mean())])
    checks.inside("multiplications over the large model's", cost / 4736, 0.0, 0.2, kind="measured")
    promised = _cascade(validation)[1].mean() - validation.right[LARGE].mean()
    checks.inside("loss on validation", float(promised), 0.0, 1.0, kind="measured")
    loss = paired_difference(answers, test.right[LARGE])
    checks.covers("loss on test", loss, 0.0, kind="measured")
    gain = test.right[LARGE].astype(float) - test.right[SMALL]
    share = deferred.mean()
    spread = math.sqrt(gain.var() * share * (1 - share) / gain.size)
    above = (answers.mean() - (test.right[SMALL].mean() + share * gain.mean())) / spread
    checks.holds(
        "above random deferral [s.d.]", bool(above > 3), got=f"{above:.1f}", kind="measured"
    )


def check_choosing_is_optimistic() -> None:
    """What a threshold promises on the images that chose it, it does not keep on others.

    Source: 400 new splits of the 720 images that no model was trained on.
    """
    promised, delivered, lost = _resplit()
    checks.inside("promised", promised, 0.0, 1.0, kind="measured")
    checks.inside("delivered", delivered.mean, -1.0, -0.001, kind="measured")
    checks.inside("share of splits that lost", lost.mean, 0.3, 0.7, kind="measured")


def check_bad_input_is_refused() -> None:
    """NaN logits, confidences above 1, answers that are no booleans and labels without a class are
    errors.
    """
    nan = [[math.nan, 0.0]]
    checks.raises("NaN", confidences, nan, match="logits must be finite rows")
    checks.raises("T = 0", confidences, [[0.0]], 0.0, match="temperature must be positive")
    checks.raises("label", fit_temperature, [[0.0, 1.0]], [2], match="labels must be one class")
    checks.raises(
        "1.2", cascade_frontier, [1.2], [True], [True], match="confidence must be in [0, 1]"
    )
    checks.raises("0/1", paired_difference, [1, 0], [True, True], match="first_right must be bool")
