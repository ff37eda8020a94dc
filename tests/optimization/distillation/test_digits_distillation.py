"""The paired interval by simulation and at its edges; a student that learns from answers alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from serving_mathematics.core.classifiers.digits_classifier import load_digits
from serving_mathematics.optimization.distillation import digits_distillation
from serving_mathematics.optimization.distillation.digits_distillation import (
    PairedGain,
    paired_gain,
)
from serving_mathematics.optimization.distillation.distillation import output_gradient


def test_no_difference_has_no_error() -> None:
    right = np.random.default_rng(0).random((4, 30)) < 0.8
    gain = paired_gain(right, right)
    assert (gain.mean, gain.standard_error) == (0.0, 0.0)


def test_errors_from_seeds_and_images() -> None:
    first = np.array([[True, True, True, False], [True, False, True, False]])
    second = np.array([[False, True, False, False], [False, False, False, False]])
    gain = paired_gain(first, second)
    assert gain.mean == 0.5
    assert gain.seed_error == 0.0
    assert gain.image_error == pytest.approx(np.std([1, 0, 1, 0], ddof=1) / 2)
    turned = paired_gain(first.T, second.T)
    assert turned.image_error == gain.seed_error
    assert turned.seed_error == pytest.approx(gain.image_error)
    assert PairedGain(0.0, 0.3, 0.4).standard_error == pytest.approx(0.5)


def test_interval_covers_when_seeds_and_images_are_drawn_anew() -> None:
    rng = np.random.default_rng(1)
    covered, gains, runs = 0, [], 300
    for _ in range(runs):
        seeds, images = rng.normal(0, 0.05, (8, 1)), rng.normal(0, 0.15, (1, 150))
        chance = np.clip(0.6 + seeds + images, 0, 1)
        gain = paired_gain(rng.random((8, 150)) < chance, rng.random((8, 150)) < 0.5)
        covered += abs(gain.mean - 0.1) < 2 * gain.standard_error
        gains.append(gain.mean)
    assert covered / runs > 0.93
    assert np.mean(gains) == pytest.approx(0.1, abs=4 * np.std(gains) / math.sqrt(runs))


@pytest.mark.parametrize("bad", [[[1, 0], [0, 1]], [[math.nan, 1.0], [0.0, 1.0]], [[True, True]]])
def test_answers_are_booleans(bad: Any) -> None:
    good = [[True, False], [False, True]]
    with pytest.raises(ValueError, match=r"second_right must be booleans of shape \(2, 2\)"):
        paired_gain(good, bad)
    if np.shape(bad) == (2, 2):
        with pytest.raises(ValueError, match="first_right must be booleans"):
            paired_gain(bad, good)


def test_images_are_kept_apart() -> None:
    theirs, ours, report = digits_distillation._split()
    assert (len(theirs.labels), len(ours.labels), len(report.labels)) == (538, 539, 720)
    digits = load_digits()
    everything = np.vstack([digits.train.pixels, digits.validation.pixels, digits.test.pixels])
    apart = np.vstack([theirs.pixels, ours.pixels, report.pixels])
    assert apart.tolist() == everything.tolist()


def test_student_learns_what_the_teacher_says_without_labels() -> None:
    _, ours, report = digits_distillation._split()
    v = digits_distillation._teacher().logits(ours.pixels)
    every = np.arange(len(ours.labels))[None]
    student = digits_distillation._students(ours.pixels, output_gradient(v, 4.0), every)
    assert student.accuracy(report) > 0.93
    turned = output_gradient(np.roll(v, 1, axis=1), 4.0)
    wrong = digits_distillation._students(ours.pixels, turned, every).logits(report.pixels)
    assert np.mean(wrong.argmax(axis=-1) == (report.labels + 1) % 10) > 0.93
    again = digits_distillation._students(ours.pixels, output_gradient(v, 4.0), every)
    assert again.logits(report.pixels).tolist() == student.logits(report.pixels).tolist()
