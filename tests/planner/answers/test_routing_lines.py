"""What is said of a fleet behind routers: one set of numbers, and no more than was found."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.planner.answers.answers import answer_head
from serving_mathematics.planner.answers.routing_lines import (
    routed_lines,
    routed_main,
    routed_parts,
    routed_record,
    routed_rows,
)
from serving_mathematics.planner.capacity_planner.routed_runs import _limits, _of_parts, _sample
from serving_mathematics.planner.capacity_planner.routing import Routed
from serving_mathematics.planner.configurations import whole_answer
from serving_mathematics.planner.questions.questions import read_choices


@functools.cache
def told() -> Routed:
    """The answer to a small question with host memory."""
    asked = {
        "rate_per_s": 16,
        "replicas": 2,
        "requests": 100,
        "parallelism": "tp1",
        "precision": "fp8",
        "token_budget": 2048,
        "quantile": 0.9,
        "like": "customers",
        "routers": "random, cache-aware",
        "host_memory_gib": "0, 20",
    }
    found = whole_answer(read_choices(asked), asked)
    assert isinstance(found, Routed)
    return found


def test_rows_lines_and_record_are_the_same_numbers() -> None:
    found, record = told(), routed_record(told())
    head, *rows = routed_rows(found)
    assert len(rows) == record["compared"] == 4
    for row, way in zip(rows, found.ways, strict=True):
        cells = dict(zip(head, row, strict=True))
        name = f"{cells['router']}_{cells['GiB']}"
        assert float(cells["found"]) == pytest.approx(
            100 * float(record[f"{name}_found_share"]), abs=0.05
        )
        assert (cells["behind"] == "taken") == (way is found.best)
    lines = {line.what: line.value for line in routed_lines(found)}
    assert lines["router"] == record["router"]
    assert list(lines)[: len(routed_main(found))] == [line.what for line in routed_main(found)]
    assert float(lines["requests that keep both"].split()[0].strip("%")) == pytest.approx(
        100 * float(record["both_kept"]), abs=0.1
    )


@pytest.mark.parametrize(
    ("more", "most"),
    [
        ({"model": "Llama-3-8B", "mean_prompt_tokens": 4000}, "the context of 8,192 tokens"),
        ({"device": "L4", "precision": "bf16", "mean_prompt_tokens": 9000}, "a replica holds"),
        ({"model": "Llama-3-8B", "classes": "a:0.5:prompt=400; b:0.5:prompt=6000"}, "context"),
        ({"model": "OPT-13B", "like": "chat"}, "the context of 2,048 tokens"),
        ({}, ""),
    ],
)
def test_what_is_cut_of_drawn_requests_is_told_and_what_is_left(
    more: dict[str, object], most: str
) -> None:
    """By the share and the means of what the fleet is asked."""
    asked = {"rate_per_s": 1, "replicas": 1, "requests": 4000, "parallelism": "tp1", **more}
    question = read_choices(asked)[0]
    best = replace(told().best, classes=told().best.classes * len(question.goals))
    found = replace(told(), question=question, ways=(best,), best=best)
    found = replace(found, longest=_limits(question, 2048).longest)
    drawn = _sample(question, 0, found.longest).asked
    sentence, notes = routed_parts(found)
    assert " 1 replica of " in sentence
    assert " do not keep " not in sentence
    said = [note for note in notes if "are cut at" in note]
    assert len(said) == bool(most)
    assert all(most in note for note in said)
    lengths = drawn.prompt_tokens + drawn.output_tokens
    share = 0.0 if found.left is None else found.left[0]
    assert share == pytest.approx(np.mean(lengths == found.longest), abs=0.02)
    for mean, each in zip(
        found.mean_lengths, (drawn.prompt_tokens, drawn.output_tokens), strict=True
    ):
        assert abs(mean - each.mean()) < 4 * each.std() / math.sqrt(4000)
    assert all((" give a trace." in note) == ("like" not in more) for note in said)


def test_who_is_behind_within_noise_is_named_as_good() -> None:
    found = told()
    other = next(way for way in found.ways if way is not found.best)
    noisy = replace(other, parts=(0.1, 1.0, 0.9, 1.0), kept=_of_parts([0.1, 1.0, 0.9, 1.0]))
    best = replace(found.best, parts=(0.9, 0.9, 0.9, 0.9), kept=_of_parts([0.9] * 4), host_gib=0.0)
    alike = replace(found, best=best, ways=(best, noisy))
    assert f"As good within noise: {noisy.router.name} with 20 GiB." in routed_parts(alike)[1]
    clear = replace(noisy, parts=(0.5, 0.51, 0.5, 0.5), kept=_of_parts([0.5, 0.51, 0.5, 0.5]))
    apart = replace(found, best=best, ways=(best, replace(clear, host_gib=0.0)))
    assert "As good" not in " ".join(routed_parts(apart)[1])
    assert f"{clear.router.name} keeps 39.75 ± 0.80 of 100 fewer." in routed_parts(apart)[1]


def test_caches_that_still_fill_are_told() -> None:
    found = told()
    full = replace(found, best=replace(found.best, rise=0.0))
    assert "still filling" not in " ".join(routed_parts(full)[1])
    filling = replace(found, best=replace(found.best, rise=0.05))
    assert routed_parts(filling)[1][-1] == "Caches were still filling: ask for more requests."
    lines = {line.what: line.value for line in routed_main(filling)}
    assert "5 points more in the second half" in lines["prompt tokens that caches find"]


@pytest.mark.parametrize(
    ("replicas", "safer"), [("2", "smallest share"), ("auto", "largest number")]
)
def test_an_engine_as_installed_takes_more_replicas_where_these_are_sought(
    replicas: str, safer: str
) -> None:
    """Of 57 requests a second it was told to take the smaller share, which was that of the fleet
    for a tuned engine: the other had a replica more."""
    asked = {"rate_per_s": 57, "requests": 300, "routers": "random", "replicas": replicas}
    tuned, installed = (
        whole_answer(read_choices(one), one)
        for one in (
            asked | {"parallelism": "tp1"},
            asked | {"parallelism": "tp1", "front": "unknown"},
        )
    )
    assert isinstance(tuned, Routed)
    assert isinstance(installed, Routed)
    assert (installed.replicas > tuned.replicas) == (replicas == "auto")
    notes = " ".join(routed_parts(tuned)[1])
    assert f"ask with front: unknown too and take the {safer} of both answers." in notes


def test_what_is_paid_for_is_told() -> None:
    """Four replicas at $2 were $10 without a word, for one to spare."""
    question = replace(told().question, spare_replicas=1)
    text = routed_parts(replace(told(), question=question))[0]
    assert "keep both, with 1 replica more that may fail, at $6.00 an hour, $2.00 a GPU" in text
    assert routed_main(replace(told(), question=question))[0].value == "2 and 1 that may fail"
    assert answer_head(replace(told(), question=question)) == ("3 × H100 SXM", "$6.00 an hour")
    wide = replace(question, deployment=replace(question.deployment, tensor=2))
    text = routed_parts(replace(told(), question=wide))[0]
    assert ", at $12.00 an hour for 6 GPUs, $2.00 a GPU" in text
    assert routed_record(replace(told(), question=question))["spare_replicas"] == 1
    assert "more that may fail" not in routed_parts(told())[0]
