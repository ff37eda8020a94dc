"""Tables of an answer, and how wide they are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from serving_mathematics.planner.answers.answer_tables import (
    Table,
    answer_tables,
    comparison_rows,
    table_text,
)
from serving_mathematics.planner.configurations import answer
from serving_mathematics.planner.questions.questions import read_choices

from ..told import PLAN, TOLD


def test_the_comparison_has_a_row_for_each_and_one_for_the_rest() -> None:
    head, *rows = comparison_rows(TOLD)
    assert len(rows) == 2
    assert {len(row) for row in rows} == {len(head)} == {6}
    left = replace(TOLD.ranked[1], run=None, least_usd_per_hour=12.0)
    cannot = replace(left, problem="no fleet")
    rows = comparison_rows(replace(TOLD, ranked=(TOLD.ranked[0], left, left, cannot)))[1:]
    assert rows[1][0].startswith("none of ")
    assert rows[1][-1] == "no fleet"
    assert rows[2][0] == "2 others"
    assert rows[2][2] == "at least 12.00"


def test_tables_are_those_of_command_and_form() -> None:
    """A load test's runs and the comparison, each where there is one."""
    (one,) = answer_tables(TOLD)
    assert one == Table("The deployments that were compared", comparison_rows(TOLD))
    assert answer_tables(replace(TOLD, ranked=TOLD.ranked[:1])) == []
    asked = {"rate_per_s": 2, "load_test": "1:0.06:0.0075,16:0.2:0.011", "parallelism": "tp1"}
    tested = answer(read_choices(asked | {"requests": 100, "ttft_s": 3}))
    (table,) = answer_tables(tested)
    assert table.title == "The load test"
    assert table.note.startswith("Calibrated with 2 runs: ")
    assert len(table.rows) == 3


def test_prices_of_short_runs_are_marked() -> None:
    """The plan's own rests on the longer runs, so that no row contradicts the sentence."""
    _, *rows = comparison_rows(TOLD)
    short = [one.run.simulated < PLAN.best.simulated for one in TOLD.ranked if one.run]
    assert [row[2].startswith("~") for row in rows] == short
    assert any(short)
    assert not all(short)


def test_tables_are_broken_where_they_are_too_wide() -> None:
    rows = [["what", "how"], ["one", "a word " * 30], ["two", "x" * 200]]
    lines = table_text(rows).splitlines()
    assert max(map(len, lines)) <= 100
    assert " ".join(line[6:] for line in lines).count("a word") == 30
    assert sum(line.count("x") for line in lines) == 200
    assert table_text([["", ""]]) == ""
    with pytest.raises(ValueError, match="rows must be of one length"):
        table_text([["a"], []])
