"""How much of a language model a small student learns from its answers, measured.

The teacher answers questions about sentences of this handbook, with tokens drawn at a temperature,
and says how likely each token of the vocabulary was. A student sees the last four tokens and which
words the question has. It learns from words, from the likeliest tokens, or from probabilities, and
is held against the teacher on questions that neither it nor its settings have seen: how often the
likeliest token is the same, how far apart the two are, and what would be accepted of its drafts.

Assumes: the common tokens of these answers stand for a vocabulary; one hidden layer stands for a
small model; every student takes as many steps as suit it best on a trial of its own.

Source: measurement; Hinton, Vinyals and Dean (2015) for the loss, Kingma and Ba (2015) for the
steps. Needs openvino-genai and a model. `python -m
serving_mathematics.engine.students_measurement` writes records/students.json.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from serving_mathematics.engine.answers_measurement import _questions_of
from serving_mathematics.engine.engine_measurement import _written
from serving_mathematics.engine.gguf_file import read_gguf
from serving_mathematics.engine.language_measurement import PACKAGES, TEXT
from serving_mathematics.engine.llama_model import _final_states, llama_of
from serving_mathematics.engine.small_student import (
    LAST,
    SOURCES,
    STEPS,
    _judged,
    _Lessons,
    _softmax,
    _Student,
    _taught,
)
from serving_mathematics.engine.token_engine import (
    Ask,
    Settings,
    TokenEngine,
    model_path,
)
from serving_mathematics.support.measuring import provenance

COMMAND = "python -m serving_mathematics.engine.students_measurement"
QUESTIONS, TOKENS, TEMPERATURE, HELD = 240, 96, 0.7, 5  # two of five questions are held out
COMMON = 500  # tokens that a student can say
UNITS, TAUGHT, SEEDS = (16, 64, 256), (500, 1500, 4000, 12000), 2
PLACES, NAMED = 8, 2  # of a held-out answer whose drafts are kept; tokens of each part with names
GRID = [
    *itertools.product(UNITS, TAUGHT, (SOURCES[0], SOURCES[3])),
    *itertools.product(UNITS[-1:], (TAUGHT[0], TAUGHT[-1]), SOURCES[1:3]),
]


def _lessons(questions: int, tokens: int) -> _Lessons:
    """The teacher's answers, and its probabilities of every token of the vocabulary."""
    path = model_path()
    engine = TokenEngine(Settings(kv_blocks=600, context_tokens=1024), path)
    asked = _questions_of(TEXT.read_text(encoding="utf-8"), questions)
    prompts = [engine.encode_chat([{"role": "user", "content": one}]) for one in asked]
    for number, prompt in enumerate(prompts, 1):
        engine.add(number, Ask(tuple(prompt), tokens, temperature=TEMPERATURE, seed=number))
    while not engine.idle:
        engine.step()
    answers = [engine.tokens(number).tokens for number in range(1, len(prompts) + 1)]
    words = tuple(engine.piece(int(one)).decode(errors="replace") for one in _common(answers))
    del engine
    return replace(_held_against(read_gguf(path), prompts, answers), words=words)


def _held_against(
    file: Any, prompts: Sequence[list[int]], answers: Sequence[list[int]]
) -> _Lessons:
    """Lessons from prompts and answers, with the probabilities that the model of a file gives."""
    model = llama_of(file)
    common = _common(answers)
    likely = []
    for prompt, answer in zip(prompts, answers, strict=True):
        text = np.array(prompt + answer)
        states = _final_states(model, text[None], None).reshape(len(text), -1)
        every = _softmax(states[len(prompt) - 1 : -1] @ model.head.T / np.float32(TEMPERATURE))
        likely.append(every[:, common])
    return _lessons_of(common, prompts, answers, np.concatenate(likely))


def _common(answers: Sequence[list[int]]) -> Any:
    """The tokens that come most often in the answers that may be learned from, sorted."""
    said = [token for n, answer in enumerate(answers) if n % HELD > 1 for token in answer]
    tokens, counts = np.unique(said, return_counts=True)
    return np.sort(tokens[np.argsort(-counts, kind="stable")[:COMMON]])


