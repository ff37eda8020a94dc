"""The record of plans by seed: complete, written whole, and what the planner says today."""

from __future__ import annotations

import pytest
from serving_mathematics.planner.answers.answers import answer_record, answer_summary
from serving_mathematics.planner.configurations import answer
from serving_mathematics.planner.evidence import planner_coverage
from serving_mathematics.planner.evidence.planner_coverage import (
    ASKED,
    LOOSE,
    NAMES,
    RECORD,
    _by_agreement,
    _planned,
    _seeds,
    _shares,
)
from serving_mathematics.planner.questions.questions import read_choices
from serving_mathematics.support import measuring


def test_the_record_has_every_seed() -> None:
    record = measuring.read_record(RECORD)
    assert record["command"] == planner_coverage.COMMAND
    assert record["intervals"] == NAMES
    assert {row["name"]: row["question"] for row in record["questions"]} == ASKED
    for row in record["questions"]:
        assert len(row["seeds"]) == _seeds(row["name"]) in (40, 400)
        assert {len(seed["held"]) for seed in row["seeds"]} == {len(NAMES)}
    clear, lucky = _by_agreement()
    assert len(clear) >= 380
    assert all(92 <= share <= 97 for share in _shares(clear))
    assert len(lucky) >= 50


@pytest.mark.parametrize("seed", [2, 4, 5])
def test_a_plan_is_decided_where_its_answer_says_so(seed: int) -> None:
    """Of limits of one fewer that missed the promise by less than their intervals, none was looked
    at: plans were called decided of which the answer says that one replica fewer may do."""
    asked = ASKED["twice the load"] | {"seed": seed}
    told = answer(read_choices(asked | {"precision": "bf16"}))
    record = answer_record(told)
    assert _planned(asked) == (told.plan.best, record["decided"] == "yes")
    assert (record["decided"] == "yes") is (seed == 4)


def test_shares_are_counted_by_interval() -> None:
    seeds = [{"held": "110000"}, {"held": "100001"}]
    assert _shares(seeds) == [100.0, 50.0, 0.0, 0.0, 0.0, 50.0]


def test_a_plan_that_is_not_decided_names_its_neighbour() -> None:
    """A larger fleet says that one fewer may do, or a smaller one that one more keeps both; decided
    ones say neither."""
    seen = set()
    for seed in range(4):
        asked = {"rate_per_s": 60, **LOOSE, "requests": 100, "quantile": 0.9}
        asked |= {"ttft_s": 0.2, "seed": seed}
        best, decided = _planned(asked)
        text = answer_summary(answer(read_choices(asked | {"precision": "bf16"})))
        assert text.startswith(f"{best.replicas} replicas")
        said = " may keep " in text, f" {best.replicas - 1} may do." in text
        assert any(said) is not decided
        seen.add(said)
    assert len(seen) == 3
