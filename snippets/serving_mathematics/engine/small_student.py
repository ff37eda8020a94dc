"""A small student of a language model: the last tokens, the question's words, one hidden layer.

It learns from words, from the likeliest tokens, or from probabilities, whose gradient at the logits
is the same but for what is wanted.

Assumes: single precision; every student takes as many steps as suit it best on a trial.

Source: Hinton, Vinyals and Dean (2015), equation 2, for the gradient; Kingma and Ba (2015),
algorithm 1, for the steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

LAST, WIDTH = 4, 32  # tokens that a student sees; numbers that stand for one
STEPS = (25, 50, 100, 200, 400)  # after which a student is tried
BATCH, RATE = 128, 5e-3
FEW = 20
SOURCES = ("words", "likeliest tokens", f"{FEW} probabilities", "all probabilities")


@dataclass(frozen=True)
class _Lessons:
    """A row for each token of the answers: what came before, what was said, how likely each was.

    The last token of the vocabulary stands for all that are rare.
    """

    last: IntArray  # tokens before it, shape (n, LAST)
    question: IntArray  # shape (n,)
    asked: FloatArray  # share of each word in a question, shape (questions, vocabulary)
    said: IntArray  # shape (n,)
    likely: FloatArray  # shape (n, vocabulary)
    words: tuple[str, ...] = ()  # of the vocabulary but its last, as they are written


def _softmax(logits: FloatArray) -> FloatArray:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


@dataclass
class _Student:
    """Two tables of words, a hidden layer, and logits of the next token."""

    weights: dict[str, FloatArray]

    @classmethod
    def new(cls, vocabulary: int, units: int, rng: np.random.Generator) -> Self:
        """One that knows nothing."""
        inputs = WIDTH * (LAST + 1)
        scales = {
            "word": (vocabulary, WIDTH, 0.1),
            "asked": (vocabulary, WIDTH, 0.1),
            "hidden": (inputs, units, inputs**-0.5),
            "out": (units, vocabulary, units**-0.5),
        }
        drawn = {n: rng.normal(0, scale, (a, b)) for n, (a, b, scale) in scales.items()}
        drawn |= {"bias": np.zeros(units), "level": np.zeros(vocabulary)}
        return cls({name: value.astype(np.float32) for name, value in drawn.items()})

    def forward(self, last: IntArray, asked: FloatArray) -> tuple[FloatArray, ...]:
        """Inputs of the hidden layer, what it gives, and logits."""
        w = self.weights
        x = np.concatenate([w["word"][last].reshape(len(last), -1), asked @ w["asked"]], axis=1)
        h = np.maximum(x @ w["hidden"] + w["bias"], 0)
        return x, h, h @ w["out"] + w["level"]

    def gradients(
        self, last: IntArray, asked: FloatArray, wanted: FloatArray
    ) -> dict[str, FloatArray]:
        """Of the mean cross-entropy to the wanted probabilities, which is that of KL."""
        w = self.weights
        x, h, logits = self.forward(last, asked)
        slope = (_softmax(logits) - wanted) / np.float32(len(last))
        below = (slope @ w["out"].T) * (h > 0)
        inputs = below @ w["hidden"].T
        word = np.zeros_like(w["word"])
        np.add.at(word, last.ravel(), inputs[:, : WIDTH * LAST].reshape(-1, WIDTH))
        return {
            "word": word,
            "asked": asked.T @ inputs[:, WIDTH * LAST :],
            "hidden": x.T @ below,
            "out": h.T @ slope,
            "bias": below.sum(axis=0),
            "level": slope.sum(axis=0),
        }


def _taught(
    lessons: _Lessons, rows: IntArray, trial: IntArray, source: str, units: int, seed: int
) -> _Student:
    """The student that suits the trial rows best, of those after each number of steps, by Adam."""
    rng = np.random.default_rng([seed, units])
    student = _Student.new(lessons.likely.shape[1], units, rng)
    moments = [{n: np.zeros_like(v) for n, v in student.weights.items()} for _ in range(2)]
    best, kept = -1.0, student
    for step in range(1, STEPS[-1] + 1):
        some = rows[rng.integers(0, len(rows), min(BATCH, len(rows)))]
        asked = lessons.asked[lessons.question[some]]
        wanted = _wanted(lessons, some, source)
        for name, slope in student.gradients(lessons.last[some], asked, wanted).items():
            first, second = (one[name] for one in moments)
            first += np.float32(0.1) * (slope - first)
            second += np.float32(0.001) * (slope * slope - second)
            scale = np.sqrt(second / np.float32(1 - 0.999**step)) + np.float32(1e-8)
            weight = student.weights[name]
            weight -= np.float32(RATE) * first / np.float32(1 - 0.9**step) / scale
        if step in STEPS and (score := _judged(lessons, trial, student)["accepted"]) > best:
            best = score
            kept = _Student({name: weight.copy() for name, weight in student.weights.items()})
    return kept


def _wanted(lessons: _Lessons, rows: IntArray, source: str) -> FloatArray:
    """What a student is to match on these rows."""
    likely = lessons.likely[rows]
    if source == SOURCES[3]:
        return likely
    if source == SOURCES[2]:
        few = min(FEW, likely.shape[1])
        least = np.partition(likely, -few, axis=1)[:, -few][:, None]
        kept = np.where(likely >= least, likely, np.float32(0))
        return np.asarray(kept / kept.sum(axis=1, keepdims=True))
    names = lessons.said[rows] if source == SOURCES[0] else likely.argmax(axis=1)
    wanted = np.zeros_like(likely)
    wanted[np.arange(len(rows)), names] = 1
    return wanted


def _judged(lessons: _Lessons, rows: IntArray, student: _Student) -> dict[str, float]:
    """Share of the likeliest tokens that are the teacher's, distance [nat], share accepted; what
    stands for rare tokens is neither the same nor accepted."""
    asked = lessons.asked[lessons.question[rows]]
    q = _softmax(student.forward(lessons.last[rows], asked)[2])
    p = lessons.likely[rows]
    gap = np.log(np.maximum(p, 1e-12)) - np.log(np.maximum(q, 1e-12))
    return {
        "same": float((q[:, :-1].argmax(axis=1) == p.argmax(axis=1)).mean()),
        "nats": float((p * gap).sum(axis=1).mean()),
        "accepted": float(np.minimum(p, q)[:, :-1].sum(axis=1).mean()),
    }
