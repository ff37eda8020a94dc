"""The worked example: its fleets are those of its plan, and its rows those of its answer."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from serving_mathematics.planner import worked_example
from serving_mathematics.planner.questions import read_choices
from serving_mathematics.planner.sweeps import read_questions
from serving_mathematics.planner.worked_example import _swept, _worked

from ..recorded import HERE

FEW = {"requests": 1000}


@pytest.fixture(scope="module", autouse=True)
def quoted() -> Iterator[SimpleNamespace]:
    """What the pages quote; the question and the sweep are asked of a quarter of the requests."""
    fields, made = HERE.example_of("planner.worked_example"), (_worked, _swept)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worked_example, "read_choices", lambda asked: read_choices(asked | FEW))
        patch.setattr(
            worked_example, "read_questions", lambda grid: read_questions([x | FEW for x in grid])
        )
        for one in made:
            one.cache_clear()
        yield fields
        for one in made:
            one.cache_clear()


def test_fleets_are_those_of_the_plan() -> None:
    fleet, long, told = _worked()
    best = told.plan.best
    assert long.question.requests == 4 * fleet.question.requests
    assert long.performance(best.replicas, best.places, best.budget) == best
    assert fleet.best(best.replicas + 1) == told.plan.one_more
    assert told.question.deployment.precision == "fp8"


def test_rows_are_those_of_the_answer(quoted: SimpleNamespace) -> None:
    _, _, told = _worked()
    first, fewer, fewest = _swept()
    counts = [float(row["replicas"]) for row in (first, fewer, fewest)]
    assert counts == sorted(counts, reverse=True)
    assert fewer["replicas"] == told.plan.best.replicas
    assert fewer["batch_limit"] == told.plan.best.places
    assert told.plan.quantized is not None
    assert fewest["usd_per_million_tokens"] == told.plan.quantized.usd_per_million
    assert float(fewer["tpot_p99_s"]) < float(first["tpot_p99_s"])  # shorter steps
    loads = [float(row.split(" | ")[1].strip("%")) for row in quoted.closed_rows.splitlines()]
    counts = [float(row.split(" | ")[0].strip("| ")) for row in quoted.closed_rows.splitlines()]
    for load, count in zip(loads, counts, strict=True):
        assert abs(load - loads[0] * counts[0] / count) < 2.5  # percent, each rounded


def test_a_memory_that_is_never_full_binds_nothing() -> None:
    """With all memory in the world one replica fewer does no better than as it is."""
    _, long, told = _worked()
    found = told.plan
    assert "KV memory" not in found.binding
    below = found.best.replicas - 1
    assert not long.keeps(long.with_all_memory().best(below))
    assert not long.keeps(long.best(below))
    assert not found.one_fewer_may_do