def _lessons_of(
    common: Any, prompts: Sequence[list[int]], answers: Sequence[list[int]], likely: Any
) -> _Lessons:
    """Lessons in the common tokens and one more, which stands for all others."""

    def known(tokens: Any) -> Any:
        place = np.minimum(np.searchsorted(common, tokens), common.size - 1)
        return np.where(common[place] == tokens, place, common.size)

    last = []
    bags = np.zeros((len(prompts), common.size + 1), np.float32)
    for bag, prompt, answer in zip(bags, prompts, answers, strict=True):
        text = known(np.array(prompt + answer))
        places = np.arange(len(prompt), len(text))
        last.append(text[places[:, None] + np.arange(-LAST, 0)])
        np.add.at(bag, text[: len(prompt)], 1)
    bags[:, (bags > 0).mean(axis=0) > 0.8] = 0  # words of every question
    bags /= np.maximum(bags.sum(axis=1, keepdims=True), 1)
    rest = np.maximum(1 - likely.sum(axis=1, keepdims=True), 0)
    return _Lessons(
        np.concatenate(last),
        np.repeat(np.arange(len(answers)), [len(one) for one in answers]),
        bags,
        known(np.concatenate([np.array(one) for one in answers])),
        np.concatenate([likely, rest], axis=1).astype(np.float32),
    )


def _drafts(lessons: _Lessons, student: _Student) -> list[dict[str, Any]]:
    """What a student would draft at the first places of the first answer, which is held out: of its
    probabilities what the teacher has too, which would be accepted, and the rest, the likeliest
    tokens of each with their names and the others together.
    """
    rows = np.flatnonzero(lessons.question == 0)[:PLACES]
    q = _softmax(student.forward(lessons.last[rows], lessons.asked[lessons.question[rows]])[2])
    accepted = np.minimum(lessons.likely[rows], q)
    accepted[:, -1] = 0

    def named(shares: Any) -> list[tuple[str, float]]:
        first = np.argsort(-shares[:-1], kind="stable")[:NAMED]
        others = float(shares.sum() - shares[first].sum())
        told = [(lessons.words[i], float(shares[i])) for i in first]
        return [(word, round(share, 4)) for word, share in (*told, ("", others))]

    return [
        {"accepted": named(one), "struck": named(every - one)}
        for one, every in zip(accepted, q, strict=True)
    ]


def _measured(lessons: _Lessons, grid: Sequence[Any] = tuple(GRID)) -> dict[str, Any]:
    """The record: each student's score on what was held out, for each seed."""
    held = np.flatnonzero(lessons.question % HELD == 0)
    trial = np.flatnonzero(lessons.question % HELD == 1)
    open_to_all = np.flatnonzero(lessons.question % HELD > 1)
    rows = []
    for units, taught, source in grid:
        for seed in range(SEEDS):
            order = np.random.default_rng(seed).permutation(np.unique(lessons.question))
            place = np.argsort(order)[lessons.question[open_to_all]]
            few = open_to_all[np.argsort(place, kind="stable")][:taught]
            student = _taught(lessons, few, trial, source, units, seed)
            told = {"units": units, "taught": taught, "source": source, "seed": seed}
            rows.append(told | _judged(lessons, held, student))
            if seed == 0 and source in (SOURCES[0], SOURCES[3]):
                rows[-1]["drafts"] = _drafts(lessons, student)
            print(rows[-1], file=sys.stderr, flush=True)
    likely = lessons.likely[held]
    spread = -(likely * np.log(np.maximum(likely, 1e-12))).sum(axis=1).mean()
    said = lessons.said[open_to_all]
    usual = np.bincount(said, minlength=likely.shape[1])[:-1] / said.size
    return {
        **provenance(COMMAND, PACKAGES),
        "asked": {
            "questions": int(lessons.question.max()) + 1,
            "taught": int(open_to_all.size),
            "held": int(held.size),
            "vocabulary": int(likely.shape[1]) - 1,
            "temperature": TEMPERATURE,
            "steps": STEPS[-1],
        },
        "answer": [
            lessons.words[i] if i < len(lessons.words) else ""
            for i in lessons.said[lessons.question == 0][:PLACES]
        ],
        "teacher": {"nats": float(spread), "common": float(1 - likely[:, -1].mean())},
        "usual": {  # whoever says the same words in the same shares, whatever is asked
            "same": float((likely.argmax(axis=1) == usual.argmax()).mean()),
            "accepted": float(np.minimum(likely[:, :-1], usual).sum(axis=1).mean()),
        },
        "rows": rows,
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the record; 2 without an engine."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Measure what students learn.")
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of an answer")
    parser.add_argument("--folder", type=Path, help="for the record; by default that of the pages")
    given = parser.parse_args(arguments)
    return _written(
        "students", lambda: _measured(_lessons(given.questions, given.tokens)), given.folder
    )


if __name__ == "__main__":
    sys.exit(main())
