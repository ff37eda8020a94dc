"""The small student: its gradients, what it learns from each source, and its score."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from serving_mathematics.engine import small_student
from serving_mathematics.engine.small_student import (
    FEW,
    SOURCES,
    _judged,
    _Lessons,
    _softmax,
    _Student,
    _taught,
    _wanted,
)

WORDS = 30


@pytest.fixture(scope="module")
def lessons() -> _Lessons:
    """A teacher that looks at the last token alone: 30 words, 40 questions of 50 tokens each."""
    rng = np.random.default_rng(5)
    table = rng.dirichlet(np.full(WORDS, 0.2), WORDS).astype(np.float32)
    said = np.zeros((40, 54), np.int64)
    for place in range(1, said.shape[1]):
        edges = table[said[:, place - 1]].cumsum(axis=1)
        said[:, place] = (edges < rng.random((40, 1)) * edges[:, -1:]).sum(axis=1)
    last = np.lib.stride_tricks.sliding_window_view(said, 4, axis=1)[:, :-1].reshape(-1, 4)
    question = np.repeat(np.arange(40), 50)
    asked = np.zeros((40, WORDS), np.float32)
    return _Lessons(last, question, asked, said[:, 4:].ravel(), table[last[:, -1]])


def test_gradients_are_those_of_the_cross_entropy(lessons: _Lessons) -> None:
    student: Any = _Student.new(WORDS, 8, np.random.default_rng(1))
    student.weights = {n: w.astype(np.float64) for n, w in student.weights.items()}
    rows = np.arange(6)
    asked = np.random.default_rng(2).random((6, WORDS))
    wanted = lessons.likely[rows].astype(np.float64)

    def loss() -> float:
        logits = student.forward(lessons.last[rows], asked)[2]
        return float(-(wanted * np.log(_softmax(logits))).sum(axis=1).mean())

    told = student.gradients(lessons.last[rows], asked, wanted)
    for name, weight in student.weights.items():
        for place in [np.unravel_index(np.abs(told[name]).argmax(), weight.shape)]:
            was = weight[place]
            weight[place] = was + 1e-5
            up = loss()
            weight[place] = was - 1e-5
            down = loss()
            weight[place] = was
            assert told[name][place] == pytest.approx((up - down) / 2e-5, rel=1e-4), name


def test_what_is_wanted_of_each_source(lessons: _Lessons) -> None:
    rows = np.arange(50)
    words, names, few, every = (_wanted(lessons, rows, source) for source in SOURCES)
    assert words.argmax(axis=1).tolist() == lessons.said[rows].tolist()
    assert names.argmax(axis=1).tolist() == lessons.likely[rows].argmax(axis=1).tolist()
    assert ((few > 0).sum(axis=1) == FEW).all()
    for wanted in (words, names, few, every):
        assert wanted.sum(axis=1) == pytest.approx(np.ones(50), abs=1e-5)


def test_probabilities_teach_more_than_words(
    lessons: _Lessons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_student, "STEPS", (50, 200))
    rows, trial, held = np.arange(300), np.arange(500, 900), np.arange(1000, 2000)
    scores = {
        source: _judged(lessons, held, _taught(lessons, rows, trial, source, 16, seed=0))
        for source in (SOURCES[0], SOURCES[3])
    }
    assert scores[SOURCES[3]]["nats"] < scores[SOURCES[0]]["nats"]
    assert scores[SOURCES[3]]["accepted"] > scores[SOURCES[0]]["accepted"]
    again = _judged(lessons, held, _taught(lessons, rows, trial, SOURCES[3], 16, seed=0))
    assert again == scores[SOURCES[3]]


def test_the_teacher_itself_scores_in_full(lessons: _Lessons) -> None:
    student: Any = _Student.new(WORDS, 4, np.random.default_rng(3))
    logits = np.log(np.maximum(lessons.likely[:100], 1e-30))
    student.forward = lambda last, asked: (last, asked, logits)
    told = _judged(lessons, np.arange(100), student)
    rare = lessons.likely[:100, -1]
    assert told["same"] == (lessons.likely[:100].argmax(axis=1) < WORDS - 1).mean()
    assert told["nats"] == pytest.approx(0, abs=1e-4)
    assert told["accepted"] == pytest.approx(1 - rare.mean(), abs=1e-5)
