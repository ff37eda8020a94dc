"""Fleets that are started, and what reads the objects of one."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any, cast

from serving_mathematics.planner.capacity_planner.fleet_search import Fleets, Performance
from serving_mathematics.planner.capacity_planner.separate_fleets import Apart
from serving_mathematics.planner.configurations import Answer, answer
from serving_mathematics.planner.questions.question import Question
from serving_mathematics.planner.questions.questions import read_choices, read_question

WIDE: dict[str, object] = {
    "rate_per_s": 2,
    "model": "deepseek-ai/DeepSeek-R1",
    "device": "H200",
    "parallelism": "dp8ep8",
    "cache_precision": "fp8",
    "ttft_s": 5,
    "requests": 200,
    "spare_replicas": 1,
}


def planned(values: dict[str, object], places: int = 96) -> tuple[Question, Performance]:
    question = read_question(values)
    best = Fleets(question).performance(3, places, 2048)
    assert best is not None
    return question, best


def behind(question: Question, backend: str) -> Question:
    """The same with another engine."""
    return replace(question, deployment=replace(question.deployment, backend=backend))


def container_of(document: dict[str, Any]) -> dict[str, Any]:
    """The one container of a Deployment or a StatefulSet."""
    (container,) = document["spec"]["template"]["spec"]["containers"]
    return cast("dict[str, Any]", container)


GUESSING: dict[str, object] = {
    "rate_per_s": 2,
    "model": "Qwen3-32B",
    "parallelism": "tp2",
    "draft_tokens": 3,
    "accepted_tokens": 2,
    "requests": 200,
}


PAIR = {
    "rate_per_s": 60,
    "tpot_s": 0.015,
    "requests": 120,
    "quantile": 0.9,
    "parallelism": "tp1",
    "fleets": "two",
    "precision": "bf16",
}


@functools.cache
def two_fleets() -> Answer:
    """An answer with separate fleets that are cheaper."""
    return answer(read_choices(PAIR))


def apart() -> tuple[Question, Apart]:
    """Of these, the question and the fleets."""
    found = two_fleets().apart
    assert found is not None
    assert found.run is not None
    return found.question, found.run
