"""A student of handwritten digits, alone and distilled, on ten seeds: when the teacher helps.

The teacher has 64 hidden units and was trained on 538 labelled images; the student has 16 and sees
539 others. Four cases: all of them with labels; all without, so that only the teacher can name
them; 50 with labels; 50 that the teacher answers with softened probabilities. Every case has the
same number of steps and ten students, trained side by side; a seed stands for the initial weights
and the order of the images, which each of the ten has in all cases; differences are paired.

Assumes: the 720 test images are exchangeable with those of the training, which holds for known
writers only. T = 4 was fixed beforehand; the student's size and training were settled in trials
that looked at the same images.

Source: Hinton, Vinyals and Dean (2015) for the loss and for small students at intermediate
temperatures; Buciluă, Caruana and Niculescu-Mizil (2006) for unlabelled images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.classifiers.digits_classifier import (
    Classifier,
    Images,
    OutputGradient,
    cross_entropy_gradient,
    load_digits,
    train_classifier,
)
from serving_mathematics.optimization.distillation.distillation import output_gradient, soften
from serving_mathematics.support import checks
from serving_mathematics.support.require import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

TEACHER_UNITS, STUDENT_UNITS, TEACHER_IMAGES, FEW = 64, 16, 538, 50
SEEDS, TEMPERATURE, TEMPERATURES = 10, 4.0, (1.0, 4.0, 16.0)
STUDENT_975_DF9 = 2.262157  # 97.5% point of Student's t with 9 degrees of freedom


@dataclass(frozen=True)
class PairedGain:
    """Mean difference of two accuracies, its standard errors from seeds and from images, and of
    both together.
    """

    mean: float
    seed_error: float
    image_error: float

    @property
    def standard_error(self) -> float:
        """For new seeds and new images; what they share is counted twice, which is on the safe
        side.
        """
        return math.hypot(self.seed_error, self.image_error)


def paired_gain(first_right: npt.ArrayLike, second_right: npt.ArrayLike) -> PairedGain:
    """Accuracy of the first minus that of the second, trained from the same seeds and asked the
    same images.

    first_right, second_right: whether each answer is right, booleans, shape (seeds, images), two
    or more of either. Raises ValueError on anything else.

    >>> gain = paired_gain([[True, True], [True, False]], [[False, True], [False, False]])
    >>> gain.mean, gain.seed_error, gain.image_error
    (0.5, 0.0, 0.5)
    """
    first, second = np.asarray(first_right), np.asarray(second_right)
    require(first.ndim == 2 and min(first.shape) >= 2, "first_right", "two or more", first.shape)
    for name, right in (("first_right", first), ("second_right", second)):
        rule = f"booleans of shape {first.shape}"
        require(right.dtype == np.bool_ and right.shape == first.shape, name, rule, right.shape)
    gap = first.astype(float) - second.astype(float)
    errors = [
        float(gap.mean(axis=axis).std(ddof=1)) / math.sqrt(gap.shape[1 - axis]) for axis in (1, 0)
    ]
    return PairedGain(float(gap.mean()), errors[0], errors[1])


def _students(
    pixels: FloatArray, gradient: OutputGradient, images: IntArray, weight_decay: float = 1e-3
) -> Classifier:
    """Students after 306 steps, one for each row of the images that they see."""
    steps, count = 306, images.shape[1]
    batch, rng = min(64, count), np.random.default_rng(0)
    epochs = steps // math.ceil(count / batch)
    return train_classifier(
        pixels, gradient, STUDENT_UNITS, rng, epochs, batch, 3e-2, weight_decay, images
    )


@cache
def _split() -> tuple[Images, Images, Images]:
    """Images of the teacher, of the student, and of the report."""
    digits = load_digits()
    train, both = digits.train, (digits.validation, digits.test)
    parts = (slice(None, TEACHER_IMAGES), slice(TEACHER_IMAGES, None))
    theirs, ours = (Images(train.pixels[rows], train.labels[rows]) for rows in parts)
    report = Images(
        np.vstack([part.pixels for part in both]), np.concatenate([part.labels for part in both])
    )
    return theirs, ours, report


@cache
def _teacher() -> Classifier:
    theirs = _split()[0]
    gradient = cross_entropy_gradient(theirs.labels)
    return train_classifier(theirs.pixels, gradient, TEACHER_UNITS, np.random.default_rng(1))


@cache
def _right() -> dict[str, BoolArray]:
    """Right answers on the 720 images, shape (seeds, images), by case."""
    _, ours, report = _split()
    labels, v = ours.labels, _teacher().logits(ours.pixels)
    rngs = [np.random.default_rng(1000 + seed) for seed in range(SEEDS)]
    few = np.array([rng.choice(len(labels), FEW, replace=False) for rng in rngs])
    every = np.tile(np.arange(len(labels)), (SEEDS, 1))
    cases: dict[str, tuple[OutputGradient, IntArray]] = {
        "alone": (cross_entropy_gradient(labels), every),
        "distilled": (output_gradient(v, TEMPERATURE, labels, soft_weight=0.9), every),
        "named": (cross_entropy_gradient(v.argmax(axis=1)), every),
        "unlabelled": (output_gradient(v, TEMPERATURE), every),
        "few alone": (cross_entropy_gradient(labels), few),
        "few decayed": (cross_entropy_gradient(labels), few),
    }
    cases |= {f"few, T = {t:g}": (output_gradient(v, t), few) for t in TEMPERATURES}
    right = {}
    for name, (gradient, images) in cases.items():
        decay = 1e-2 if name == "few decayed" else 1e-3
        students = _students(ours.pixels, gradient, images, decay)
        right[name] = students.logits(report.pixels).argmax(axis=-1) == report.labels
    return right


def _gain(first: str, second: str) -> PairedGain:
    right = _right()
    return paired_gain(right[first], right[second])


def _binomial_half_percent(accuracy: float, images: int) -> float:
    """Half of a 95% interval for other images [%]."""
    return 196 * math.sqrt(accuracy * (1 - accuracy) / images)


def example() -> SimpleNamespace:
    """Numbers quoted in the text, in percent of 720 images and in points."""
    _, ours, report = _split()
    accuracy = {name: 100 * float(rows.mean()) for name, rows in _right().items()}
    gains = {
        name: _gain(*cases)
        for name, cases in (
            ("distilled", ("distilled", "alone")),
            ("soft", ("unlabelled", "named")),
            ("unlabelled", ("unlabelled", "alone")),
            ("few", ("few, T = 4", "few alone")),
        )
    }
    half = {name: 100 * STUDENT_975_DF9 * gain.standard_error for name, gain in gains.items()}
    v = _teacher().logits(ours.pixels)
    widths = {
        name: 100 * STUDENT_975_DF9 * paired_gain(rows, np.zeros_like(rows)).standard_error
        for name, rows in _right().items()
    }
    return SimpleNamespace(
        teacher_percent=100 * _teacher().accuracy(report),
        teacher_half_percent=_binomial_half_percent(
            _teacher().accuracy(report), report.labels.size
        ),
        most_half_percent=max(w for name, w in widths.items() if not name.startswith("few")),
        few_half_percent=max(w for name, w in widths.items() if name.startswith("few")),
        alone_percent=accuracy["alone"],
        distilled_percent=accuracy["distilled"],
        distilled_gain_points=100 * gains["distilled"].mean,
        distilled_half_points=half["distilled"],
        named_percent=accuracy["named"],
        named_right_percent=100 * _teacher().accuracy(ours),
        named_right_half_percent=_binomial_half_percent(
            _teacher().accuracy(ours), ours.labels.size
        ),
        unlabelled_percent=accuracy["unlabelled"],
        soft_gain=100 * gains["soft"].mean,
        soft_half=half["soft"],
        soft_seed_half=100 * STUDENT_975_DF9 * gains["soft"].seed_error,
        unlabelled_gain=100 * gains["unlabelled"].mean,
        unlabelled_half=half["unlabelled"],
        few_images=FEW,
        few_alone_percent=accuracy["few alone"],
        few_decayed_percent=accuracy["few decayed"],
        few_percent=accuracy["few, T = 4"],
        few_gain=100 * gains["few"].mean,
        few_half=half["few"],
        few_cold_gain=accuracy["few, T = 1"] - accuracy["few alone"],
        few_cold_percent=accuracy["few, T = 1"],
        few_hot_percent=accuracy["few, T = 16"],
        certain_percent=100 * float(soften(v).max(axis=1).mean()),
        softened_percent=100 * float(soften(v, TEMPERATURE).max(axis=1).mean()),
        sure_half_percent=max(
            196 * float(soften(v, t).max(axis=1).std(ddof=1)) / math.sqrt(len(v))
            for t in (1.0, TEMPERATURE)
        ),
    )


def figure_softened_targets(figure: Figure) -> None:
    """A temperature brings out what the teacher knows about the wrong answers, until all are alike.

    The teacher's ten probabilities for one image that it reads correctly with 90% probability; it
    was not trained on it.

    Alt: Probabilities on a logarithmic axis against temperatures from 1 to 32, one line per digit.
    At temperature 1 the 7 has 0.9, the 4 0.06 and the 2 0.015; the least likely digits have less
    than 0.0001. The lines close up towards a tenth, marked by a dashed line, which all have nearly
    reached at 32.
    """
    axes = figure.subplots()
    report = _split()[2]
    v = _teacher().logits(report.pixels)
    far = np.abs(soften(v).max(axis=1) - 0.9) + (v.argmax(axis=1) != report.labels)
    image = int(np.argmin(far))
    temperatures = np.geomspace(1.0, 32.0, 60)
    curves = np.array([soften(v[image], float(t)) for t in temperatures])
    for place, digit in enumerate(np.argsort(-v[image])):
        colour = ("C0", "C1", "C2")[place] if place < 3 else "C4"
        width = 1.8 if place < 3 else 1.0
        axes.loglog(temperatures, curves[:, digit], color=colour, linewidth=width)
        if place < 3:
            text = f"{digit}, true" if digit == report.labels[image] else f"{digit}"
            axes.annotate(text, (0.95, curves[0, digit]), color=colour, ha="right", va="center")
    axes.axhline(0.1, color="C4", linestyle="--", linewidth=1)
    axes.set(xlim=(0.62, 32), ylim=(1e-5, 1.6))
    axes.set_xticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
    axes.minorticks_off()
    axes.set(xlabel="temperature T", ylabel="probability of a digit")


def figure_accuracy_by_temperature(figure: Figure) -> None:
    """With 50 images, soft answers are worth more than labels, and more so at a higher temperature.

    Accuracy on the test images. Dots: ten seeds, each with its own 50 images; bars: their means.
    Left: 50 labels without a teacher. Dashed: the teacher, and the mean of students with all 539
    images, which is the same with labels and with the teacher's soft answers.

    Alt: Accuracy from 75 to 98 percent for labels alone and for temperatures 1, 4 and 16. The means
    rise from 82 through 89 and 94 to 95 percent. The dots of labels alone range from 78 to 86,
    those from temperature 4 on over about three points. Dashed lines at 97
    for the teacher and 96 for all images.
    """
    axes = figure.subplots()
    right = _right()
    names = ["few alone", *(f"few, T = {t:g}" for t in TEMPERATURES)]
    for place, name in enumerate(names):
        seeds = 100 * right[name].mean(axis=1)
        colour = "C0" if place else "C1"
        shift = np.linspace(-0.2, 0.2, seeds.size)
        axes.plot(place + shift, seeds, "o", color=colour, markersize=4)
        axes.plot([place - 0.3, place + 0.3], [seeds.mean()] * 2, color=colour, linewidth=2)
    for level, text, offset in (
        (100 * _teacher().accuracy(_split()[2]), "teacher", 0.3),
        (100 * float(right["unlabelled"].mean()), "all 539 images", -1.1),
    ):
        axes.axhline(level, color="C4", linestyle="--", linewidth=1)
        axes.annotate(text, (-0.45, level + offset))
    axes.set_xticks(range(4), ["labels\nalone", *(f"T = {t:g}" for t in TEMPERATURES)])
    axes.set(xlim=(-0.5, 3.5), ylim=(75, 98.5))
    axes.set(xlabel="what the student learns from 50 images", ylabel="accuracy [%]")


def check_soft_answers_on_few_images() -> None:
    """With 50 images the teacher's softened answers are worth more than five points of accuracy
    over labels, and temperature 4 more than temperature 1, for new seeds and new images.

    Source: 95% intervals of paired differences, ten seeds and 720 images, Student's t.
    """
    for first, second, least in (
        ("few, T = 4", "few alone", 0.05),
        ("few, T = 4", "few, T = 1", 0.0),
    ):
        gain = _gain(first, second)
        low = gain.mean - STUDENT_975_DF9 * gain.standard_error
        checks.inside(f"{first} over {second}: low end", low, least, 1.0, kind="measured")


def check_labels_for_all_leave_nothing_to_gain() -> None:
    """With labels for all images distillation changes nothing that ten seeds and 720 images show.

    Source: the paired difference lies within 3 standard errors of zero, counting seeds and images;
    also between soft answers for unlabelled images and true labels.
    """
    checks.covers("distilled over alone", _gain("distilled", "alone"), 0.0, kind="measured")
    checks.covers("unlabelled over alone", _gain("unlabelled", "alone"), 0.0, kind="measured")


def check_pairing_is_what_it_says() -> None:
    """The two standard errors are those of the row and of the column means, and pairing makes them
    smaller than separate accuracies would.

    Source: row and column means by loops; variances of the two accuracies added for the images.
    """
    right = _right()
    first, second = right["unlabelled"], right["alone"]
    gain = paired_gain(first, second)
    rows = [float(a.mean() - b.mean()) for a, b in zip(first, second, strict=True)]
    columns = [float(a.mean() - b.mean()) for a, b in zip(first.T, second.T, strict=True)]
    for label, got, means in (
        ("seeds", gain.seed_error, rows),
        ("images", gain.image_error, columns),
    ):
        expected = float(np.std(means, ddof=1)) / math.sqrt(len(means))
        checks.close(label, got, expected, rtol=1e-9)
    apart = math.hypot(*(float(x.mean(axis=0).std()) / math.sqrt(720) for x in (first, second)))
    checks.inside("paired over unpaired, images", gain.image_error / apart, 0.0, 0.9)


def check_bad_input_is_refused() -> None:
    """One seed, numbers instead of answers and shapes that differ are errors."""
    yes = [[True, False], [True, True]]
    checks.raises("one seed", paired_gain, [[True, False]], yes, match="first_right must be two or")
    checks.raises("0 and 1", paired_gain, yes, [[1, 0], [1, 1]], match="second_right must be bool")
    checks.raises("shape", paired_gain, yes, [[True], [True]], match="second_right must be bool")
